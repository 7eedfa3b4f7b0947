// /api/v1/webhooks: where events are told, and what came of it. Every answer is held against the description of the API.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createWebhookSender } from '#src/webhooks/sender.ts'
import { webhookTypes } from '#src/webhooks/types.ts'
import { type AdminApi, startAdminApi } from '#test/support/admin-api.ts'
import { type Endpoint, startEndpoint, verify } from '#test/support/webhook-receiver.ts'

let api: AdminApi
let endpoint: Endpoint
beforeAll(async () => {
  api = await startAdminApi()
})
afterAll(() => api.stop())
beforeEach(async () => {
  await api.server.database.prisma.webhookEndpoint.deleteMany()
  await endpoint?.stop()
  endpoint = await startEndpoint()
})
afterAll(() => endpoint.stop())

const create = (more: object = {}) =>
  api.call('POST', '/webhooks', { body: { url: endpoint.url, types: ['role.*'], ...more } })
const send = () => {
  const { database, secretKeys, config } = api.server
  const log = { debug: () => undefined, warn: () => undefined, error: () => undefined, info: () => undefined }
  const sender = createWebhookSender({
    ...{ database, secretKeys, networks: config.webhookNetworks, now: () => new Date() },
    log: log as never,
  })
  return sender.run(new AbortController().signal)
}
const newRole = () => api.call('POST', '/roles', { body: { name: `r${randomUUID().slice(0, 8)}` } })

test('is created with a secret that is shown once, and never again', async () => {
  const made = await create({ description: 'Billing' })
  expect(made.status).toBe(201)
  expect(made.headers.get('cache-control')).toBe('no-store')
  const { secret, ...shown } = made.body
  expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/)
  expect(shown).toMatchObject({ url: endpoint.url, types: ['role.*'], description: 'Billing', state: 'enabled' })
  const read = await api.call('GET', `/webhooks/${shown.id}`)
  const list = await api.call('GET', '/webhooks')
  expect(read.body).toEqual(shown)
  expect(list.body).toEqual({ data: [shown], types: webhookTypes })
  await newRole()
  await send()
  const deliveries = await api.call('GET', `/webhooks/${shown.id}/deliveries`)
  const { rows } = await api.server.database.pool.query('SELECT * FROM audit_event')
  for (const answer of [read, list, deliveries])
    expect(JSON.stringify(answer.body) + JSON.stringify([...answer.headers])).not.toContain(secret.slice(6))
  expect(JSON.stringify(rows) + api.server.logged.join('')).not.toContain(secret.slice(6))
  expect(verify(secret, endpoint.heard[0] as NonNullable<(typeof endpoint.heard)[0]>)).toMatchObject({
    type: 'role.created',
  })
})

test('a secret is rotated, and shown once', async () => {
  const { id, secret } = (await create()).body
  const rotated = await api.call('POST', `/webhooks/${id}/rotate`, { body: { overlapHours: 2 } })
  expect(rotated.body.secret).not.toBe(secret)
  expect(Date.parse(rotated.body.previousSecretUntil)).toBeGreaterThan(Date.now() + 7_100_000)
  const wrong = await api.call('POST', `/webhooks/${id}/rotate`, { body: { overlapHours: 1000 } })
  expect([wrong.status, wrong.body.flaws[0].field]).toEqual([422, 'overlapHours'])
})

describe('an address is refused', () => {
  test.each([
    ['http://hooks.example.com/', 'is not https'],
    ['ftp://hooks.example.com/', 'is not an address'],
    ['hooks.example.com', 'is not an address'],
    ['https://user:password@hooks.example.com/', 'has a user name or password'],
    ['https://hooks.example.com/#here', 'has a fragment'],
    ['https://10.0.0.1/', 'is an address of a private network'],
    ['https://169.254.169.254/latest/meta-data', 'is an address of a private network'],
    ['https://2852039166/', 'is an address of a private network'],
    ['https://[::ffff:10.0.0.1]/', 'is an address of a private network'],
    ['https://[fd00:ec2::254]/', 'is an address of a private network'],
    ['http://8.8.8.8/', 'is not https'],
    [`https://hooks.example.com/${'x'.repeat(2048)}`, 'is not an address'],
  ])('%s: %s', async (url, problem) => {
    const answer = await create({ url })
    expect([answer.status, answer.body.flaws]).toMatchObject([422, [{ field: 'url', problem }]])
    const { id } = (await create()).body
    const changed = await api.call('PATCH', `/webhooks/${id}`, { body: { url }, headers: { 'If-Match': '*' } })
    expect(changed.status).toBe(422)
  })

  test('on loopback, where the configuration does not name it', async () => {
    const elsewhere = await startAdminApi({ env: { WEBHOOK_NETWORKS: '10.20.0.0/16' } })
    try {
      const ask = async (url: string) =>
        (await elsewhere.call('POST', '/webhooks', { body: { url, types: ['*'] } })).status
      expect(await ask('http://localhost:8080/')).toBe(422)
      expect(await ask('https://127.0.0.1/')).toBe(422)
      expect(await ask('https://10.20.3.4/')).toBe(201)
    } finally {
      await elsewhere.stop()
    }
  })
})

test.each([
  [{ types: [] }, 'types'],
  [{ types: ['user.created', 'nothing.like_it'] }, 'types[1]'],
  [{ types: ['user.created', 'user.created'] }, 'types[1]'],
  [{ description: 'a\u202eb' }, 'description'],
])('%j is refused by its field', async (more, field) => {
  const answer = await create(more)
  expect([answer.status, answer.body.flaws[0].field]).toEqual([422, field])
})

