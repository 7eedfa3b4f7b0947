// Sealing: every committed row gets its place in the chain, once, by one process of all (src/jobs), each second. Requests write their rows and know
// nothing of it, so nobody waits in line for the hash of somebody else's row.
//
// In which order? Ids are drawn before the commit, so a row may turn up behind rows with greater ids, at any time later. The sealer reads by
// snapshots, as the feed of revocations does (docs/decisions/011): it takes what is visible now and was not visible at its last look.
// The last look, the head of the chain and the seals are written in one transaction: a sealer that is killed has done all of a step or
// nothing. Whoever seals holds the one row of audit_chain, so a second sealer waits and then goes on where the first one was.
import type { Connection, Database } from '#src/db/database.ts'
import { inTransaction } from '#src/db/transaction.ts'
import { chainedEvent, type EventRow, eventColumns, linkHash } from './chain.ts'

type Pool = Pick<Database, 'pool'>

export type ChainState = {
  position: number
  hash: string
  startPosition: number
  startHash: string
  signedPosition: number
  signedAt: Date | null
  streamedPosition: number
}

export const chainColumns = `c.position::float8 AS position, encode(c.hash, 'hex') AS hash, c.start_position::float8 AS "startPosition",
  encode(c.start_hash, 'hex') AS "startHash", c.signed_position::float8 AS "signedPosition", c.signed_at AS "signedAt",
  c.streamed_position::float8 AS "streamedPosition"`

type Walk = { seen: string; until: string | null; transaction: string | null; id: string | null; restored: boolean }

/** Rows of one step: some 50 ms of work, during which another sealer would wait. */
const stepRows = 5_000
/** Looking through the whole record for rows without a seal, after a restore. */
const adoptionMs = 600_000

/** Seals everything that is committed at this moment.
 *  @param options.signal ends it between two steps. @returns how many rows were sealed. */
export async function sealAll(
  { pool }: Pool,
  options: { signal?: AbortSignal; stepRows?: number } = {},
): Promise<number> {
  let sealed = 0
  for (let more = true; more && !options.signal?.aborted; ) {
    const step = await sealStep(pool, options.stepRows ?? stepRows)
    sealed += step.sealed
    more = step.more
  }
  return sealed
}

/** Whether there is anything to seal: one look along an index. */
export async function isSealingDue({ pool }: Pool): Promise<boolean> {
  const { rows } = await pool.query<{ due: boolean }>({
    name: 'audit_unsealed',
    text: `SELECT EXISTS (SELECT FROM audit_chain c, audit_event e WHERE ${isUnseen}) AS due`,
  })
  return rows[0]?.due ?? false
}

export type Backlog = {
  unsealedRows: number
  unsealedSeconds: number
  unstreamedRows: number
  unstreamedSeconds: number
}

/** How far sealing and streaming are behind, for metrics. Counts end at `mostCounted`. */
export async function auditBacklog({ pool }: Pool): Promise<Backlog> {
  const { rows } = await pool.query<Backlog>({
    name: 'audit_backlog',
    text: `WITH unsealed AS MATERIALIZED (
        SELECT e.at FROM audit_chain c, audit_event e WHERE ${isUnseen} ORDER BY e.transaction, e.id LIMIT ${mostCounted})
      SELECT (SELECT count(*) FROM unsealed)::float8 AS "unsealedRows",
        COALESCE((SELECT extract(epoch FROM clock_timestamp() - min(at)) FROM unsealed), 0)::float8 AS "unsealedSeconds",
        (c.position - c.streamed_position)::float8 AS "unstreamedRows",
        COALESCE((SELECT extract(epoch FROM clock_timestamp() - e.at) FROM audit_seal s JOIN audit_event e ON e.id = s.event_id
          WHERE s.position > c.streamed_position ORDER BY s.position LIMIT 1), 0)::float8 AS "unstreamedSeconds"
      FROM audit_chain c`,
  })
  return rows[0] ?? { unsealedRows: 0, unsealedSeconds: 0, unstreamedRows: 0, unstreamedSeconds: 0 }
}

const mostCounted = 100_000

const isUnseen = `e.transaction >= pg_snapshot_xmin(c.seen) AND NOT pg_visible_in_snapshot(e.transaction, c.seen)
  AND e.transaction < pg_snapshot_xmax(pg_current_snapshot()) AND pg_visible_in_snapshot(e.transaction, pg_current_snapshot())
  AND NOT EXISTS (SELECT FROM audit_seal s WHERE s.event_id = e.id)`

export async function readChain(db: Pick<Connection, 'query'>, { lock = false } = {}): Promise<ChainState> {
  const { rows } = await db.query<ChainState>(`SELECT ${chainColumns} FROM audit_chain c${lock ? ' FOR UPDATE' : ''}`)
  if (!rows[0]) throw new Error('the table audit_chain has lost its row')
  return rows[0]
}

