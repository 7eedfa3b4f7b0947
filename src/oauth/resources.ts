// Which API a request is for, and which scopes of it (RFC 8707). What is issued is a subset of what was asked, of what the client
// is registered for, and of what the API has; the person narrows it further on the consent screen.
//
// Order of events: the engine asks for a default when no `resource` was sent, then for each resource's description; scopes the
// client may not have are dropped at that moment, before anybody is asked for consent. None left: invalid_scope.
import { errors, type KoaContextWithOIDC, type ResourceServer } from 'oidc-provider'
import type { ApiRecord } from '#src/apis/apis.ts'
import { openidScopes } from '#src/apis/scope-names.ts'
import type { ClientRecord } from '#src/clients/settings.ts'
import { allowedScopes, type Snapshot } from './snapshot.ts'

type Params = Record<string, unknown> & { scope?: string | undefined; resource?: string | string[] | undefined }
const openid = new Set<string>(openidScopes)

export function createResources(snapshot: Snapshot) {
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
      const resource = chooseApi(snapshot, record, words(params.scope))
      if (resource === undefined) restrictScope(params, record, [])
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
      const allowed = api ? allowedScopes(record, resource) : []
      // One answer for an API that does not exist and one this client may not call.
      if (!api || allowed.length === 0)
        throw new errors.InvalidTarget('resource is not an API that this client is registered for')
      const params = ctx.oidc.params as Params
      if (decidesScope(ctx)) restrictScope(params, record, list(params.resource))
      return describe(api, allowed)
    },
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

function restrictScope(params: Params, record: ClientRecord, resources: readonly string[]): void {
  const asked = words(params.scope)
  if (asked.length === 0) return
  const allowed = new Set([...record.scopes, ...resources.flatMap((resource) => allowedScopes(record, resource))])
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
