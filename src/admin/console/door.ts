// Who may see the console, in this order: a browser session (or the ordinary login, and back); a scope of our own API, which the roles of
// the person carry at this moment; a sign-in that proved two factors, is not too old, and a console that did not lie open unused. Whoever has
// no business here is told so before they are asked for another factor.
//
// When a console was last used stands in a cookie of its own, sealed to the session. Where it is missing the sign-in counts, so losing it
// only ever shortens the time, and the table of sessions is not written for every page.
import type { Context } from 'koa'
import { levelOf, reaches, twoFactors } from '#src/factors/assurance.ts'
import { findStanding, reachableLevel, wasSpared } from '#src/factors/second-factors.ts'
import { cookieAttributes, cookieNames } from '#src/http/cookies.ts'
import { HttpError } from '#src/http/http-error.ts'
import { template } from '#src/http/render.ts'
import type { Entered } from '#src/oauth/two-doors.ts'
import { notInAnotherName, type Visitor, type Visitors } from '#src/oauth/visitors.ts'
import { type ConsoleDeps, holds } from './page.ts'

export type Admitted = { visitor: Visitor; caller: Entered; held: ReadonlySet<string> }

export type ConsoleDoor = Readonly<{
  /** @returns undefined when the person was sent to sign in, and the answer is given. @throws HttpError 403 */
  enter(ctx: Context, scope: string): Promise<Admitted | undefined>
  /** Whether the sign-in is good enough: two factors, not too old, and used in between.
   *  @param freshSeconds how long ago it may be at most, for what is sensitive. */
  suffices(ctx: Context, visitor: Visitor, freshSeconds?: number): Promise<boolean>
  /** Sends the person to prove everything again. Where they have nothing but a password, and none of their roles asks for more, they are told
   *  to add a factor first: a password alone must not be enough to add one on the way (docs/decisions/024). */
  signInAgain(ctx: Context, visitor: Visitor, back: string): Promise<void>
  /** The console is in use. */
  touch(ctx: Context, visitor: Visitor): void
}>

const factorPage = template<Record<never, never>>('admin/console/factor-needed')

const purpose = 'console-last-used'

export function createConsoleDoor({
  config,
  database,
  renderer,
  secretKeys,
  doors,
  visitors,
  now,
}: ConsoleDeps & { visitors: Visitors }): ConsoleDoor {
  const cookie = cookieNames(config).console

  /** Epoch seconds; 0: unknown. */
  function lastUsed(ctx: Context, { sessionUid }: Visitor): number {
    const [at = '', mac = ''] = (ctx.cookies.get(cookie, { signed: false }) ?? '').split('.')
    if (!/^\d{1,12}$/.test(at)) return 0
    return secretKeys.isMac(mac, purpose, `${sessionUid} ${at}`) ? Number(at) : 0
  }

  const epoch = (): number => Math.floor(now().getTime() / 1000)

  return {
    async enter(ctx, scope) {
      const visitor = await visitors.enter(ctx, { back: ctx.method === 'POST' ? ctx.path : ctx.url })
      if (!visitor) return undefined
      if (visitor.acting) throw notInAnotherName()
      const caller = await doors.enterPerson(ctx, visitor, { scopes: scope === 'any' ? [] : [scope] })
      const held = await doors.scopesOf(caller.subject)
      if (!holds(held, scope))
        throw new HttpError({
          status: 403,
          error: 'access_denied',
          description: 'The console is for administrators: none of your roles permits anything here.',
          screen: 'forbidden',
        })
      return { visitor, caller, held }
    },

    async suffices(ctx, visitor, freshSeconds = config.consoleSessionTtlSeconds) {
      const signedIn = Math.floor(visitor.loginAt.getTime() / 1000)
      if (epoch() - signedIn > Math.min(freshSeconds, config.consoleSessionTtlSeconds)) return false
      if (epoch() - Math.max(signedIn, lastUsed(ctx, visitor)) > config.consoleIdleTtlSeconds) return false
      return reaches(levelOf(visitor.amr), twoFactors) && !(await wasSpared(database.prisma, visitor))
    },

    async signInAgain(ctx, visitor, back) {
      const standing = await findStanding(database.prisma, visitor.userId)
      if (standing && !standing.roleRequires && !reaches(reachableLevel(standing), twoFactors))
        return renderer.renderPage(ctx, factorPage, {}, { status: 403, languageSwitch: true })
      await visitors.enter(ctx, {
        back,
        acrValues: [twoFactors],
        sensitive: { withinSeconds: 0, suffices: async () => false },
      })
    },

    touch(ctx, { sessionUid }) {
      const at = String(epoch())
      ctx.cookies.set(
        cookie,
        `${at}.${secretKeys.mac(purpose, `${sessionUid} ${at}`).toString('base64url')}`,
        cookieAttributes(config),
      )
    },
  }
}
