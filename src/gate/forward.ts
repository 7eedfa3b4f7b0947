// Decisions for gateways: nginx `auth_request`, Caddy and Traefik `forward_auth`, Envoy `ext_authz` over HTTP. The gateway asks about the request
// in front of it and lets it through on 200, with the identity headers of the answer in place of whatever came with those names.
//
//   original request -> callback of a sign-in? -> route -> anonymous? -> credential, or the host's session -> both doors
//                    -> 200 with who it is | 303 to sign in, for a browser | 400, 401, 403, 404 as everywhere
//
// nginx passes on 200, 401 and 403 only: there the true status stands in X-Sallyport-Status, and where to send a browser in
// X-Sallyport-Location (deploy/gateways).
import type { Context } from 'koa'
import {
  type DecideDeps,
  decideRequirements,
  effectiveScopes,
  type Requirements,
  type Subject,
  shownBy,
} from '#src/access/decide.ts'
import { stopped } from '#src/access/gates.ts'
import { holdingsOf } from '#src/access/holdings.ts'
import type { ApiRecord } from '#src/apis/apis.ts'
import type { RouteRecord } from '#src/apis/routes.ts'
import { accessDenied, tooMany, unidentified } from '#src/http/challenges.ts'
import { readHeaders, refuseCredentialsIn, type Credential as Shown } from '#src/http/credentials.ts'
import { HttpError } from '#src/http/http-error.ts'
import type { RateLimits } from '#src/http/rate-limits.ts'
import { requestOf } from '#src/http/request-context.ts'
import { type IdentifyDeps, identify } from '#src/oauth/identify.ts'
import type { Receipts } from '#src/oauth/receipts.ts'
import { credentialKey, notIdentified, possessionOf, refusalOf } from '#src/oauth/two-doors.ts'
import { callbackPath, type GatewaySessions } from './gateway-session.ts'
import { type Dialect, type OriginalRequest, readOriginalRequest } from './original-request.ts'
import { type Matched, matchRoute } from './route-match.ts'

export type ForwardDeps = IdentifyDeps &
  DecideDeps & {
    routes: () => readonly RouteRecord[]
    apiOf(identifier: string): ApiRecord | undefined
    sessions: GatewaySessions
    rateLimits: RateLimits
    receipts: Receipts
    issuer: string
  }

/** Every one of them on every answer: a gateway that copies them overwrites what the client sent, also with nothing. */
export const identityHeaders = [
  'X-Sallyport-User',
  'X-Sallyport-Client',
  'X-Sallyport-Scopes',
  'X-Sallyport-Roles',
  'X-Sallyport-Method',
  'X-Sallyport-Acr',
] as const

type Permit = { subject?: Subject; roles: readonly string[]; scopes: ReadonlySet<string> }

export async function answerGateway(deps: ForwardDeps, ctx: Context, dialect: Dialect): Promise<void> {
  ctx.set('Cache-Control', 'no-store')
  for (const name of identityHeaders) ctx.set(name, '')
  try {
    const outcome = await decide(deps, ctx, dialect)
    if ('location' in outcome) redirect(ctx, dialect, outcome.location)
    else permit(ctx, outcome)
  } catch (error) {
    if (!(error instanceof HttpError) || error.status >= 500) throw error
    refuse(ctx, dialect, error)
  }
}

async function decide(deps: ForwardDeps, ctx: Context, dialect: Dialect): Promise<Permit | { location: string }> {
  const { sessions, receipts, rateLimits } = deps
  const request = readOriginalRequest(ctx, dialect)
  if (request?.path === callbackPath && request.method === 'GET') {
    const location = sessions.callback(ctx, request)
    if (location !== undefined) return { location }
    receipts.write(ctx, stopped('malformed'), {})
    throw new HttpError({ status: 400, error: 'invalid_request', description: 'This sign-in is over: begin again.' })
  }
  const shown = readHeaders(ctx)
  const matched = request && matchRoute(deps.routes(), request)
  const api = matched && deps.apiOf(matched.route.apiIdentifier)
  if (api && matched?.route.anonymous) return { roles: [], scopes: new Set() }
  if (request) refuseCredentialsIn(request.query)
  if (!request || !matched || !api) return refuseUnrouted(deps, ctx, shown, request)
  const { route } = matched

  const about = { api: api.identifier, action: `${route.method} ${route.path}`, object: objectOf(matched) }
  const who = credentialKey(shown)
  const wait = shown.kind === 'none' ? 0 : rateLimits.waitOf(ctx, who)
  if (wait > 0) throw tooMany(wait)
  const found = await whoIsThere(deps, ctx, shown, request, api)
  if (!found.subject) {
    if (shown.kind !== 'none') rateLimits.failed(ctx)
    if (shown.kind === 'none' && api.accept.includes('session') && isNavigation(ctx, request))
      return { location: sessions.begin(ctx, request) }
    receipts.write(ctx, found.refused, { ...about, clientId: found.owner })
    if (shown.kind === 'none') throw unidentified(api.identifier, undefined)
    throw notIdentified(deps, api.identifier, shown, found.refused.reason)
  }
  const { subject, owner } = found
  if (shown.kind !== 'none') rateLimits.succeeded(ctx, who)
  const pause = subject.credential?.key ? rateLimits.spendKey(subject.credential.key) : 0
  if (pause > 0) throw tooMany(pause, 'This API key may not be used more often in a minute. Come back later.')
  const needed = requirementsOf(matched)
  // The headers for the application name one person: they could not tell who is behind a token of an impersonation.
  const decision =
    subject.credential?.impersonatorId === undefined
      ? await decideRequirements(deps, subject, { ...needed, api })
      : stopped('impersonated')
  receipts.write(ctx, decision, { ...about, subject, clientId: owner })
  if (decision.allowed) {
    const holdings = await holdingsOf(deps.database, subject, api.identifier)
    return { subject, roles: holdings.roles, scopes: effectiveScopes(api, shownBy(subject), holdings) }
  }
  if (decision.gate === 'step_up' && subject.credential?.method === 'session' && isNavigation(ctx, request))
    return { location: sessions.begin(ctx, request, { acrValues: route.acrValues, maxAge: route.maxAge }) }
  if (decision.gate === 'relation' && api.hideExistence)
    throw new HttpError({
      status: 404,
      error: 'not_found',
      description: 'There is nothing at this address.',
      // As for the 403 that it stands for. It tells nothing: what is not there has no owner either, and gets the same.
      headers: { 'X-Decision-Id': requestOf(ctx).requestId },
    })
  throw refusalOf(api.identifier, decision, needed, shown)
}

