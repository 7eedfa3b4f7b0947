// One route of the admin API: what it is called, what it needs, what it does.
import type { Context } from 'koa'
import type { AdminGuardDeps } from '#src/admin/guard.ts'

export type AdminRoute = {
  method: 'get'
  path: string
  scope: string
  handle(ctx: Context): Promise<void>
}

export type AdminApiDeps = AdminGuardDeps
