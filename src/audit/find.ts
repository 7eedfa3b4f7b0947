// Finding what was asked for, the newest first, in pages. One thing that is asked for is a walk along the index that has it in order of time. Of several
// the rarest is walked and the others are looked at on the way; how rare each is, the indexes tell (up to `fewRows`), since the planner's guess is
// wrong for what happened long ago. What is still a long way is walked in steps: a page then has less than was asked for, perhaps nothing, and says
// where to go on. So every page is an answer in time, whatever is asked, however many rows there are.
import type { Connection, Database } from '#src/db/database.ts'
import { inTransaction } from '#src/db/transaction.ts'
import { type EventRow, eventColumns } from './chain.ts'
import { type AuditRecord, type AuditSearch, EventNotFound, UnknownSearch } from './search.ts'

export type AuditPage = {
  records: AuditRecord[]
  /** For `after`; null: nothing is behind this page. */
  next: string | null
}

/** So many rows are read whole and put in order. */
const fewRows = 2_000
/** So many are stepped over for one page. */
const stepRows = 5_000

/** @param page.after `next` of the page before. @throws UnknownSearch for a cursor that is none. */
export async function searchAudit(
  { pool }: Pick<Database, 'pool'>,
  search: AuditSearch,
  page: { after?: string | undefined; limit: number },
): Promise<AuditPage> {
  const asked = askedOf(search, page.after)
  return inTransaction(pool, async (connection) => {
    // An index is read until the page is full; a bitmap, or a table that is put in order, is read whole before there is a first row.
    await connection.query('SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off')
    return findPage(connection, asked, page.limit)
  })
}

/** One by its id. @throws EventNotFound */
export async function findRecord({ pool }: Pick<Database, 'pool'>, id: string): Promise<AuditRecord> {
  const { rows } = /^[1-9]\d{0,17}$/.test(id)
    ? await pool.query<AuditRecord>({
        name: 'audit_record',
        text: `SELECT ${eventColumns}, s.position::float8 AS position, encode(s.hash, 'hex') AS hash
          FROM audit_event e LEFT JOIN audit_seal s ON s.event_id = e.id WHERE e.id = $1`,
        values: [id],
      })
    : { rows: [] }
  if (!rows[0]) throw new EventNotFound(id)
  return rows[0]
}

async function findPage(db: Asking, asked: Asked, limit: number): Promise<AuditPage> {
  const way = await chooseWay(db, asked, limit + 1)
  const rows = await ask<AuditRecord>(
    db,
    (put) => `SELECT ${eventColumns}, s.position::float8 AS position, encode(s.hash, 'hex') AS hash
      FROM (${way.found(put)} LIMIT ${put(limit + 1)}) e LEFT JOIN audit_seal s ON s.event_id = e.id ${newest}`,
  )
  const records = rows.slice(0, limit)
  const last = records.at(-1)
  if (rows.length > limit && last) return { records, next: cursorOf(last) }
  const { step } = way
  if (!step) return { records, next: null }
  // Where the step ended, if it did not come to the end of the record.
  const [end] = await ask<Pick<EventRow, 'at' | 'id'>>(
    db,
    (put) => `SELECT e.at, e.id::text AS id FROM (${step(put)} OFFSET ${stepRows - 1} LIMIT 1) e`,
  )
  return { records, next: end ? cursorOf(end) : null }
}

const cursorOf = ({ at, id }: Pick<EventRow, 'at' | 'id'>): string => `${at.getTime()}-${id}`

function readCursor(text: string): [at: Date, id: string] {
  const [, at = '', id = ''] = /^(\d{1,15})-(\d{1,18})$/.exec(text) ?? []
  if (id === '')
    throw new UnknownSearch([
      { field: 'after', problem: 'is no cursor', fix: 'Send the value of next in the page before.' },
    ])
  return [new Date(Number(at)), id]
}

type Asking = Pick<Connection, 'query'>

/** A piece of a statement. `put` takes a value and says how the statement speaks of it. */
type Piece = (put: (value: unknown) => string) => string

/** Without a name: planned for what is asked. */
async function ask<Row extends object>(db: Asking, statement: Piece): Promise<Row[]> {
  const values: unknown[] = []
  const text = statement((value) => `$${values.push(value)}`)
  return (await db.query<Row>(text, values)).rows
}

const newest = 'ORDER BY e.at DESC, e.id DESC'

/** What the indexes know of a condition. ordered: one has its rows in order of time. range: one has them in another order. few: they are few.
 *  none: no index has them. */
type Condition = {
  index: 'ordered' | 'range' | 'few' | 'none'
  /** All but the names of events have one. */
  parts: readonly [Piece, ...Piece[]]
}

type Asked = { conditions: Condition[]; bounds: Piece[] }

