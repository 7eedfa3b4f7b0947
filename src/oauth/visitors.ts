// How a person reaches our own pages (docs/decisions/026): whoever comes without a session, or with one whose sign-in is too long ago
// for what they want to do, is sent through the ordinary login and comes back to the page they asked for.
//
// Order of events: page -> enter -> nobody: 303 to /oauth/authorize as our own client -> login -> the session begins, or is renewed
// -> /account/callback -> arrive -> 303 to the page -> enter finds the session.
//
// The code that comes back is for nobody: its verifier is forgotten before the request leaves, and it could not be redeemed with it.
// What the pages believe is the browser session itself, read as the engine reads it, never anything in an address.
import { randomBytes } from 'node:crypto'
import type { Context } from 'koa'
import type { KoaContextWithOIDC } from 'oidc-provider'
import { ownCallbackPath, ownClientId } from '#src/clients/own-client.ts'
import { HttpError } from '#src/http/http-error.ts'
import { impersonationIn } from '#src/impersonation/mark.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { type Acting, currentUnit } from '#src/tokens/unit-of-work.ts'
import type { ProviderSource } from './provider.ts'

export type Visitor = {
  userId: string
  /** Names the session for as long as it lasts, whatever its cookie. */
  sessionUid: string
  loginAt: Date
  amr: readonly string[]
  /** An administrator who acts as them (src/impersonation). */
  acting?: Acting | undefined
}

export type Visitors = Readonly<{
  /** Who is at the browser. Nobody: a session that is over, or whose person was switched off. */
  who(ctx: Context): Promise<Visitor | undefined>
  /** The same, for a page: whoever is not there (or signed in too long ago) is sent to sign in, and the answer is given.
   *  @param options.back where to come back to; only a path of our own pages is taken. Default: the address that was asked for.
   *  @param options.sensitive how long ago the sign-in may be, and what else is asked of it. Where one is asked for, it is for everything the
   *  person has: a browser that was remembered counts for nothing. */
  enter(
    ctx: Context,
    options?: {
      back?: string
      /** What to ask the sign-in for (RFC 9470), if there has to be one. */
      acrValues?: readonly string[]
      sensitive?: { withinSeconds: number; suffices: (visitor: Visitor) => Promise<boolean> } | undefined
    },
  ): Promise<Visitor | undefined>
  /** Sends an administrator to the sign-in in which they become somebody else: an impersonation that they asked for. */
  impersonate(ctx: Context, id: string): void
  /** At the callback. @returns the page to go on to; `refused` when the person did not sign in. */
  arrive(ctx: Context): { to: string } | 'refused'
}>

/** Before the id, in the `login_hint` of our own client. */
export const impersonationHint = 'impersonation:'

/** Of whatever is the person's alone. */
export function notInAnotherName(): HttpError {
  return new HttpError({
    status: 403,
    error: 'access_denied',
    description: 'You are acting as somebody else: you may look, and change nothing of theirs.',
    screen: 'acting',
  })
}

const purpose = 'return-path'

/** @param deps.homes the paths under which our own pages live, without a slash at their end. The first is where one goes when
 *  nothing better is known. */
export function createVisitors(deps: {
  providers: ProviderSource
  secretKeys: SecretKeys
  issuerUrl: string
  homes: readonly [string, ...string[]]
  now: () => Date
}): Visitors {
  const { providers, secretKeys, issuerUrl, homes, now } = deps

  async function who(ctx: Context): Promise<Visitor | undefined> {
    const { Session } = providers.current().provider
    const { accountId, uid, loginTs, amr, acr } = await Session.get(ctx as unknown as KoaContextWithOIDC)
    if (!accountId || !loginTs) return undefined
    const visitor = { userId: accountId, sessionUid: uid, loginAt: new Date(loginTs * 1000), amr: amr ?? [] }
    if (impersonationIn(acr) === undefined) return visitor
    const { acting } = currentUnit()
    return acting && { ...visitor, acting }
  }

  /** A path of our own, written the one way a browser would write it: `//host`, `/account/../…` and backslashes read differently. */
  function isHome(path: string): boolean {
    // What the way back to a gateway carries is sealed, and longer than any address of a page.
    if (path.length > (path.startsWith('/authz/start?') ? 3_000 : 512)) return false
    const url = URL.parse(path, issuerUrl)
    if (!url || url.origin !== issuerUrl || url.pathname + url.search !== path) return false
    return (
      url.pathname !== ownCallbackPath &&
      homes.some((home) => url.pathname === home || url.pathname.startsWith(`${home}/`))
    )
  }

  function signIn(
    ctx: Context,
    asked: string,
    options: { again: boolean; acrValues: readonly string[]; loginHint?: string },
  ): void {
    const back = isHome(asked) ? asked : homes[0]
    const query = new URLSearchParams({
      client_id: ownClientId,
      redirect_uri: issuerUrl + ownCallbackPath,
      response_type: 'code',
      scope: 'openid',
      state: `${Buffer.from(back).toString('base64url')}.${secretKeys.mac(purpose, back).toString('base64url')}`,
      code_challenge: randomBytes(32).toString('base64url'), // of no verifier that anybody knows
      code_challenge_method: 'S256',
      // Another factor is asked for by itself; everything again only where the sign-in is too old or nothing better is known.
      ...(options.acrValues.length > 0 ? { acr_values: options.acrValues.join(' ') } : {}),
      ...(options.again ? { prompt: 'login' } : {}),
      ...(options.loginHint === undefined ? {} : { login_hint: options.loginHint }),
    })
    ctx.set('Location', `/oauth/authorize?${query}`)
    ctx.set('Cache-Control', 'no-store')
    ctx.body = null
    ctx.status = 303
  }

  return {
    who,

    async enter(ctx, options = {}) {
      const { back = ctx.url, sensitive, acrValues = [] } = options
      const visitor = await who(ctx)
      // Somebody else cannot prove what the person would have to: there is nowhere to send them.
      if (visitor?.acting && sensitive) throw notInAnotherName()
      if (visitor && !sensitive) return visitor
      if (visitor && sensitive) {
        const age = now().getTime() - visitor.loginAt.getTime()
        if (age <= sensitive.withinSeconds * 1000 && (await sensitive.suffices(visitor))) return visitor
      }
      signIn(ctx, back, { again: sensitive !== undefined, acrValues })
      return undefined
    },

    impersonate(ctx, id) {
      signIn(ctx, homes[0], { again: true, acrValues: [], loginHint: impersonationHint + id })
    },

    arrive(ctx) {
      const { state, error } = ctx.query
      if (error !== undefined) return 'refused'
      const [encoded = '', mac = ''] = typeof state === 'string' ? state.split('.') : []
      const path = Buffer.from(encoded, 'base64url').toString()
      return { to: secretKeys.isMac(mac, purpose, path) && isHome(path) ? path : homes[0] }
    },
  }
}
