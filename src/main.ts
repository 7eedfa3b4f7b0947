// The life of the process: read, open, bring up to date, listen; after the stop signal the same backwards. What the server is
// made of is in app.ts.
import { setTimeout as delay } from 'node:timers/promises'
import { createApp } from './app.ts'
import { bootstrap } from './bootstrap/bootstrap.ts'
import type { Config } from './config.ts'
import { closeDatabase, openDatabase } from './db/database.ts'
import { migrate } from './db/migrate.ts'
import { untilReachable } from './db/reachable.ts'
import { createListener } from './http/listener.ts'
import { createSecretKeys, loadOrCreateSecretKey } from './keys/secret-key.ts'
import { createLog, type Log } from './log.ts'

/** Resolves after a stop signal, when everything is closed.
 *  @throws the reason why it could not start; the message is for the operator, and nothing is left running. */
export async function run(config: Config): Promise<void> {
  const log = createLog(config)
  const life = watchProcess(log)
  const opened: [what: string, close: () => Promise<unknown>][] = []
  try {
    const secretKeys = createSecretKeys(config.secretKeys ?? [loadOrCreateSecretKey(config.dataDir)])
    let url = config.databaseUrl
    if (!url) {
      const { startEmbeddedPostgres } = await import('./db/embedded-postgres.ts')
      const embedded = await startEmbeddedPostgres({ dataDir: config.dataDir, log })
      opened.push(['embedded PostgreSQL', embedded.stop])
      url = embedded.url
    }
    const database = openDatabase(url, {
      poolSize: config.databasePoolSize,
      onError: (err) => {
        if (!life.stop.aborted) log.warn({ event: 'database.connection_lost', err })
      },
    })
    opened.push(['database', () => closeDatabase(database)])
    await untilReachable(database, { log, signal: life.stop })
    await migrate(database, { log })
    const { banner } = await bootstrap({ config, database, secretKeys, log, now: () => new Date() })
    const app = await createApp({ config, log, database, secretKeys, isDraining: () => life.stop.aborted })
    opened.push(['app', () => app.stop()])
    const listener = createListener(app.callback())
    await listener.listen(config)
    opened.push(['listener', () => listener.drain(config.shutdownTimeoutSeconds * 1000)])

    life.started()
    log.info({ event: 'server.started', issuer: config.issuerUrl, host: config.host, port: config.port })
    process.stdout.write(banner.map((line) => `${line}\n`).join(''))
    await life.untilStop()
    listener.leave()
    log.info({ event: 'server.draining' })
    // /readyz says 503 from here on; new connections are still answered while load balancers take notice.
    if (config.production) await delay(1_000)
  } finally {
    for (const [what, close] of opened.reverse())
      await close().catch((err: unknown) => log.error({ event: 'server.close_failed', what, err }))
  }
  log.info({ event: 'server.stopped' })
}

/** Signals and faults of the process as a whole. */
function watchProcess(log: Log) {
  const stop = new AbortController()
  let started = false
  let firstSignalAt: number | undefined
  const onSignal = () => {
    // npm hands a Ctrl-C on to its child, which has it from the terminal already: one key press, two signals.
    if (firstSignalAt !== undefined && performance.now() - firstSignalAt > 500) process.exit(1)
    firstSignalAt ??= performance.now()
    stop.abort()
  }
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal)
  process.on('unhandledRejection', (err) => {
    log.error({ event: 'process.rejection_unhandled', err })
    if (!started) process.exit(1)
  })
  process.on('uncaughtException', (err) => {
    // Whatever was under way is in an unknown state: finish the requests of others, then let the supervisor start afresh.
    log.fatal({ event: 'process.exception_uncaught', err })
    if (!started) process.exit(1)
    process.exitCode = 1
    stop.abort()
  })
  return {
    stop: stop.signal,
    started: () => {
      started = true
    },
    untilStop: () =>
      new Promise<void>((resolve) => {
        if (stop.signal.aborted) resolve()
        else stop.signal.addEventListener('abort', () => resolve())
      }),
  }
}
