// Work that is done again and again by one process of all replicas: sweeping, rotating keys. What is done lives in the rooms;
// here is only when, and who. Every process tries every job, and whoever gets the job's lock does it. No process is chosen for
// longer than a run, so there is nobody to declare dead: a killed runner's lock is gone with its connection, and the next process
// to try has it, at the latest one interval later.
//
// Order of events: wait (part of the interval, by chance) -> is there work? -> ask for the lock, never wait for it -> run -> report -> release.
// What somebody asked for (requests.ts) waits a second at most and is not asked whether there is work; from the lock on it is a run like any other.
import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { type Database, isUnavailable } from '#src/db/database.ts'
import { type HeldLock, tryHeldLock } from '#src/db/held-lock.ts'
import type { Log } from '#src/log.ts'
import type { JobRecords } from './records.ts'
import type { JobRequests } from './requests.ts'

export type JobContext = {
  database: Database
  log: Log
  now: () => Date
  /** Aborted when the process stops or the lock was lost: end at the next point where nothing is half done. */
  signal: AbortSignal
}

/** `run` may be overtaken: a process that was frozen and comes back finds out a moment later that another one took its place.
 *  So each step of a job is a statement that is right whoever makes it. */
export type Job = {
  name: string
  everySeconds: number
  /** A cheap look, before anything else, at whether there is work: a job that runs often and has mostly nothing to do takes no lock
   *  for it. */
  isDue?: (context: Pick<JobContext, 'database' | 'now'>) => Promise<boolean>
  run(context: JobContext): Promise<unknown>
}

/** `stopped`: the process ended, or lost the lock, while the job ran. */
export type JobRun = { job: string; seconds: number; outcome: 'done' | 'failed' | 'stopped' }

export type Schedule = {
  start(): void
  /** Resolves when no job runs any more, or `withinSeconds` later; a run that is still going has then lost its lock. */
  stop(options?: { withinSeconds?: number }): Promise<void>
}

// Arbitrary, the first half of every job's lock; the other half is the job's name.
const jobLocks = 7_270_747
const looksForRequestsSeconds = 1

export function createSchedule(deps: {
  database: Database
  log: Log
  now: () => Date
  jobs: readonly Job[]
  /** Told of every run of this process, for metrics. */
  onRun?: (run: JobRun) => void
  /** Keeps how they went. */
  records?: JobRecords
  /** Runs that somebody asks for. */
  requests?: JobRequests
  random?: () => number
  /** See db/held-lock.ts. */
  lockSilenceSeconds?: number
}): Schedule {
  const { database, log, now, jobs, onRun = () => undefined, records, requests } = deps
  const { random = Math.random, lockSilenceSeconds = 15 } = deps
  const stopping = new AbortController()
  const held = new Set<HeldLock>()
  let loops: Promise<void>[] = []
  let isAway = false

  return {
    start() {
      if (loops.length > 0) return
      const begun = keep(() => records?.begin(jobs))
      loops = jobs.map((job) => begun.then(() => repeat(job)))
      if (requests) loops.push(begun.then(() => answer(requests)))
    },
    async stop({ withinSeconds = 2 } = {}) {
      stopping.abort()
      const timer = new AbortController()
      const ended = Promise.all(loops)
      await Promise.race([ended, delay(withinSeconds * 1000, undefined, { signal: timer.signal })])
      timer.abort()
      await Promise.all([...held].map((lock) => lock.release()))
    },
  }

  async function repeat(job: Job): Promise<void> {
    // Processes that were started together try at different moments; no wait is longer than the interval.
    for (let share = random(); await pause(job.everySeconds * share); share = 0.75 + random() / 4) await attempt(job)
  }

  /** A run takes its time: meanwhile other jobs may be asked for. */
  async function answer(requests: JobRequests): Promise<void> {
    const underWay = new Map<string, Promise<void>>()
    while (await pause(looksForRequestsSeconds)) {
      let asked: readonly string[] = []
      await keep(async () => {
        asked = await requests.see(jobs.map(({ name }) => name))
      })
      for (const job of jobs)
        if (asked.includes(job.name) && !underWay.has(job.name))
          underWay.set(
            job.name,
            attempt(job, requests).finally(() => underWay.delete(job.name)),
          )
    }
    await Promise.all(underWay.values())
  }

  /** @returns false once the schedule stops. */
  function pause(seconds: number): Promise<boolean> {
    return delay(seconds * 1000, true, { signal: stopping.signal }).catch(() => false)
  }

  /** @param requests where somebody asked for it. */
  async function attempt(job: Job, requests?: JobRequests): Promise<void> {
    try {
      const isDue = requests || !job.isDue || (await job.isDue({ database, now }))
      await keep(() => records?.looked(job))
      if (!isDue) return reachable(true)
      const lock = await tryHeldLock(database, [jobLocks, keyOf(job.name)], { silenceSeconds: lockSilenceSeconds })
      reachable(true)
      if (!lock) return
      held.add(lock)
      try {
        if (!stopping.signal.aborted) await run(job, lock, requests)
      } finally {
        held.delete(lock)
        await lock.release()
      }
    } catch (error) {
      if (isUnavailable(error)) reachable(false, error)
      else log.error({ event: 'job.lock_failed', job: job.name, err: error })
    }
  }

  async function run(job: Job, lock: HeldLock, requests?: JobRequests): Promise<void> {
    const signal = AbortSignal.any([stopping.signal, lock.lost])
    const begun = performance.now()
    const beganAt = now()
    const answered = (await requests?.begin(job.name, beganAt)) ?? []
    if (requests && answered.length === 0) return
    const report = async (outcome: JobRun['outcome']) => {
      const done: JobRun = { job: job.name, seconds: (performance.now() - begun) / 1000, outcome }
      onRun(done)
      await keep(() => records?.ran(job, beganAt, done, { asked: requests !== undefined }))
      if (outcome !== 'stopped') await keep(() => requests?.end(answered, done)) // what was stopped goes on waiting
    }
    try {
      await job.run({ database, log, now, signal })
    } catch (error) {
      await report(signal.aborted ? 'stopped' : 'failed')
      if (isUnavailable(error)) reachable(false, error)
      else if (!signal.aborted) log.error({ event: 'job.failed', job: job.name, err: error })
      return
    }
    await report(signal.aborted ? 'stopped' : 'done')
  }

  /** Work is not held up by what is written about it. */
  async function keep(write: () => Promise<void> | undefined): Promise<void> {
    if (stopping.signal.aborted) return
    try {
      await write()
    } catch (error) {
      if (isUnavailable(error)) reachable(false, error)
      else if (!stopping.signal.aborted) log.error({ event: 'job.not_recorded', err: error })
    }
  }

  /** One line when the database goes, one when it is back, however many jobs notice. */
  function reachable(is: boolean, error?: unknown): void {
    if (is === !isAway) return
    isAway = !is
    if (stopping.signal.aborted) return
    if (isAway) log.warn({ event: 'jobs.database_lost', err: error })
    else log.info({ event: 'jobs.database_returned' })
  }
}

function keyOf(name: string): number {
  return createHash('sha256').update(name).digest().readInt32BE()
}
