// A client of ours in the engine's words (RFC 7591). Secrets are hashes, so the engine gets a placeholder and asks us to compare.
import type { ClientRecord } from '#src/clients/settings.ts'
import { tokenExchange } from '#src/clients/types.ts'

const engineGrants = new Set(['authorization_code', 'refresh_token', 'client_credentials', tokenExchange])

export function toClientMetadata(record: ClientRecord): Record<string, unknown> {
  const person = record.grantTypes.includes('authorization_code')
  const secret = record.tokenEndpointAuthMethod.startsWith('client_secret')
  return {
    client_id: record.id,
    client_name: record.name,
    application_type: record.type === 'native' ? 'native' : 'web',
    // Grants of features that are not switched on would make the whole client invalid.
    grant_types: record.grantTypes.filter((grant) => engineGrants.has(grant)),
    response_types: person ? ['code'] : [],
    redirect_uris: record.redirectUris,
    post_logout_redirect_uris: record.postLogoutRedirectUris,
    token_endpoint_auth_method: record.tokenEndpointAuthMethod,
    ...(secret && { client_secret: 'kept as SHA-256 only' }),
    id_token_signed_response_alg: record.idTokenSignedResponseAlg,
    ...(record.jwks === null ? {} : { jwks: record.jwks }),
    ...present({
      client_uri: record.clientUri,
      logo_uri: record.logoUri,
      policy_uri: record.policyUri,
      tos_uri: record.tosUri,
    }),
    // ASVS 5.0 10.4.13 and 10.4.14: pushed requests and bound tokens for whoever asked for more.
    require_pushed_authorization_requests: record.profile !== 'default' && person,
    dpop_bound_access_tokens: record.profile !== 'default',
  }
}

function present(fields: Record<string, string | null>): Record<string, string> {
  return Object.fromEntries(Object.entries(fields).filter((entry): entry is [string, string] => entry[1] !== null))
}
