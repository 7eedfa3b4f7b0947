// What every fault is tried on: a durable PostgreSQL of its own that may be killed, clients and a person made through the rooms, and
// real server processes that are started and killed one by one.
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import { createClient } from '#src/clients/clients.ts'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'
import { startEmbeddedPostgres } from '#src/db/embedded-postgres.ts'
import { migrate } from '#src/db/migrate.ts'
import { createSecretKeys, type SecretKeys } from '#src/keys/secret-key.ts'
import { createLog } from '#src/log.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { freePort, type Running, runNode } from '#test/support/processes.ts'
import { type Answer, createTraffic, type Traffic } from './traffic.ts'

export type Server = {
  running: Running
  /** Milliseconds from the start of the program to the first "ready". */
  readyAfter: number
  kill(): Promise<void>
}

export type Installation = {
  journey: Journey
  traffic: Traffic
  database: Database
  /** The servers' own. */
  secretKeys: SecretKeys
  postgres: { url: string; kill(): Promise<void>; restart(): Promise<void> }
  /** @param index which of the two addresses. Resolves when /readyz says so. */
  start(
    index?: number,
    options?: { databaseUrl?: string; preload?: string; env?: Record<string, string> },
  ): Promise<Server>
  /** What the servers printed, one line of each kind, for whoever has to explain a violation. */
  printed(): string
  close(): Promise<void>
}

/** Clients that differ in their leeway only (docs/decisions/006). */
export const clients = { lenient: 'shop-web', brief: 'shop-brief', strict: 'shop-strict' } as const
export const briefLeewaySeconds = 1

const quiet = createLog({ logLevel: 'silent' })

export async function openInstallation(): Promise<Installation> {
  const directory = mkdtempSync(join(tmpdir(), 'sallyport-test-')) // test/support/global-setup.ts removes what is left of these
  chmodSync(directory, 0o711)
  // Durable, as in production: what was answered must survive the database's own death.
  const startPostgres = () =>
    startEmbeddedPostgres({ dataDir: directory, log: quiet, settings: { max_connections: '100' } })
  let postgres = await startPostgres()
  const database = openDatabase(postgres.url, { poolSize: 5, onError: () => undefined }) // it dies on purpose
  await migrate(database, { log: quiet })
  const ports = [await freePort(), await freePort()]
  const url = `http://localhost:${ports[0]}`
  const journey = await startJourney({ url, database, settle: async () => undefined })
  for (const [id, refreshLeewaySeconds] of [
    [clients.strict, 0],
    [clients.brief, briefLeewaySeconds],
  ] as const)
    await createClient(
      database.prisma,
      {
        id,
        name: id,
        type: 'web',
        redirectUris: [journey.callback],
        scopes: ['openid', 'profile', 'email'],
        apis: { [orders]: ['orders:read'] },
        refreshLeewaySeconds,
      },
      [{ value: journey.secret }],
      change(),
    )
  const secretKey = randomBytes(32)
  const traffic = createTraffic({ host: new URL(url).host, ports })
  const alive = new Set<Running>()
  const started: Running[] = []

  return {
    journey,
    traffic,
    database,
    secretKeys: createSecretKeys([secretKey]),
    postgres: {
      url: postgres.url,
      /** What `pg_ctl stop -m immediate` sends: no checkpoint, sessions are cut, the next start recovers. */
      async kill() {
        const pid = Number(readFileSync(join(directory, 'postgres/data/postmaster.pid'), 'utf8').split('\n')[0])
        process.kill(pid, 'SIGQUIT')
        for (const end = Date.now() + 10_000; runs(pid); await delay(5))
          if (Date.now() > end) throw new Error('the database does not end')
      },
      async restart() {
        postgres = await startPostgres()
      },
    },
    async start(index = 0, { databaseUrl = postgres.url, preload, env = {} } = {}) {
      const began = performance.now()
      const running = runNode([...(preload ? ['--import', preload] : []), 'src/sallyport.mjs', 'start'], {
        env: {
          PORT: String(ports[index]),
          ISSUER_URL: url,
          DATABASE_URL: databaseUrl,
          SECRET_KEY: secretKey.toString('base64url'),
          LOG_LEVEL: 'warn',
          DATA_DIR: '/nonexistent',
          ...env,
        },
      })
      alive.add(running)
      started.push(running)
      await untilReady(running, () => traffic.send(index, { path: '/readyz', headers: { Connection: 'close' } }))
      const readyAfter = performance.now() - began
      return {
        running,
        readyAfter,
        async kill() {
          running.child.kill('SIGKILL')
          await running.ended()
          alive.delete(running)
        },
      }
    },
    printed() {
      const lines = started.flatMap((running) =>
        running
          .output()
          .split('\n')
          .filter((line) => line.startsWith('{')),
      )
      const kinds = new Map(lines.map((line) => [line.replace(/"(time|requestId)":"[^"]*",?/g, ''), line]))
      return [...kinds.values()].slice(-30).join('\n')
    },
    async close() {
      for (const running of alive) running.child.kill('SIGKILL')
      await Promise.all([...alive].map((running) => running.ended()))
      traffic.close()
      await closeDatabase(database)
      await postgres.stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

async function untilReady(running: Running, ask: () => Promise<Answer>): Promise<void> {
  for (const end = Date.now() + 30_000; ; await delay(5)) {
    const answer = await ask().catch(() => undefined)
    if (answer?.status === 200) return
    const { exitCode, signalCode } = running.child
    if (exitCode !== null || signalCode !== null || Date.now() > end)
      throw new Error(`never ready (code ${exitCode}, signal ${signalCode}):\n${running.output()}`)
  }
}

function runs(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** How a token is found in the database: an opaque one by its SHA-256, a JWT by its `jti`. */
export function rowIdOf(token: string): Buffer {
  return token.split('.').length === 3
    ? Buffer.from(String(decodeJwt(token).jti), 'base64url')
    : createHash('sha256').update(token).digest()
}
