// Every access token has its row, JWTs too: what was issued can be counted, traced and, by its generations, ended. The engine stores
// opaque tokens by itself and only announces JWTs. Their row is found by a keyed digest of the `jti`: whoever carries the token can
// read that, and must not be able to present it as a token.
import type Provider from 'oidc-provider'
import type { AccessToken, ClientCredentials } from 'oidc-provider'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { hex } from './adapter/row-id.ts'
import { packToken } from './adapter/token-payload.ts'
import { writeToken } from './adapter/token-store.ts'

export function recordJwts(provider: Provider, secretKeys: SecretKeys, now: () => Date): void {
  const record = (kind: 'AccessToken' | 'ClientCredentials', token: AccessToken | ClientCredentials) => {
    const { jti, clientId, aud, scope, gty, jkt } = token as AccessToken & { gty?: string }
    const { accountId, grantId, sessionUid } = token as AccessToken
    const payload = { clientId, aud, scope, gty, jkt, accountId, grantId, sessionUid, format: 'jwt' }
    const known = Object.fromEntries(Object.entries(payload).filter(([, value]) => value !== undefined))
    const columns = packToken(kind, known, token.expiration, now().getTime() / 1000)
    writeToken(currentUnit(), kind, hex(secretKeys.mac('jwt-ledger', jti)), columns)
  }
  provider.on('access_token.issued', (token) => record('AccessToken', token))
  provider.on('client_credentials.issued', (token) => record('ClientCredentials', token))
}
