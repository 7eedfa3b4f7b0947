// One route of the admin API: what it is called, what it needs, what it does.
import type { Context } from 'koa'
import type { AdminGuardDeps, Caller } from '#src/admin/guard.ts'
import type { Change } from '#src/audit/change.ts'
import type { Config } from '#src/config.ts'
import { requestOf } from '#src/http/request-context.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'

export type AdminRoute = {
  method: 'get' | 'post' | 'delete'
  path: string
  scope: string
  handle(ctx: Context): Promise<void>
}

export type AdminApiDeps = AdminGuardDeps & { config: Pick<Config, 'signUp'>; secretKeys: SecretKeys }

/** Who changes something, for the room's audit row. Behind the guard. */
export function changeBy(ctx: Context, now: Date): Change {
  const { actor } = ctx.state.caller as Caller
  const { requestId } = requestOf(ctx)
  return { now, actor, origin: { address: ctx.ip, userAgent: ctx.get('User-Agent') || undefined, requestId } }
}
