// A client as the server asks for it while it serves: in plain SQL, because a process that only serves need not load Prisma's query
// compiler for it, which is a tenth of its start and of its memory (docs/decisions/016). The same record as findClient gives.
import type { Database } from '#src/db/database.ts'
import { type ClientRecord, clientIdPattern } from './settings.ts'

const client = `SELECT id, name, type, profile, grant_types AS "grantTypes", redirect_uris AS "redirectUris",
  post_logout_redirect_uris AS "postLogoutRedirectUris", scopes, default_scopes AS "defaultScopes", required_scopes AS "requiredScopes", roles, token_endpoint_auth_method AS "tokenEndpointAuthMethod",
  id_token_signed_response_alg AS "idTokenSignedResponseAlg", jwks, refresh_leeway_seconds AS "refreshLeewaySeconds",
  refresh_token_ttl_seconds AS "refreshTokenTtlSeconds", refresh_token_idle_ttl_seconds AS "refreshTokenIdleTtlSeconds",
  second_factor AS "secondFactor", client_uri AS "clientUri", logo_uri AS "logoUri", policy_uri AS "policyUri", tos_uri AS "tosUri", logo,
  generation, disabled_at AS "disabledAt", created_at AS "createdAt", updated_at AS "updatedAt" FROM client WHERE id = $1`
const secrets = `SELECT id, client_id AS "clientId", hash, created_at AS "createdAt", expires_at AS "expiresAt"
  FROM client_secret WHERE client_id = $1`
const apiScopes = `SELECT client_id AS "clientId", api_identifier AS "apiIdentifier", scope_name AS "scopeName", by_default AS "byDefault", required,
  granted_at AS "grantedAt"
  FROM client_scope WHERE client_id = $1`

/** @returns undefined for an unknown id. A disabled client is found: look at `disabledAt`. */
export async function readClient({ pool }: Pick<Database, 'pool'>, id: string): Promise<ClientRecord | undefined> {
  if (!clientIdPattern.test(id)) return undefined
  const [own, its, scopes] = await Promise.all([
    pool.query<Omit<ClientRecord, 'secrets' | 'apiScopes'>>(client, [id]),
    pool.query<ClientRecord['secrets'][number]>(secrets, [id]),
    pool.query<ClientRecord['apiScopes'][number]>(apiScopes, [id]),
  ])
  const [found] = own.rows
  return found && { ...found, secrets: its.rows, apiScopes: scopes.rows }
}
