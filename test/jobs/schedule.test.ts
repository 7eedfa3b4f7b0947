import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { closeDatabase, openDatabase } from '#src/db/database.ts'
import { createSchedule, type Job, type JobRun, type Schedule } from '#src/jobs/schedule.ts'
import { createLog } from '#src/log.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { killAll, runNode } from '#test/support/processes.ts'

let own: TestDatabase
const running: Schedule[] = []
beforeAll(async () => {
  own = await createTestDatabase()
})
afterAll(() => own.drop())
afterEach(async () => {
  killAll()
  await Promise.all(running.splice(0).map((schedule) => schedule.stop()))
})

type Options = Partial<Parameters<typeof createSchedule>[0]>

function start(job: Partial<Job> & Pick<Job, 'run'>, options: Options = {}) {
  const logged: Record<string, unknown>[] = []
  const runs: JobRun[] = []
  const schedule = createSchedule({
    database: own.database,
    log: createLog({ logLevel: 'info' }, { write: (line) => void logged.push(JSON.parse(line)) }),
    now: () => new Date(),
    jobs: [{ name: 'long', everySeconds: 0.1, ...job }],
    onRun: (run) => runs.push(run),
    lockSilenceSeconds: 1,
    ...options,
  })
  running.push(schedule)
  schedule.start()
  return { schedule, logged, runs }
}

async function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  for (const end = Date.now() + timeoutMs; !condition(); await delay(5))
    if (Date.now() > end) throw new Error(`it never came about that ${what}`)
}

const holder = async () =>
  (
    await own.database.pool.query(
      `SELECT a.pid, a.backend_xmin, a.backend_xid, a.state FROM pg_locks l JOIN pg_stat_activity a USING (pid)
       WHERE l.locktype = 'advisory' AND l.granted AND a.application_name = 'sallyport lock' AND a.datname = current_database()`,
    )
  ).rows

test('of two schedules on one database never more than one runs a job, and both come to run it', async () => {
  let now = 0
  let most = 0
  const run = async () => {
    most = Math.max(most, ++now)
    await delay(5)
    now--
  }
  const [one, other] = [start({ run, everySeconds: 0.02 }), start({ run, everySeconds: 0.02 })]
  await until(() => one.runs.length >= 10 && other.runs.length >= 10, 'both ran it ten times')
  expect(most).toBe(1)
})

test('different jobs do not wait for each other', async () => {
  const free = Promise.withResolvers<void>()
  const { runs } = start({ run: () => free.promise })
  const other = start({ name: 'other', run: async () => undefined })
  await until(() => other.runs.length > 2, 'the other job ran')
  expect(runs).toEqual([])
  free.resolve()
})

test('while a job runs its lock holds back no cleaning: the transaction that has it reads and writes nothing', async () => {
  const free = Promise.withResolvers<void>()
  start({ run: () => free.promise })
  let rows = await holder()
  for (let asked = 0; rows.length === 0 && asked < 200; asked++) {
    await delay(10)
    rows = await holder()
  }
  expect(rows).toEqual([
    expect.objectContaining({ backend_xmin: null, backend_xid: null, state: 'idle in transaction' }),
  ])
  await delay(1_500) // longer than the silence that is allowed: the heartbeat keeps it
  expect(await holder()).toEqual(rows)
  free.resolve()
})

test('a killed runner leaves its job to the next process, at its next look', async () => {
  const runner = runNode(['test/support/schedule-process.ts', own.url, '60'])
  await runner.prints('begun')
  const { runs } = start({ run: async () => undefined, everySeconds: 0.4 }, { random: () => 1 })
  await delay(600)
  expect(runs).toEqual([]) // the other process has it
  runner.child.kill('SIGKILL')
  await until(() => runs.length > 0, 'the job moved')
})

test('a frozen runner loses its job, and knows when it comes back', async () => {
  const runner = runNode(['test/support/schedule-process.ts', own.url, '60'])
  await runner.prints('begun')
  const { runs } = start({ run: async () => undefined })
  runner.child.kill('SIGSTOP')
  await until(() => runs.length > 0, 'the job moved')
  runner.child.kill('SIGCONT')
  await runner.prints('overtaken')
})

