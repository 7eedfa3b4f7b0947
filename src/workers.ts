// Several processes on one port. The first process opens what must exist once (main.ts) and stays out of the way of requests: it
// starts the workers, starts another when one dies, hands the stop signal on and adds up what they count.
import cluster, { type Worker } from 'node:cluster'
import { once } from 'node:events'
import { getCompileCacheDir } from 'node:module'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Config } from './config.ts'
import { createListener, listenFailure } from './http/listener.ts'
import type { Log } from './log.ts'
import { type Counted, totalsOf } from './metrics.ts'

/** They die at every start: whatever is wrong, starting more of them does not help. */
export class WorkersFailed extends Error {
  override name = 'WorkersFailed'
}

/** What the declarative file may name is a function, which no channel carries, and the business of the first process. */
export type WorkerConfig = Omit<Config, 'namedSecrets'>

/** From the first process to a worker, and back. */
export type WorkerOrder = { kind: 'start'; config: WorkerConfig } | { kind: 'stop' } | { kind: 'count' }
export type WorkerNews =
  | { kind: 'waiting' }
  | { kind: 'listening' }
  | { kind: 'counted'; counted: Counted }
  | { kind: 'failed'; fault: { name: string; message: string; stack: string } }

export type Workers = Readonly<{
  /** Rejects when none is left and no new one survives its start. */
  failure: Promise<never>
  /** What each has counted, and what those had that are gone. One that is too busy to answer is taken at its last word. */
  counted(): Promise<Counted[]>
  /** Resolves when all have ended. */
  close(): Promise<void>
}>

type Member = {
  worker: Worker
  isListening: boolean
  counted: Counted | undefined
  /** Called when `counted` has come. */
  onCounted: () => void
  ended: Promise<void>
}

const startsBeforeGivingUp = 5
const firstPauseMs = 100
const longestPauseMs = 10_000
const answerWithinMs = 1_000
const graceMs = 3_000 // beyond SHUTDOWN_TIMEOUT_SECONDS: the second of notice in production, closing the pool

/** Resolves when all listen.
 *  @param options.config complete: with the database and the secret keys that are in use.
 *  @param options.stop passed on at once.
 *  @throws what the first worker that failed threw; none is left running. */
