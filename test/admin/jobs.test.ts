// Scheduled work through the admin API: what was kept of it, as it is, and asking for a run.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createJobRequests } from '#src/jobs/requests.ts'
import { type AdminApi, startAdminApi } from '#test/support/admin-api.ts'

let api: AdminApi
beforeAll(async () => {
  api = await startAdminApi()
})
afterAll(() => api.stop())
beforeEach(() => api.server.database.prisma.job.deleteMany())

test('each job says how it went and when it is due', async () => {
  const began = new Date(Date.now() - 20_000)
  const looked = new Date(Date.now() - 7_200_000)
  const { job } = api.server.database.prisma
  const ran = { beganAt: began, seconds: 0.25, outcome: 'done', ranBy: 'host:1' }
  await job.create({ data: { name: 'signing keys', everySeconds: 600, whenNeeded: false, lookedAt: began, ...ran } })
  await job.create({ data: { name: 'mail', everySeconds: 1, whenNeeded: true, lookedAt: looked } })
  const answer = await api.call('GET', '/jobs', { scopes: ['settings:read'] })
  const never = { beganAt: null, seconds: null, outcome: null, failedAt: null, ranBy: null, askedAt: null }
  expect([answer.status, answer.body.data]).toEqual([
    200,
    [
      {
        name: 'mail',
        everySeconds: 1,
        whenNeeded: true,
        lookedAt: looked.toISOString(),
        late: true,
        dueAt: null,
        ...never,
      },
      {
        ...{ name: 'signing keys', everySeconds: 600, whenNeeded: false, late: false, failedAt: null, askedAt: null },
        ...{ ...ran, beganAt: began.toISOString(), lookedAt: began.toISOString() },
        dueAt: new Date(began.getTime() + 600_000).toISOString(),
      },
    ],
  ])
  expect((await api.call('GET', '/jobs', { scopes: ['settings:write'] })).status).toBe(403)
})

const scheduled = (name: string) =>
  api.server.database.prisma.job.create({
    data: { name, everySeconds: 600, whenNeeded: false, lookedAt: new Date() },
  })
const events = () =>
  api.server.database.prisma.auditEvent.findMany({ where: { event: 'job.requested' }, orderBy: { id: 'asc' } })

test('a run is asked for, done by whoever looks, and its answer read; who asked is recorded', async () => {
  await scheduled('signing keys')
  const ask = () => api.call('POST', '/jobs/signing%20keys/runs', { body: {}, scopes: ['settings:write'] })
  const asked = await ask()
  const waiting = { id: expect.any(String), job: 'signing keys', state: 'waiting', askedAt: expect.any(String) }
  const nothing = { seenAt: null, beganAt: null, endedAt: null, seconds: null, ranBy: null }
  expect([asked.status, asked.body]).toEqual([201, { ...waiting, ...nothing }])
  expect((await ask()).body.id).toBe(asked.body.id) // it waits still: one run is enough for both
  const list = async () => (await api.call('GET', '/jobs', { scopes: ['settings:read'] })).body.data[0].askedAt
  expect(await list()).toBe(asked.body.askedAt)
  const read = async () =>
    (await api.call('GET', `/jobs/signing%20keys/runs/${asked.body.id}`, { scopes: ['settings:read'] })).body
  expect(await read()).toEqual(asked.body)

  const requests = createJobRequests(api.server.database, { now: () => new Date() })
  expect(await requests.see(['sweep'])).toEqual([])
  expect(await requests.see(['sweep', 'signing keys'])).toEqual(['signing keys'])
  const ids = await requests.begin('signing keys', new Date())
  expect(await read()).toMatchObject({ state: 'running', ranBy: expect.stringMatching(/:\d+$/) })
  const next = (await ask()).body // that run may have looked already
  expect(next).toMatchObject({ state: 'waiting' })
  expect(next.id).not.toBe(asked.body.id)
  await requests.end(ids, { job: 'signing keys', seconds: 0.5, outcome: 'failed' })
  expect(await read()).toMatchObject({ state: 'failed', seconds: 0.5, endedAt: expect.any(String) })
  expect(await list()).toBe(next.askedAt)
  expect(
    (await events()).map(({ actorKind, targetKind, targetId, detail }) => [actorKind, targetKind, targetId, detail]),
  ).toEqual([asked.body.id, asked.body.id, next.id].map((run) => ['api_key', 'job', 'signing keys', { run }]))
})

test('what is not scheduled here is refused, with the reason where the configuration is it', async () => {
  const ask = (name: string) => api.call('POST', `/jobs/${name}/runs`, { body: {} })
  expect(await ask('nothing')).toMatchObject({ status: 404, body: { flaws: [{ field: 'job' }] } })
  const stream = await ask('audit%20stream')
  expect([stream.status, stream.body.flaws[0].problem]).toEqual([
    404,
    '"audit stream" has nothing to do here: AUDIT_SYSLOG_URL does not ask for it',
  ])
  await scheduled('sweep')
  for (const id of ['x', '00000000-0000-4000-8000-000000000000'])
    expect((await api.call('GET', `/jobs/sweep/runs/${id}`)).status).toBe(404)
  expect((await api.call('POST', '/jobs/sweep/runs', { body: {}, scopes: ['settings:read'] })).status).toBe(403)
})

test('what ended an hour ago goes with the next request', async () => {
  await scheduled('sweep')
  const { jobRequest } = api.server.database.prisma
  const old = new Date(Date.now() - 3_700_000)
  const row = { job: 'sweep', askedAt: old, endedAt: old, outcome: 'done' }
  await jobRequest.create({ data: { id: '00000000-0000-4000-8000-000000000001', ...row } })
  const kept = { id: '00000000-0000-4000-8000-000000000002', ...row, endedAt: new Date() }
  await jobRequest.create({ data: kept })
  const { body } = await api.call('POST', '/jobs/sweep/runs', { body: {} })
  expect(
    (await jobRequest.findMany({ select: { id: true }, orderBy: { id: 'asc' } })).map(({ id }) => id).sort(),
  ).toEqual([kept.id, body.id].sort())
})
