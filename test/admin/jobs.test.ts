// Scheduled work through the admin API: what was kept of it, as it is.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type AdminApi, startAdminApi } from '#test/support/admin-api.ts'

let api: AdminApi
beforeAll(async () => {
  api = await startAdminApi()
})
afterAll(() => api.stop())

test('each job says how it went and when it is due', async () => {
  const began = new Date(Date.now() - 20_000)
  const looked = new Date(Date.now() - 7_200_000)
  const { job } = api.server.database.prisma
  const ran = { beganAt: began, seconds: 0.25, outcome: 'done', ranBy: 'host:1' }
  await job.create({ data: { name: 'signing keys', everySeconds: 600, whenNeeded: false, lookedAt: began, ...ran } })
  await job.create({ data: { name: 'mail', everySeconds: 1, whenNeeded: true, lookedAt: looked } })
  const answer = await api.call('GET', '/jobs', { scopes: ['settings:read'] })
  const never = { beganAt: null, seconds: null, outcome: null, failedAt: null, ranBy: null }
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
        ...{ name: 'signing keys', everySeconds: 600, whenNeeded: false, late: false, failedAt: null },
        ...{ ...ran, beganAt: began.toISOString(), lookedAt: began.toISOString() },
        dueAt: new Date(began.getTime() + 600_000).toISOString(),
      },
    ],
  ])
  expect((await api.call('GET', '/jobs', { scopes: ['settings:write'] })).status).toBe(403)
})
