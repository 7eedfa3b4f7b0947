// A person at a protected host, without a token in the browser: the gateway's session. The host gets a cookie of its own that names the person's
// session here, sealed and bound to that host; whether the session still stands is asked each time, so ending it ends every gateway session
// with it.
//
//   protected host, nobody   303 to <issuer>/authz/start, and a cookie on the host that remembers this browser began it
//   <issuer>/authz/start     the ordinary login (oauth/visitors.ts), then 303 back with a code, good once and for a minute
//   <host>/.sallyport/callback   the code and the cookie belong together: the host's session cookie, 303 to where it began
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Context } from 'koa'
import type { Credential, Subject } from '#src/access/decide.ts'
import type { ApiRecord } from '#src/apis/apis.ts'
import type { Database } from '#src/db/database.ts'
import { acrValues, asLevel, levelOf, reaches } from '#src/factors/assurance.ts'
import { HttpError } from '#src/http/http-error.ts'
import { impersonationIn } from '#src/impersonation/mark.ts'
import { SealBroken, type SecretKeys } from '#src/keys/secret-key.ts'
import { notInAnotherName, type Visitors } from '#src/oauth/visitors.ts'
import { readSessionByUid } from '#src/tokens/statements.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import type { OriginalRequest } from './original-request.ts'

export type GatewaySessionDeps = {
  database: Database
  secretKeys: SecretKeys
  visitors: Visitors
  issuer: string
  /** Hosts that a route names, and whose API takes sessions: nobody is sent anywhere else. */
  isProtected(host: string): boolean
  now: () => Date
}

export const callbackPath = '/.sallyport/callback'
const startPath = '/authz/start'
const codeSeconds = 60
const beginSeconds = 600

/** Of `<issuer>/authz/start`: where to come back to, and the digest of what the browser keeps meanwhile. */
type Begin = { url: string; browser: string; until: number; acrValues: readonly string[]; maxAge: number | null }
type Code = { id: string; session: string; url: string; browser: string; until: number }

