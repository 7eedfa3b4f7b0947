// Which API a request is for, and which scopes of it (RFC 8707). What is issued is a subset of what was asked, of what the client
// is registered for, and of what the API has; the person narrows it further on the consent screen.
//
// Order of events: the engine asks for a default when no `resource` was sent, then for each resource's description; scopes the
// client may not have are dropped at that moment, before anybody is asked for consent. None left: invalid_scope. A request that names no
// scope is then one that asks for the defaults of the client (RFC 6749 3.3), where it has any.
import { errors, type KoaContextWithOIDC, type ResourceServer } from 'oidc-provider'
import { holdingsOf } from '#src/access/holdings.ts'
import type { ApiRecord } from '#src/apis/apis.ts'
import { openidScopes } from '#src/apis/scope-names.ts'
import type { ClientRecord } from '#src/clients/settings.ts'
import type { Database } from '#src/db/database.ts'
import { allowedScopes, defaultScopes, type Snapshot } from './snapshot.ts'

type Params = Record<string, unknown> & { scope?: string | undefined; resource?: string | string[] | undefined }
const openid = new Set<string>(openidScopes)

/** What a person's roles carry at this moment, for one API. */
export function permissionsHeld(database: Database): (userId: string, api: string) => Promise<ReadonlySet<string>> {
  return async (id, api) => (await holdingsOf(database, { kind: 'user', id }, api)).permissions
}

/** @param permissionsOf what a person's roles carry at this moment. */
export function createResources(
  snapshot: Snapshot,
  permissionsOf: (userId: string, api: string) => Promise<ReadonlySet<string>>,
) {
  const clientOf = async (id: string): Promise<ClientRecord> => {
    const record = await snapshot.client(id)
    if (!record) throw new errors.InvalidClient('client is invalid')
    return record
  }

  return {
    enabled: true,

    /** @param oneOf at the token endpoint: the resources of the grant, when the request names none. The engine refuses several. */
    async defaultResource(
      ctx: KoaContextWithOIDC,
      client: { clientId: string } | undefined,
      oneOf?: readonly string[],
    ) {
      if (oneOf) return oneOf as string[]
      if (!client) return undefined as unknown as string
      const record = await clientOf(client.clientId)
      const params = ctx.oidc.params as Params
      const resource = namesNoScope(ctx) ? apiOfDefaults(record) : chooseApi(snapshot, record, words(params.scope))
      if (resource === undefined) settleScope(ctx, record, [])
      return resource as string
    },

    // With `openid` granted, a token request without `resource` means the userinfo endpoint (docs/conformance.md).
    async useGrantedResource() {
      return false
    },

    async getResourceServerInfo(
      ctx: KoaContextWithOIDC,
      resource: string,
      client: { clientId: string },
    ): Promise<ResourceServer> {
      const record = await clientOf(client.clientId)
      const api = snapshot.apis.get(resource)
      const allowed = api ? await heldOf(ctx, api, allowedScopes(record, resource)) : []
      // One answer for an API that does not exist and one this client may not call.
      if (!api || allowed.length === 0)
        throw new errors.InvalidTarget('resource is not an API that this client is registered for')
      const params = ctx.oidc.params as Params
      if (decidesScope(ctx)) settleScope(ctx, record, list(params.resource))
      return describe(api, allowed)
    },
  }

  /** Scopes by role are for people who have such a role (docs/decisions/033). Who that is shows once somebody has signed in, which is before
   *  anything is agreed to or issued. */
  async function heldOf({ oidc }: KoaContextWithOIDC, api: ApiRecord, scopes: string[]): Promise<string[]> {
    const byRole = new Set(api.scopes.filter((scope) => scope.byRole).map((scope) => scope.name))
    const userId = oidc.account?.accountId ?? oidc.session?.accountId
    if (userId === undefined || !scopes.some((scope) => byRole.has(scope))) return scopes
    const held = await permissionsOf(userId, api.identifier)
    return scopes.filter((scope) => !byRole.has(scope) || held.has(scope))
  }
}

