// Brings the schema up to date before anything listens: the SQL files of prisma/migrations, in the order of their names. The
// books are Prisma's own (`_prisma_migrations`, its advisory lock, the same checksums), so `prisma migrate deploy` and this
// can take turns on one database. Each file is one transaction: it is applied or it is not, also when the process is killed.
import { createHash, randomUUID } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import type { Log } from '#src/log.ts'
import type { Database } from './database.ts'

/** The message is for the operator: which migration, what happened, what to do. */
export class MigrationRefused extends Error {
  override name = 'MigrationRefused'
}

export type Migration = Readonly<{ name: string; sql: string; checksum: string }>

type Applied = { migration_name: string; checksum: string; finished_at: Date | null; logs: string | null }

export const migrationsDirectory = join(import.meta.dirname, '../../prisma/migrations')

const prismaLock = 72707369
const oldestServer = 150_000
const undefinedTable = '42P01'

/** Several processes may call it at once: one migrates, the others wait for it.
 *  @param lockTimeoutMs how long to wait for another process.
 *  @returns the names that were applied now.
 *  @throws MigrationRefused; errors of a migration's own SQL are its cause. */
export async function migrate(
  { pool }: Pick<Database, 'pool'>,
  options: { directory?: string; log: Log; lockTimeoutMs?: number; progress?: (done: number, of: number) => void },
): Promise<string[]> {
  const migrations = readMigrations(options.directory)
  // Its own connection: a migration may take longer than the pool allows a statement, and leaves settings behind.
  const client = new pg.Client({
    connectionString: pool.options.connectionString,
    connectionTimeoutMillis: 5_000,
    application_name: 'sallyport migrate',
  })
  await client.connect()
  try {
    await requireServerVersion(client)
    const before = await readApplied(client)
    reportNewer(migrations, before, options.log)
    if (missing(migrations, before).length === 0) return []
    await takeLock(client, options.lockTimeoutMs ?? 60_000)
    const applied = await readApplied(client)
    refuseUnfinished(applied)
    const pending = missing(migrations, applied)
    if (applied.length === 0 && pending.length > 0) await createBooks(client)
    for (const [done, migration] of pending.entries()) {
      options.progress?.(done, pending.length)
      await apply(client, migration)
      options.log.info({ event: 'migration.applied', migration: migration.name })
    }
    return pending.map(({ name }) => name)
  } finally {
    await client.end() // ends the lock with it
  }
}

/** @returns the names that are not applied yet; /readyz asks. */
export async function pendingMigrations(
  { pool }: Pick<Database, 'pool'>,
  migrations: readonly Migration[],
): Promise<string[]> {
  const applied = await readApplied(pool)
  const finished = new Set(applied.filter((row) => row.finished_at).map((row) => row.migration_name))
  return migrations.map(({ name }) => name).filter((name) => !finished.has(name))
}

export function readMigrations(directory = migrationsDirectory): Migration[] {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => {
      const bytes = readFileSync(join(directory, name, 'migration.sql'))
      return { name, sql: bytes.toString('utf8'), checksum: createHash('sha256').update(bytes).digest('hex') }
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
}

async function requireServerVersion(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ number: string; name: string }>(
    "SELECT current_setting('server_version_num') AS number, current_setting('server_version') AS name",
  )
  if (Number(rows[0]?.number) < oldestServer)
    throw new MigrationRefused(`PostgreSQL 15 or newer is needed; the database is ${rows[0]?.name}.`)
}

async function readApplied(db: pg.Client | pg.Pool): Promise<Applied[]> {
  try {
    const { rows } = await db.query<Applied>(
      'SELECT migration_name, checksum, finished_at, logs FROM _prisma_migrations WHERE rolled_back_at IS NULL ORDER BY started_at',
    )
    return rows
  } catch (error) {
    if ((error as { code?: unknown }).code === undefinedTable) return []
    throw error
  }
}

/** @throws MigrationRefused when a file is not the one that was applied. */
function missing(migrations: readonly Migration[], applied: readonly Applied[]): Migration[] {
  const found = new Map(applied.map((row) => [row.migration_name, row]))
  for (const { name, checksum } of migrations) {
    const row = found.get(name)
    if (row?.finished_at && row.checksum !== checksum)
      throw new MigrationRefused(
        `Migration ${name} was changed after it was applied: the database has checksum ${row.checksum}, the file ${checksum}. Restore the file; a change of the schema is a new migration.`,
      )
  }
  return migrations.filter(({ name }) => !found.get(name)?.finished_at)
}

/** During a rolling upgrade this release runs on the schema of the next one: allowed, and worth a line. */
function reportNewer(migrations: readonly Migration[], applied: readonly Applied[], log: Log): void {
  const known = new Set(migrations.map(({ name }) => name))
  const newer = applied.map((row) => row.migration_name).filter((name) => !known.has(name))
  if (newer.length > 0) log.warn({ event: 'migration.newer_schema', migrations: newer })
}

/** Only another tool leaves such a row: nobody but a person knows how much of the file took effect. */
function refuseUnfinished(applied: readonly Applied[]): void {
  const failed = applied.find((row) => !row.finished_at)
  if (failed)
    throw new MigrationRefused(
      `Migration ${failed.migration_name} was started and never finished${failed.logs ? ` (${failed.logs.trim().split('\n')[0]})` : ''}. Put the schema right, then record it with \`npx prisma migrate resolve --applied ${failed.migration_name}\` or \`--rolled-back ${failed.migration_name}\`.`,
    )
}

/** Asked again and again instead of waited for: a waiting statement would hold a snapshot against the migration it waits for. */
async function takeLock(client: pg.Client, timeoutMs: number): Promise<void> {
  for (const end = performance.now() + timeoutMs; ; await delay(100)) {
    const { rows } = await client.query<{ locked: boolean }>('SELECT pg_try_advisory_lock($1) AS locked', [prismaLock])
    if (rows[0]?.locked) return
    if (performance.now() > end)
      throw new MigrationRefused(
        `Another process has been migrating this database for ${timeoutMs / 1000} s. Wait for it, or end it, and start again.`,
      )
  }
}

/** Prisma's table, column by column. */
async function createBooks(client: pg.Client): Promise<void> {
  await client.query(`CREATE TABLE IF NOT EXISTS _prisma_migrations (
    id                  VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum            VARCHAR(64) NOT NULL,
    finished_at         TIMESTAMPTZ,
    migration_name      VARCHAR(255) NOT NULL,
    logs                TEXT,
    rolled_back_at      TIMESTAMPTZ,
    started_at          TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count INTEGER NOT NULL DEFAULT 0
  )`)
}

async function apply(client: pg.Client, { name, sql, checksum }: Migration): Promise<void> {
  try {
    await client.query('BEGIN')
    await client.query(sql)
    await client.query(
      `INSERT INTO _prisma_migrations (id, checksum, migration_name, started_at, finished_at, applied_steps_count)
       VALUES ($1, $2, $3, now(), clock_timestamp(), 1)`,
      [randomUUID(), checksum, name],
    )
    await client.query('COMMIT')
  } catch (error) {
    throw new MigrationRefused(
      `Migration ${name} failed and was rolled back: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    )
  }
}
