// Commits of concurrent requests share a statement and its flush to disk. Nobody waits for company: when nothing is under way a
// commit leaves at once; whatever arrives meanwhile leaves together as soon as one returns.
//
// What keeps neighbours apart:
//   - requests that touch the same row never share a statement, nor two statements under way: the second waits for the first
//   - a statement that the database refuses is undone as a whole, so its requests are tried again, each alone
//   - a database that is away or too slow refuses everybody at once (503), and so does a queue that is full
import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'
import { isUnavailable } from '#src/db/database.ts'
import type { Verdict, Writes } from './statements.ts'
import { commit } from './statements.ts'

/** The database is slower than what is asked of it: come back later. */
export class CommitQueueFull extends Error {
  override name = 'CommitQueueFull'
  readonly code = '53300' // "too many", as the database would say it: the border answers 503
}

/** Others kept taking the same rows in another order: nothing was written, come back later. */
export class CommitContended extends Error {
  override name = 'CommitContended'
  readonly code = '53300'
}

export type StatementObserver = (batchSize: number, seconds: number) => void

export type GroupCommit = {
  /** Commits one request's writes. @returns the verdict that cost it them, or undefined. @throws the database's error. */
  commit(writes: Writes): Promise<Verdict | undefined>
  /** Requests that wait for their turn. */
  waiting(): number
  /** Told of every statement: how many requests it carried, how long it took. */
  observe(observer: StatementObserver): void
}

type Waiting = {
  writes: Writes
  rows: readonly string[]
  resolve(verdict: Verdict | undefined): void
  reject(error: unknown): void
}

const limits = { underWay: 2, units: 128, waiting: 2_000, tries: 6 }

export function createGroupCommit(send: (units: readonly Writes[]) => Promise<(Verdict | undefined)[]>): GroupCommit {
  let waiting: Waiting[] = []
  let observer: StatementObserver | undefined
  const held = new Set<string>() // rows of the statements under way
  let underWay = 0

  return {
    commit: (writes) =>
      new Promise((resolve, reject) => {
        if (waiting.length >= limits.waiting) {
          reject(new CommitQueueFull('too many commits are waiting'))
          return
        }
        waiting.push({ writes, rows: rowsOf(writes), resolve, reject })
        if (underWay < limits.underWay) leave()
      }),
    waiting: () => waiting.length,
    observe(told) {
      observer = told
    },
  }

  function leave(): void {
    while (underWay < limits.underWay && waiting.length > 0) {
      const batch = board()
      if (batch.length === 0) return // everyone waits for a row that is under way
      underWay++
      void carry(batch).finally(() => {
        underWay--
        for (const { rows } of batch) for (const row of rows) held.delete(row)
        leave()
      })
    }
  }

  function board(): Waiting[] {
    const batch: Waiting[] = []
    const left: Waiting[] = []
    const passed = new Set<string>() // rows of those who stay: nobody overtakes them
    for (const unit of waiting) {
      const free = batch.length < limits.units && unit.rows.every((row) => !held.has(row) && !passed.has(row))
      if (free) {
        for (const row of unit.rows) held.add(row)
        batch.push(unit)
      } else {
        for (const row of unit.rows) passed.add(row)
        left.push(unit)
      }
    }
    waiting = left
    return batch
  }

  async function carry(batch: readonly Waiting[]): Promise<void> {
    const startedAt = performance.now()
    try {
      const verdicts = await send(batch.map(({ writes }) => writes))
      for (const [i, unit] of batch.entries()) unit.resolve(verdicts[i])
    } catch (error) {
      if (isUnavailable(error)) {
        // Whoever waits would wait for the same database, and longer.
        const everyone = [...batch, ...waiting]
        waiting = []
        for (const unit of everyone) unit.reject(error)
      } else if (batch.length === 1 && !isTransient(error)) batch[0]?.reject(error)
      else for (const unit of batch) await alone(unit)
    } finally {
      observer?.(batch.length, (performance.now() - startedAt) / 1000)
    }
  }

  async function alone(unit: Waiting): Promise<void> {
    for (let tried = 1; ; tried++)
      try {
        const [verdict] = await send([unit.writes])
        return unit.resolve(verdict)
      } catch (error) {
        if (!isTransient(error)) return unit.reject(error)
        if (tried === limits.tries)
          return unit.reject(new CommitContended('the rows were taken by others each time', { cause: error }))
        await pause(2 ** tried * (1 + Math.random())) // not in step with whoever it met
      }
  }
}

/** Another process held the same rows in another order (40P01), or was faster (40001): nothing was written, so once more. */
function isTransient(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code
  return code === '40P01' || code === '40001'
}

/** What a request writes to, by kind and id. */
function rowsOf(writes: Writes): string[] {
  const rows: string[] = []
  for (const { id, predecessorId } of writes.consume ?? []) {
    rows.push(`t${id}`)
    if (predecessorId !== null) rows.push(`t${predecessorId}`)
  }
  for (const { id } of writes.token ?? []) rows.push(`t${id}`)
  for (const { id } of writes.tokenEnd ?? []) rows.push(`t${id}`)
  for (const { id } of writes.grant ?? []) rows.push(`g${id}`)
  for (const { id } of writes.grantEnd ?? []) rows.push(`g${id}`)
  for (const { uid, cookieHash } of writes.session ?? []) rows.push(`s${uid}`, `s${cookieHash}`)
  for (const { cookieHash } of writes.sessionEnd ?? []) rows.push(`s${cookieHash}`)
  for (const { id } of writes.interaction ?? []) rows.push(`i${id}`)
  for (const { id } of writes.progress ?? []) rows.push(`i${id}`)
  for (const { id } of writes.interactionEnd ?? []) rows.push(`i${id}`)
  for (const { id } of writes.replay ?? []) rows.push(`r${id}`)
  for (const { userId, clientId } of writes.consent ?? []) rows.push(`c${userId} ${clientId}`)
  return rows
}

const ofPools = new WeakMap<pg.Pool, GroupCommit>()

/** One queue for each pool of connections. */
export function groupCommitOf(pool: pg.Pool): GroupCommit {
  let found = ofPools.get(pool)
  if (!found) {
    found = createGroupCommit((units) => commit(pool, units))
    ofPools.set(pool, found)
  }
  return found
}
