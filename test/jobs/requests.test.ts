// Runs that somebody asks for: done within a moment by one process, beside no other run, and not lost with the process that began them.
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createJobRecords, listJobs } from '#src/jobs/records.ts'
import { createJobRequests, findRequest, requestRun, withdrawRequest } from '#src/jobs/requests.ts'
import { createSchedule, type Job, type Schedule } from '#src/jobs/schedule.ts'
import { createLog } from '#src/log.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { killAll, runNode } from '#test/support/processes.ts'

let own: TestDatabase
const running: Schedule[] = []
const now = () => new Date()
beforeAll(async () => {
  own = await createTestDatabase()
})
afterAll(() => own.drop())
beforeEach(() => own.database.pool.query('DELETE FROM job'))
afterEach(async () => {
  killAll()
  await Promise.all(running.splice(0).map((schedule) => schedule.stop()))
})

/** Of its own it would run in an hour. */
async function start(job: Partial<Job>): Promise<Schedule> {
  const { database } = own
  const schedule = createSchedule({
    ...{ database, now, random: () => 1 },
    log: createLog({ logLevel: 'silent' }),
    jobs: [{ name: 'long', everySeconds: 3_600, run: async () => undefined, ...job }],
    records: createJobRecords(database, { now }),
    requests: createJobRequests(database, { now }),
  })
  running.push(schedule)
  schedule.start()
  await expect.poll(async () => (await listJobs(database, now())).length).toBe(1)
  return schedule
}
const ask = (job = 'long') => requestRun(own.database.prisma, job, { now: now(), actor: { kind: 'cli' } })
const read = (id: string) => findRequest(own.database.prisma, 'long', id)
const becomes = (id: string, state: string) =>
  expect.poll(async () => (await read(id)).state, { timeout: 20_000 }).toBe(state)

test('it is done without a look whether there is work, and the list says so', async () => {
  let runs = 0
  await start({ isDue: async () => false, run: async () => void runs++ })
  for (const count of [1, 2]) {
    const { id } = await ask()
    await becomes(id, 'done')
    expect(runs).toBe(count)
    const { beganAt, ranBy, seconds } = await read(id)
    expect([ranBy, seconds]).toEqual([expect.stringMatching(/:\d+$/), expect.any(Number)])
    expect((await listJobs(own.database, now()))[0]).toMatchObject({ beganAt, outcome: 'done', askedAt: null })
  }
})

test('of several processes one does it, once for all who wait, and what is asked for meanwhile is a run after it', async () => {
  const free = Promise.withResolvers<void>()
  let [at, most, runs] = [0, 0, 0]
  const run = async () => {
    runs++
    most = Math.max(most, ++at)
    await free.promise
    at--
  }
  await Promise.all([start({ run }), start({ run })])
  const first = await ask()
  await becomes(first.id, 'running')
  const [second, third] = [await ask(), await ask()]
  expect(third.id).toBe(second.id)
  await expect.poll(async () => (await read(second.id)).seenAt, { timeout: 20_000 }).not.toBeNull()
  expect([runs, (await read(second.id)).state]).toEqual([1, 'waiting'])
  expect(await withdrawRequest(own.database.prisma, second.id, now())).toBe(false) // somebody will do it
  free.resolve()
  await becomes(first.id, 'done')
  await becomes(second.id, 'done')
  expect([runs, most]).toEqual([2, 1])
})

test('a run that fails says so', async () => {
  await start({
    run: async () => {
      throw new Error('no')
    },
  })
  const { id } = await ask()
  await becomes(id, 'failed')
})

test('what a process that stops has begun goes on waiting, and another does it', async () => {
  const schedule = await start({
    run: ({ signal }) => new Promise((resolve) => signal.addEventListener('abort', () => resolve(undefined))),
  })
  const { id } = await ask()
  await becomes(id, 'running')
  await schedule.stop()
  expect((await read(id)).endedAt).toBeNull()
  await start({})
  await becomes(id, 'done')
})

test('what a killed process has begun another does', async () => {
  const { database } = own
  const runner = runNode(['test/support/schedule-process.ts', own.url, '60', '3600'])
  await expect.poll(async () => (await listJobs(database, now())).length, { timeout: 20_000 }).toBe(1)
  const { id } = await ask()
  await runner.prints('begun')
  runner.child.kill('SIGKILL')
  await start({})
  await becomes(id, 'done')
})

test('one that no process saw can be withdrawn, and is then not done', async () => {
  let runs = 0
  const schedule = await start({ run: async () => void runs++ })
  await schedule.stop()
  const first = await ask()
  expect(await withdrawRequest(own.database.prisma, first.id, now())).toBe(true)
  expect((await read(first.id)).state).toBe('withdrawn')
  await start({ run: async () => void runs++ })
  const second = await ask()
  await becomes(second.id, 'done')
  expect([runs, await withdrawRequest(own.database.prisma, second.id, now())]).toEqual([1, false])
})