export async function startWorkers(options: { config: Config; log: Log; stop: AbortSignal }): Promise<Workers> {
  const { config, log, stop } = options
  const { namedSecrets: _, ...told } = config
  const members = new Set<Member>()
  const failure = Promise.withResolvers<never>()
  failure.promise.catch(() => undefined) // it may come when nobody waits for it any more
  let departed: Promise<Counted[]> = Promise.resolve([])
  let deaths: number[] = []
  let closing = false

  const claim = await claimPort(config)
  const kept = getCompileCacheDir() // ends in a folder for this Node, which each process adds by itself
  const compiled = kept && dirname(kept)
  cluster.setupPrimary({ exec: join(import.meta.dirname, 'worker.ts'), args: [], serialization: 'advanced' })
  stop.addEventListener('abort', dismiss)
  try {
    await Promise.all(Array.from({ length: config.workers }, launch))
  } catch (error) {
    await close({ atOnce: true })
    throw error
  }
  return Object.freeze({ failure: failure.promise, counted, close })

  /** Resolves when the worker listens. */
  function launch(): Promise<void> {
    const { promise: listening, resolve, reject } = Promise.withResolvers<void>()
    const { promise: ended, resolve: end } = Promise.withResolvers<void>()
    const worker = cluster.fork(compiled ? { NODE_COMPILE_CACHE: compiled } : {})
    const member: Member = { worker, isListening: false, counted: undefined, onCounted: () => undefined, ended }
    members.add(member)
    worker.on('message', (news: WorkerNews) => {
      if (news.kind === 'waiting') order(member, { kind: 'start', config: told })
      else if (news.kind === 'listening') {
        member.isListening = true
        resolve()
      } else if (news.kind === 'failed') reject(Object.assign(new Error(news.fault.message), news.fault))
      else {
        member.counted = news.counted
        member.onCounted()
      }
    })
    worker.on('error', reject)
    worker.on('exit', (code, signal) => {
      members.delete(member)
      end()
      member.onCounted()
      remember(member)
      reject(new WorkersFailed(`A worker ended while it started (${signal ?? `code ${code}`}).`))
      if (code !== 0 && !closing) log.error({ event: 'worker.ended', worker: worker.id, exitCode: code, signal })
      if (stop.aborted && code !== 0) process.exitCode = 1
      if (member.isListening && !closing) void replace()
    })
    if (stop.aborted) order(member, { kind: 'stop' })
    return listening
  }

  /** One that died is replaced at once; the more of them die and the more starts fail, the longer the pauses. */
  async function replace(): Promise<void> {
    const now = performance.now()
    deaths = [...deaths.filter((at) => now - at < 60_000), now]
    for (let failures = 0; ; ) {
      const pause = Math.min(firstPauseMs * 2 ** (deaths.length - 1 + failures), longestPauseMs)
      await delay(pause, undefined, { signal: stop }).catch(() => undefined) // a stop cuts it short
      if (stop.aborted || closing) return
      try {
        await launch()
        return
      } catch (error) {
        failures++
        log.error({ event: 'worker.start_failed', err: error })
        const somebodyServes = [...members].some(({ isListening }) => isListening)
        if (failures < startsBeforeGivingUp || somebodyServes) continue
        const what = `Every worker has ended, and ${failures} starts in a row failed. See the log.`
        failure.reject(new WorkersFailed(what, { cause: error }))
        return
      }
    }
  }

  function order({ worker }: Member, what: WorkerOrder): void {
    if (worker.isConnected()) worker.send(what, undefined, undefined, () => undefined) // its end is told by its exit
  }

  function dismiss(): void {
    for (const member of members) order(member, { kind: 'stop' })
  }

  async function close({ atOnce = false } = {}): Promise<void> {
    closing = true
    dismiss()
    const kill = () => {
      for (const { worker } of members) worker.process.kill('SIGKILL')
    }
    if (atOnce) kill()
    const late = setTimeout(kill, config.shutdownTimeoutSeconds * 1000 + graceMs)
    await Promise.all([...members].map(({ ended }) => ended))
    clearTimeout(late)
    claim()
    stop.removeEventListener('abort', dismiss)
  }

  async function counted(): Promise<Counted[]> {
    const asked = [...members].filter(({ isListening }) => isListening)
    await Promise.all(
      asked.map((member) => {
        const answered = new Promise<void>((resolve) => {
          member.onCounted = resolve
        })
        order(member, { kind: 'count' })
        return Promise.race([answered, delay(answerWithinMs, undefined, { ref: false })])
      }),
    )
    const present = asked.filter((member) => members.has(member)).flatMap(({ counted }) => (counted ? [counted] : []))
    return [...present, ...(await departed)]
  }

  function remember({ counted: last }: Member): void {
    if (last) departed = departed.then(async (before) => [await totalsOf([...before, last])])
  }
}

/** Sockets that share a port keep out those that do not, but not a second installation that shares it too: its answers would be
 *  mixed with ours. So the port is tried alone first, under a name that only one process of this machine can hold.
 *  @returns lets go of the name; the system does when the process ends. @throws ListenFailed */
async function claimPort({ host, port }: Config): Promise<() => void> {
  const name = createServer().unref()
  if (process.platform === 'linux') {
    name.listen({ path: `\0sallyport ${host} ${port}` }) // abstract, unix(7): there is no file that could be left behind
    await once(name, 'listening').catch((error: unknown) => {
      throw listenFailure({ host, port }, error)
    })
  }
  try {
    const probe = createListener((_request, response) => response.writeHead(503).end())
    await probe.listen({ host, port })
    await probe.drain(0)
  } catch (error) {
    name.close()
    throw error
  }
  return () => name.close()
}
