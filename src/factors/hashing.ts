// Where passwords are hashed: in a process of its own, so that a flood of logins takes neither the threads nor the time slices of
// token traffic (docs/decisions/014, 017). Started at the first hash, started again when it dies, gone when this process is.
//
// Work that is lost with the process was never judged: its caller is told to come back, never that a password was wrong.
import { type ChildProcess, fork } from 'node:child_process'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { createWorkQueue, QueueFull } from './work-queue.ts'

export class HashingBusy extends Error {
  override name = 'HashingBusy'
}

export type HashingParameters = Readonly<{
  memoryCost: number
  timeCost: number
  parallelism: number
  hashLength: number
}>

/** With a hash: does the password match it? Without: make one. */
export type HashingWork = { id: number; hash?: string; password: string; parameters?: HashingParameters }
export type HashingAnswer = { id: number; result: boolean | string } | { id: number; problem: string }

export type HashingObserver = Readonly<{ hashed(seconds: number): void; refused(): void; ended(): void }>

export type Hashing = Readonly<{
  /** @throws HashingBusy */
  verify(hash: string, password: string): Promise<boolean>
  /** @returns a PHC string. @throws HashingBusy */
  hash(password: string, parameters: HashingParameters): Promise<string>
  /** By a process that is about to answer requests: they go first. The one that hashed for its start is let go, for it has not
   *  stepped back.
   *  @param processes how many like this one share the machine. */
  standBehind(processes: number): void
  observe(observer: HashingObserver): void
  waiting(): number
  /** @throws HashingBusy when work that came now would be refused: for who has other work to do before. */
  expectPlace(): void
  /** The process, while there is one. */
  pid(): number | undefined
  /** For good. */
  close(): void
}>

const waitingAtMost = 64
/** Each hash holds 46 MiB; more at once than this only helps machines that run several workers anyway. */
const runningAtMost = 8
const bytesKept = 48 * 1024 * 1024 // for each hash at once: the memory of one, and a little
/** Steps of nice(2): where both want a core, ten turns for requests to one for passwords. */
const behindRequests = 10
const answerWithinMs = 60_000 // one hash is some 30 ms, the dearest that a declarative file may bring some seconds
const pauseMs = { first: 500, longest: 30_000 }

/** @param entry the module that hashes; a test's own may misbehave. */
export function createHashing(entry = join(import.meta.dirname, 'hashing-process.ts')): Hashing {
  let running = placesFor(1)
  let behind = 0
  let queue = createWorkQueue({ running, waiting: waitingAtMost })
  let observer: HashingObserver | undefined
  let child: ChildProcess | undefined
  let lastId = 0
  /** Ends in a row before a first answer: something is wrong with the installation, and trying costs a start each time. */
  let stillborn = 0
  let notBefore = 0
  let closed = false
  const underWay = new Map<number, { resolve(answer: HashingAnswer): void; reject(error: Error): void }>()

  async function carryOut<T extends boolean | string>(work: Omit<HashingWork, 'id'>): Promise<T> {
    try {
      return (await queue(() => send(work))) as T
    } catch (error) {
      if (!(error instanceof QueueFull)) throw error
      throw refused(error)
    }
  }

  function refused(cause?: QueueFull): HashingBusy {
    observer?.refused()
    return new HashingBusy('too many passwords wait to be hashed', { cause })
  }

  async function send(work: Omit<HashingWork, 'id'>): Promise<boolean | string> {
    child ??= start()
    const to = child
    const id = ++lastId
    const startedAt = performance.now()
    const deadline = setTimeout(() => to.kill('SIGKILL'), answerWithinMs)
    if (underWay.size === 0) hold(to)
    try {
      const answer = await new Promise<HashingAnswer>((resolve, reject) => {
        underWay.set(id, { resolve, reject })
        to.send({ id, ...work }, (error) => error && lose(to))
      })
      if ('problem' in answer) throw new Error(answer.problem)
      observer?.hashed((performance.now() - startedAt) / 1000)
      return answer.result
    } finally {
      clearTimeout(deadline)
      underWay.delete(id)
      if (underWay.size === 0) release(to)
    }
  }

  function start(): ChildProcess {
    if (closed) throw new HashingBusy('the server is closing')
    if (performance.now() < notBefore)
      throw new HashingBusy('the hashing process ended at its start and is tried again soon')
    const started = fork(entry, [String(behind)], {
      // Nothing of ours: no SECRET_KEY, no database, no options meant for the server.
      env: { UV_THREADPOOL_SIZE: String(running), GLIBC_TUNABLES: keepMemory(running) },
      execArgv: ['--max-semi-space-size=1', '--disable-warning=ExperimentalWarning'],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
      // Not detached: Linux weighs priorities within a session, and a session of its own would make it everybody's equal again.
    })
    started.on('message', (answer: HashingAnswer) => {
      stillborn = 0
      underWay.get(answer.id)?.resolve(answer)
    })
    for (const end of ['exit', 'error', 'disconnect'] as const) started.on(end, () => lose(started))
    return started
  }

  function lose(lost: ChildProcess): void {
    if (child !== lost) return
    child = undefined
    lost.kill('SIGKILL')
    notBefore = stillborn === 0 ? 0 : performance.now() + Math.min(pauseMs.first * 2 ** stillborn, pauseMs.longest)
    stillborn++
    observer?.ended()
    giveBack('the hashing process ended')
  }

  function letGo(reason: string): void {
    const former = child
    child = undefined
    former?.disconnect()
    giveBack(reason)
  }

  function giveBack(reason: string): void {
    for (const { reject } of underWay.values()) reject(new HashingBusy(reason))
    underWay.clear()
  }

  return Object.freeze({
    verify: (hash, password) => carryOut<boolean>({ hash, password }),
    hash: (password, parameters) => carryOut<string>({ password, parameters }),
    standBehind(processes) {
      running = placesFor(processes)
      behind = behindRequests
      letGo('the server is starting')
      queue = createWorkQueue({ running, waiting: waitingAtMost })
    },
    observe(given) {
      observer = given
    },
    waiting: () => queue.waiting(),
    expectPlace() {
      if (queue.isFull()) throw refused()
    },
    pid: () => child?.pid,
    close() {
      closed = true
      letGo('the server is closing')
    },
  } satisfies Hashing)
}

/** A hash for each core but one. Giving way is not enough: whoever wakes up waits for the end of a time slice, and a token wakes
 *  the server and PostgreSQL several times. */
function placesFor(processes: number): number {
  return Math.max(1, Math.min(Math.floor((availableParallelism() - 1) / processes), runningAtMost))
}

/** glibc would fetch 46 MiB from the system for each hash and return them: 12,000 page faults, a third of the whole work. So it
 *  keeps what its hashes need, in large pages where the machine lets it, and returns what a dearer one (a hash from elsewhere)
 *  needed. Nothing of a password stays there: argon2 wipes its memory. Other C libraries do not read this. */
function keepMemory(hashes: number): string {
  const tunables = { hugetlb: 1, arena_max: 1, mmap_max: 0, trim_threshold: hashes * bytesKept }
  return Object.entries(tunables)
    .map(([name, value]) => `glibc.malloc.${name}=${value}`)
    .join(':')
}

/** The command line and the tests must be able to end while the process is idle, and only then. */
function hold(child: ChildProcess): void {
  child.ref()
  child.channel?.ref()
}

function release(child: ChildProcess): void {
  child.unref()
  child.channel?.unref()
}
