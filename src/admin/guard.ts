// The two doors of `<issuer>/api`, in front of every route of the admin API (oauth/two-doors.ts), and what is asked of a person before something
// that matters, there as in the console.
import type { Middleware } from 'koa'
import { twoFactors } from '#src/factors/assurance.ts'
import type { Entered, TwoDoors } from '#src/oauth/two-doors.ts'

export type AdminGuardDeps = { doors: TwoDoors }

/** Whom a request acts for, in `ctx.state.caller`. */
export type Caller = Entered

/** Seconds: how long ago a person may have signed in at most, for what is sensitive (ASVS 7.5.1). */
export const freshSeconds = 300

/** Of a person: a recent sign-in with two factors, which an API key of theirs never is. Nobody signs in for a client. */
const recentSignIn = { acrValues: [twoFactors], maxAge: freshSeconds, spareClients: true }

/** @returns a maker of middleware that lets through callers who hold `scope`. */
export function createAdminGuard({
  doors,
}: AdminGuardDeps): (needed: { scope: string; sensitive: boolean }) => Middleware {
  return ({ scope, sensitive }) =>
    async (ctx, next) => {
      ctx.state.caller = await doors.enter(ctx, { scopes: [scope], ...(sensitive ? recentSignIn : {}) })
      await next()
    }
}