test('a run that fails is reported and logged, and the next one comes', async () => {
  const { runs, logged } = start({
    run: async () => {
      throw new TypeError('no')
    },
  })
  await until(() => runs.length >= 2, 'it ran twice')
  expect(runs[0]).toEqual({ job: 'long', seconds: expect.any(Number), outcome: 'failed' })
  expect(logged[0]).toMatchObject({ event: 'job.failed', job: 'long', err: { type: 'TypeError' } })
})

test('a database that is away costs one line, and one when it is back; then the job runs again', async () => {
  const gate = await openGate(own.url)
  const behind = openDatabase(gate.url, { poolSize: 2, onError: () => undefined })
  const { runs, logged } = start({ run: () => behind.pool.query('SELECT 1'), everySeconds: 0.03 }, { database: behind })
  await until(() => runs.length > 0, 'it ran')
  gate.shut()
  await delay(400) // a dozen attempts
  gate.open()
  const before = runs.length
  await until(() => runs.length > before + 2, 'it ran again')
  expect(logged.map(({ event }) => event)).toEqual(['jobs.database_lost', 'jobs.database_returned'])
  await running.pop()?.stop()
  await closeDatabase(behind)
  await gate.close()
})

test('stopping ends a run at its next safe point and begins no other', async () => {
  let ended = false
  const { schedule, runs } = start({
    async run({ signal }) {
      while (!signal.aborted) await delay(5)
      ended = true
    },
  })
  for (let asked = 0; (await holder()).length === 0 && asked < 200; asked++) await delay(10)
  await schedule.stop()
  expect(ended).toBe(true)
  expect(runs).toEqual([expect.objectContaining({ outcome: 'stopped' })])
  expect(await holder()).toEqual([])
})

test('a run that does not listen is left behind when the time is over, and its lock with it', async () => {
  const free = Promise.withResolvers<void>()
  const { schedule } = start({ run: () => free.promise })
  for (let asked = 0; (await holder()).length === 0 && asked < 200; asked++) await delay(10)
  await schedule.stop({ withinSeconds: 0.2 }) // else it would wait for ever
  const next = start({ run: async () => undefined })
  await until(() => next.runs.length > 0, 'another process has the job')
  free.resolve()
})

test('a schedule that never started stops at once', async () => {
  const schedule = createSchedule({
    database: own.database,
    log: createLog({ logLevel: 'silent' }),
    now: () => new Date(),
    jobs: [],
  })
  await schedule.stop()
})

/** The database behind a door that can be shut. */
async function openGate(databaseUrl: string) {
  const target = new URL(databaseUrl)
  const directory = target.searchParams.get('host')
  const sockets = new Set<Socket>()
  let shut = false
  const server = createServer((near) => {
    const far = shut
      ? undefined
      : directory
        ? connect(`${directory}/.s.PGSQL.${target.port || 5432}`)
        : connect(Number(target.port || 5432), target.hostname)
    for (const socket of [near, far]) {
      if (!socket) continue
      sockets.add(socket)
      socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket))
    }
    if (far) near.pipe(far).pipe(near)
    else near.destroy()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = new URL(databaseUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  url.searchParams.delete('host')
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: url.href,
    shut() {
      shut = true
      cut()
    },
    open() {
      shut = false
    },
    close() {
      cut()
      return new Promise((resolve) => server.close(resolve))
    },
  }
}

test('a job that looks first takes no lock while there is nothing to do', async () => {
  let isDue = false
  let looked = 0
  const { runs } = start({
    everySeconds: 0.02,
    isDue: async () => {
      looked++
      return isDue
    },
    run: async () => undefined,
  })
  await until(() => looked > 5, 'it looked')
  expect(runs).toEqual([])
  isDue = true
  await until(() => runs.length > 0, 'it ran')
})

test('a look that fails is reported, and the next one is made', async () => {
  let looked = 0
  const { runs, logged } = start({
    everySeconds: 0.02,
    isDue: async () => {
      if (++looked === 1) throw new Error('the look failed')
      return true
    },
    run: async () => undefined,
  })
  await until(() => runs.length > 0, 'it ran')
  expect(logged.filter(({ event }) => event === 'job.lock_failed')).toHaveLength(1)
})
