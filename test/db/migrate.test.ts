import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { migrate, pendingMigrations, readMigrations } from '#src/db/migrate.ts'
import { createLog } from '#src/log.ts'
import { createTestDatabase, hasPostgres15, type TestDatabase } from '#test/support/database.ts'

let empty: TestDatabase
let directory: string
let lines: { event: string; migration?: string; migrations?: string[] }[]
const log = createLog({ logLevel: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) })

beforeEach(async () => {
  lines = []
  directory = mkdtempSync(join(tmpdir(), 'sallyport-migrations-'))
  empty = await createTestDatabase({ migrated: false })
})

afterEach(async () => {
  rmSync(directory, { recursive: true })
  await empty.drop()
})

function write(name: string, sql: string): string {
  mkdirSync(join(directory, name), { recursive: true })
  writeFileSync(join(directory, name, 'migration.sql'), sql)
  return createHash('sha256').update(sql).digest('hex')
}

const books = async () => (await empty.database.pool.query('SELECT * FROM _prisma_migrations ORDER BY started_at')).rows

const exists = async (table: string) =>
  (await empty.database.pool.query('SELECT to_regclass($1) IS NOT NULL AS found', [table])).rows[0].found

test('applies the files in the order of their names, once, and keeps the books as Prisma does', async () => {
  const second = write('20260102000000_two', 'ALTER TABLE a ADD COLUMN two int;')
  const first = write('20260101000000_one', 'CREATE TABLE a (one int);\nINSERT INTO a VALUES (1);')
  writeFileSync(join(directory, 'migration_lock.toml'), 'provider = "postgresql"\n')

  expect(await migrate(empty.database, { directory, log })).toEqual(['20260101000000_one', '20260102000000_two'])
  expect(await migrate(empty.database, { directory, log })).toEqual([])

  expect(await books()).toEqual(
    [
      { migration_name: '20260101000000_one', checksum: first },
      { migration_name: '20260102000000_two', checksum: second },
    ].map((row) => ({
      ...row,
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      started_at: expect.any(Date),
      finished_at: expect.any(Date),
      applied_steps_count: 1,
      logs: null,
      rolled_back_at: null,
    })),
  )
  expect(lines.map((line) => line.event)).toEqual(['migration.applied', 'migration.applied'])
})

test('a migration that fails leaves nothing of itself, and the next start tries it again', async () => {
  write('1_good', 'CREATE TABLE good ();')
  write('2_bad', 'CREATE TABLE half (); SELECT 1 / 0;')
  await expect(migrate(empty.database, { directory, log })).rejects.toThrow(
    'Migration 2_bad failed and was rolled back: division by zero',
  )
  expect([await exists('good'), await exists('half')]).toEqual([true, false])
  expect(await books()).toHaveLength(1)

  write('2_bad', 'CREATE TABLE half ();')
  expect(await migrate(empty.database, { directory, log })).toEqual(['2_bad'])
})

test('a migration and its entry in the books are one: without the entry the migration is not there', async () => {
  write('1_good', 'CREATE TABLE good ();')
  await migrate(empty.database, { directory, log })
  write('2_takes_the_books_away', 'CREATE TABLE half (); DROP TABLE _prisma_migrations;')
  await expect(migrate(empty.database, { directory, log })).rejects.toThrow(/^Migration 2_takes_the_books_away failed/)
  expect([await exists('half'), (await books()).length]).toEqual([false, 1])
})

test('refuses a file that was changed after it was applied, and names it', async () => {
  write('1_one', 'CREATE TABLE a ();')
  await migrate(empty.database, { directory, log })
  write('1_one', 'CREATE TABLE a (); -- edited')
  write('2_two', 'CREATE TABLE b ();')
  await expect(migrate(empty.database, { directory, log })).rejects.toThrow(
    /^Migration 1_one was changed after it was applied/,
  )
  expect(await exists('b')).toBe(false)
})

