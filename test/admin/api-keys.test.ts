// /api/v1/api-keys, the limit of a key, and the report of a leaked one, on a whole server.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createApiKey, rotateApiKey } from '#src/access/api-keys/api-keys.ts'
import { findApiKey } from '#src/access/api-keys/reads.ts'
import { formatApiKey } from '#src/access/api-keys/values.ts'
import { createRole } from '#src/access/roles.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { ensureOwnApi } from '#src/bootstrap/own-api.ts'
import { createClient } from '#src/clients/clients.ts'
import { unsealMail } from '#src/mail/outbox.ts'
import { updateUser } from '#src/users/users.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
let prisma: TestServer['database']['prisma']
let ownApi: string
let clock: number
/** Keys that call. */
let reader: string
let writer: string
let admin: string

beforeAll(async () => {
  clock = Date.now()
  server = await startServer({
    now: () => new Date(clock),
    env: { RATE_LIMIT_UNIDENTIFIED_PER_MINUTE: '60', API_KEY_DAYS: '30' },
  })
  prisma = server.database.prisma
  j = await startJourney(server)
  ownApi = `${server.url}/api`
  await ensureOwnApi(server.database, ownApi, change())
  await server.settle()
  await createClient(prisma, { id: 'robot', type: 'service', apis: { [ownApi]: Object.keys(ownScopes) } }, [], change())
  await createRole(prisma, 'buyer', { permissions: ['orders:read'] }, change())
  await updateUser(prisma, j.alice.id, { roles: ['buyer'] }, change())
  const of = async (...scopes: string[]) =>
    (await createApiKey(prisma, { name: 'caller', apis: { [ownApi]: scopes }, owner: { clientId: 'robot' } }, change()))
      .value
  reader = await of('keys:read')
  writer = await of('keys:read', 'keys:write', 'clients:read')
  admin = await of(...Object.keys(ownScopes))
})
afterAll(() => server.stop())
beforeEach(() => {
  clock += 120_000 // budgets are full again
})

const call = async (method: string, path: string, key?: string, body?: unknown) => {
  const response = await fetch(`${server.url}/api/v1${path}`, {
    method,
    headers: { ...(key && { 'X-API-Key': key }), ...(body !== undefined && { 'Content-Type': 'application/json' }) },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) }
}
const create = (key: string, body: object) => call('POST', '/api-keys', key, body)
const ofReports = { name: 'nightly', owner: { clientId: 'reports' } }

describe('a key', () => {
  test('is made, seen, rotated and revoked; its value is in the answer that made it, and in no other', async () => {
    const made = await create(writer, { ...ofReports, apis: { [orders]: ['orders:read'] }, requestsPerMinute: 100 })
    expect(made.status).toBe(201)
    expect(made.headers.get('cache-control')).toBe('no-store')
    const { id, value } = made.body
    expect(made.body).toMatchObject({
      ...ofReports,
      state: 'active',
      apis: { [orders]: ['orders:read'] },
      requestsPerMinute: 100,
      expiresAt: new Date(clock + 30 * 86_400_000).toISOString(),
      values: [{ version: 1, hint: value.slice(0, 11), lastUsedAt: null }],
    })
    expect(await findApiKey(server.database, value, new Date(clock))).toMatchObject({ id })

    const rotated = await call('POST', `/api-keys/${id}/rotate`, writer, { overlapHours: 1, follows: 1 })
    expect(rotated.body).toMatchObject({
      id,
      values: [{ version: 2 }, { version: 1, expiresAt: new Date(clock + 3_600_000).toISOString() }],
    })
    expect(await call('POST', `/api-keys/${id}/rotate`, writer, { follows: 1 })).toMatchObject({
      status: 409,
      body: { error: 'in_use', flaws: [{ field: 'version' }] },
    })
    for (const each of [value, rotated.body.value])
      expect(await findApiKey(server.database, each, new Date(clock))).toMatchObject({ id })

    const [shown, listed] = [await call('GET', `/api-keys/${id}`, reader), await call('GET', '/api-keys', reader)]
    expect(shown.body).toMatchObject({ id, name: 'nightly' })
    for (const answer of [shown, listed])
      for (const each of [value, rotated.body.value]) expect(JSON.stringify(answer.body)).not.toContain(each.slice(11))

    expect(await call('DELETE', `/api-keys/${id}`, writer)).toMatchObject({ status: 200, body: { id, revoked: true } })
    for (const each of [value, rotated.body.value])
      expect(await findApiKey(server.database, each, new Date(clock))).toBeUndefined()
    for (const [method, path, body] of [
      ['DELETE', '', undefined],
      ['POST', '/rotate', {}],
    ] as const)
      expect((await call(method, `/api-keys/${id}${path}`, writer, body)).status).toBe(404)
    const events = await prisma.auditEvent.findMany({ where: { targetId: id }, orderBy: { id: 'asc' } })
    expect(events.map(({ event, actorKind }) => [event, actorKind])).toEqual([
      ['api_key.created', 'api_key'],
      ['api_key.rotated', 'api_key'],
      ['api_key.revoked', 'api_key'],
    ])
  })

  test.each([
    ['without a body', 415, undefined],
    ['for nobody', 400, { name: 'x', apis: {} }],
    ['for two', 400, { name: 'x', apis: {}, owner: { userId: 'a', clientId: 'b' } }],
    ['with a misspelt field', 400, { ...ofReports, apis: {}, expiry: null }],
    ['with a time that has no offset', 400, { ...ofReports, apis: {}, expiresAt: '2030-01-01T00:00:00' }],
    ['for no API', 422, { ...ofReports, apis: {} }],
    ['for an unknown client', 422, { name: 'x', owner: { clientId: 'nobody' }, apis: { [orders]: [] } }],
    ['beyond what its owner may do', 422, { ...ofReports, apis: { [orders]: ['orders:write'] } }],
  ])('is not made %s', async (_, status, body) => {
    expect((await call('POST', '/api-keys', writer, body)).status).toBe(status)
  })

  test('of a person ends within a year; one of a client may last, if it is said', async () => {
    const forEver = { name: 'x', apis: { [orders]: ['orders:read'] }, expiresAt: null }
    const theirs = await create(writer, { ...forEver, owner: { userId: j.alice.id } })
    expect([theirs.status, theirs.body.flaws[0].field]).toEqual([422, 'expiresAt'])
    const clients = await create(writer, { ...forEver, owner: { clientId: 'reports' } })
    expect([clients.status, clients.body.expiresAt]).toEqual([201, null])
  })
})

