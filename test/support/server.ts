// The whole server for a test: its own database, a free port, real HTTP. What a journey needs to begin is made through the rooms.
import { randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Writable } from 'node:stream'
import { type App, createApp } from '#src/app.ts'
import { type Config, readConfig } from '#src/config.ts'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'
import { createSecretKeys, type SecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys } from '#src/keys/signing-keys.ts'
import { createLog } from '#src/log.ts'
import type { OperationCounters } from '#src/oauth/operations.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

export type TestServer = {
  url: string
  port: number
  config: Config
  database: Database
  databaseUrl: string
  secretKeys: SecretKeys
  app: App
  /** Returns when changed configuration is known. */
  settle(): Promise<void>
  /** Everything that was logged, as printed. */
  logged: string[]
  stop(): Promise<void>
}

/** @param options.share a running server whose database and keys this one uses too: a second process of the same installation. */
export async function startServer(
  options: {
    env?: Record<string, string>
    share?: TestServer
    now?: () => Date
    databaseServer?: 'embedded' | 15
    issuer?: (port: number) => string
    /** The server reaches its database by this address, the test by the direct one. */
    databaseThrough?: (url: string) => Promise<string>
    counters?: OperationCounters
    /** For tests in which a command line opens what this server sealed. */
    secretKey?: Buffer
  } = {},
): Promise<TestServer> {
  const listener = createServer()
  listener.keepAliveTimeout = 60_000 // a busy machine must not close a connection just as the next request is sent on it
  const port = await listen(listener)
  const own: TestDatabase | undefined = options.share
    ? undefined
    : await createTestDatabase(options.databaseServer ? { server: options.databaseServer } : {})
  const database = options.share?.database ?? (own as TestDatabase).database
  const databaseUrl = options.share?.databaseUrl ?? (own as TestDatabase).url
  const url = options.issuer?.(port) ?? options.share?.url ?? `http://localhost:${port}`
  const config = readConfig({
    ISSUER_URL: url,
    PORT: String(port),
    DATABASE_URL: databaseUrl,
    LOG_LEVEL: 'info',
    ...options.env,
  })
  const secretKeys = options.share?.secretKeys ?? createSecretKeys([options.secretKey ?? randomBytes(32)])
  const now = options.now ?? (() => new Date())
  await ensureSigningKeys(database, secretKeys, now())
  const logged: string[] = []
  const log = createLog(
    config,
    new Writable({
      write(chunk, _encoding, done) {
        logged.push(String(chunk))
        done()
      },
    }),
  )
  const detour = options.databaseThrough
    ? openDatabase(await options.databaseThrough(databaseUrl), { poolSize: 10, onError: () => undefined })
    : undefined
  const { counters } = options
  const app = await createApp({
    config,
    log,
    database: detour ?? database,
    secretKeys,
    now,
    ...(counters && { counters }),
  })
  listener.on('request', app.callback())
  return {
    url,
    port,
    config,
    database,
    databaseUrl,
    secretKeys,
    app,
    settle: () => app.providers.refresh(),
    logged,
    async stop() {
      listener.closeAllConnections()
      await new Promise((resolve) => listener.close(resolve))
      await app.stop()
      if (detour) await closeDatabase(detour)
      await own?.drop()
    },
  }
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, 'localhost', () => resolve((server.address() as AddressInfo).port))
  })
}
