// The APIs and the routes of gateways as the server holds them while it serves, in plain SQL like clients (clients/client-reads.ts).
import type { Database } from '#src/db/database.ts'
import type { ApiRecord } from './apis.ts'
import type { RouteRecord } from './routes.ts'

const apis = `SELECT identifier, name, access_token_format AS "accessTokenFormat", access_token_ttl_seconds AS "accessTokenTtlSeconds",
  accept, hide_existence AS "hideExistence", objects, token_claims AS "tokenClaims", generation, built_in AS "builtIn", created_at AS "createdAt", updated_at AS "updatedAt"
  FROM api ORDER BY identifier`
const scopes = 'SELECT api_identifier AS "apiIdentifier", name, description, by_role AS "byRole" FROM scope'
const introspectionClients =
  'SELECT api_identifier AS "apiIdentifier", client_id AS "clientId" FROM api_introspection_client'

/** All of them, by identifier. */
export async function readApis({ pool }: Pick<Database, 'pool'>): Promise<ApiRecord[]> {
  const [own, theirScopes, theirClients] = await Promise.all([
    pool.query<Omit<ApiRecord, 'scopes' | 'introspectionClients'>>(apis),
    pool.query<ApiRecord['scopes'][number]>(scopes),
    pool.query<ApiRecord['introspectionClients'][number]>(introspectionClients),
  ])
  const scopesOf = Map.groupBy(theirScopes.rows, (row) => row.apiIdentifier)
  const clientsOf = Map.groupBy(theirClients.rows, (row) => row.apiIdentifier)
  return own.rows.map((api) => ({
    ...api,
    scopes: scopesOf.get(api.identifier) ?? [],
    introspectionClients: clientsOf.get(api.identifier) ?? [],
  }))
}

const routes = `SELECT id, position, host, method, path, api_identifier AS "apiIdentifier", scopes, roles, relation,
  COALESCE(acr_values, '{}') AS "acrValues", max_age AS "maxAge", anonymous FROM route ORDER BY position, host, path, method`

/** In the order in which they are tried. */
export async function readRoutes({ pool }: Pick<Database, 'pool'>): Promise<RouteRecord[]> {
  return (await pool.query<RouteRecord>(routes)).rows
}
