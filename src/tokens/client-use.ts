// What a client used lately: of its scopes and grant types. The record is made by the sweep (sweep.ts), from tokens that are over, so it is late by
// the lifetime of a token; tokens that are not over yet are looked at here. They have no index by client: this is for reports, not for requests.
import type { Database } from '#src/db/database.ts'
import { tokenKinds } from './kinds.ts'

export type ClientUse = {
  clientId: string
  /** Empty: `what` is a grant type. Otherwise it is a scope of this API. */
  api: string
  what: string
  lastAt: Date
}

type Pool = Pick<Database, 'pool'>

/** Every token is looked at: longer than a request waits, shorter than the server allows. */
const long = { query_timeout: 9_500 } as object

/** Nothing is known from before the record began: compare ClientScope.grantedAt. */
export async function readClientUse({ pool }: Pool, clientIds: readonly string[]): Promise<ClientUse[]> {
  if (clientIds.length === 0) return []
  const { rows } = await pool.query<ClientUse>({
    text: `SELECT client_id AS "clientId", api_identifier AS api, what, max(last_at) AS "lastAt" FROM (
      SELECT client_id, api_identifier, what, last_at FROM client_use WHERE client_id = ANY ($1)
      UNION ALL
      SELECT client_id, resource, unnest(string_to_array(scope, ' ')), at FROM (
        SELECT client_id, resource, scope, max(issued_at) AS at FROM token
        WHERE client_id = ANY ($1) AND resource IS NOT NULL AND kind IN (${tokenKinds.AccessToken}, ${tokenKinds.ClientCredentials})
        GROUP BY 1, 2, 3) access) u
    GROUP BY 1, 2, 3`,
    values: [clientIds],
    ...long,
  })
  return rows
}

/** Of these clients, those whose refresh tokens that are not over yet were used since. (A used one stays for as long as it would have lived.) */
export async function whoRefreshed({ pool }: Pool, clientIds: readonly string[], since: Date): Promise<Set<string>> {
  if (clientIds.length === 0) return new Set()
  const { rows } = await pool.query<{ id: string }>({
    text: `SELECT DISTINCT client_id AS id FROM token
      WHERE kind = ${tokenKinds.RefreshToken} AND consumed_at >= $2 AND client_id = ANY ($1)`,
    values: [clientIds, since],
    ...long,
  })
  return new Set(rows.map(({ id }) => id))
}