test('refuses to go on from a migration that another tool started and never finished', async () => {
  write('1_one', 'CREATE TABLE a ();')
  await migrate(empty.database, { directory, log })
  write('2_two', 'CREATE TABLE b ();')
  await empty.database.pool.query(
    `INSERT INTO _prisma_migrations (id, checksum, migration_name, logs) VALUES ('x', 'y', '2_two', E'syntax error\n at line 3')`,
  )
  await expect(migrate(empty.database, { directory, log })).rejects.toThrow(
    /^Migration 2_two was started and never finished \(syntax error\)\. .*`npx prisma migrate resolve --applied 2_two`/,
  )
  // What that advice does to the row: a rolled back migration is due again.
  await empty.database.pool.query(`UPDATE _prisma_migrations SET rolled_back_at = now() WHERE id = 'x'`)
  expect(await migrate(empty.database, { directory, log })).toEqual(['2_two'])
})

test('runs on the schema of a newer release and says so, for the time of a rolling upgrade', async () => {
  write('1_one', 'CREATE TABLE a ();')
  write('2_next_release', 'CREATE TABLE b ();')
  await migrate(empty.database, { directory, log })
  rmSync(join(directory, '2_next_release'), { recursive: true })
  lines = []
  expect(await migrate(empty.database, { directory, log })).toEqual([])
  expect(lines).toMatchObject([{ event: 'migration.newer_schema', migrations: ['2_next_release'] }])
})

test('of several processes that start at once, one migrates and the others wait for it', async () => {
  write('1_slow', 'CREATE TABLE a (); SELECT pg_sleep(0.5);')
  const results = await Promise.all([1, 2, 3, 4].map(() => migrate(empty.database, { directory, log })))
  expect(results.map((names) => names.length).sort()).toEqual([0, 0, 0, 1])
  expect(await books()).toHaveLength(1)
})

test('waits for the lock of `prisma migrate deploy`, but not for ever', async () => {
  write('1_one', 'CREATE TABLE a ();')
  const prisma = new pg.Client({ connectionString: empty.url })
  await prisma.connect()
  await prisma.query('SELECT pg_advisory_lock(72707369)')
  await expect(migrate(empty.database, { directory, log, lockTimeoutMs: 300 })).rejects.toThrow(
    /^Another process has been migrating this database for 0.3 s/,
  )
  const waiting = migrate(empty.database, { directory, log })
  await prisma.end()
  expect(await waiting).toEqual(['1_one'])
})

test('a migration may take longer than the pool allows a statement, and its settings do not leak into the pool', async () => {
  write('1_slow', "SET lock_timeout = '77ms'; SELECT pg_sleep(3);")
  expect(await migrate(empty.database, { directory, log })).toEqual(['1_slow'])
  expect((await empty.database.pool.query('SHOW lock_timeout')).rows).toEqual([{ lock_timeout: '2s' }])
})

test('tells which migrations are pending, on a database without books and on one with', async () => {
  write('1_one', 'CREATE TABLE a ();')
  expect(await pendingMigrations(empty.database, readMigrations(directory))).toEqual(['1_one'])
  await migrate(empty.database, { directory, log })
  write('2_two', 'CREATE TABLE b ();')
  expect(await pendingMigrations(empty.database, readMigrations(directory))).toEqual(['2_two'])
})

describe.runIf(hasPostgres15())('on PostgreSQL 15', () => {
  test('the migrations of this release apply, and leave the same tables as on the newest server', async () => {
    const databases = await Promise.all([createTestDatabase({ server: 15 }), createTestDatabase()])
    const columns = await Promise.all(
      databases.map(
        async ({ database }) =>
          (
            await database.pool.query(
              `SELECT table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
               WHERE table_schema = 'public' ORDER BY 1, 2`,
            )
          ).rows,
      ),
    )
    expect(columns[0]?.length).toBeGreaterThan(100)
    expect(columns[0]).toEqual(columns[1])
    for (const { drop } of databases) await drop()
  })
})