function askedOf(search: AuditSearch, after: string | undefined): Asked {
  const conditions: Condition[] = []
  const add = (index: Condition['index'], ...parts: [Piece, ...Piece[]]) => void conditions.push({ index, parts })
  const { events, outcome, actor, target, clientId, address, requestId, decisionId, from, to } = search
  if (requestId !== undefined) add('few', (put) => `e.request_id = ${put(requestId)}`)
  if (decisionId !== undefined) add('few', (put) => `e.decision_id = ${put(decisionId)}`)
  if (target) add('ordered', (put) => `e.target_kind = ${put(target.kind)} AND e.target_id = ${put(target.id)}`)
  if (actor) add('ordered', (put) => `e.actor_kind = ${put(actor.kind)} AND e.actor_id = ${put(actor.id)}`)
  if (address !== undefined) {
    const [index, operator] = address.includes('/') ? (['range', '<<='] as const) : (['ordered', '='] as const)
    add(index, (put) => `e.address IS NOT NULL AND audit_address(e.address) ${operator} ${put(address)}::inet`)
  }
  if (clientId !== undefined) add('ordered', (put) => `e.client_id = ${put(clientId)}`)
  // Each by itself: an index has them in order of time for one name, and the planner sees which one is rare.
  const [first, ...more] = (events ?? []).map(
    (name): Piece =>
      (put) =>
        `e.event = ${put(name)}`,
  )
  if (first) add('ordered', first, ...more)
  if (outcome !== undefined) add(outcome === 'failure' ? 'ordered' : 'none', () => `e.outcome = '${outcome}'`)
  const bounds: Piece[] = []
  if (from) bounds.push((put) => `e.at >= ${put(from)}`)
  if (to) bounds.push((put) => `e.at < ${put(to)}`)
  if (after !== undefined) {
    const [at, id] = readCursor(after)
    bounds.push((put) => `(e.at, e.id) < (${put(at)}::timestamptz, ${put(id)}::bigint)`)
  }
  return { conditions, bounds }
}

/** found: what was asked for, in order. step: what is walked through for it, where that can end before the record does. */
type Way = { found: Piece; step?: Piece }

async function chooseWay(db: Asking, asked: Asked, limit: number): Promise<Way> {
  const { conditions, bounds } = asked
  const rows =
    (given: readonly Piece[], tail: string): Piece =>
    (put) =>
      `SELECT * FROM audit_event e ${where([...given, ...bounds])(put)} ${tail}`
  /** A walk for each part. */
  const walks =
    ({ parts }: Condition, most: number): Piece =>
    (put) =>
      parts.map((part) => `(${rows([part], newest)(put)} LIMIT ${most})`).join(' UNION ALL ')
  const [only, ...more] = conditions
  if (!only) return { found: rows([], newest) }
  if (more.length === 0 && only.index === 'ordered')
    return { found: (put) => `SELECT * FROM (${walks(only, limit)(put)}) e ${newest}` }

  const rarest = await findRarest(db, asked)
  const others = conditions.filter((condition) => condition !== rarest?.condition).map(eitherOf)
  const filtered =
    (from: Piece): Piece =>
    (put) =>
      `SELECT * FROM (${from(put)}) e ${where(others)(put)} ${newest}`
  if (rarest && rarest.rows <= fewRows) {
    const { condition } = rarest
    if (condition.index === 'ordered') return { found: filtered(walks(condition, fewRows)) }
    const [part] = condition.parts
    // By itself: what else is asked for would lead the planner to another index.
    others.push(...bounds)
    return { found: filtered((put) => `SELECT * FROM audit_event e WHERE ${part(put)} ${ownOrder(condition)}`) }
  }
  const step = rows(rarest?.condition.parts ?? [], newest)
  return { found: filtered((put) => `${step(put)} LIMIT ${stepRows}`), step }
}

/** What to walk along. @returns undefined when only an index over everything has it in order of time. */
async function findRarest(
  db: Asking,
  { conditions, bounds }: Asked,
): Promise<{ condition: Condition; rows: number } | undefined> {
  const few = conditions.find(({ index }) => index === 'few')
  if (few) return { condition: few, rows: 0 }
  const candidates = conditions.filter(({ index }) => index !== 'none')
  if (candidates.length === 0) return undefined
  const [row] = await ask<{ counts: number[] }>(db, (put) => {
    const counts = candidates.map(({ index, parts }) => {
      const countOf = (part: Piece) => {
        const given = index === 'range' ? [part] : [part, ...bounds]
        return `(SELECT count(*) FROM (SELECT FROM audit_event e ${where(given)(put)} ${ownOrder({ index })} LIMIT ${fewRows + 1}) c)`
      }
      return `(${parts.map(countOf).join(' + ')})::int`
    })
    return `SELECT ARRAY[${counts.join(', ')}] AS counts`
  })
  const found = candidates.map((condition, index) => ({ condition, rows: row?.counts[index] ?? 0 }))
  // Beyond a few, what no index has in order of time would have to be read whole.
  const isWay = ({ condition, rows }: (typeof found)[number]) =>
    rows <= fewRows || (condition.index === 'ordered' && condition.parts.length === 1)
  return found.filter(isWay).sort((a, b) => a.rows - b.rows)[0]
}

const ownOrder = ({ index }: Pick<Condition, 'index'>): string =>
  index === 'range'
    ? 'ORDER BY audit_address(e.address), e.at DESC, e.id DESC'
    : index === 'ordered'
      ? newest
      : 'OFFSET 0'

const where =
  (pieces: readonly Piece[]): Piece =>
  (put) =>
    pieces.length > 0 ? `WHERE ${pieces.map((piece) => piece(put)).join(' AND ')}` : ''

const eitherOf =
  ({ parts }: Condition): Piece =>
  (put) =>
    `(${parts.map((part) => part(put)).join(' OR ')})`