describe('nobody makes or rotates a key beyond what they may do here themselves (CVE-2026-9795)', () => {
  const own = (...scopes: string[]) => ({ name: 'x', owner: { clientId: 'robot' }, apis: { [ownApi]: scopes } })

  test('scopes of this API are bounded by the caller, whatever the owner may do', async () => {
    expect((await create(writer, own('clients:read', 'keys:read'))).status).toBe(201)
    for (const scope of Object.keys(ownScopes).filter(
      (name) => !['clients:read', 'keys:read', 'keys:write'].includes(name),
    )) {
      const refused = await create(writer, own('clients:read', scope))
      expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
        403,
        `Bearer realm="${ownApi}", error="insufficient_scope", scope="${scope}"`,
      ])
    }
  })

  test('a stronger key is not rotated into weaker hands, and can be revoked by them', async () => {
    const { body } = await create(admin, own('roles:write'))
    expect((await call('POST', `/api-keys/${body.id}/rotate`, writer, {})).status).toBe(403)
    expect((await call('POST', `/api-keys/${body.id}/rotate`, admin, {})).status).toBe(200)
    expect((await call('DELETE', `/api-keys/${body.id}`, writer)).status).toBe(200)
  })

  test('who may only read does neither', async () => {
    expect((await create(reader, own('keys:read'))).status).toBe(403)
  })
})

describe('the list', () => {
  test('names what nobody uses and what was never rotated, in pages', async () => {
    const made: string[] = []
    for (const name of ['idle', 'busy', 'rotated']) {
      const { body } = await create(writer, { name, owner: { userId: j.alice.id }, apis: { [orders]: [] } })
      made.push(body.id)
      if (name === 'busy')
        await prisma.apiKeyValue.updateMany({
          where: { keyId: body.id },
          data: { lastUsedAt: new Date(clock + 8 * 86_400_000) },
        })
      if (name === 'rotated') await rotateApiKey(prisma, body.id, {}, { ...change(), now: new Date(clock) })
    }
    clock += 9 * 86_400_000
    const names = async (query: string) => {
      const { status, body } = await call('GET', `/api-keys?userId=${j.alice.id}&${query}`, reader)
      return status === 200 ? body.data.map(({ name }: { name: string }) => name).sort() : status
    }
    expect(await names('')).toEqual(['busy', 'idle', 'rotated'])
    expect(await names('idleDays=7')).toEqual(['idle', 'rotated'])
    expect(await names('neverRotated=true')).toEqual(['busy', 'idle'])
    expect(await names('idleDays=7&neverRotated=true')).toEqual(['idle'])
    for (const odd of [
      'idleDays=0',
      'idleDays=x',
      'neverRotated=false',
      'clientId=reports',
      'rotated=never',
      'after=x',
    ])
      expect(await names(odd), odd).toBe(400)
    const first = await call('GET', `/api-keys?userId=${j.alice.id}&limit=2`, reader)
    const second = await call('GET', `/api-keys?userId=${j.alice.id}&limit=2&after=${first.body.next}`, reader)
    expect([...first.body.data, ...second.body.data].map(({ id }: { id: string }) => id).sort()).toEqual(made.sort())
    expect(second.body.next).toBeNull()
  })
})

