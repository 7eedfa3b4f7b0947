// A database of its own for every test file, copied from the migrated template in about 0.1 s.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { inject } from 'vitest'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'

export const template = 'sallyport_template'

export type TestDatabase = { url: string; database: Database; drop(): Promise<void> }

/** @param server 'embedded' is the newest PostgreSQL we run on, 15 the oldest (Debian's; see `hasPostgres15`).
 *  @param migrated false gives an empty database. */
export async function createTestDatabase(
  options: { server?: 'embedded' | 15; migrated?: boolean; poolSize?: number } = {},
): Promise<TestDatabase> {
  const servers = inject('servers')
  const admin = options.server === 15 ? servers.debian15 : servers.embedded
  if (!admin) throw new Error('PostgreSQL 15 is not installed: apt-get install postgresql-15')
  const name = `test_${randomBytes(6).toString('hex')}`
  await administer(admin, `CREATE DATABASE ${name} TEMPLATE ${options.migrated === false ? 'template0' : template}`)
  const url = onDatabase(admin, name)
  const database = openDatabase(url, {
    poolSize: options.poolSize ?? 10,
    onError: () => undefined, // drop() below cuts idle connections of servers under test
  })
  return {
    url,
    database,
    async drop() {
      await closeDatabase(database)
      await administer(admin, `DROP DATABASE ${name} WITH (FORCE)`)
    },
  }
}

/** For `describe.runIf`: CI installs Debian's PostgreSQL 15, a developer's machine may lack it. */
export function hasPostgres15(): boolean {
  return inject('servers').debian15 !== undefined
}

export function onDatabase(url: string, database: string): string {
  const changed = new URL(url)
  changed.pathname = `/${database}`
  return changed.href
}

async function administer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
