// Is the record in the database what it was? Every row is hashed anew and compared with its seal, the seals with what was signed. Nothing here
// believes the database about itself: the keys come from whoever asks. Rows are read in pages, while the server goes on.
import type { JWK } from 'jose'
import type { Database } from '#src/db/database.ts'
import { chainedEvent, type EventRow, eventColumns, firstPlace, linkHash, type Place } from './chain.ts'
import { readChain } from './seal.ts'
import { type Checkpoint, checkpointType, checkStatement } from './statements.ts'

/** row_missing: a seal without its row. row_unsealed: a row that was put in past the sealer. place_missing: no seal at a place in the middle.
 *  cut_off: the end is missing. link_broken: a row, or the seal before it, is not what it was. checkpoint_contradicted: signed otherwise.
 *  signature_bad: a checkpoint that nobody here signed. start_contradicted: the front is missing, and no retention signed for it.
 *  unsigned: nothing that can be checked vouches for the chain. witness_contradicted: not what the witness saw. */
export type Problem =
  | 'row_missing'
  | 'row_unsealed'
  | 'place_missing'
  | 'cut_off'
  | 'link_broken'
  | 'checkpoint_contradicted'
  | 'signature_bad'
  | 'start_contradicted'
  | 'unsigned'
  | 'witness_contradicted'
  | 'unreadable'

export type Finding = { problem: Problem; position: number | null; eventId: string | null; text: string }

export type Verification = {
  ok: boolean
  rows: number
  /** The first row that is there, and the last. */
  from: number
  to: number
  /** Up to here a signature vouches, made with a key that was given. */
  signedTo: number
  checkpoints: number
  /** Checkpoints by keys that are not among those given: only their hashes were compared. */
  unknownKeys: number
  findings: Finding[]
  /** More findings than are told. */
  more: number
}

export type Progress = (done: number, of: number) => void

const pageRows = 2_000
const mostFindings = 100

/** Collects findings, and stops telling them at a number that a person can read. */
export function createFindings() {
  const told: Finding[] = []
  let more = 0
  return {
    told,
    more: () => more,
    add(problem: Problem, position: number | null, text: string, eventId: string | null = null) {
      if (told.length < mostFindings) told.push({ problem, position, eventId, text })
      else more += 1
    },
  }
}

export type Findings = ReturnType<typeof createFindings>

/** @param options.keys public keys whose signatures count (keys/statement-signer.ts).
 *  @param options.witness what somebody outside kept: the log line `audit.signed`, a streamed row, the end of an export. */
export async function verifyDatabase({ pool }: Pick<Database, 'pool'>, options: VerifyOptions): Promise<Verification> {
  for (;;) {
    const { startPosition } = await readChain(pool)
    const verification = await verifyOnce(pool, options)
    // Retention that came in between looks like a removal: once more.
    if ((await readChain(pool)).startPosition === startPosition) return verification
  }
}

type VerifyOptions = { keys: readonly JWK[]; witness?: Place | undefined; progress?: Progress }

