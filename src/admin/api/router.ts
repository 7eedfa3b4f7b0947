// The admin API: JSON over the same rooms as the console. Every route stands in one of the tables collected here and names its
// scope; there is no other way to add one, so none can be open by oversight. The one address beside them that asks for no credential is a file
// of its own, ../leaked-keys.ts.
//
//   guard (both doors) -> query -> body -> If-Match -> Idempotency-Key -> the room -> ETag, answer
import Router from '@koa/router'
import type { Context } from 'koa'
import { z } from 'zod'
import { type Caller, createAdminGuard } from '#src/admin/guard.ts'
import { fingerprint } from '#src/editing.ts'
import { HttpError } from '#src/http/http-error.ts'
import { readJson } from '#src/http/json-body.ts'
import { apiKeyRoutes } from './api-keys.ts'
import { apiRoutes } from './apis.ts'
import { auditRoutes } from './audit.ts'
import { checkupRoutes } from './checkup.ts'
import { clientRoutes } from './clients.ts'
import { gatewayRoutes } from './gateway-routes.ts'
import { grantRoutes } from './grants.ts'
import { doOnce } from './idempotency.ts'
import { invitationRoutes } from './invitations.ts'
import { jobRoutes } from './jobs.ts'
import { keyRoutes } from './keys.ts'
import { mailRoutes } from './mails.ts'
import { readQuery } from './page.ts'
import { policyRoutes } from './policies.ts'
import { problemDetails } from './problem-details.ts'
import { pushRoutes } from './push.ts'
import { relationRoutes } from './relations.ts'
import { reviewRoutes } from './reviews.ts'
import { revocationRoutes } from './revocations.ts'
import { roleRoutes } from './roles.ts'
import { type AdminApiDeps, type AdminRoute, type Call, changeBy, isSensitive } from './route.ts'
import { settingRoutes } from './settings.ts'
import { tokenRoutes } from './tokens.ts'
import { userRoutes } from './users.ts'
import { webhookRoutes } from './webhooks.ts'

export const adminRoutes = (deps: AdminApiDeps): AdminRoute[] => [
  ...clientRoutes(deps),
  ...userRoutes(deps),
  ...pushRoutes(deps),
  ...invitationRoutes(deps),
  ...apiRoutes(),
  ...gatewayRoutes(deps),
  ...roleRoutes(deps),
  ...apiKeyRoutes(deps),
  ...keyRoutes(deps),
  ...policyRoutes(deps),
  ...tokenRoutes(deps),
  ...grantRoutes(deps),
  ...revocationRoutes(deps),
  ...relationRoutes(deps),
  ...auditRoutes(deps),
  ...reviewRoutes(deps),
  ...checkupRoutes(deps),
  ...webhookRoutes(deps),
  ...mailRoutes(deps),
  ...settingRoutes(deps),
  ...jobRoutes(deps),
]

const noQuery = z.strictObject({})

export function createAdminApiRouter(deps: AdminApiDeps): Router {
  const router = new Router({ prefix: '/api/v1' })
  const guard = createAdminGuard(deps)
  router.use(problemDetails())
  for (const route of adminRoutes(deps))
    router[route.method](route.path, guard({ scope: route.scope, sensitive: isSensitive(route) }), (ctx) =>
      serve(deps, route, ctx),
    )
  return router
}

async function serve(deps: AdminApiDeps, route: AdminRoute, ctx: Context): Promise<void> {
  const query = readQuery(ctx, route.query ?? noQuery)
  const body = route.body && (await readJson(ctx, route.body, route.bodyLimit ? { limit: route.bodyLimit } : {}))
  const call: Call<typeof query, unknown> = {
    ...{ ctx, query, body, id: ctx.params.id ?? '', db: deps.database.prisma },
    caller: ctx.state.caller as Caller,
    change: changeBy(ctx, deps.now()),
    seen: readIfMatch(ctx, route),
  }
  if (route.secret) ctx.set('Cache-Control', 'no-store')
  const answer = await doOnce(deps, route, call)
  if (ctx.status === 304) return
  ctx.status = route.status ?? 200
  if (route.versioned) {
    const etag = `"${fingerprint(answer)}"`
    ctx.set({ ETag: etag, 'Cache-Control': 'private, no-cache' })
    if (ctx.method === 'GET' && listOfTags(ctx.get('If-None-Match')).includes(etag)) {
      ctx.status = 304
      return
    }
  }
  ctx.body = answer
}

/** RFC 9110 13.1.1. A change that names no version could undo somebody's who was a moment earlier: it is asked for (RFC 6585 3), and `*`
 *  says that it does not matter. */
function readIfMatch(ctx: Context, route: AdminRoute): string | undefined {
  if (!route.versioned || ctx.method === 'GET' || ctx.method === 'POST') return undefined
  const tags = listOfTags(ctx.get('If-Match'))
  if (tags.includes('*')) return undefined
  const tag = tags[0]
  if (tag === undefined)
    throw new HttpError({
      status: 428,
      error: 'precondition_required',
      description: 'Send the ETag of what you read as If-Match, or If-Match: * to change it whatever it is now.',
    })
  if (tags.length > 1 || !/^"[\w-]{22}"$/.test(tag))
    throw new HttpError({
      status: 400,
      error: 'invalid_request',
      description: 'If-Match must be one ETag as it was sent, with its quotation marks, or *.',
    })
  return tag.slice(1, -1)
}

const listOfTags = (header: string): string[] => (header === '' ? [] : header.split(/\s*,\s*/))