function sealStep(pool: Database['pool'], limit: number): Promise<{ sealed: number; more: boolean }> {
  return inTransaction(pool, async (client) => {
    const head = await readChain(client, { lock: true })
    const walk = await readWalk(client)
    const found = walk.restored ? await withoutSeal(client, limit) : await notSeen(client, walk, limit)
    const fresh = found.filter((row) => !row.sealed)
    const last = found.at(-1)
    if (!last && walk.until === null && !walk.restored) return { sealed: 0, more: false }

    const hashes: string[] = []
    let { position, hash } = head
    for (const row of fresh) {
      position += 1
      hash = linkHash(hash, position, chainedEvent(row))
      hashes.push(hash)
    }
    if (fresh.length > 0)
      await client.query({
        name: 'audit_seal',
        text: `INSERT INTO audit_seal (position, event_id, hash) SELECT $1::bigint + s.at, s.id, decode(s.hash, 'hex')
          FROM unnest($2::bigint[], $3::text[]) WITH ORDINALITY AS s(id, hash, at)`,
        values: [head.position, fresh.map(({ id }) => id), hashes],
      })
    const ended = found.length < limit
    await client.query({
      name: 'audit_chain',
      text: `UPDATE audit_chain SET position = $1, hash = decode($2, 'hex'), seen = COALESCE($3::pg_snapshot, seen),
        walk_until = $4, walk_transaction = $5, walk_id = $6`,
      values: [position, hash, ...nextWalk(walk, last, ended)],
    })
    // What came during a walk of several steps is still to be looked at.
    return { sealed: fresh.length, more: !ended || walk.until !== null }
  })
}

type Found = EventRow & { transaction: string; sealed: boolean; present: string }

/** @returns seen (null: unchanged), until, transaction, id. A walk through several steps takes what was there when it began; what came
 *  meanwhile is the next walk's. */
function nextWalk(walk: Walk, last: Found | undefined, ended: boolean): (string | null)[] {
  if (walk.restored) return [ended ? (last?.present ?? walk.seen) : null, null, null, null]
  const until = walk.until ?? last?.present ?? null
  return ended || !last ? [until, null, null, null] : [null, until, last.transaction, last.id]
}

/** @returns a walk whose `seen` is of this server; after a restore into a server that has not come so far, its present. */
async function readWalk(client: Connection): Promise<Walk> {
  const { rows } = await client.query<Walk>({
    name: 'audit_walk',
    text: `SELECT CASE WHEN r.restored THEN pg_current_snapshot() ELSE c.seen END::text AS seen, c.walk_until::text AS until,
        c.walk_transaction::text AS transaction, c.walk_id::text AS id, r.restored
      FROM audit_chain c CROSS JOIN LATERAL (
        SELECT pg_snapshot_xmax(COALESCE(c.walk_until, c.seen)) > pg_snapshot_xmax(pg_current_snapshot()) AS restored) r`,
  })
  if (!rows[0]) throw new Error('the table audit_chain has lost its row')
  return rows[0]
}

async function notSeen(client: Connection, walk: Walk, limit: number): Promise<Found[]> {
  const { rows } = await client.query<Found>({
    name: 'audit_not_seen',
    text: `SELECT ${eventColumns}, e.transaction::text AS transaction, s.event_id IS NOT NULL AS sealed, pg_current_snapshot()::text AS present
      FROM audit_event e LEFT JOIN audit_seal s ON s.event_id = e.id
      WHERE e.transaction >= pg_snapshot_xmin($1::pg_snapshot) AND NOT pg_visible_in_snapshot(e.transaction, $1::pg_snapshot)
        AND e.transaction < pg_snapshot_xmax(COALESCE($2::pg_snapshot, pg_current_snapshot()))
        AND pg_visible_in_snapshot(e.transaction, COALESCE($2::pg_snapshot, pg_current_snapshot()))
        AND (e.transaction, e.id) > ($3::xid8, $4::bigint)
      ORDER BY e.transaction, e.id LIMIT $5`,
    values: [walk.seen, walk.until, walk.transaction ?? '0', walk.id ?? '0', limit],
  })
  return rows
}

/** After pg_restore into another server the numbers of transactions mean nothing: whatever has no seal gets one, in the order of ids. */
async function withoutSeal(client: Connection, limit: number): Promise<Found[]> {
  await client.query(`SET LOCAL statement_timeout = ${adoptionMs}`)
  const { rows } = await client.query<Found>({
    text: `SELECT ${eventColumns}, e.transaction::text AS transaction, false AS sealed, pg_current_snapshot()::text AS present
      FROM audit_event e LEFT JOIN audit_seal s ON s.event_id = e.id WHERE s.event_id IS NULL ORDER BY e.id LIMIT $1`,
    values: [limit],
    ...{ query_timeout: adoptionMs }, // its types have it not
  })
  return rows
}
