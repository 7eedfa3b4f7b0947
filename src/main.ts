// The life of the first process: read, open, bring up to date, serve; after the stop signal the same backwards. It answers itself,
// or has workers that do (WORKERS); what must exist once is here either way. What the server is made of is in app.ts.
import { careForChain, isChainDue } from './audit/checkpoints.ts'
import { endOfRetention, removeOldEvents } from './audit/retention.ts'
import { auditBacklog } from './audit/seal.ts'
import { createAuditStream } from './audit/stream.ts'
import { bootstrap } from './bootstrap/bootstrap.ts'
import { endLeftTrials, isTrialLeft } from './clients/trials.ts'
import type { Config } from './config.ts'
import { closeDatabase, type Database, openDatabase } from './db/database.ts'
import { migrate } from './db/migrate.ts'
import { untilReachable } from './db/reachable.ts'
import { passwordHashing } from './factors/password.ts'
import { settlePasswords } from './factors/password-settings.ts'
import { isSettlingDue, settleImpersonations } from './impersonation/end.ts'
import { createJobRecords } from './jobs/records.ts'
import { createJobRequests } from './jobs/requests.ts'
import { createSchedule, type JobContext } from './jobs/schedule.ts'
import { careForSigningKeys } from './keys/key-rotation.ts'
import { isMoveDue, moveToNewestKey, noteSecretKeys, readSealing, sealsNewest } from './keys/seal-rotation.ts'
import { createSecretKeys, loadOrCreateSecretKey, type SecretKeys } from './keys/secret-key.ts'
import { listSigningKeys } from './keys/signing-keys.ts'
import { createStatementSigner } from './keys/statement-signer.ts'
import { createLog } from './log.ts'
import { createMailSender, type MailSender } from './mail/sender.ts'
import { createMetrics, type DatabaseFacts, type Metrics, printSum } from './metrics.ts'
import { serveMetrics } from './metrics-server.ts'
import { createClosing, watchProcess } from './process-life.ts'
import { readConfigInForce } from './settings/settings.ts'
import { signedIsOfUseSeconds } from './tokens/feed.ts'
import { sweepLagSeconds, tableSizes } from './tokens/growth.ts'
import { sweep } from './tokens/sweep.ts'
import { purgeDeleted } from './users/deletion.ts'
import { webhookBacklog } from './webhooks/backlog.ts'
import { createWebhookSender } from './webhooks/sender.ts'

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
    await noteSecretKeys(database, secretKeys, now())
    const { banner } = await bootstrap({ config, database, secretKeys, log, now })

    const metrics = createMetrics()
    metrics.watchDatabase(() => factsOf(database, now(), config.auditSyslog !== undefined))
    const { failure, print } = alone ? await serveHere() : await serveByWorkers()
    if (config.metricsPort !== 0) {
      const { metricsHost: host, metricsPort: port } = config
      const onError = (err: unknown) => log.error({ event: 'metrics.failed', err })
      const server = await serveMetrics({ host, port, print, onError })
      closing.add('metrics', server.close)
    }
    const sender = createMailSender({ database, secretKeys, config, log, now })
    const schedule = scheduleOf({ database, metrics, config, secretKeys, sender })
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

  function scheduleOf(parts: {
    database: Database
    metrics: Metrics
    config: Config
    secretKeys: SecretKeys
    sender: MailSender
  }) {
    const { database, metrics, config, secretKeys, sender } = parts
    const webhooks = createWebhookSender({
      ...{ database, secretKeys, log, now },
      networks: config.webhookNetworks,
      observe: metrics.webhookAttempted,
    })
    const sign = createStatementSigner(database, secretKeys)
    const issuer = config.issuerUrl
    const { auditRetentionDays, auditSyslog } = config
    const stream =
      auditSyslog && createAuditStream({ database, target: auditSyslog, host: new URL(issuer).hostname, log, now })
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
        {
          name: 'signing keys',
          everySeconds: 600,
          async run(context) {
            const inForce = await readConfigInForce(context.database, config)
            const done = await careForSigningKeys(context.database, secretKeys, {
              rotationDays: inForce.signingKeyRotationDays,
              keptSeconds: signedIsOfUseSeconds(inForce.sessionTtlSeconds),
              change: { now: context.now(), actor: { kind: 'system', id: 'schedule' } },
            })
            for (const rotation of done.rotated) log.info({ event: 'key.rotated', ...rotation })
            for (const kid of done.removed) log.info({ event: 'key.removed', kid })
          },
        },
        {
          name: 'secret key',
          everySeconds: 60,
          isDue: (context) => isMoveDue(context.database, secretKeys, context.now()),
          async run({ database, now, signal }) {
            // Also when somebody asks: two processes that pull rows to and fro would never be done.
            if (!(await sealsNewest(database, secretKeys))) return
            const change = { now: now(), actor: { kind: 'system', id: 'schedule' } } as const
            const done = await moveToNewestKey(database, secretKeys, { change, signal })
            if (done.moved > 0 || done.unreadable > 0) log.info({ event: 'secret_key.rows_moved', ...done })
          },
        },
        {
          name: 'purge',
          everySeconds: 600,
          run: (context) =>
            purgeDeleted(
              context.database,
              { now: context.now(), actor: { kind: 'system', id: 'purge' } },
              context.signal,
            ),
        },
        {
          name: 'trials',
          everySeconds: 300,
          isDue: (context) => isTrialLeft(context.database, context.now()),
          async run({ database: { prisma }, now, signal }) {
            const change = { now: now(), actor: { kind: 'system', id: 'trials' } } as const
            const done = await endLeftTrials(prisma, change, signal)
            log.info({ event: 'client.trials_ended', ...done })
          },
        },
        {
          name: 'impersonations',
          everySeconds: 3,
          isDue: (context) => isSettlingDue(context.database),
          run: (context) =>
            settleImpersonations(
              context.database,
              { allowed: config.impersonation === 'on' },
              { now: context.now(), actor: { kind: 'system', id: 'schedule' } },
            ),
        },
        { name: 'mail', everySeconds: 1, isDue: sender.isDue, run: ({ signal }) => sender.run(signal) },
        { name: 'webhooks', everySeconds: 1, isDue: webhooks.isDue, run: ({ signal }) => webhooks.run(signal) },
        {
          name: 'audit seal',
          everySeconds: 1,
          isDue: (context) => isChainDue(context.database, context.now()),
          async run(context) {
            const { signed } = await careForChain(
              { database, sign, issuer },
              { now: context.now(), signal: context.signal },
            )
            // A witness outside of the database, wherever the log is kept.
            if (signed) log.info({ event: 'audit.signed', position: signed.position, hash: signed.hash })
          },
        },
        ...(stream
          ? [
              {
                name: 'audit stream',
                everySeconds: 1,
                isDue: stream.isDue,
                run: ({ signal }: JobContext) => stream.run(signal),
              },
            ]
          : []),
        ...(auditRetentionDays > 0
          ? [
              {
                name: 'audit retention',
                everySeconds: 600,
                async run({ signal, ...context }: JobContext) {
                  const at = context.now()
                  const removed = await removeOldEvents(
                    { database, sign, issuer },
                    {
                      before: endOfRetention(at, auditRetentionDays),
                      keepUnstreamed: Boolean(stream),
                      now: at,
                      signal,
                    },
                  )
                  if (removed > 0) log.info({ event: 'audit.removed', rows: removed })
                },
              },
            ]
          : []),
      ],
      records: createJobRecords(database, { now }),
      requests: createJobRequests(database, { now }),
      onRun: ({ job, outcome, seconds }) => metrics.jobRun(job, outcome, seconds),
    })
  }
}

async function factsOf(database: Database, now: Date, streams: boolean): Promise<DatabaseFacts> {
  const [tables, sweepLag, keys, { pending = {} }, backlog, waiting] = await Promise.all([
    tableSizes(database),
    sweepLagSeconds(database),
    listSigningKeys(database),
    readSealing(database),
    webhookBacklog(database),
    auditBacklog(database),
  ])
  const signingKeys = keys
    .filter(({ state }) => state === 'current')
    .map((key) => ({ alg: key.alg, ageSeconds: (now.getTime() - (key.activatedAt ?? key.createdAt).getTime()) / 1000 }))
  const stages = [
    { stage: 'seal', rows: waiting.unsealedRows, seconds: waiting.unsealedSeconds },
    { stage: 'stream', rows: waiting.unstreamedRows, seconds: waiting.unstreamedSeconds },
  ]
  const pendingSeals = Object.entries(pending)
  const auditStages = streams ? stages : stages.slice(0, 1)
  return { tables, sweepLag, signingKeys, pendingSeals, webhookBacklog: backlog, auditBacklog: auditStages }
}