export function createGatewaySessions(deps: GatewaySessionDeps) {
  const { database, secretKeys, visitors, issuer, isProtected, now } = deps
  const seconds = () => Math.floor(now().getTime() / 1000)

  return {
    /** Who is at the browser, by the cookie of this host. */
    async find(ctx: Context, request: OriginalRequest, api: ApiRecord): Promise<Subject | undefined> {
      const value = ctx.cookies.get(cookieName('session', request))
      return value === undefined ? undefined : this.findByValue(request.host, value, api)
    },

    async findByValue(host: string, value: string, api: ApiRecord): Promise<Subject | undefined> {
      const uid = open<{ session: string }>('gateway-session', host, value)?.session
      const found = uid === undefined ? undefined : await readSessionByUid(database.pool, uid)
      const session = found?.session
      if (!session?.userId || (session.expiresAt !== null && session.expiresAt <= seconds())) return undefined
      // A gateway could not tell the application behind it who is there.
      if (impersonationIn(session.acr) !== undefined) return undefined
      const level = asLevel(session.acr)
      const credential: Credential = {
        method: 'session',
        clientId: undefined,
        // Nothing narrows what a person may do who came themselves; what needs a role needs it here as well.
        scopes: new Set(api.scopes.map((scope) => scope.name)),
        acrValues: acrValues.filter((value) => reaches(level, value)),
        amr: session.amr,
        authenticatedAt: new Date((session.loginAt ?? session.createdAt) * 1000),
        expiresAt: session.expiresAt === null ? undefined : new Date(session.expiresAt * 1000),
      }
      return { kind: 'user', id: session.userId, credential }
    },

    /** @param stronger what the sign-in has to reach, when there is one that does not.
     *  @returns the address to send a browser to, which then comes back to the one it asked for; the cookie is set on the answer. */
    begin(
      ctx: Context,
      request: OriginalRequest,
      stronger?: { acrValues: readonly string[]; maxAge: number | null },
    ): string {
      const browser = randomBytes(16).toString('base64url')
      setCookie(ctx, cookieName('begin', request), browser, request, beginSeconds)
      const begin: Begin = {
        url: addressOf(request),
        browser: digest(browser),
        until: seconds() + beginSeconds,
        acrValues: stronger?.acrValues ?? [],
        maxAge: stronger?.maxAge ?? null,
      }
      const query = new URLSearchParams({ begin: secretKeys.seal('gateway-begin', issuer, JSON.stringify(begin)) })
      return `${issuer}${startPath}?${query}`
    },

    /** `<issuer>/authz/start`: the ordinary login, and back to the protected host. */
    async start(ctx: Context): Promise<void> {
      const { begin: sealed } = ctx.query
      const begin = typeof sealed === 'string' ? open<Begin>('gateway-begin', issuer, sealed) : undefined
      if (!begin || begin.until <= seconds() || !isProtected(new URL(begin.url).host)) throw stale()
      const { url, browser, acrValues: asked, maxAge } = begin
      const suffices = async (amr: readonly string[]) => {
        const level = levelOf(amr)
        return asked.length === 0 || acrValues.some((value) => asked.includes(value) && reaches(level, value))
      }
      const visitor = await visitors.enter(ctx, {
        acrValues: asked,
        sensitive:
          asked.length > 0 || maxAge !== null
            ? { withinSeconds: maxAge ?? Number.MAX_SAFE_INTEGER, suffices: ({ amr }) => suffices(amr) }
            : undefined,
      })
      if (!visitor) return
      if (visitor.acting) throw notInAnotherName()
      const code: Code = {
        ...{ url, browser, session: visitor.sessionUid, until: seconds() + codeSeconds },
        id: randomBytes(16).toString('base64url'),
      }
      const { origin, host } = new URL(url)
      const query = new URLSearchParams({ code: secretKeys.seal('gateway-code', host, JSON.stringify(code)) })
      leave(ctx, `${origin}${callbackPath}?${query}`)
    },

    /** `<host>/.sallyport/callback`. @returns where the person wanted to go; the host's cookie is set on the answer. */
    callback(ctx: Context, request: OriginalRequest): string | undefined {
      const sealed = new URLSearchParams(request.query).get('code') ?? ''
      const code = open<Code>('gateway-code', request.host, sealed)
      const began = ctx.cookies.get(cookieName('begin', request)) ?? ''
      if (!code || code.until <= seconds() || !isSame(digest(began), code.browser)) return undefined
      // Once: of two requests with one code the commit lets one through.
      const id = `\\x${createHash('sha256').update(`gateway ${code.id}`).digest('hex')}`
      currentUnit().rows.replay.set(id, { id, expiresAt: code.until, payload: {} })
      const value = secretKeys.seal('gateway-session', request.host, JSON.stringify({ session: code.session }))
      setCookie(ctx, cookieName('session', request), value, request)
      return code.url
    },
  }

  function open<T>(purpose: string, context: string, sealed: string): T | undefined {
    try {
      return JSON.parse(secretKeys.unseal(purpose, context, sealed).toString()) as T
    } catch (error) {
      if (error instanceof SealBroken) return undefined
      throw error
    }
  }
}

/** A long query is left behind: the address has to travel in others. */
function addressOf({ scheme, host, path, query }: OriginalRequest): string {
  const whole = `${path}${query === '' ? '' : `?${query}`}`
  const fits = [whole, path, '/'].find((candidate) => candidate.length <= 1000) ?? '/'
  return `${scheme}://${host}${fits}`
}

export type GatewaySessions = ReturnType<typeof createGatewaySessions>

/** On plain http (development) browsers refuse the prefix. */
function cookieName(what: 'session' | 'begin', { scheme }: OriginalRequest): string {
  return `${scheme === 'https' ? '__Host-' : ''}sallyport_gate_${what}`
}

/** Written here and not by Koa, which asks the connection to this server whether it is secure: the cookie is for another host.
 *  @param maxAge seconds; without it, for as long as the browser runs. */
function setCookie(ctx: Context, name: string, value: string, { scheme }: OriginalRequest, maxAge?: number): void {
  const attributes = ['Path=/', 'HttpOnly', 'SameSite=Lax', ...(scheme === 'https' ? ['Secure'] : [])]
  if (maxAge !== undefined) attributes.push(`Max-Age=${maxAge}`)
  ctx.append('Set-Cookie', [`${name}=${value}`, ...attributes].join('; '))
}

function leave(ctx: Context, address: string): void {
  ctx.set({ Location: address, 'Cache-Control': 'no-store' })
  ctx.body = null
  ctx.status = 303
}

const digest = (value: string): string => createHash('sha256').update(value).digest('base64url')
const isSame = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))

function stale(): HttpError {
  return new HttpError({
    status: 400,
    error: 'invalid_request',
    description: 'This way to sign in is over: open the page you wanted again.',
    screen: 'expired',
  })
}
