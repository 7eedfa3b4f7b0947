// The two doors of `<issuer>/api`, in front of every route of the admin API (oauth/two-doors.ts).
import type { Middleware } from 'koa'
import type { Entered, TwoDoors } from '#src/oauth/two-doors.ts'

export type AdminGuardDeps = { doors: TwoDoors }

/** Whom a request acts for, in `ctx.state.caller`. */
export type Caller = Entered

/** @returns a maker of middleware that lets through callers who hold `scope`. */
export function createAdminGuard({ doors }: AdminGuardDeps): (scope: string) => Middleware {
  return (scope) => async (ctx, next) => {
    ctx.state.caller = await doors.enter(ctx, { scopes: [scope] })
    await next()
  }
}
