// A person's API key becomes a short access token (RFC 8693): for an API that verifies tokens by itself, or a program that should not carry
// the key around. Rules:
//   - the client shows who it is, was registered for this grant by name, and for the API; profiles high and fapi2 are refused, for the engine
//     binds no custom grant to a key of theirs, and a DPoP proof is refused rather than ignored
//   - 2.1: subject_token is the key, subject_token_type ours; nobody acts for somebody else here, so actor_token is refused
//   - one API: `resource` or `audience`, or the only one the key has. Scopes: of the key now, of the client, and of what was asked, all three
//   - five minutes at most, never longer than the key, no refresh token. It ends with the key, by its grant (access/api-keys/grants.ts)
//   - keys of clients are refused: such a client has client_credentials

import type Provider from 'oidc-provider'
import { errors, type KoaContextWithOIDC } from 'oidc-provider'
import { holdApiKeyGrant } from '#src/access/api-keys/grants.ts'
import { findApiKey } from '#src/access/api-keys/reads.ts'
import { tokenExchange } from '#src/clients/types.ts'
import type { Database } from '#src/db/database.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { createFindAccount } from '../claims.ts'
import type { ClientLimits } from '../client-limits.ts'
import { createResources, permissionsHeld } from '../resources.ts'
import type { Snapshot } from '../snapshot.ts'

export const apiKeyTokenType = 'urn:sallyport:params:oauth:token-type:api_key'
const accessTokenType = 'urn:ietf:params:oauth:token-type:access_token'
const mostSeconds = 300

type Params = Partial<
  Record<
    'subject_token' | 'subject_token_type' | 'requested_token_type' | 'actor_token' | 'resource' | 'audience' | 'scope',
    string
  >
>
const parameters = [
  ...['subject_token', 'subject_token_type', 'requested_token_type', 'actor_token', 'actor_token_type'],
  ...['resource', 'audience', 'scope'],
]

type Deps = { database: Database; snapshot: Snapshot; limits: ClientLimits; now: () => Date }

export function registerTokenExchange(provider: Provider, deps: Deps): void {
  provider.registerGrantType(tokenExchange, (ctx) => exchange(provider, deps, ctx), parameters)
}

async function exchange(
  provider: Provider,
  { database, snapshot, limits, now }: Deps,
  ctx: KoaContextWithOIDC,
): Promise<void> {
  const { client } = ctx.oidc
  if (!client) throw new errors.InvalidClient('client is missing')
  const params = ctx.oidc.params as Params
  const record = await snapshot.client(client.clientId)
  if (record?.profile !== 'default')
    throw new errors.UnauthorizedClient('the profile of this client has bound tokens only')
  checkParams(ctx, params)

  const key = await findApiKey(database, params.subject_token ?? '', now())
  if (!key?.userId) throw invalidSubject()
  limits.keyUsed(key)
  const api = chooseApi(params, Object.keys(key.apis))
  const server = await createResources(snapshot, permissionsHeld(database)).getResourceServerInfo(ctx, api, client)
  const scopes = chooseScopes(params, key.apis[api] ?? [], server.scope.split(' '))

  const held = await holdApiKeyGrant(database, { keyId: key.id, clientId: client.clientId, api, scopes }, now())
  if (!held) throw invalidSubject()
  const unit = currentUnit()
  // What the key was made under comes first: the commit refuses what has been revoked since (docs/decisions/018).
  unit.noteGeneration('user', key.userId, held.ownerGeneration)
  const grant = await provider.Grant.find(held.id)
  const account = await createFindAccount(database, async () => undefined)(ctx, key.userId)
  if (!grant || !account) throw invalidSubject()
  ctx.oidc.entity('Grant', grant)
  ctx.oidc.entity('Account', account)

  const rest = key.expiresAt ? Math.floor((key.expiresAt.getTime() - now().getTime()) / 1000) : mostSeconds
  const token = new provider.AccessToken({
    client,
    accountId: key.userId,
    grantId: held.id,
    gty: 'token_exchange',
    scope: scopes.join(' '),
  })
  token.resourceServer = new provider.ResourceServer(api, {
    ...server,
    accessTokenTTL: Math.max(1, Math.min(mostSeconds, server.accessTokenTTL ?? mostSeconds, rest)),
  })
  ctx.oidc.entity('AccessToken', token)
  unit.audit({
    event: 'api_key.exchanged',
    outcome: 'success',
    actor: { kind: 'client', id: client.clientId },
    target: { kind: 'api_key', id: key.id },
    clientId: client.clientId,
    detail: { api, scopes, version: key.version },
  })
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: accessTokenType,
    token_type: token.tokenType,
    expires_in: token.expiration,
    scope: scopes.join(' '),
  }
}

function checkParams(ctx: KoaContextWithOIDC, params: Params): void {
  for (const name of ['subject_token', 'subject_token_type'] as const)
    if (!params[name]) throw new errors.InvalidRequest(`missing required parameter ${name}`)
  if (params.subject_token_type !== apiKeyTokenType)
    throw new errors.InvalidRequest(`subject_token_type must be ${apiKeyTokenType}`)
  if ((params.requested_token_type ?? accessTokenType) !== accessTokenType)
    throw new errors.InvalidRequest(`requested_token_type must be ${accessTokenType}`)
  if (params.actor_token !== undefined) throw new errors.InvalidRequest('actor_token is not supported')
  if (ctx.get('DPoP') !== '') throw new errors.InvalidRequest('DPoP is not supported with this grant')
}

/** RFC 8693 2.2.2; one answer for unknown, expired, revoked and those of clients. */
const invalidSubject = () => new errors.InvalidRequest('the subject token is invalid')

function chooseApi({ resource, audience }: Params, apis: readonly string[]): string {
  const named = resource ?? audience ?? (apis.length === 1 ? apis[0] : undefined)
  if (named === undefined || (audience !== undefined && audience !== named) || !apis.includes(named))
    throw new errors.InvalidTarget('name one API that the key is for')
  return named
}

function chooseScopes({ scope }: Params, ofKey: readonly string[], ofClient: readonly string[]): string[] {
  const may = ofKey.filter((name) => ofClient.includes(name))
  const asked = scope?.split(' ').filter(Boolean)
  const chosen = asked ? may.filter((name) => asked.includes(name)) : may
  if (chosen.length === 0)
    throw new errors.InvalidScope('none of the scopes is allowed for this key and client', scope ?? '')
  return chosen
}
