// Once per run, before any worker: the servers of test/support/database.ts. Each holds a migrated template that the workers copy.
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { closeDatabase, openDatabase } from '#src/db/database.ts'
import { findEmbeddedPostgres, startEmbeddedPostgres } from '#src/db/embedded-postgres.ts'
import { migrate } from '#src/db/migrate.ts'
import { createLog } from '#src/log.ts'
import { onDatabase, template } from './database.ts'
import { type Exported, exportOf } from './installation.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Administrative URLs by server. `debian15` is undefined where PostgreSQL 15 is not installed. */
    servers: { embedded: string; debian15: string | undefined }
    /** What journeys begin with (installation.ts). */
    installation: Exported
  }
}

const debian15 = '/usr/lib/postgresql/15/bin'
const prefix = 'sallyport-test-'
const log = createLog({ logLevel: 'silent' })

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  removeLeftovers()
  const servers = await Promise.all([start(), existsSync(debian15) ? start(debian15) : undefined])
  project.provide('servers', { embedded: servers[0].url, debian15: servers[1]?.url })
  project.provide('installation', await exportInstallation(servers[0].url))
  return async () => {
    await Promise.all(servers.map((server) => server?.stop()))
  }
}

async function start(binaries?: string) {
  const dataDir = mkdtempSync(join(tmpdir(), prefix))
  await chmod(dataDir, 0o711) // as root, the server's account must pass through
  const server = await startEmbeddedPostgres({
    dataDir,
    log,
    ...(binaries ? { binaries } : {}),
    // Nothing here outlives the run: speed before durability.
    settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '300' },
  })
  const admin = openDatabase(server.url, { poolSize: 1, onError: (error) => log.warn({ err: error }) })
  await admin.pool.query(`CREATE DATABASE ${template}`)
  const prepared = openDatabase(onDatabase(server.url, template), {
    poolSize: 1,
    onError: (error) => log.warn({ err: error }),
  })
  await migrate(prepared, { log })
  await closeDatabase(prepared)
  await admin.pool.query(`ALTER DATABASE ${template} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true`) // a copy needs it idle
  await closeDatabase(admin)
  return {
    url: server.url,
    async stop() {
      await server.stop()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

/** In a database that nobody looks at again. */
async function exportInstallation(url: string): Promise<Exported> {
  const admin = openDatabase(url, { poolSize: 1, onError: (error) => log.warn({ err: error }) })
  await admin.pool.query(`CREATE DATABASE exported TEMPLATE ${template}`)
  await closeDatabase(admin)
  const database = openDatabase(onDatabase(url, 'exported'), {
    poolSize: 2,
    onError: (error) => log.warn({ err: error }),
  })
  try {
    return await exportOf(database)
  } finally {
    await closeDatabase(database)
  }
}

/** A run that was killed ends its servers (the guardian sees to that) but leaves its folder. A young one may belong to a run
 *  that is just starting. */
function removeLeftovers(): void {
  for (const name of readdirSync(tmpdir()).filter((entry) => entry.startsWith(prefix))) {
    const folder = join(tmpdir(), name)
    const anHourOld = (statSync(folder, { throwIfNoEntry: false })?.mtimeMs ?? Date.now()) < Date.now() - 3_600_000
    if (anHourOld && !findEmbeddedPostgres(folder)) rmSync(folder, { recursive: true, force: true })
  }
}
