// The client by which our own pages (the account, later the console) let people in: it runs the ordinary code flow against this very
// server, so every step, factor and policy of the login holds for them too (docs/decisions/026). It is code, not a row: there is
// nothing to list, change, switch off or delete, and since a token is valid only while the row of its client says so, no code of
// this client can ever be redeemed. Nobody needs one: its arrival proves the session, and the session is what the pages read.
import type { Flaw } from '#src/refusal.ts'
import type { ClientRecord } from './settings.ts'

export const ownClientId = 'sallyport'
/** Below the issuer. */
export const ownCallbackPath = '/account/callback'

const epoch = new Date(0)

export function ownClient(issuerUrl: string): ClientRecord {
  return {
    id: ownClientId,
    name: 'Sallyport',
    type: 'spa',
    profile: 'default',
    grantTypes: ['authorization_code'],
    redirectUris: [issuerUrl + ownCallbackPath],
    postLogoutRedirectUris: [],
    roles: [],
    scopes: ['openid'],
    defaultScopes: [],
    requiredScopes: [],
    tokenEndpointAuthMethod: 'none',
    secondFactor: 'optional', // what the person’s roles and own factors ask for still counts
    idTokenSignedResponseAlg: 'ES256',
    jwks: null,
    refreshLeewaySeconds: 0,
    refreshTokenTtlSeconds: 300,
    refreshTokenIdleTtlSeconds: null,
    clientUri: null,
    logoUri: null,
    policyUri: null,
    tosUri: null,
    logo: null,
    generation: 0,
    disabledAt: null,
    createdAt: epoch,
    updatedAt: epoch,
    secrets: [],
    apiScopes: [],
  }
}

export function checkNotOwnClient(field: string, id: string): Flaw[] {
  if (id !== ownClientId) return []
  return [{ field, problem: `is ${id}, the client of this server’s own pages`, fix: 'Choose another id.' }]
}
