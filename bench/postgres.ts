// The run's own PostgreSQL: the embedded one with its durable defaults, on the load's core.
import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { startEmbeddedPostgres } from '#src/db/embedded-postgres.ts'
import { createLog } from '#src/log.ts'

export type Postgres = {
  version: string
  /** @returns the URL of a new, empty database. */
  createDatabase(prefix: string): Promise<string>
  stop(): Promise<void>
}

export async function startPostgres(workspace: string): Promise<Postgres> {
  const dataDir = join(workspace, 'data')
  mkdirSync(dataDir)
  for (const folder of [workspace, dataDir]) chmodSync(folder, 0o711) // as root, the server's account must pass through
  const server = await startEmbeddedPostgres({ dataDir, log: createLog({ logLevel: 'silent' }) })
  const query = async (text: string) => {
    const client = new pg.Client({ connectionString: server.url })
    await client.connect()
    try {
      return await client.query<Record<string, string>>(text)
    } finally {
      await client.end()
    }
  }
  const settings = await query(
    `SELECT version(), current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit`,
  )
  const { version = '', fsync, commit } = settings.rows[0] ?? {}
  if (fsync !== 'on' || commit !== 'on') throw new Error(`not durable: fsync=${fsync} synchronous_commit=${commit}`)
  let count = 0
  return {
    version: version.split(' ').slice(0, 2).join(' '),
    async createDatabase(prefix) {
      const name = `${prefix}_${++count}`
      await query(`CREATE DATABASE ${name}`)
      const url = new URL(server.url)
      url.pathname = `/${name}`
      return url.href
    },
    stop: () => server.stop(),
  }
}
