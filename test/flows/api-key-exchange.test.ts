// RFC 8693: a person's API key becomes a short access token, which ends with the key.
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type ApiKeyInput, createApiKey, reportApiKey, revokeApiKey } from '#src/access/api-keys/api-keys.ts'
import { formatApiKey } from '#src/access/api-keys/values.ts'
import { createRole, updateRole } from '#src/access/roles.ts'
import { createClient, findClient } from '#src/clients/clients.ts'
import { addClientSecret } from '#src/clients/secrets.ts'
import type { ClientInput } from '#src/clients/settings.ts'
import { listApplications } from '#src/tokens/applications.ts'
import { revoke } from '#src/tokens/revoke.ts'
import { endUserTokens, setUserDisabled, updateUser } from '#src/users/users.ts'
import { change, orders, stock } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const grantType = 'urn:ietf:params:oauth:grant-type:token-exchange'
const keyType = 'urn:sallyport:params:oauth:token-type:api_key'
let server: TestServer
let j: Journey
let prisma: TestServer['database']['prisma']

beforeAll(async () => {
  server = await startServer()
  prisma = server.database.prisma
  j = await startJourney(server)
  await createRole(prisma, 'buyer', { permissions: ['orders:read', 'orders:write', 'stock:read'] }, change())
  const client = async (id: string, more: Partial<ClientInput> = {}) => {
    await createClient(
      prisma,
      {
        id,
        type: 'service',
        grantTypes: [grantType],
        apis: { [orders]: ['orders:read'], [stock]: ['stock:read'] },
        ...more,
      },
      [],
      change(),
    )
    await addClientSecret(prisma, id, { value: j.secret }, change())
  }
  await prisma.scope.updateMany({ where: { apiIdentifier: orders }, data: { byRole: true } })
  await client('exchanger')
  await client('other-exchanger')
  await client('high-exchanger', { profile: 'high' })
  await server.settle()
})
afterAll(() => server.stop())
beforeEach(async () => {
  await updateRole(prisma, 'buyer', { permissions: ['orders:read', 'orders:write', 'stock:read'] }, change())
  await updateUser(prisma, j.alice.id, { roles: ['buyer'] }, change())
})

const make = (more: Partial<ApiKeyInput> = {}) =>
  createApiKey(
    prisma,
    { name: 'k', apis: { [orders]: ['orders:read', 'orders:write'] }, owner: { userId: j.alice.id }, ...more },
    change(),
  )
const exchange = (value: string, fields: Record<string, string> = {}, as = 'exchanger', headers = {}) =>
  j.post(
    '/oauth/token',
    { grant_type: grantType, subject_token: value, subject_token_type: keyType, ...fields },
    { as, headers },
  )
const isActive = async (token: string, as = 'orders-api') => (await j.introspect(token, as)).body.active

test('answers a JWT for the API of the key, five minutes at most, with the scopes of key and client, and its row', async () => {
  const { value, id } = await make()
  const { status, body, headers } = await exchange(value)
  expect([status, headers.get('cache-control'), body.error_description]).toEqual([200, 'no-store', undefined])
  expect(body).toEqual({
    access_token: expect.any(String),
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    token_type: 'Bearer',
    expires_in: 300,
    scope: 'orders:read', // the client has no orders:write
  })
  const claims = decodeJwt(body.access_token)
  expect(claims).toMatchObject({ sub: j.alice.id, client_id: 'exchanger', aud: orders, scope: 'orders:read' })
  expect(claims.grant_id).toContain(id)
  expect((await j.introspect(body.access_token, 'orders-api')).body).toMatchObject({
    active: true,
    sub: j.alice.id,
    scope: 'orders:read',
    aud: orders,
  })
  expect(await prisma.auditEvent.findMany({ where: { event: 'api_key.exchanged', targetId: id } })).toMatchObject([
    { actorId: 'exchanger', detail: { api: orders, scopes: ['orders:read'] } },
  ])
  const row = await prisma.apiKeyValue.findFirstOrThrow({ where: { keyId: id } })
  expect(body.access_token).not.toContain(Buffer.from(row.hash).toString('base64url'))
})

test('chooses the API by resource or audience where the key has several, in the format of that API', async () => {
  const { value } = await make({ apis: { [orders]: ['orders:read'], [stock]: ['stock:read'] } })
  expect((await exchange(value)).body.error).toBe('invalid_target')
  expect((await exchange(value, { resource: orders })).body.scope).toBe('orders:read')
  const opaque = (await exchange(value, { audience: stock })).body
  expect([opaque.scope, opaque.access_token.includes('.')]).toEqual(['stock:read', false])
  expect(await isActive(opaque.access_token, 'stock-api')).toBe(true)
  expect((await exchange(value, { resource: orders, audience: stock })).body.error).toBe('invalid_target')
})

test('never outlives the key', async () => {
  const { value } = await make({ expiresAt: new Date(Date.now() + 30_000) })
  const { body } = await exchange(value)
  expect(body.expires_in).toBeLessThanOrEqual(30)
})

test('spends of the key’s own requests a minute: 429, and nothing is written', async () => {
  const { value, id } = await make({ requestsPerMinute: 2 })
  const answers = [await exchange(value), await exchange(value), await exchange(value)]
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 429])
  expect(answers[2]?.headers.get('retry-after')).toBe('30')
  expect(await prisma.auditEvent.count({ where: { event: 'api_key.exchanged', targetId: id } })).toBe(2)
})

