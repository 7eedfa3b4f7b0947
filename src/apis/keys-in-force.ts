// Which API keys are good, in SQL, over `api_key k` with its parents: the rule by which one is found (access/api-keys/reads.ts), counted before
// something is revoked (tokens/dry-run.ts), and counted as what depends on an API or a client. It stands in this room because all of those may look here.
import type { Db } from '#src/db/database.ts'

/** Row by row, by their keys: for some thousand keys the planner would otherwise read every person there is. */
export const keyParents = `LEFT JOIN LATERAL (SELECT * FROM users x WHERE x.id = k.user_id LIMIT 1) u ON true
  LEFT JOIN LATERAL (SELECT * FROM client x WHERE x.id = k.client_id LIMIT 1) c ON true`

/** Neither revoked nor ended with its owner's tokens (docs/decisions/037). When a value ends is asked apart. */
export const keyStands = `(k.revoked_at IS NULL AND CASE WHEN k.user_id IS NOT NULL THEN u.disabled_at IS NULL AND u.generation = k.owner_generation
    ELSE c.disabled_at IS NULL AND c.generation = k.owner_generation END)`

/** And a value of it can be used. */
export const keyIsGood = `(${keyStands} AND EXISTS (
    SELECT FROM api_key_value v WHERE v.key_id = k.id AND (v.expires_at IS NULL OR v.expires_at > statement_timestamp())))`

/** Keys of clients and people that are for one API, with a column `key_id`: a part that ended with everything of the API is none. */
export const partsOfApi =
  'SELECT a.key_id FROM api_key_api a JOIN api p ON p.identifier = a.api_identifier AND p.generation = a.api_generation WHERE a.api_identifier = $1'

/** @returns how many good keys a client has, or are for an API. */
export async function countGoodKeys(db: Db, of: { clientId: string } | { apiIdentifier: string }): Promise<number> {
  const [which, value] =
    'clientId' in of ? ['k.client_id = $1', of.clientId] : [`k.id IN (${partsOfApi})`, of.apiIdentifier]
  const [row] = await db.$queryRawUnsafe<{ count: number }[]>(
    `SELECT count(*)::int AS count FROM api_key k ${keyParents} WHERE ${which} AND ${keyIsGood}`,
    value,
  )
  return row?.count ?? 0
}
