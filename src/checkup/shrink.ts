// Scopes that an application was given and has not used: found, and taken away on one word. Taken away is exactly what was named, and of that
// only what is unused still.
//
// What is known: every access token, by scope and API (tokens/client-use.ts), and when a key of the client was used. A secret that is sent by
// itself (Basic) leaves no trace, so of APIs that take it nothing is said about clients that could; keys count for every scope they carry.
import type { Change } from '#src/audit/change.ts'
import { removeClientScopes, type ScopeOfClient } from '#src/clients/scopes.ts'
import type { Database } from '#src/db/database.ts'
import { readClientUse } from '#src/tokens/client-use.ts'
import { daysBefore, idleDays } from './finding.ts'

/** Of one look. */
const mostScopes = 5_000

export type UnusedScopes = {
  scopes: ScopeOfClient[]
  /** There are more than were looked at: ask again when these are gone. */
  more: boolean
}

/** By client. @param among left out: of all there are. */
export async function findUnusedScopes(
  database: Database,
  now: Date,
  among: { clientIds?: readonly string[] | undefined; named?: readonly ScopeOfClient[] } = {},
): Promise<UnusedScopes> {
  const since = daysBefore(now, idleDays)
  const { clientIds, named } = among
  const of = (part: keyof ScopeOfClient) => named?.map((one) => one[part]) ?? null
  const { rows } = await database.pool.query<ScopeOfClient>(
    `SELECT s.client_id AS "clientId", s.api_identifier AS api, s.scope_name AS scope
      FROM client_scope s JOIN client c ON c.id = s.client_id JOIN api a ON a.identifier = s.api_identifier
      LEFT JOIN client_use u ON u.client_id = s.client_id AND u.api_identifier = s.api_identifier AND u.what = s.scope_name
      WHERE s.granted_at < $1 AND (u.last_at IS NULL OR u.last_at < $1) AND ($2::text[] IS NULL OR s.client_id = ANY ($2))
        AND ($3::text[] IS NULL OR (s.client_id, s.api_identifier, s.scope_name) IN (SELECT * FROM unnest($3::text[], $4::text[], $5::text[])))
        AND NOT (c.type = 'service' AND 'basic' = ANY (a.accept))
        AND NOT EXISTS (SELECT FROM api_key k JOIN api_key_api ka ON ka.key_id = k.id AND ka.api_identifier = s.api_identifier
          WHERE k.client_id = s.client_id AND k.revoked_at IS NULL AND s.scope_name = ANY (ka.scopes)
            AND EXISTS (SELECT FROM api_key_value v WHERE v.key_id = k.id AND v.last_used_at >= $1))
      ORDER BY 1, 2, 3 LIMIT ${mostScopes + 1}`,
    [since, clientIds ?? null, of('clientId'), of('api'), of('scope')],
  )
  const looked = rows.slice(0, mostScopes)
  const ids = [...new Set(looked.map(({ clientId }) => clientId))]
  const used = new Set(
    (await readClientUse(database, ids))
      .filter(({ lastAt }) => lastAt >= since)
      .map(({ clientId, api, what }) => nameOf({ clientId, api, scope: what })),
  )
  return { scopes: looked.filter((one) => !used.has(nameOf(one))), more: rows.length > mostScopes }
}

/** @param options.dryRun only tells. @returns what was (or would be) removed; what stays, because it was used meanwhile or is not there. */
export async function shrink(
  database: Database,
  scopes: readonly ScopeOfClient[],
  { dryRun = false }: { dryRun?: boolean },
  change: Change,
): Promise<{ removed: ScopeOfClient[]; kept: ScopeOfClient[] }> {
  const unused = new Set((await findUnusedScopes(database, change.now, { named: scopes })).scopes.map(nameOf))
  const named = new Map(scopes.map((one) => [nameOf(one), one]))
  const due = [...named].flatMap(([name, one]) => (unused.has(name) ? [one] : []))
  const removed = dryRun ? due : await removeClientScopes(database.prisma, due, `unused for ${idleDays} days`, change)
  const gone = new Set(removed.map(nameOf))
  return { removed, kept: [...named].flatMap(([name, one]) => (gone.has(name) ? [] : [one])) }
}

const nameOf = ({ clientId, api, scope }: ScopeOfClient): string => JSON.stringify([clientId, api, scope])
