// The admin API: JSON over the same rooms as the console. Every route stands in one of the tables collected here and names its
// scope; there is no other way to add one, so none can be open by oversight.
import Router from '@koa/router'
import { createAdminGuard } from '#src/admin/guard.ts'
import { apiRoutes } from './apis.ts'
import { clientRoutes } from './clients.ts'
import { invitationRoutes } from './invitations.ts'
import { problemDetails } from './problem-details.ts'
import { revocationRoutes } from './revocations.ts'
import type { AdminApiDeps, AdminRoute } from './route.ts'
import { tokenRoutes } from './tokens.ts'
import { userRoutes } from './users.ts'

export const adminRoutes = (deps: AdminApiDeps): AdminRoute[] => [
  ...clientRoutes(deps),
  ...userRoutes(deps),
  ...invitationRoutes(deps),
  ...apiRoutes(deps),
  ...tokenRoutes(deps),
  ...revocationRoutes(deps),
]

export function createAdminApiRouter(deps: AdminApiDeps): Router {
  const router = new Router({ prefix: '/api/v1' })
  const guard = createAdminGuard(deps)
  router.use(problemDetails())
  for (const { method, path, scope, handle } of adminRoutes(deps)) router[method](path, guard(scope), handle)
  return router
}
