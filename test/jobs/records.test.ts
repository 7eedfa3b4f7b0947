// What is kept of scheduled work: a row a job, written seldom, and enough to see that nobody does it any more.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createJobRecords, listJobs } from '#src/jobs/records.ts'
import { createSchedule, type Job } from '#src/jobs/schedule.ts'
import { createLog } from '#src/log.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

let own: TestDatabase
let time = new Date('2026-11-27T12:00:00Z')
const now = () => time
const pass = (seconds: number) => {
  time = new Date(time.getTime() + seconds * 1000)
}
beforeAll(async () => {
  own = await createTestDatabase()
})
afterAll(() => own.drop())
beforeEach(() => own.database.pool.query('DELETE FROM job'))

const job = (name: string, more: Partial<Job> = {}): Job => ({
  name,
  everySeconds: 10,
  run: async () => undefined,
  ...more,
})
const list = () => listJobs(own.database, time)
const rowOf = async (name: string) => (await list()).find((row) => row.name === name)

test('each job there is has a row, those that are gone have none', async () => {
  const isDue = async () => true
  await createJobRecords(own.database, { now }).begin([job('old'), job('sweep')])
  await createJobRecords(own.database, { now }).begin([job('sweep'), job('mail', { everySeconds: 1, isDue })])
  const never = {
    beganAt: null,
    seconds: null,
    outcome: null,
    failedAt: null,
    ranBy: null,
    lookedAt: time,
    late: false,
    askedAt: null,
  }
  expect(await list()).toEqual([
    { name: 'mail', everySeconds: 1, whenNeeded: true, dueAt: null, ...never },
    { name: 'sweep', everySeconds: 10, whenNeeded: false, dueAt: new Date(time.getTime() + 10_000), ...never },
  ])
})

test('a run is written with how it ended; of many in a minute one, and each change', async () => {
  const records = createJobRecords(own.database, { now })
  const sweep = job('sweep')
  await records.begin([sweep])
  const ran = (outcome: 'done' | 'failed' | 'stopped', seconds = 0.5) =>
    records.ran(sweep, time, { job: 'sweep', seconds, outcome })
  const first = time
  await ran('done')
  expect(await rowOf('sweep')).toMatchObject({ beganAt: first, seconds: 0.5, outcome: 'done', failedAt: null })
  expect((await rowOf('sweep'))?.ranBy).toMatch(/:\d+$/)
  pass(1)
  await ran('done', 2)
  expect(await rowOf('sweep')).toMatchObject({ beganAt: first, seconds: 0.5 })
  pass(1)
  const failed = time
  await ran('failed')
  expect(await rowOf('sweep')).toMatchObject({ beganAt: failed, outcome: 'failed', failedAt: failed })
  pass(1)
  await ran('stopped')
  expect(await rowOf('sweep')).toMatchObject({ beganAt: failed, outcome: 'failed' })
  await ran('done')
  expect(await rowOf('sweep')).toMatchObject({ beganAt: time, outcome: 'done', failedAt: failed })
  pass(61)
  await ran('done', 3)
  expect(await rowOf('sweep')).toMatchObject({ beganAt: time, seconds: 3, dueAt: new Date(time.getTime() + 10_000) })
})

test('what nobody looks after any more is late; a look is written once a minute', async () => {
  const records = createJobRecords(own.database, { now })
  const mail = job('mail', { everySeconds: 1, isDue: async () => false })
  await records.begin([mail])
  const begun = time
  pass(30)
  await records.looked(mail)
  expect((await rowOf('mail'))?.lookedAt).toEqual(begun)
  pass(31)
  await records.looked(mail)
  expect(await rowOf('mail')).toMatchObject({ lookedAt: time, late: false })
  pass(181)
  expect(await rowOf('mail')).toMatchObject({ late: true })
})

test('a schedule writes what it does, and goes on where it cannot', async () => {
  const lines: Record<string, unknown>[] = []
  const log = createLog({ logLevel: 'info' }, { write: (line) => void lines.push(JSON.parse(line)) })
  const clock = () => new Date()
  let runs = 0
  const works = job('works', { everySeconds: 0.05, run: async () => void runs++ })
  const fails = job('fails', {
    everySeconds: 0.05,
    run: async () => {
      throw new Error('no')
    },
  })
  const records = createJobRecords(own.database, { now: clock })
  const parts = { database: own.database, log, now: clock, jobs: [works, fails] }
  const schedule = createSchedule({ ...parts, records })
  schedule.start()
  await expect.poll(async () => (await rowOf('works'))?.outcome).toBe('done')
  await expect.poll(async () => (await rowOf('fails'))?.outcome).toBe('failed')
  await schedule.stop()

  const broken = async () => {
    throw new Error('nothing can be written')
  }
  const before = runs
  const other = createSchedule({ ...parts, jobs: [works], records: { begin: broken, looked: broken, ran: broken } })
  other.start()
  await expect.poll(() => runs).toBeGreaterThan(before + 2)
  await other.stop()
  expect(lines.some(({ event }) => event === 'job.not_recorded')).toBe(true)
})
