// The database as every room sees it: Prisma for everything, and the pool under it for the named hot statements in
// src/tokens/statements.ts (docs/decisions/004). One pool, so that one number bounds the connections of a process.
import { PrismaPg } from '@prisma/adapter-pg'
import pg from 'pg'
import type { Prisma } from './generated/client.ts'
import { PrismaClient } from './generated/client.ts'

export type { Prisma } from './generated/client.ts'

export type Database = Readonly<{ prisma: PrismaClient; pool: pg.Pool }>

/** One connection, for several statements that belong together. */
export type Connection = pg.PoolClient

/** What a room's function takes when it may run inside somebody's transaction. */
export type Db = PrismaClient | Prisma.TransactionClient

/** Nothing connects before the first query.
 *  @param onError told of connections that break while idle (a restarted database); the pool replaces them by itself. */
export function openDatabase(url: string, options: { poolSize: number; onError: (error: Error) => void }): Database {
  const pool = new pg.Pool({
    connectionString: inUtc(url),
    max: options.poolSize,
    connectionTimeoutMillis: 2_000, // with the statement limit below: 503 within 3 s when the database is away
    statement_timeout: 10_000,
    query_timeout: 2_500,
    lock_timeout: 2_000, // before query_timeout gives up on the statement: the database ends it, and a transaction can be rolled back at once
    idleTimeoutMillis: 30_000,
    keepAlive: true,
    application_name: 'sallyport',
  })
  pool.on('error', options.onError)
  pool.on('release', (_error, client) => endUnlessIdle(client))
  const prisma = new PrismaClient({
    adapter: new PrismaPg(pool, { disposeExternalPool: false }),
    errorFormat: 'minimal',
  })
  return Object.freeze({ prisma, pool })
}

/** Prisma gives a connection back whatever became of its COMMIT or ROLLBACK. One that timed out was perhaps never sent: whatever the next
 *  requests wrote there would be part of a transaction that nobody ends, and be told as done. (The pool drops a client that is ending.) */
function endUnlessIdle(client: pg.PoolClient): void {
  if (client.getTransactionStatus() !== 'I') void client.end()
}

/** Prisma's adapter writes and reads moments without their offset: only in a session that speaks UTC is what it writes what was meant. Asked
 *  for at the start of each connection, before whatever the server, the database or the role has been set to. */
function inUtc(url: string): string {
  const asked = new URL(url)
  const own = asked.searchParams.get('options')
  asked.searchParams.set('options', `${own ? `${own} ` : ''}-c timezone=UTC`)
  return asked.href
}

export async function closeDatabase({ prisma, pool }: Database): Promise<void> {
  await prisma.$disconnect()
  await pool.end()
}

/** True for faults of the connection, not of the statement: the caller answers 503 and the person tries again.
 *  SQLSTATE classes 08 (connection), 53 (resources), 57 (operator intervention), 25006 (read-only), 55P03 (a lock that somebody
 *  keeps), Node's socket errors, and P2028 (no connection was free to begin a transaction with, or it took too long). */
export function isUnavailable(error: unknown): boolean {
  for (const current of withCauses(error)) {
    const code = codeOf(current)
    if (
      typeof code === 'string' &&
      (/^(08|53|57)/.test(code) ||
        [
          '25006',
          '55P03',
          'P2028',
          'P1001',
          'P1002',
          'P1008',
          'P1017',
          'P2024',
          'ECONNREFUSED',
          'ECONNRESET',
          'ENOTFOUND',
          'ETIMEDOUT',
          'EPIPE',
          'ENOENT',
        ].includes(code))
    )
      return true
    if (
      /timeout exceeded when trying to connect|Connection terminated|Query read timeout|Can't reach database server|timeout expired|connection is closed|not queryable/i.test(
        current.message,
      )
    )
      return true
  }
  return false
}

/** True when others were at the same rows and the database undid this one: a deadlock (40P01), a failed serialization (40001), or what
 *  Prisma calls both (P2034). Nothing was written, and the same once more is likely to pass. */
export function isContended(error: unknown): boolean {
  return withCauses(error).some((current) => ['40P01', '40001', 'P2034'].includes(String(codeOf(current))))
}

function withCauses(error: unknown): Error[] {
  const found: Error[] = []
  for (let current = error; current instanceof Error && found.length < 5; current = current.cause) found.push(current)
  return found
}

const codeOf = (error: Error): unknown => sqlStateUnderPrisma(error) ?? (error as Error & { code?: unknown }).code

/** Prisma has a code of its own for what it does not know (P2039); the database's stands inside. */
function sqlStateUnderPrisma(error: Error): string | undefined {
  const { meta } = error as Error & { meta?: { driverAdapterError?: { cause?: { originalCode?: string } } } }
  return meta?.driverAdapterError?.cause?.originalCode
}
