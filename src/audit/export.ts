// A stretch of the chain as text: lines of JSON that prove themselves (docs/audit.md), or CSV for a spreadsheet. It is fixed before the first line
// is written: sealed rows never change, so what follows is one consistent picture without a long transaction. The stretch goes from the first
// row of the period to the first checkpoint after its last, so it may hold some rows of a moment before or after.
import type { JWK } from 'jose'
import type { Database } from '#src/db/database.ts'
import { chainedEvent, type EventRow, eventColumns, firstPlace, linkHash, type Place } from './chain.ts'
import { signCheckpoint } from './checkpoints.ts'
import { csvHead, csvLine } from './csv.ts'
import { readChain, sealAll } from './seal.ts'
import { type ExportStatement, exportType, type Sign } from './statements.ts'
import type { Progress } from './verify.ts'

export const exportFormats = ['jsonl', 'csv'] as const
export type ExportFormat = (typeof exportFormats)[number]

/** From after `start` to `end`. */
export type Stretch = { start: Place; end: Place }

/** Retention removed rows of the stretch while it was being written. What was written ends in the middle, and so proves nothing. */
export class StretchGone extends Error {
  override name = 'StretchGone'
}

type Deps = { database: Pick<Database, 'pool'>; sign: Sign; issuer: string }

const pageRows = 500
/** Rows are in the order of their commits: no transaction takes so long. */
const latestMinutes = 10

/** Seals and signs what there is, and looks up the period. @returns undefined when nothing happened in it. */
export async function findStretch(
  deps: Deps,
  period: { from?: Date | undefined; to?: Date | undefined },
  now: Date,
): Promise<Stretch | undefined> {
  const { pool } = deps.database
  await sealAll(deps.database)
  await signCheckpoint(deps, now)
  const chain = await readChain(pool)
  const first = period.from ? await firstSince(pool, period.from) : chain.startPosition + 1
  const last = period.to ? await lastBefore(pool, period.to) : chain.position
  if (first === undefined || last === undefined || first > last || last <= chain.startPosition) return undefined
  const { rows } = await pool.query<{ start: string | null; position: number; hash: string }>(
    `SELECT encode(b.hash, 'hex') AS start, s.position::float8 AS position, encode(s.hash, 'hex') AS hash
      FROM audit_seal s LEFT JOIN audit_seal b ON b.position = $1
      WHERE s.position = COALESCE((SELECT min(k.position) FROM audit_checkpoint k WHERE k.position >= $2), $3)`,
    [first - 1, last, chain.position],
  )
  if (!rows[0]) throw new StretchGone('The end of the chain is missing: run `sallyport audit verify`.')
  const { start, position, hash } = rows[0]
  const before = first - 1 === chain.startPosition ? chain.startHash : (start ?? firstPlace.hash)
  return { start: { position: first - 1, hash: before }, end: { position, hash } }
}

async function firstSince(pool: Database['pool'], from: Date): Promise<number | undefined> {
  const { rows } = await pool.query<{ position: number | null }>(
    `SELECT min(s.position)::float8 AS position FROM audit_event e JOIN audit_seal s ON s.event_id = e.id
      WHERE e.at >= $1 AND e.at <= (SELECT f.at FROM audit_event f WHERE f.at >= $1 ORDER BY f.at, f.id LIMIT 1) + make_interval(mins => $2)`,
    [from, latestMinutes],
  )
  return rows[0]?.position ?? undefined
}

async function lastBefore(pool: Database['pool'], to: Date): Promise<number | undefined> {
  const { rows } = await pool.query<{ position: number | null }>(
    `SELECT max(s.position)::float8 AS position FROM audit_event e JOIN audit_seal s ON s.event_id = e.id
      WHERE e.at < $1 AND e.at >= (SELECT l.at FROM audit_event l WHERE l.at < $1 ORDER BY l.at DESC, l.id DESC LIMIT 1) - make_interval(mins => $2)`,
    [to, latestMinutes],
  )
  return rows[0]?.position ?? undefined
}

/** The text in pieces, each read when it is asked for.
 *  @throws StretchGone; the database's error. Nothing that ends early has its last line. */
export async function* writeExport(
  { database: { pool }, sign, issuer }: Deps,
  { start, end }: Stretch,
  options: { format: ExportFormat; now: Date; progress?: Progress },
): AsyncGenerator<string> {
  const { format, now, progress } = options
  const json = format === 'jsonl'
  const iat = Math.floor(now.getTime() / 1000)
  yield json ? line({ export: { version: 1, issuer, at: now.toISOString(), start, end } }) : csvHead
  let previous = start
  let broken: number | undefined
  while (previous.position < end.position) {
    const page = await readPage(pool, previous.position, end.position)
    if (page.length === 0) throw new StretchGone('Rows were removed while they were being exported. Export again.')
    let text = ''
    for (const { position, hash, checkpoints, ...row } of page) {
      if (position !== previous.position + 1)
        throw new StretchGone('Rows were removed while they were being exported. Export again.')
      const event = chainedEvent(row)
      if (linkHash(previous.hash, position, event) !== hash) broken ??= position
      text += json ? line({ position, hash, event }) : csvLine(position, hash, row)
      if (json) for (const checkpoint of checkpoints ?? []) text += line({ checkpoint })
      previous = { position, hash }
    }
    progress?.(previous.position - start.position, end.position - start.position)
    yield text
  }
  if (!json) return
  // What does not hold is handed out, since it is evidence, and not signed for.
  if (broken !== undefined || previous.hash !== end.hash)
    yield line({ end: { unsigned: true, broken: broken ?? end.position } })
  else {
    const payload: ExportStatement = { iss: issuer, iat, start, ...end, rows: end.position - start.position }
    const { statement, publicJwk }: { statement: string; publicJwk: JWK } = await sign(exportType, payload)
    yield line({ end: { statement, key: publicJwk } })
  }
}

const line = (value: object): string => `${JSON.stringify(value)}\n`

type ExportRow = EventRow & { position: number; hash: string; checkpoints: string[] | null }

async function readPage(pool: Database['pool'], after: number, last: number): Promise<ExportRow[]> {
  const { rows } = await pool.query<ExportRow>({
    name: 'audit_export',
    text: `SELECT s.position::float8 AS position, encode(s.hash, 'hex') AS hash, ${eventColumns},
        (SELECT array_agg(k.statement ORDER BY k.id) FROM audit_checkpoint k WHERE k.position = s.position) AS checkpoints
      FROM audit_seal s JOIN audit_event e ON e.id = s.event_id WHERE s.position > $1 AND s.position <= $2 ORDER BY s.position LIMIT $3`,
    values: [after, last, pageRows],
  })
  return rows
}
