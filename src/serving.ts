// A process that answers: the whole server in the one that stands alone, or in each of several workers.
import type { RequestListener } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { createApp } from './app.ts'
import type { Config } from './config.ts'
import { observeReads } from './db/batched-reads.ts'
import type { Database } from './db/database.ts'
import { observeGuesses } from './factors/guessing.ts'
import { passwordHashing } from './factors/password.ts'
import { createListener } from './http/listener.ts'
import type { SecretKeys } from './keys/secret-key.ts'
import type { ServerLog } from './log.ts'
import type { Metrics } from './metrics.ts'
import { createClosing } from './process-life.ts'
import { groupCommitOf } from './tokens/group-commit.ts'
import { watchRevocations } from './tokens/propagation.ts'

/** The database must be reachable, migrated and furnished.
 *  @param deps.sharesPort other processes listen on the same port.
 *  @returns close() finishes the requests in flight.
 *  @throws ListenFailed, SigningKeysUnreadable; nothing is left open then. */
export async function serve(deps: {
  config: Config
  database: Database
  secretKeys: SecretKeys
  log: ServerLog
  metrics: Metrics
  stop: AbortSignal
  sharesPort: boolean
}): Promise<{ close(): Promise<void> }> {
  const { config, database, secretKeys, log, metrics, stop, sharesPort } = deps
  const closing = createClosing(log)
  try {
    passwordHashing.standBehind(config.workers)
    passwordHashing.observe({
      hashed: metrics.passwordHashed,
      refused: metrics.passwordHashRefused,
      ended() {
        metrics.passwordHashingEnded()
        log.error({ event: 'password.hashing_ended' })
      },
    })
    metrics.watchQueue('hash', passwordHashing.waiting)
    closing.add('password hashing', async () => passwordHashing.close())
    const commits = groupCommitOf(database.pool)
    commits.observe(metrics.commit)
    metrics.watchQueue('commit', commits.waiting)
    observeReads(database.pool, metrics.read)
    observeGuesses(database.pool, metrics.guessLimited)
    const app = await createApp({
      config,
      log,
      database,
      secretKeys,
      counters: metrics,
      latency: metrics.latency,
      isDraining: () => stop.aborted,
    })
    closing.add('app', () => app.stop())
    const revocations = watchRevocations({ database, log, observe: metrics.revocationArrived })
    closing.add('revocations', () => revocations.stop())

    const listener = createListener(counting(app.callback(), metrics))
    // One socket for each process: the system shares connections out, and no request passes through another process
    // (docs/decisions/014). Where it cannot, node:cluster hands them over.
    await listener.listen({ ...config, reusePort: sharesPort && process.platform === 'linux' })
    closing.add('listener', async () => {
      listener.leave()
      // /readyz says 503 from here on; new connections are still answered while load balancers take notice.
      if (config.production && stop.aborted) await delay(1_000)
      await listener.drain(config.shutdownTimeoutSeconds * 1000)
    })
    return { close: () => closing.close() }
  } catch (error) {
    await closing.close()
    throw error
  }
}

/** Outside of everything that could go wrong on the way to an answer. A connection that broke off first has no status. */
function counting(answer: RequestListener, metrics: Metrics): RequestListener {
  return (request, response) => {
    const { url = '' } = request
    const startedAt = performance.now()
    response.once('close', () => {
      const query = url.indexOf('?')
      const status = response.writableFinished ? response.statusCode : 'aborted'
      metrics.request(query === -1 ? url : url.slice(0, query), status, (performance.now() - startedAt) / 1000)
    })
    answer(request, response)
  }
}
