// sallyport jobs, as a script sees it; the server that does the work is this test's.
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createJobRecords, listJobs } from '#src/jobs/records.ts'
import { createJobRequests } from '#src/jobs/requests.ts'
import { createSchedule, type Job, type Schedule } from '#src/jobs/schedule.ts'
import { createLog } from '#src/log.ts'
import { clearAudit } from '#test/support/audit.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

let db: TestDatabase
let server: Schedule | undefined
const now = () => new Date()
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())
beforeEach(async () => {
  await db.database.pool.query('DELETE FROM job')
  await clearAudit(db.database)
})
afterEach(async () => {
  await server?.stop()
  server = undefined
})

async function start(run: Job['run']): Promise<void> {
  const { database } = db
  server = createSchedule({
    ...{ database, now, random: () => 1 },
    log: createLog({ logLevel: 'silent' }),
    jobs: [{ name: 'signing keys', everySeconds: 3_600, run }],
    records: createJobRecords(database, { now }),
    requests: createJobRequests(database, { now }),
  })
  server.start()
  await expect.poll(async () => (await listJobs(database, now())).length).toBe(1)
}
async function jobs(...args: string[]) {
  const child = spawn(process.execPath, ['src/sallyport.mjs', 'jobs', ...args], {
    env: { PATH: process.env.PATH, DATABASE_URL: db.url, LOG_LEVEL: 'error' },
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { code, out, err }
}

test('run has the server do it, waits, and says what came of it; who asked is recorded', async () => {
  let runs = 0
  await start(async () => {
    if (++runs === 2) throw new Error('the second one fails')
  })
  expect((await jobs('list')).out).toMatch(
    /^JOB +STATE +LAST RUN +TOOK +NEXT +BY\nsigning keys +waits +- +- +\S+Z +-\n$/,
  )
  const done = await jobs('run', 'signing', 'keys')
  expect(done).toMatchObject({ code: 0, err: '' })
  expect(done.out).toMatch(/^Done: signing keys, in \d+ ms, by \S+:\d+\.\n$/)
  const failed = await jobs('run', 'signing keys')
  expect([failed.code, failed.out]).toEqual([1, expect.stringMatching(/^Failed: signing keys, .*job\.failed/)])
  expect((await jobs('list')).out).toMatch(/^signing keys +failed +\S+Z +\d+ ms +\S+Z +\S+:\d+$/m)
  const last = await jobs('run', 'signing keys', '--json')
  expect([last.code, JSON.parse(last.out)]).toEqual([
    0,
    expect.objectContaining({ job: 'signing keys', state: 'done' }),
  ])
  expect(JSON.parse((await jobs('list', '--json')).out)).toMatchObject([{ name: 'signing keys', outcome: 'done' }])
  expect(runs).toBe(3)
  const events = await db.database.prisma.auditEvent.findMany({ where: { event: 'job.requested' } })
  expect(events.map(({ actorKind, targetId }) => [actorKind, targetId])).toEqual(Array(3).fill(['cli', 'signing keys']))
}, 60_000)

test('one that takes longer than somebody waits is said to run still', async () => {
  const free = Promise.withResolvers<void>()
  await start(() => free.promise)
  const asked = jobs('run', 'signing keys', '--wait-seconds', '10', '--json')
  await expect
    .poll(async () => db.database.prisma.jobRequest.count({ where: { beganAt: { not: null } } }), { timeout: 20_000 })
    .toBe(1)
  const { code, out } = await asked
  expect([code, JSON.parse(out).state]).toEqual([1, 'running'])
  free.resolve()
}, 60_000)

test('where no server runs, it says so, and no later server does it', async () => {
  await start(async () => undefined)
  await server?.stop()
  const nobody = await jobs('run', 'signing keys', '--wait-seconds', '1')
  expect(nobody).toMatchObject({ code: 1, err: '', out: expect.stringMatching(/^Nobody did it: no running server/) })
  expect(await db.database.prisma.jobRequest.findMany()).toMatchObject([{ outcome: 'withdrawn', beganAt: null }])
}, 60_000)

test('what is not scheduled is refused; without a name it is wrong usage', async () => {
  expect((await jobs('list')).out).toBe('No server has done scheduled work here yet.\n')
  expect(await jobs('run', 'audit stream')).toMatchObject({
    ...{ code: 1, out: '' },
    err: expect.stringContaining('AUDIT_SYSLOG_URL does not ask for it'),
  })
  expect(await jobs('run', 'nothing')).toMatchObject({ code: 1, err: expect.stringContaining('is not scheduled here') })
  expect(await jobs('run')).toMatchObject({ code: 2, out: '' })
}, 60_000)