describe('refuses', () => {
  const once = async (fields: Record<string, string>, more: { as?: string; headers?: object; key?: string } = {}) => {
    const value = more.key ?? (await make()).value
    const { status, body } = await exchange(value, fields, more.as, more.headers)
    expect(body.access_token).toBeUndefined()
    return [status, body.error]
  }
  test.each<[string, Record<string, string>, string]>([
    [
      'another type of subject token',
      { subject_token_type: 'urn:ietf:params:oauth:token-type:jwt' },
      'invalid_request',
    ],
    [
      'another type of answer',
      { requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' },
      'invalid_request',
    ],
    ['somebody who acts for the subject', { actor_token: 'x', actor_token_type: keyType }, 'invalid_request'],
    ['an API that is not the key’s', { resource: stock }, 'invalid_target'],
    ['a scope that the client may not have', { scope: 'orders:write' }, 'invalid_scope'],
    ['a scope that the key has not', { scope: 'stock:read' }, 'invalid_scope'],
  ])('%s', async (_, fields, error) => {
    expect(await once(fields)).toEqual([400, error])
  })

  test('unknown, revoked, expired keys and garbage, with one answer, and those of clients', async () => {
    const revoked = await make()
    await revokeApiKey(prisma, revoked.id, change())
    const clients = await make({ owner: { clientId: 'reports' }, apis: { [orders]: ['orders:read'] } })
    for (const key of [formatApiKey(new Uint8Array(32)), revoked.value, 'garbage', clients.value])
      expect(await once({}, { key })).toEqual([400, 'invalid_request'])
  })

  test('clients that nobody registered for it, that do not show who they are, or that have bound tokens', async () => {
    expect(await once({}, { as: 'reports' })).toEqual([400, 'invalid_request'])
    expect(await once({}, { as: 'shop-spa' })).toEqual([400, 'invalid_request'])
    expect((await once({}, { as: 'high-exchanger' }))[0]).toBe(400)
    expect(await once({}, { headers: { Authorization: 'Basic eDp5' } })).toEqual([401, 'invalid_client'])
    expect(await once({}, { headers: { DPoP: 'x' } })).toEqual([400, 'invalid_request'])
    expect((await findClient(prisma, 'reports'))?.grantTypes).not.toContain(grantType)
  })

  test('what the person may not do any more', async () => {
    const { value } = await make()
    await updateRole(prisma, 'buyer', { permissions: ['orders:write'] }, change())
    expect(await once({}, { key: value })).toEqual([400, 'invalid_scope'])
  })
})

describe('the token ends with', () => {
  test.each<[string, (key: { id: string; value: string }) => Promise<unknown>]>([
    ['the key, revoked', ({ id }) => revokeApiKey(prisma, id, change())],
    ['the key, reported', ({ value }) => reportApiKey(prisma, value, change())],
    ['everything of the person', () => endUserTokens(prisma, j.alice.id, change())],
  ])('%s', async (_, end) => {
    const [key, neighbour] = [await make(), await make({ owner: { userId: j.alice.id } })]
    const tokens = [
      (await exchange(key.value)).body.access_token,
      (await exchange(key.value, {}, 'other-exchanger')).body.access_token,
    ]
    const other = (await exchange(neighbour.value)).body.access_token
    for (const token of [...tokens, other]) expect(await isActive(token)).toBe(true)
    await end(key)
    for (const token of tokens) expect(await isActive(token)).toBe(false)
    expect(await isActive(other)).toBe(_ !== 'everything of the person')
    expect((await exchange(key.value)).body.error).toBe('invalid_request')
  })

  test('the key, and verifiers hear of it: the feed names its grant', async () => {
    const key = await make()
    const { grant_id } = decodeJwt((await exchange(key.value)).body.access_token)
    await revokeApiKey(prisma, key.id, change())
    expect(await prisma.revocation.count({ where: { kind: 'grant', target: String(grant_id) } })).toBe(1)
  })

  test('the key, also for exchanges under way: of many at once none is good afterwards', async () => {
    for (let round = 0; round < 5; round++) {
      const { id, value } = await make()
      const under = Array.from({ length: 6 }, (_, n) => exchange(value, {}, n % 2 ? 'exchanger' : 'other-exchanger'))
      await revokeApiKey(prisma, id, change())
      for (const { body } of await Promise.all(under))
        if (body.access_token) expect(await isActive(body.access_token)).toBe(false)
    }
  })

  test('the person taking the client’s access away: the key does not let it in again', async () => {
    const { value } = await make()
    const token = (await exchange(value)).body.access_token
    expect((await listApplications(prisma, j.alice.id, new Date())).map(({ clientId }) => clientId)).toContain(
      'exchanger',
    )
    await revoke(prisma, { kind: 'consent', userId: j.alice.id, clientId: 'exchanger' }, change())
    expect(await isActive(token)).toBe(false)
    expect((await exchange(value)).body.error).toBe('invalid_request')
    expect((await exchange(value, {}, 'other-exchanger')).status).toBe(200)
  })

  test('the person’s being switched off', async () => {
    const { value } = await make()
    const { body } = await exchange(value)
    await setUserDisabled(prisma, j.alice.id, true, change())
    try {
      expect(await isActive(body.access_token)).toBe(false)
    } finally {
      await setUserDisabled(prisma, j.alice.id, false, change())
    }
  })
})