/** What no route names is refused: 401 to whoever shows nothing that counts anywhere, else 403. */
async function refuseUnrouted(
  deps: ForwardDeps,
  ctx: Context,
  shown: Shown,
  request: OriginalRequest | undefined,
): Promise<never> {
  const { receipts, issuer } = deps
  const found = await identify(deps, shown, undefined, request && possessionFor(ctx, request))
  if (!found.subject) {
    receipts.write(ctx, found.refused, { clientId: found.owner })
    if (shown.kind === 'none') throw unidentified(issuer, undefined)
    throw notIdentified(deps, issuer, shown, found.refused.reason)
  }
  receipts.write(ctx, stopped('no_route'), { subject: found.subject, clientId: found.owner })
  throw accessDenied()
}

/** A cookie counts only where nothing else is shown. */
async function whoIsThere(deps: ForwardDeps, ctx: Context, shown: Shown, request: OriginalRequest, api: ApiRecord) {
  if (shown.kind === 'none' && api.accept.includes('session')) {
    const subject = await deps.sessions.find(ctx, request, api)
    if (subject) return { subject, refused: undefined, owner: undefined }
  }
  return identify(deps, shown, api, possessionFor(ctx, request))
}

/** What a proof is made for is the request in front of the gateway, not the gateway's own (RFC 9449 4.3). */
function possessionFor(ctx: Context, { method, scheme, host, path }: OriginalRequest) {
  return possessionOf(ctx, { method, url: `${scheme}://${host}${path}` })
}

function requirementsOf({ route, parameters }: Matched): Omit<Requirements, 'api'> {
  const { scopes, roles, acrValues, maxAge } = route
  const object = objectOf({ route, parameters })
  const relation = route.relation?.split('@')[0]
  return {
    ...{ scopes, roles, acrValues },
    relation: relation !== undefined && object ? { relation, object } : undefined,
    maxAge: maxAge ?? undefined,
  }
}

/** `owner@order:{id}`: the order that the path names. */
function objectOf({ route, parameters }: Matched): { type: string; id: string } | undefined {
  const [, type, name] = /@([^:]+):\{(.+)\}$/.exec(route.relation ?? '') ?? []
  if (type === undefined || name === undefined) return undefined
  return { type, id: parameters[name] ?? '' }
}

/** A person who opens a page, not a script that fetches something: only they can be sent somewhere to sign in. */
function isNavigation(ctx: Context, { method }: OriginalRequest): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  const mode = ctx.get('Sec-Fetch-Mode')
  if (mode !== '' && mode !== 'navigate') return false
  return ctx.get('X-Requested-With') === '' && /(?:^|,)\s*text\/html\b/.test(ctx.get('Accept'))
}

function permit(ctx: Context, { subject, roles, scopes }: Permit): void {
  const { credential } = subject ?? {}
  const values: Record<(typeof identityHeaders)[number], string> = {
    'X-Sallyport-User': subject?.kind === 'user' ? subject.id : '',
    'X-Sallyport-Client': credential?.clientId ?? (subject?.kind === 'client' ? subject.id : ''),
    'X-Sallyport-Scopes': [...scopes].sort().join(' '),
    'X-Sallyport-Roles': [...roles].sort().join(' '),
    'X-Sallyport-Method': credential?.method ?? '',
    'X-Sallyport-Acr': credential?.acrValues.at(-1) ?? '',
  }
  ctx.set(values)
  ctx.status = 200
  ctx.body = ''
}

function redirect(ctx: Context, dialect: Dialect, location: string): void {
  ctx.body = ''
  if (dialect === 'nginx') {
    ctx.status = 401
    ctx.set({ 'X-Sallyport-Status': '303', 'X-Sallyport-Location': location })
  } else {
    ctx.status = 303
    ctx.set('Location', location)
  }
}

function refuse(ctx: Context, dialect: Dialect, error: HttpError): void {
  const { status, error: code, description, headers } = error
  ctx.set(headers)
  if (dialect === 'nginx') ctx.set('X-Sallyport-Status', String(status))
  ctx.status = dialect === 'nginx' && status !== 401 ? 403 : status
  ctx.body = { error: code, error_description: description }
}
