// What an operator enters by: the console, the admin API, and the description of the API. Each has a file of its own; they stand together here
// because they are loaded together, with the first request for one of them. What strangers may call (setup.ts, leaked-keys.ts) is not here.
import type Router from '@koa/router'
import { createApiDocsRouter } from './api/docs.ts'
import { adminRoutes, createAdminApiRouter } from './api/router.ts'
import { createConsoleRouter } from './console/router.ts'

type Deps = Parameters<typeof createConsoleRouter>[0] & Parameters<typeof createAdminApiRouter>[0]

export function createAdminDoors(deps: Deps): Router[] {
  const { config, renderer } = deps
  return [
    createConsoleRouter(deps),
    createAdminApiRouter(deps),
    createApiDocsRouter({ routes: adminRoutes(deps), issuerUrl: config.issuerUrl, renderer }),
  ]
}