test('two editors: the second is told, and nothing is overwritten', async () => {
  const { id } = (await create()).body
  const etag = (await api.call('GET', `/webhooks/${id}`)).headers.get('etag') ?? ''
  const first = await api.call('PATCH', `/webhooks/${id}`, { body: { types: ['*'] }, headers: { 'If-Match': etag } })
  expect([first.status, first.body.types]).toEqual([200, ['*']])
  const second = await api.call('PATCH', `/webhooks/${id}`, {
    body: { types: ['user.*'] },
    headers: { 'If-Match': etag },
  })
  expect(second.status).toBe(412)
  expect((await api.call('PATCH', `/webhooks/${id}`, { body: {} })).status).toBe(428)
  expect((await api.call('GET', `/webhooks/${id}`)).body.types).toEqual(['*'])
})

test('is disabled and enabled by hand; since when is not rewritten by another change', async () => {
  const { id } = (await create()).body
  const change = (body: object) => api.call('PATCH', `/webhooks/${id}`, { body, headers: { 'If-Match': '*' } })
  const disabled = (await change({ enabled: false })).body
  expect(disabled).toMatchObject({ state: 'disabled', disabledBecause: 'by_hand' })
  expect((await change({ description: 'later' })).body).toMatchObject({ disabledAt: disabled.disabledAt })
  expect((await api.call('POST', `/webhooks/${id}/test`)).status).toBe(422)
  expect((await change({ enabled: true, description: null })).body).toMatchObject({ state: 'enabled', description: '' })
})

test('deliveries are listed in pages, filtered, read and sent again', async () => {
  const { id } = (await create({ types: ['*'] })).body
  for (let n = 0; n < 3; n++) await newRole()
  const tested = await api.call('POST', `/webhooks/${id}/test`)
  expect(tested.body).toMatchObject({ type: 'webhook.test', state: 'waiting', log: [] })
  await send()
  const list = (query: string) => api.call('GET', `/webhooks/${id}/deliveries${query}`)
  const first = (await list('?limit=2&type=role.created')).body
  const rest = (await list(`?limit=2&type=role.created&after=${first.next}`)).body
  expect([first.data.length, rest.data.length, rest.next]).toEqual([2, 1, null])
  const ids = [...first.data, ...rest.data].map((one: { id: string }) => Number(one.id))
  expect(ids).toEqual([...ids].sort((a, b) => b - a))
  expect((await list('?state=waiting')).body.data).toEqual([])
  expect((await list('?after=x')).status).toBe(400)
  expect((await list('?state=lost')).status).toBe(400)
  const one = first.data[0]
  expect((await api.call('GET', `/webhooks/${id}/deliveries/${one.id}`)).body).toEqual(one)
  expect(one).toMatchObject({ state: 'delivered', log: [{ status: 204, problem: null }] })
  const heard = endpoint.heard.length
  const again = await api.call('POST', `/webhooks/${id}/deliveries/${one.id}/resend`)
  expect(again.body).toMatchObject({ id: one.id, state: 'waiting' })
  await send()
  expect(endpoint.heard.at(-1)?.headers['webhook-id']).toBe(one.eventId)
  expect(endpoint.heard.length).toBeGreaterThan(heard)
})

test('what belongs to another webhook, or to none, is 404', async () => {
  const [mine, other] = [(await create()).body.id, (await create()).body.id]
  const { id } = (await api.call('POST', `/webhooks/${other}/test`)).body
  for (const path of [
    `/webhooks/${mine}/deliveries/${id}`,
    `/webhooks/${mine}/deliveries/x`,
    '/webhooks/x',
    `/webhooks/${randomUUID()}`,
  ])
    expect([path, (await api.call('GET', path)).status]).toEqual([path, 404])
  expect((await api.call('POST', `/webhooks/${mine}/deliveries/${id}/resend`)).status).toBe(404)
  expect((await api.call('POST', '/webhooks/x/rotate', { body: {} })).status).toBe(404)
  expect((await api.call('DELETE', `/webhooks/${other}`)).body).toEqual({ id: other, deleted: true })
  expect((await api.call('DELETE', `/webhooks/${other}`)).status).toBe(404)
})

test('every change is in the record, with who did it', async () => {
  const { id } = (await create()).body
  await api.call('PATCH', `/webhooks/${id}`, { body: { types: ['*'] }, headers: { 'If-Match': '*' } })
  await api.call('POST', `/webhooks/${id}/rotate`, { body: {} })
  await api.call('DELETE', `/webhooks/${id}`)
  const rows = await api.server.database.prisma.auditEvent.findMany({ where: { targetId: id }, orderBy: { id: 'asc' } })
  expect(rows.map(({ event }) => event)).toEqual([
    'webhook.created',
    'webhook.updated',
    'webhook.secret_rotated',
    'webhook.deleted',
  ])
  expect(rows.every(({ actorKind, actorId }) => actorKind !== null && actorId !== null)).toBe(true)
})

test('who may only read creates, changes, sends and ends nothing', async () => {
  const { id } = (await create()).body
  const scopes = ['webhooks:read']
  const asks: [string, string, unknown?][] = [
    ['POST', '/webhooks', { url: endpoint.url, types: ['*'] }],
    ['PATCH', `/webhooks/${id}`, {}],
    ['POST', `/webhooks/${id}/rotate`, {}],
    ['POST', `/webhooks/${id}/test`],
    ['DELETE', `/webhooks/${id}`],
  ]
  for (const [method, path, body] of asks)
    expect([path, (await api.call(method, path, { body, scopes })).status]).toEqual([path, 403])
  expect((await api.call('GET', `/webhooks/${id}`, { scopes })).status).toBe(200)
})
