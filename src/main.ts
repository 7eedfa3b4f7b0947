// The life of the first process: read, open, bring up to date, serve; after the stop signal the same backwards. It answers itself,
// or has workers that do (WORKERS); what must exist once is here either way. What the server is made of is in app.ts.
import { bootstrap } from './bootstrap/bootstrap.ts'
import type { Config } from './config.ts'
import { closeDatabase, type Database, openDatabase } from './db/database.ts'
import { migrate } from './db/migrate.ts'
import { untilReachable } from './db/reachable.ts'
import { passwordHashing } from './factors/password.ts'
import { settlePasswords } from './factors/password-settings.ts'
import { createSchedule } from './jobs/schedule.ts'
import { createSecretKeys, loadOrCreateSecretKey } from './keys/secret-key.ts'
import { listSigningKeys } from './keys/signing-key-list.ts'
import { createLog } from './log.ts'
import { createMailSender, type MailSender } from './mail/sender.ts'
import { createMetrics, type DatabaseFacts, type Metrics, printSum } from './metrics.ts'
import { serveMetrics } from './metrics-server.ts'
import { createClosing, watchProcess } from './process-life.ts'
import { sweepLagSeconds, tableSizes } from './tokens/growth.ts'
import { sweep } from './tokens/sweep.ts'

/** Beside workers the first process only does scheduled work and looks after figures. */
const poolSizeBesideWorkers = 3

/** Resolves after a stop signal, when everything is closed.
 *  @throws the reason why it could not start; the message is for the operator, and nothing is left running. */
export async function run(given: Config): Promise<void> {
  const log = createLog(given)
  const life = watchProcess(log)
  const { stop } = life
  const closing = createClosing(log)
  const now = () => new Date()
  try {
    settlePasswords(given)
    const keys = given.secretKeys ?? [loadOrCreateSecretKey(given.dataDir)]
    const databaseUrl = given.databaseUrl ?? (await startEmbedded())
    const config: Config = Object.freeze({ ...given, secretKeys: keys, databaseUrl })
    const secretKeys = createSecretKeys(keys)
    const alone = config.workers === 1
    const database = openDatabase(databaseUrl, {
      poolSize: alone ? config.databasePoolSize : poolSizeBesideWorkers,
      onError: life.unlessStopping((err) => log.warn({ event: 'database.connection_lost', err })),
    })
    closing.add('database', () => closeDatabase(database))
    await untilReachable(database, { log, signal: stop })
    await migrate(database, { log })
    const { banner } = await bootstrap({ config, database, secretKeys, log, now })

    const metrics = createMetrics()
    metrics.watchDatabase(() => factsOf(database, now()))
    const { failure, print } = alone ? await serveHere() : await serveByWorkers()
    if (config.metricsPort !== 0) {
      const { metricsHost: host, metricsPort: port } = config
      const onError = (err: unknown) => log.error({ event: 'metrics.failed', err })
      const server = await serveMetrics({ host, port, print, onError })
      closing.add('metrics', server.close)
    }
    const sender = createMailSender({ database, secretKeys, config, log, now })
    const schedule = scheduleOf(database, metrics, sender)
    schedule.start()
    closing.add('schedule', () => schedule.stop())

    if (config.mail === 'none') log.warn({ event: 'mail.not_set_up' })
    life.started()
    log.info({
      event: 'server.started',
      issuer: config.issuerUrl,
      host: config.host,
      port: config.port,
      workers: config.workers,
    })
    process.stdout.write(banner.map((line) => `${line}\n`).join(''))
    await Promise.race([life.untilStop(), failure])
    log.info({ event: 'server.draining' })

    async function serveHere() {
      const { serve } = await import('./serving.ts') // most of the program: beside workers it is not loaded
      const serving = await serve({ config, database, secretKeys, log, metrics, stop, sharesPort: false })
      closing.add('serving', serving.close)
      return { failure: life.untilStop(), print: metrics.print }
    }

    async function serveByWorkers() {
      passwordHashing.close() // the bootstrap may have hashed; from here on the workers do
      const { startWorkers } = await import('./workers.ts')
      const workers = await startWorkers({ config, log, stop })
      closing.add('workers', workers.close)
      return {
        failure: workers.failure,
        print: async () => printSum([await metrics.counted(), ...(await workers.counted())]),
      }
    }
  } finally {
    await closing.close()
  }
  log.info({ event: 'server.stopped' })

  async function startEmbedded(): Promise<string> {
    const { startEmbeddedPostgres } = await import('./db/embedded-postgres.ts')
    const connections = given.workers * given.databasePoolSize + 20
    const embedded = await startEmbeddedPostgres({
      dataDir: given.dataDir,
      log,
      ...(connections > 100 ? { settings: { max_connections: String(connections) } } : {}),
    })
    closing.add('embedded PostgreSQL', embedded.stop)
    return embedded.url
  }

  function scheduleOf(database: Database, metrics: Metrics, sender: MailSender) {
    return createSchedule({
      database,
      log,
      now,
      jobs: [
        {
          name: 'sweep',
          everySeconds: 10,
          run: (context) =>
            sweep(context.database, {
              now: context.now(),
              maxSeconds: 8,
              signal: context.signal,
              onBatch: ({ table, rows, seconds }) => metrics.swept(table, rows, seconds),
            }),
        },
        { name: 'mail', everySeconds: 1, isDue: sender.isDue, run: ({ signal }) => sender.run(signal) },
      ],
      onRun: ({ job, outcome, seconds }) => metrics.jobRun(job, outcome, seconds),
    })
  }
}

async function factsOf(database: Database, now: Date): Promise<DatabaseFacts> {
  const [tables, sweepLag, keys] = await Promise.all([
    tableSizes(database),
    sweepLagSeconds(database),
    listSigningKeys(database.prisma),
  ])
  const signingKeys = keys
    .filter(({ state }) => state === 'current')
    .map((key) => ({ alg: key.alg, ageSeconds: (now.getTime() - (key.activatedAt ?? key.createdAt).getTime()) / 1000 }))
  return { tables, sweepLag, signingKeys }
}
