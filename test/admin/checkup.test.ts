// The checkup over the admin API: what it says, the one click, and who may.
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApi } from '#src/apis/apis.ts'
import { createClient } from '#src/clients/clients.ts'
import { type AdminApi, startAdminApi } from '#test/support/admin-api.ts'
import { change } from '#test/support/installation.ts'

const orders = 'https://api.example.com/orders'
let api: AdminApi
beforeAll(async () => {
  api = await startAdminApi()
  const { prisma, pool } = {
    prisma: api.server.database.prisma,
    pool: api.server.database.pool,
  }
  await createApi(prisma, { identifier: orders, name: 'Orders', scopes: { a: 'A', b: 'B' } }, change())
  await createClient(prisma, { id: 'idle', type: 'service', apis: { [orders]: ['a', 'b'] } }, [], change())
  await pool.query(`UPDATE client_scope SET granted_at = now() - interval '91 days' WHERE client_id = 'idle'`)
  await api.server.settle()
})
afterAll(() => api.stop())

type Shown = { id: string; oneClick: { id: string; scopes: object[] } | null }
const findingOf = async (id: string) =>
  ((await api.call('GET', '/checkup')).body.findings as Shown[]).find((finding) => finding.id === id)

test('what a finding offers is what one click sends; afterwards the finding is gone', async () => {
  const finding = await findingOf('unused-scopes:idle')
  expect(finding?.oneClick?.scopes).toHaveLength(2)
  const body = { scopes: finding?.oneClick?.scopes }
  const tried = await api.call('POST', '/checkup/shrink', { body: { ...body, dryRun: true } })
  expect([tried.status, tried.body]).toEqual([200, { removed: body.scopes, kept: [] }])
  expect((await api.call('POST', '/checkup/shrink', { body })).body).toEqual(tried.body)
  expect(await findingOf('unused-scopes:idle')).toBeUndefined()
  expect((await api.call('GET', '/clients/idle')).body.apis).toEqual({})
  expect((await api.call('POST', '/checkup/shrink', { body })).body).toEqual({ removed: [], kept: body.scopes })
  const [row] = await api.server.database.prisma.auditEvent.findMany({ where: { event: 'client.scopes_removed' } })
  expect(row).toMatchObject({ targetId: 'idle', actorKind: 'api_key' })
})

test('those who ask at once get one look', async () => {
  const { pool } = api.server.database
  const holder = await pool.connect()
  await holder.query('BEGIN; LOCK TABLE client_use IN ACCESS EXCLUSIVE MODE') // the look waits for it
  const asked = Array.from({ length: 4 }, () => api.call('GET', '/checkup'))
  await delay(500)
  await holder.query('COMMIT')
  holder.release()
  const answers = await Promise.all(asked)
  expect(new Set(answers.map(({ body }) => body.at)).size).toBe(1)
})

test('each asks for its scope', async () => {
  const as = async (scope: string, method: string, path: string, body?: object) =>
    (await api.call(method, path, { scopes: [scope], body })).status
  const scopes = [{ clientId: 'idle', api: orders, scope: 'a' }]
  expect(await as('clients:read', 'GET', '/checkup')).toBe(403)
  expect(await as('checkup:read', 'GET', '/checkup')).toBe(200)
  expect(await as('checkup:write', 'POST', '/checkup/shrink', { scopes })).toBe(403)
  expect(await as('clients:write', 'POST', '/checkup/shrink', { scopes })).toBe(200)
  expect(await as('checkup:read', 'POST', '/checkup/backups', {})).toBe(403)
  expect(await as('checkup:write', 'POST', '/checkup/backups', {})).toBe(200)
  // What the caller lacks itself it takes from nobody.
  const own = [{ clientId: 'robot', api: api.ownApi, scope: 'users:write' }]
  expect(await as('clients:write', 'POST', '/checkup/shrink', { scopes: own })).toBe(403)
})

test.each([
  ['/checkup/shrink', {}, 400],
  ['/checkup/shrink', { scopes: [] }, 400],
  ['/checkup/shrink', { scopes: [{ clientId: 'a', api: 'b' }] }, 400],
  ['/checkup/shrink', { scopes: [{ clientId: 'a\0', api: 'b', scope: 'c' }] }, 400],
  ['/checkup/shrink', { scopes: Array(1001).fill({ clientId: 'a', api: 'b', scope: 'c' }) }, 400],
  ['/checkup/backups', { at: 'yesterday' }, 400],
  ['/checkup/backups', { at: '2999-01-01T00:00:00Z' }, 422],
])('%s with a bad body is refused', async (path, body, status) =>
  expect((await api.call('POST', path, { body })).status).toBe(status),
)

test('the newest backup counts, whoever reports an older one later', async () => {
  const done = async (at: string) => (await api.call('POST', '/checkup/backups', { body: { at } })).body.at
  const { at } = (await api.call('POST', '/checkup/backups', { body: {} })).body
  expect(await done('2026-01-01T03:00:00+01:00')).toBe(at)
})
