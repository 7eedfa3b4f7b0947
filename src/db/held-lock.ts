// A lock that one process holds over all replicas for as long as some work takes, and that falls away with the process: killed,
// frozen or cut off. It is a transaction's advisory lock on a connection of its own, so it also works through a pooler, and it
// never takes a connection from requests. The transaction reads no row, so it keeps no old version of one alive.
import pg from 'pg'
import type { Database } from './database.ts'

export type HeldLock = {
  /** Aborted when the lock was lost before it was released: somebody else may have it by now. */
  lost: AbortSignal
  release(): Promise<void>
}

/** Asks once and never waits.
 *  @param options.silenceSeconds after how long without a sign of life the database takes the lock away from its holder.
 *  @returns undefined while another connection holds it. @throws the database's error. */
export async function tryHeldLock(
  { pool }: Pick<Database, 'pool'>,
  key: readonly [number, number],
  { silenceSeconds }: { silenceSeconds: number },
): Promise<HeldLock | undefined> {
  const client = new pg.Client({
    connectionString: pool.options.connectionString,
    connectionTimeoutMillis: 2_000,
    query_timeout: 2_500,
    application_name: 'sallyport lock',
  })
  const lost = new AbortController()
  client.on('error', (error) => lost.abort(error))
  client.on('end', () => lost.abort())
  try {
    await client.connect()
    await client.query('BEGIN')
    // A holder that was frozen or whose machine vanished says nothing more, and its connection would stay open for hours.
    await client.query(`SET LOCAL idle_in_transaction_session_timeout = ${Math.ceil(silenceSeconds * 1000)}`)
    // Without parameters: a prepared statement's snapshot would live as long as the transaction, and hold back vacuum.
    const { rows } = await client.query<{ locked: boolean }>(
      `SELECT pg_try_advisory_xact_lock(${key.map(Math.trunc).join(', ')}) AS locked`,
    )
    if (!rows[0]?.locked) {
      await client.end()
      return undefined
    }
  } catch (error) {
    client.end().catch(() => undefined) // it may hang half open; nobody waits for it
    throw error
  }
  const heartbeat = setInterval(
    () => {
      client.query('SELECT').catch((error: unknown) => lost.abort(error))
    },
    (silenceSeconds * 1000) / 3,
  )
  heartbeat.unref()
  return {
    lost: lost.signal,
    async release() {
      clearInterval(heartbeat)
      if (!lost.signal.aborted) await client.query('COMMIT').catch(() => undefined) // without it the end does the same
      client.end().catch(() => undefined)
    },
  }
}
