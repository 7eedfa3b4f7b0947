// At the start of a deployment the database is often a few seconds behind the server.
import { setTimeout as delay } from 'node:timers/promises'
import type { Log } from '#src/log.ts'
import { type Database, isUnavailable } from './database.ts'

/** The message names the place and the fault, never the password. */
export class DatabaseUnreachable extends Error {
  override name = 'DatabaseUnreachable'
}

/** Waits until the database answers. Faults of the connection are tried again, refusals (password, missing database) are not.
 *  @throws DatabaseUnreachable */
export async function untilReachable(
  { pool }: Pick<Database, 'pool'>,
  options: { log: Log; signal?: AbortSignal; timeoutMs?: number },
): Promise<void> {
  const { log, signal, timeoutMs = 30_000 } = options
  for (const end = performance.now() + timeoutMs; ; ) {
    try {
      await pool.query('SELECT 1')
      return
    } catch (error) {
      const where = placeOf(pool.options.connectionString ?? '')
      const reason = error instanceof Error ? (error as NodeJS.ErrnoException).code || error.message : String(error)
      if (!isUnavailable(error))
        throw new DatabaseUnreachable(
          `The database at ${where} refused the connection: ${error instanceof Error ? error.message : reason}. Check DATABASE_URL.`,
          { cause: error },
        )
      if (signal?.aborted)
        throw new DatabaseUnreachable(`Stopped while waiting for the database at ${where} (${reason}).`)
      if (performance.now() > end)
        throw new DatabaseUnreachable(
          `The database at ${where} did not answer within ${timeoutMs / 1000} s (${reason}). Start it, or correct DATABASE_URL.`,
          { cause: error },
        )
      log.info({ event: 'database.awaited', reason })
      await delay(500, undefined, { ...(signal ? { signal } : {}) }).catch(() => undefined)
    }
  }
}

function placeOf(connectionString: string): string {
  const url = URL.parse(connectionString)
  return url ? `${url.searchParams.get('host') ?? url.host}${url.pathname}` : 'DATABASE_URL'
}
