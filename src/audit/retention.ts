// What is older than it has to be leaves, in batches, from the front of the chain: never one row out of the middle. A batch moves the start of the
// chain, signs it, records itself and deletes, in one transaction; the database lets nothing go that is not behind the start. So what is left can be
// proven as before: it follows from a hash that is signed.
import type { Connection, Database } from '#src/db/database.ts'
import { inTransaction } from '#src/db/transaction.ts'
import { auditRow } from './audit.ts'
import type { Place } from './chain.ts'
import { readChain } from './seal.ts'
import { type Checkpoint, checkpointType, type Sign } from './statements.ts'

const batchRows = 2_000

type Deps = { database: Pick<Database, 'pool'>; sign: Sign; issuer: string }

/** Whole days by UTC, so that there is something to do once a day. */
export function endOfRetention(now: Date, days: number): Date {
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() - days))
}

/** @param options.before rows from before this moment leave, as far as every row in front of them does.
 *  @param options.keepUnstreamed rows that were not sent yet stay, however old.
 *  @returns how many left. */
export async function removeOldEvents(
  { database, sign, issuer }: Deps,
  options: { before: Date; keepUnstreamed: boolean; now: Date; signal?: AbortSignal; batchRows?: number },
): Promise<number> {
  let removed = 0
  for (let more = true; more && !options.signal?.aborted; ) {
    const rows = await removeBatch({ database, sign, issuer }, options)
    removed += rows
    more = rows === (options.batchRows ?? batchRows)
  }
  return removed
}

async function removeBatch(
  { database: { pool }, sign, issuer }: Deps,
  options: Parameters<typeof removeOldEvents>[1],
): Promise<number> {
  const chain = await readChain(pool)
  const cut = await findCut(pool, chain.startPosition, options)
  if (!cut) return 0
  const payload: Checkpoint = {
    iss: issuer,
    iat: Math.floor(options.now.getTime() / 1000),
    position: chain.position,
    hash: chain.hash,
    start: { position: cut.position, hash: cut.hash },
  }
  const { statement } = await sign(checkpointType, payload)
  return inTransaction(pool, async (connection) => {
    const held = await readChain(connection, { lock: true })
    if (held.startPosition !== chain.startPosition || held.position < chain.position) return 0
    await connection.query(
      `UPDATE audit_chain SET start_position = $1, start_hash = decode($2, 'hex'), signed_position = GREATEST(signed_position, $3), signed_at = $4`,
      [cut.position, cut.hash, chain.position, options.now],
    )
    await connection.query('INSERT INTO audit_checkpoint (position, statement) VALUES ($1, $2)', [
      chain.position,
      statement,
    ])
    await connection.query(
      `DELETE FROM audit_event WHERE id = ANY (ARRAY(SELECT event_id FROM audit_seal WHERE position > $1 AND position <= $2))`,
      [chain.startPosition, cut.position],
    )
    await connection.query('DELETE FROM audit_seal WHERE position <= $1', [cut.position])
    await connection.query('DELETE FROM audit_checkpoint WHERE position < $1', [cut.position])
    await record(connection, chain.startPosition + 1, cut, options.before)
    return cut.position - chain.startPosition
  })
}

/** Rows are in the order of their commits, so one that is too young may stand in front of older ones: those wait for it. */
async function findCut(
  pool: Database['pool'],
  start: number,
  { before, keepUnstreamed, batchRows: limit = batchRows }: Parameters<typeof removeOldEvents>[1],
): Promise<Place | undefined> {
  const { rows } = await pool.query<Place>({
    name: 'audit_cut',
    text: `WITH first AS MATERIALIZED (
        SELECT s.position, s.hash, e.at FROM audit_seal s JOIN audit_event e ON e.id = s.event_id
        WHERE s.position > $1 AND ($3::boolean IS FALSE OR s.position <= (SELECT c.streamed_position FROM audit_chain c))
        ORDER BY s.position LIMIT $4)
      SELECT position::float8 AS position, encode(hash, 'hex') AS hash FROM first
      WHERE position < COALESCE((SELECT min(position) FROM first WHERE at >= $2), 9223372036854775807) ORDER BY first.position DESC LIMIT 1`,
    values: [start, before, keepUnstreamed, limit],
  })
  return rows[0]
}

async function record(connection: Connection, from: number, to: Place, before: Date): Promise<void> {
  const { event, outcome, actorKind, actorId, detail } = auditRow({
    event: 'audit.removed',
    outcome: 'success',
    actor: { kind: 'system', id: 'retention' },
    detail: { from, to: to.position, before: before.toISOString() },
  })
  await connection.query(
    'INSERT INTO audit_event (event, outcome, actor_kind, actor_id, detail) VALUES ($1, $2, $3, $4, $5)',
    [event, outcome, actorKind, actorId, detail],
  )
}
