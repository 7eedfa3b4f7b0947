// The limits on how often a client calls (docs/decisions/031), hung where the engine gives a hand:
//
//   a client is named        -> Client.find. Is its address out of failures? Then nothing is compared, unless it is known there. A public
//                               client shows nothing but its name, so it has a budget for each address, and spends of it here
//   its secret was right     -> compareClientSecret. Its own budget, which nobody else can spend
//   the engine has answered  -> whoever signed an assertion spends now, before the commit. Whoever never showed who they are, and failed,
//                               was one failure more of the address
import type { Context, Middleware } from 'koa'
import Provider, { type Client, errors } from 'oidc-provider'
import type { LimitName, RateLimits, RefusedBy } from '#src/http/rate-limits.ts'

export type ClientLimits = Readonly<{
  middleware: Middleware
  /** Told of every client that the engine is about to look up. @throws RateLimited */
  named(clientId: string): void
  /** And of what it found. @throws RateLimited */
  found(client: Client | undefined): void
  /** The secret of the client of this request was right. @throws RateLimited */
  authenticated(clientId: string): void
  /** A key that was found good is used in this request. @throws RateLimited */
  keyUsed(key: { id: string; requestsPerMinute: number | null }): void
}>

/** RFC 6585 4 in the form of RFC 6749 5.2; `temporarily_unavailable` is the code of 4.1.2.1 for "not now". */
const refusal = { error: 'temporarily_unavailable', error_description: 'too many requests; come back later' }

export class RateLimited extends errors.OIDCProviderError {
  constructor() {
    super(429, refusal.error)
    this.error_description = refusal.error_description
  }
}

/** As the engine matches its routes. */
const paths = /^\/oauth\/(?:token|introspect|revoke|par)\/?$/i
const limitOfRoute = new Map<string | undefined, LimitName>([
  ['token', 'token'],
  ['introspection', 'introspection'],
  ['revocation', 'revocation'],
  ['pushed_authorization_request', 'par'],
])

/** What a request has shown so far. `isPublic`: there is nothing to show. */
type Asking = { clientId: string | undefined; isPublic: boolean | undefined; isAuthenticated: boolean }

export function createClientLimits(limits: RateLimits): ClientLimits {
  return {
    async middleware(ctx, next) {
      if (ctx.method !== 'POST' || !paths.test(ctx.path)) return next()
      const asking: Asking = { clientId: undefined, isPublic: undefined, isAuthenticated: false }
      ctx.state.asking = asking
      await next()
      if (asking.isAuthenticated) return
      if (ctx.status < 400) settle(ctx, asking)
      else if (ctx.status < 500 && ctx.status !== 429) fail(ctx, asking)
    },

    // The engine looks clients up again later, those of tokens too: the first one is who the request says it is.
    named(clientId) {
      const { ctx, asking } = current()
      if (!ctx || !asking || asking.clientId !== undefined) return
      asking.clientId = clientId
      const wait = limits.waitOf(ctx, clientId)
      if (wait > 0) throw refused(ctx, 'unidentified', wait)
    },

    found(client) {
      const { ctx, asking, limit } = current()
      if (!ctx || !asking || !limit || asking.isPublic !== undefined) return
      asking.isPublic = client?.clientAuthMethod === 'none'
      if (!asking.isPublic || !client) return
      const wait = limits.spend(limit, client.clientId, ctx)
      if (wait > 0) throw refused(ctx, limit, wait, client.clientId)
    },

    authenticated(clientId) {
      const { ctx, asking, limit } = current()
      if (!ctx || !asking || !limit) return
      asking.isAuthenticated = true
      limits.succeeded(ctx, clientId)
      const wait = limits.spend(limit, clientId)
      if (wait > 0) throw refused(ctx, limit, wait, clientId)
    },

    keyUsed(key) {
      const { ctx, asking } = current()
      const wait = limits.spendKey(key)
      if (ctx && wait > 0) throw refused(ctx, 'api_key', wait, asking?.clientId)
    },
  }

  function current() {
    const { ctx } = Provider
    return { ctx, asking: ctx?.state.asking as Asking | undefined, limit: limitOfRoute.get(ctx?.oidc?.route) }
  }

  function settle(ctx: Context, { clientId, isPublic }: Asking): void {
    if (clientId === undefined) return
    limits.succeeded(ctx, clientId)
    const limit = limitOfRoute.get((ctx as Context & { oidc?: { route?: string } }).oidc?.route)
    const wait = isPublic || !limit ? 0 : limits.spend(limit, clientId)
    if (limit && wait > 0) answer(ctx, limit, wait, clientId)
  }

  function fail(ctx: Context, { clientId }: Asking): void {
    // Whoever named nobody was not asked yet.
    const wait = clientId === undefined ? limits.waitOf(ctx) : 0
    limits.failed(ctx)
    if (wait > 0) answer(ctx, 'unidentified', wait)
  }

  function answer(ctx: Context, ...why: [limit: LimitName, wait: number, clientId?: string]): void {
    refused(ctx, ...why)
    ctx.remove('WWW-Authenticate')
    ctx.status = 429
    ctx.body = refusal
  }

  function refused(ctx: Context, limit: RefusedBy, wait: number, clientId?: string): RateLimited {
    limits.refused(ctx, limit, clientId)
    ctx.set('Retry-After', String(wait))
    ctx.set('Cache-Control', 'no-store')
    return new RateLimited()
  }
}