/** Authorization, pushed and client_credentials requests say what is wanted; later requests draw on a grant. */
function decidesScope(ctx: KoaContextWithOIDC): boolean {
  return ctx.oidc.route !== 'token' || (ctx.oidc.params as { grant_type?: string }).grant_type === 'client_credentials'
}

/** The one API that owns every requested API scope, or undefined when no API scope was requested.
 *  @throws InvalidTarget when several do, or when the scopes belong to several: the client has to name one. */
function chooseApi(snapshot: Snapshot, record: ClientRecord, asked: readonly string[]): string | undefined {
  const callable = [...new Set(record.apiScopes.map((row) => row.apiIdentifier))].flatMap(
    (id) => snapshot.apis.get(id) ?? [],
  )
  const owned = new Map(callable.map((api) => [api.identifier, new Set(api.scopes.map((scope) => scope.name))]))
  const known = asked.filter(
    (scope) => !openid.has(scope) && callable.some((api) => owned.get(api.identifier)?.has(scope)),
  )
  if (known.length === 0) return undefined
  const owners = callable.filter((api) => known.every((scope) => owned.get(api.identifier)?.has(scope)))
  const [only, ...others] = owners
  if (!only || others.length > 0)
    throw new errors.InvalidTarget(
      'the requested scopes belong to more than one API: name one with the resource parameter',
    )
  return only.identifier
}

/** The one API of which the client has scopes by default, or undefined when there is none. @throws InvalidTarget for several */
function apiOfDefaults(record: ClientRecord): string | undefined {
  const [only, ...others] = new Set(record.apiScopes.filter((row) => row.byDefault).map((row) => row.apiIdentifier))
  if (others.length > 0)
    throw new errors.InvalidTarget(
      'the default scopes of this client belong to more than one API: name one with the resource parameter',
    )
  return only
}

/** Requests that were stored, pushed ones and those that wait for somebody to sign in, had this decided when they came. The engine drops
 *  offline_access where it cannot be asked for, and a request of which nothing is left by that is none without a scope. */
function namesNoScope(ctx: KoaContextWithOIDC): boolean {
  const { oidc, query } = ctx
  if (!deciding.has(oidc.route) || oidc.entities.PushedAuthorizationRequest) return false
  const sent = oidc.route === 'authorization' ? query.scope : (oidc.body as Params | undefined)?.scope
  // RFC 6749 3.1: a parameter without a value is treated as if it were not there.
  return oidc.params?.scope === undefined && (sent === undefined || sent === '')
}

const deciding = new Set(['authorization', 'pushed_authorization_request', 'device_authorization', 'token'])

function settleScope(ctx: KoaContextWithOIDC, record: ClientRecord, resources: readonly string[]): void {
  const params = ctx.oidc.params as Params
  const ofApis = (scopesOf: typeof allowedScopes) => resources.flatMap((resource) => scopesOf(record, resource))
  if (namesNoScope(ctx)) {
    const wanted = [...new Set([...record.defaultScopes, ...ofApis(defaultScopes)])]
    if (wanted.length > 0) params.scope = wanted.join(' ')
    return
  }
  const asked = words(params.scope)
  if (asked.length === 0) return
  const allowed = new Set([...record.scopes, ...ofApis(allowedScopes)])
  const kept = asked.filter((scope) => allowed.has(scope))
  if (kept.length === 0)
    throw new errors.InvalidScope('none of the requested scopes is allowed for this client', asked.join(' '))
  params.scope = kept.join(' ')
}

function describe(api: ApiRecord, allowed: readonly string[]): ResourceServer {
  const scopes = new Set(api.scopes.map((scope) => scope.name))
  return {
    scope: allowed.filter((scope) => scopes.has(scope)).join(' '),
    audience: api.identifier,
    accessTokenTTL: api.accessTokenTtlSeconds,
    accessTokenFormat: api.accessTokenFormat as 'jwt' | 'opaque',
    jwt: { sign: { alg: 'ES256' } }, // RFC 9068 3: asymmetric, and the type at+jwt, which the engine sets
  }
}

const words = (scope: string | undefined): string[] => scope?.split(' ').filter(Boolean) ?? []
const list = (value: string | string[] | undefined): string[] =>
  value === undefined ? [] : Array.isArray(value) ? value : [value]