test('a key with a number of requests a minute gets 429 beyond it, in its own name alone', async () => {
  const { body } = await create(admin, {
    name: 'slow',
    owner: { clientId: 'robot' },
    apis: { [ownApi]: ['clients:read'] },
    requestsPerMinute: 3,
  })
  const ask = () => call('GET', '/clients', body.value)
  for (let n = 0; n < 3; n++) expect((await ask()).status).toBe(200)
  const refused = await ask()
  expect([refused.status, refused.headers.get('retry-after'), refused.body.error]).toEqual([
    429,
    '20',
    'too_many_requests',
  ])
  const rotated = await call('POST', `/api-keys/${body.id}/rotate`, admin, {})
  expect((await call('GET', '/clients', rotated.body.value)).status).toBe(429) // the same key
  expect((await call('GET', '/clients', writer)).status).toBe(200)
  clock += 20_000
  expect([(await ask()).status, (await ask()).status]).toEqual([200, 429])
})

describe('POST /leaked-keys', () => {
  const report = (key: string, more: object = {}) => call('POST', '/leaked-keys', undefined, { key, ...more })
  const make = async (owner: object) =>
    (await create(writer, { name: 'laptop', owner, apis: { [orders]: ['orders:read'] } })).body as {
      id: string
      value: string
    }

  test('ends the key of whoever holds its value; the answer is the same for every text', async () => {
    const key = await make({ clientId: 'reports' })
    const answers = [
      await report(formatApiKey(new Uint8Array(32).fill(7))),
      await report(key.value, { found_at: 'https://git.example/a/b?token=secret' }),
      await report(key.value),
      await report('garbage'),
    ]
    for (const { status, body, headers } of answers)
      expect([status, body, headers.get('cache-control')]).toEqual([202, { received: true }, 'no-store'])
    expect(await findApiKey(server.database, key.value, new Date(clock))).toBeUndefined()
    const events = await prisma.auditEvent.findMany({ where: { event: 'api_key.reported', targetId: key.id } })
    expect(events).toMatchObject([
      { address: expect.any(String), detail: { foundAt: 'git.example', revoked: true, version: 1 } },
    ])
    expect(JSON.stringify(events.map(({ detail }) => detail))).not.toContain('secret')
  })

  test('tells a person by mail, once, and nobody for a client’s', async () => {
    await prisma.mail.deleteMany()
    await report((await make({ clientId: 'reports' })).value)
    expect(await prisma.mail.count()).toBe(0)
    const { value } = await make({ userId: j.alice.id })
    await report(value)
    await report(value)
    const mails = await prisma.mail.findMany()
    expect(mails).toHaveLength(1)
    expect(unsealMail(server.secretKeys, { id: mails[0]?.id ?? '', sealed: mails[0]?.sealed ?? '' })).toMatchObject({
      to: 'Alice@Example.com',
      data: { what: 'apiKeyReported' },
    })
  })

  test.each([
    ['nothing', {}],
    ['a key that is no text', { key: 1 }],
    ['a book', { key: 'x'.repeat(1001) }],
    ['something beside it', { key: 'x', owner: 'me' }],
    ['an address that leads into a script', { key: 'x', found_at: 'javascript:alert(1)' }],
    ['an address that is none', { key: 'x', found_at: 'here' }],
  ])('refuses %s with 400', async (_, body) => {
    expect((await call('POST', '/leaked-keys', undefined, body)).status).toBe(400)
  })

  test('takes no more of one address than it takes failures, 64 KiB at once, and nothing from the address line', async () => {
    expect((await call('POST', '/leaked-keys?key=x', undefined, { key: 'x' })).status).toBe(400)
    expect((await report('x'.repeat(70_000))).status).toBe(413)
    for (let n = 0; n < 60; n++) await report('garbage')
    const refused = await report('garbage')
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '1'])
    expect((await call('GET', '/leaked-keys')).status).toBe(405)
  })
})
