// Reads of concurrent requests share a statement: `WHERE id = ANY($1)`. As with commits nobody waits for company, and a read that
// is asked for never joins one that has left: it might have left before the commit that the asker knows of.
import type pg from 'pg'
import { isUnavailable } from './database.ts'

type Waiting<Row> = {
  value: unknown
  answer: Promise<Row | undefined>
  resolve(row: Row | undefined): void
  reject(error: unknown): void
}

const observers = new WeakMap<pg.Pool, (batchSize: number, seconds: number) => void>()

/** @param observer told of every statement that read: how many rows were asked for, how long it took. */
export function observeReads(pool: pg.Pool, observer: (batchSize: number, seconds: number) => void): void {
  observers.set(pool, observer)
}

const underWayAtOnce = 2
const most = 256

/** @param statement selects by `= ANY($1)`. @param keyOf the key of a row that came back, spelled as the asker spelled it.
 *  @returns reads one row through a pool. */
export function batchedRead<Row extends object>(
  statement: { name: string; text: string },
  keyOf: (row: Row) => string,
): (pool: pg.Pool, key: string, value: unknown) => Promise<Row | undefined> {
  const { name } = statement
  const text = asJson(statement.text)
  const readers = new WeakMap<pg.Pool, (key: string, value: unknown) => Promise<Row | undefined>>()
  return (pool, key, value) => {
    let reader = readers.get(pool)
    if (!reader) {
      reader = createReader<Row>(async (values) => {
        const startedAt = performance.now()
        const { rows } = await pool.query<{ row: Row }>({ name, text, values: [values] })
        observers.get(pool)?.(values.length, (performance.now() - startedAt) / 1000)
        return rows.map(({ row }) => row)
      }, keyOf)
      readers.set(pool, reader)
    }
    return reader(key, value)
  }
}

/** One column in place of thirty: describing and parsing columns one by one is what a read costs most on our side. */
export function asJson(select: string): string {
  return `SELECT to_json(r) AS row FROM (${select}) r`
}

export function createReader<Row extends object>(
  ask: (values: unknown[]) => Promise<Row[]>,
  keyOf: (row: Row) => string,
): (key: string, value: unknown) => Promise<Row | undefined> {
  let waiting = new Map<string, Waiting<Row>>()
  let underWay = 0

  return (key, value) => {
    let entry = waiting.get(key)
    if (!entry) {
      const { promise, resolve, reject } = Promise.withResolvers<Row | undefined>()
      entry = { value, answer: promise, resolve, reject }
      waiting.set(key, entry)
      leave()
    }
    return entry.answer
  }

  function leave(): void {
    if (underWay >= underWayAtOnce || waiting.size === 0) return
    let batch = waiting
    if (batch.size <= most) waiting = new Map()
    else {
      const entries = [...batch]
      batch = new Map(entries.slice(0, most))
      waiting = new Map(entries.slice(most))
    }
    underWay++
    void fetch(batch).finally(() => {
      underWay--
      leave()
    })
  }

  async function fetch(batch: Map<string, Waiting<Row>>): Promise<void> {
    try {
      const rows = await ask([...batch.values()].map(({ value }) => value))
      const found = new Map(rows.map((row) => [keyOf(row), row]))
      for (const [key, { resolve }] of batch) resolve(found.get(key))
    } catch (error) {
      const failed = [...batch.values()]
      if (isUnavailable(error)) {
        // Whoever waits would wait for the same database, and longer.
        failed.push(...waiting.values())
        waiting = new Map()
      }
      for (const { reject } of failed) reject(error)
    }
  }
}
