// Scheduled work of a real process: all of it is known, what ran says how it went, and what somebody asks for is done.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { listJobs } from '#src/jobs/records.ts'
import { findRequest, requestRun } from '#src/jobs/requests.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { freePort, killAll, runNode } from '#test/support/processes.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(async () => {
  killAll()
  await db.drop()
})

test('every job has its row, and one that ran says when, where and how', async () => {
  const port = await freePort()
  const running = runNode(['src/sallyport.mjs', 'start'], {
    env: {
      DATA_DIR: '/nonexistent',
      PORT: String(port),
      ISSUER_URL: `http://localhost:${port}`,
      DATABASE_URL: db.url,
      SECRET_KEY: randomBytes(32).toString('base64url'),
    },
  })
  await running.prints('"event":"server.started"')
  const jobs = () => listJobs(db.database, new Date())
  const names = [
    'audit seal',
    'impersonations',
    'mail',
    'purge',
    'secret key',
    'signing keys',
    'sweep',
    'trials',
    'webhooks',
  ]
  await expect
    .poll(async () => (await jobs()).map(({ name }) => name), { timeout: 30_000 })
    .toEqual(expect.arrayContaining(names))
  const sweep = async () => (await jobs()).find(({ name }) => name === 'sweep')
  await expect.poll(async () => (await sweep())?.outcome, { timeout: 180_000 }).toBe('done')
  expect(await sweep()).toMatchObject({
    ranBy: expect.stringMatching(`:${running.child.pid}$`),
    late: false,
    failedAt: null,
  })

  // Of its own it would run within ten minutes.
  const { prisma } = db.database
  const { id } = await requestRun(prisma, 'purge', { now: new Date(), actor: { kind: 'cli' } })
  const read = () => findRequest(prisma, 'purge', id)
  await expect.poll(async () => (await read()).state, { timeout: 30_000 }).toBe('done')
  expect((await read()).ranBy).toMatch(new RegExp(`:${running.child.pid}$`))
}, 120_000)
