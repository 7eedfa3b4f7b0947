// Who may look at a token (RFC 7662 4): the client it was issued to, and the resource servers named by the API it is for.
// Everybody else hears {"active":false}, exactly as for a token that does not exist.
import type { AccessToken, Client, ClientCredentials, KoaContextWithOIDC, RefreshToken } from 'oidc-provider'
import type { Snapshot } from './snapshot.ts'

export function createIntrospectionPolicy(snapshot: Snapshot) {
  return async (
    _ctx: KoaContextWithOIDC,
    client: Client,
    token: AccessToken | ClientCredentials | RefreshToken,
  ): Promise<boolean> => {
    if (token.clientId === client.clientId) return true
    // A refresh token is between the client and us: no API has business with it.
    if (token.kind === 'RefreshToken') return false
    const audience = (token as AccessToken).aud
    const api = typeof audience === 'string' ? snapshot.apis.get(audience) : undefined
    return api?.introspectionClients.some((row) => row.clientId === client.clientId) ?? false
  }
}
