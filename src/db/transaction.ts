// Ways to make several statements one: everything or nothing, and one process at a time.
import { setTimeout as pause } from 'node:timers/promises'
import type { Connection, Database, Db, Prisma } from './database.ts'

/** Runs `work` in the caller's transaction when there is one, else in its own. (Inside a transaction Prisma's client also has
 *  `$transaction`, which nests by savepoint; what tells the two apart is `$connect`.) */
export function atomically<T>(db: Db, work: (tx: Prisma.TransactionClient) => Promise<T>): Promise<T> {
  return '$connect' in db ? db.$transaction(work) : work(db)
}

/** The same for statements in plain SQL. What breaks the transaction costs the connection. */
export async function inTransaction<T>(
  pool: Database['pool'],
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await pool.connect()
  let broken = true
  try {
    await connection.query('BEGIN')
    const result = await work(connection)
    await connection.query('COMMIT')
    broken = false
    return result
  } finally {
    connection.release(broken)
  }
}

export class LockTimeout extends Error {
  override name = 'LockTimeout'
}

// Arbitrary, and different from Prisma's migration lock (72707369).
const configurationLock = 7_270_746

/** One transaction at a time over all processes: bootstrap and apply read the whole configuration, then write what differs.
 *  The lock is asked for again and again, never waited for in the database: a wait there would run into the statement limits.
 *  @param limits.waitSeconds how long to ask; limits.runSeconds how long `work` may take once it has the lock.
 *  @throws LockTimeout */
export function withConfigurationLock<T>(
  { prisma }: Database,
  work: (tx: Prisma.TransactionClient) => Promise<T>,
  limits: { waitSeconds: number; runSeconds: number } = { waitSeconds: 30, runSeconds: 120 },
): Promise<T> {
  return prisma.$transaction(
    async (tx) => {
      for (let asked = 0; ; asked++) {
        const [row] = await tx.$queryRaw<{ locked: boolean }[]>`
          SELECT pg_try_advisory_xact_lock(${configurationLock}) AS locked`
        if (row?.locked) return work(tx)
        if (asked >= limits.waitSeconds * 10)
          throw new LockTimeout('Another process is changing the configuration. Try again in a moment.')
        await pause(100)
      }
    },
    { maxWait: Math.max(limits.waitSeconds, 5) * 1000, timeout: (limits.waitSeconds + limits.runSeconds) * 1000 },
  )
}
