// How long a revocation takes to be known here. Every door asks the database, which refuses at once; this measures what a process
// learns by asking for news, the way a verifier of the feed does, and is an upper bound for whatever it holds in memory.
import { setTimeout as pause } from 'node:timers/promises'
import type { Database } from '#src/db/database.ts'
import type { Log } from '#src/log.ts'
import { adoptRestoredRows, feedHead, readFeed } from './feed.ts'

const everyMs = 350
const most = 1_000

/** @param deps.observe told, for each revocation that becomes known, the seconds since it happened, by the database's clock.
 *  @returns stop() resolves when nothing of it runs any more: close the database after that. */
export function watchRevocations(deps: {
  database: Pick<Database, 'pool'>
  log: Log
  observe(seconds: number): void
}): { stop(): Promise<void> } {
  const { database, log, observe } = deps
  const ending = new AbortController()
  const watching = watch()
  return {
    async stop() {
      ending.abort()
      await watching
    },
  }

  async function watch(): Promise<void> {
    let cursor: string | undefined
    let failing = false
    while (!ending.signal.aborted) {
      try {
        cursor = cursor === undefined ? await begin() : await follow(cursor)
        failing = false
      } catch (error) {
        if (!failing) log.warn({ event: 'revocations.poll_failed', err: error }) // once per outage
        failing = true
      }
      await pause(everyMs, undefined, { signal: ending.signal, ref: false }).catch(() => undefined) // aborted: the loop ends
    }
  }

  /** What happened before this process looked says nothing about it. */
  async function begin(): Promise<string> {
    await adoptRestoredRows(database)
    return feedHead(database)
  }

  async function follow(from: string): Promise<string> {
    for (let cursor = from; ; ) {
      const { data, next } = await readFeed(database, cursor, most)
      for (const { age } of data) observe(age)
      if (data.length < most || ending.signal.aborted) return next
      cursor = next
    }
  }
}