async function verifyOnce(pool: Database['pool'], options: VerifyOptions): Promise<Verification> {
  const findings = createFindings()
  const vouched = await readCheckpoints(pool, options.keys, findings)
  const chain = await readChain(pool) // after them: it has come at least as far
  const start: Place = { position: chain.startPosition, hash: chain.startHash }
  if (start.position === 0 && start.hash !== firstPlace.hash)
    findings.add('start_contradicted', 0, 'The chain does not begin with its first hash.')

  const at = new Map<number, string>() // hashes of places that somebody vouches for
  for (const { payload } of vouched) at.set(payload.position, '')
  if (options.witness) at.set(options.witness.position, '')

  let previous = start
  let rows = 0
  for (
    let page = await readPage(pool, previous.position);
    page.length > 0;
    page = await readPage(pool, previous.position)
  ) {
    for (const { position, hash, row } of page) {
      if (position > chain.position) break // sealed since this began
      if (position !== previous.position + 1)
        findings.add(
          'place_missing',
          previous.position + 1,
          `The places from ${previous.position + 1} to ${position - 1} have no seal.`,
        )
      if (!row) findings.add('row_missing', position, `The row at place ${position} was removed.`)
      else {
        rows += 1
        if (position === previous.position + 1 && linkHash(previous.hash, position, chainedEvent(row)) !== hash)
          findings.add(
            'link_broken',
            position,
            `The chain breaks at place ${position} (event ${row.id}, ${row.event}, ${row.at.toISOString()}): the row, or the seal before it, was changed.`,
            row.id,
          )
      }
      if (at.has(position)) at.set(position, hash)
      previous = { position, hash }
    }
    options.progress?.(previous.position - start.position, chain.position - start.position)
    if ((page.at(-1)?.position ?? 0) >= chain.position) break
  }
  if (previous.position < chain.position || previous.hash !== chain.hash)
    findings.add('cut_off', previous.position, `The chain went on to place ${chain.position}; its end is missing.`)

  let signedTo = start.position
  for (const { payload, signature } of vouched) {
    if (payload.position <= start.position) continue
    if (payload.position > previous.position)
      findings.add('cut_off', payload.position, `Place ${payload.position} was signed, and is missing.`)
    else if (at.get(payload.position) !== payload.hash)
      findings.add(
        'checkpoint_contradicted',
        payload.position,
        `What was signed for place ${payload.position} is not what stands there: the record was rewritten somewhere up to it.`,
      )
    else if (signature === 'good') signedTo = Math.max(signedTo, payload.position)
  }
  const newest = vouched.filter(({ signature }) => signature === 'good').at(-1)?.payload
  if (newest && (newest.start.position !== start.position || newest.start.hash !== start.hash))
    findings.add(
      'start_contradicted',
      start.position,
      'Rows at the beginning are missing, and no retention signed for it.',
    )
  if (!newest && chain.position > 0)
    findings.add('unsigned', null, 'No checkpoint is signed with a key that can be checked here.')
  const { witness } = options
  if (witness && witness.position > start.position && at.get(witness.position) !== witness.hash)
    findings.add('witness_contradicted', witness.position, `Place ${witness.position} is not what the witness has.`)
  await findUnsealed(pool, findings)
  return {
    ok: findings.told.length === 0,
    rows,
    from: start.position + 1,
    to: previous.position,
    signedTo,
    checkpoints: vouched.length,
    unknownKeys: vouched.filter(({ signature }) => signature === 'unknown_key').length,
    findings: findings.told,
    more: findings.more(),
  }
}

type Page = { position: number; hash: string; row: EventRow | null }[]

async function readPage(pool: Database['pool'], after: number): Promise<Page> {
  const { rows } = await pool.query<EventRow & { position: number; hash: string }>({
    name: 'audit_verify',
    text: `SELECT s.position::float8 AS position, encode(s.hash, 'hex') AS hash, ${eventColumns}
      FROM audit_seal s LEFT JOIN audit_event e ON e.id = s.event_id WHERE s.position > $1 ORDER BY s.position LIMIT $2`,
    values: [after, pageRows],
  })
  return rows.map(({ position, hash, ...row }) => ({ position, hash, row: row.id === null ? null : row }))
}

type Vouched = { payload: Checkpoint; signature: 'good' | 'unknown_key' }

async function readCheckpoints(pool: Database['pool'], keys: readonly JWK[], findings: Findings): Promise<Vouched[]> {
  const vouched: Vouched[] = []
  let after = '0'
  for (;;) {
    const { rows } = await pool.query<{ id: string; position: number; statement: string }>({
      name: 'audit_verify_checkpoints',
      text: `SELECT id::text AS id, position::float8 AS position, statement FROM audit_checkpoint WHERE id > $1 ORDER BY id LIMIT $2`,
      values: [after, pageRows],
    })
    for (const { position, statement } of rows) {
      const checked = await checkStatement(statement, checkpointType, keys)
      if (!checked || checked.signature === 'bad' || checked.payload.position !== position)
        findings.add('signature_bad', position, `The checkpoint at place ${position} was not signed by this server.`)
      else vouched.push({ payload: checked.payload, signature: checked.signature })
    }
    const last = rows.at(-1)
    if (!last || rows.length < pageRows) return vouched
    after = last.id
  }
}

/** Rows that the sealer has passed by, because they say of themselves that it has seen them. */
async function findUnsealed(pool: Database['pool'], findings: Findings): Promise<void> {
  for (let after = '0'; ; ) {
    const { rows } = await pool.query<{ last: string | null; unsealed: string[] | null }>({
      name: 'audit_verify_unsealed',
      text: `WITH page AS MATERIALIZED (SELECT e.id, e.transaction FROM audit_event e WHERE e.id > $1 ORDER BY e.id LIMIT $2)
        SELECT max(p.id)::text AS last, array_agg(p.id::text ORDER BY p.id) FILTER (WHERE s.event_id IS NULL
          AND pg_visible_in_snapshot(p.transaction, (SELECT c.seen FROM audit_chain c))) AS unsealed
        FROM page p LEFT JOIN audit_seal s ON s.event_id = p.id`,
      values: [after, pageRows * 10],
    })
    for (const id of rows[0]?.unsealed ?? [])
      findings.add(
        'row_unsealed',
        null,
        `The row of event ${id} has no place in the chain: it was put in past the sealer.`,
        id,
      )
    if (!rows[0]?.last) return
    after = rows[0].last
  }
}
