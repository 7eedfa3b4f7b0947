// One of several processes that answer (workers.ts starts it, nobody else). It is told its configuration over the channel to the
// first process, secrets included, and ends when that channel does: node:cluster sees to it.
import cluster from 'node:cluster'
import type { Config } from './config.ts'
import { closeDatabase, openDatabase } from './db/database.ts'
import { untilReachable } from './db/reachable.ts'
import { settlePasswords } from './factors/password-settings.ts'
import { createSecretKeys } from './keys/secret-key.ts'
import { createLog } from './log.ts'
import { createMetrics } from './metrics.ts'
import { createClosing, watchProcess } from './process-life.ts'
import { serve } from './serving.ts'
import type { WorkerNews, WorkerOrder } from './workers.ts'

const nothingNamed: Config['namedSecrets'] = { variable: () => 'ours', directory: '', ours: [] }
const starting = Promise.withResolvers<Config>()
const stopping = Promise.withResolvers<void>()
const metrics = createMetrics()

process.on('message', async (order: WorkerOrder) => {
  if (order.kind === 'start') starting.resolve({ ...order.config, namedSecrets: nothingNamed })
  else if (order.kind === 'stop') stopping.resolve()
  else report({ kind: 'counted', counted: await metrics.counted() })
})
report({ kind: 'waiting' })

try {
  await work(await starting.promise)
  report({ kind: 'counted', counted: await metrics.counted() }, () => process.exit())
} catch (error) {
  const { name, message, stack = '' } = error instanceof Error ? error : new Error(String(error))
  report({ kind: 'failed', fault: { name, message, stack } }, () => process.exit(1))
}

async function work(config: Config): Promise<void> {
  const log = createLog(config, undefined, { worker: cluster.worker?.id })
  const life = watchProcess(log)
  void stopping.promise.then(life.requestStop)
  const closing = createClosing(log)
  try {
    settlePasswords(config)
    const database = openDatabase(config.databaseUrl ?? '', {
      poolSize: config.databasePoolSize,
      onError: life.unlessStopping((err) => log.warn({ event: 'database.connection_lost', err })),
    })
    closing.add('database', () => closeDatabase(database))
    await untilReachable(database, { log, signal: life.stop }) // one that is started again may come into an outage
    const secretKeys = createSecretKeys(config.secretKeys ?? [])
    const serving = await serve({ config, database, secretKeys, log, metrics, stop: life.stop, sharesPort: true })
    closing.add('serving', serving.close)
    life.started()
    log.info({ event: 'worker.started', pid: process.pid })
    report({ kind: 'listening' })
    await life.untilStop()
  } finally {
    await closing.close()
  }
  log.info({ event: 'worker.stopped', pid: process.pid })
}

function report(news: WorkerNews, sent: () => void = () => undefined): void {
  process.send?.(news, undefined, undefined, sent)
}
