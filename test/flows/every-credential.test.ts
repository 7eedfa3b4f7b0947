// One introspection for every credential (RFC 7662): the same endpoint, the same shape, whatever an API was sent.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey, revokeApiKey } from '#src/access/api-keys/api-keys.ts'
import { createRole } from '#src/access/roles.ts'
import { updateApi } from '#src/apis/apis.ts'
import { setClientDisabled } from '#src/clients/clients.ts'
import { setUserDisabled, updateUser } from '#src/users/users.ts'
import { change, orders, stock } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let prisma: TestServer['database']['prisma']
let j: Journey

const scopes = {
  'orders:read': 'See orders',
  'orders:write': 'Change orders',
  'orders:delete': { description: 'Delete orders', byRole: true },
}
const setApi = async (accept: string[]) => {
  await updateApi(prisma, orders, { name: 'Orders', accept, introspectionClients: ['orders-api'], scopes }, change())
  await server.settle()
}

beforeAll(async () => {
  server = await startServer()
  prisma = server.database.prisma
  j = await startJourney(server)
  await setApi(['oauth', 'api_key', 'basic', 'session'])
  await createRole(prisma, 'clerk', { permissions: ['orders:delete'] }, change())
})
afterAll(() => server.stop())

const ask = async (token: string, hint?: string, as = 'orders-api') => {
  const fields = { token, ...(hint && { token_type_hint: hint }) }
  return (await j.post('/oauth/introspect', fields, { as })).body as Record<string, unknown>
}
const keyOf = (owner: { clientId: string } | { userId: string }, ...held: string[]) =>
  createApiKey(prisma, { name: 'k', apis: { [orders]: held }, owner }, change())
const basic = (id: string, secret: string) => Buffer.from(`${id}:${secret}`).toString('base64')

describe('an API key', () => {
  test('of a client, and of a person', async () => {
    const ofClient = await keyOf({ clientId: 'reports' }, 'orders:read')
    expect(await ask(ofClient.value, 'api_key')).toEqual({
      active: true,
      scope: 'orders:read',
      client_id: 'reports',
      sub: 'reports',
      aud: orders,
      iss: server.url,
      exp: expect.any(Number),
      auth_method: 'api_key',
    })
    const ofAlice = await keyOf({ userId: j.alice.id }, 'orders:read', 'orders:write')
    expect(await ask(ofAlice.value)).toMatchObject({ active: true, scope: 'orders:read orders:write', sub: j.alice.id })
  })

  test('is inactive when it was revoked, when its owner is switched off, and to an API that does not take keys', async () => {
    const key = await keyOf({ userId: j.alice.id }, 'orders:read')
    await setApi(['oauth'])
    expect(await ask(key.value)).toEqual({ active: false })
    await setApi(['oauth', 'api_key', 'basic', 'session'])
    await setUserDisabled(prisma, j.alice.id, true, change())
    expect(await ask(key.value)).toEqual({ active: false })
    await setUserDisabled(prisma, j.alice.id, false, change())
    const other = await keyOf({ userId: j.alice.id }, 'orders:read')
    expect((await ask(other.value)).active).toBe(true)
    await revokeApiKey(prisma, other.id, change())
    expect(await ask(other.value)).toEqual({ active: false })
  })

  test('is for the resource servers of its APIs and for its owner, and for nobody else', async () => {
    const { value } = await keyOf({ clientId: 'reports' }, 'orders:read')
    expect(await ask(value, undefined, 'stock-api')).toEqual({ active: false })
    expect((await ask(value, undefined, 'reports')).active).toBe(true)
  })
})

describe('a service client, as an API received it by Basic', () => {
  test('is active with what it is registered for there', async () => {
    expect(await ask(basic('reports', j.secret), 'basic')).toEqual({
      active: true,
      scope: 'orders:read',
      client_id: 'reports',
      sub: 'reports',
      aud: orders,
      iss: server.url,
      auth_method: 'basic',
    })
  })

  test.each([
    ['a wrong secret', () => basic('reports', 'wrong')],
    ['a client that is none of the API', () => basic('stock-api', j.secret)],
    ['a web client: its secret stands for no person', () => basic('shop-web', j.secret)],
    ['garbage', () => 'garbage'],
  ])('%s: inactive', async (_, token) => {
    expect(await ask(token(), 'basic')).toEqual({ active: false })
  })

  test('without the hint, and switched off: inactive', async () => {
    expect(await ask(basic('reports', j.secret))).toEqual({ active: false })
    await setClientDisabled(prisma, 'reports', true, change())
    await server.settle()
    expect(await ask(basic('reports', j.secret), 'basic')).toEqual({ active: false })
    await setClientDisabled(prisma, 'reports', false, change())
    await server.settle()
  })
})

describe('a token', () => {
  const tokens = (scope: string, resource = orders) =>
    j.tokensFor({ scope: `openid ${scope}`, resource }, undefined, { resource })

  test('opaque or JWT, says that it is one', async () => {
    expect(await ask((await tokens('orders:read')).access_token)).toMatchObject({ active: true, auth_method: 'oauth' })
    const opaque = await tokens('stock:read', stock)
    expect(await ask(opaque.access_token, undefined, 'stock-api')).toMatchObject({ active: true, auth_method: 'oauth' })
  })

  test('loses a scope by role in the moment in which the role goes', async () => {
    const apis = { [orders]: ['orders:read', 'orders:delete'] }
    await prisma.clientScope.create({
      data: { clientId: 'shop-web', apiIdentifier: orders, scopeName: 'orders:delete' },
    })
    await prisma.configurationVersion.update({ where: { id: 1 }, data: { version: { increment: 1 } } })
    await server.settle()
    await updateUser(prisma, j.alice.id, { roles: ['clerk'] }, change())
    const { access_token } = await tokens(apis[orders]?.join(' ') ?? '')
    expect(
      String((await ask(access_token)).scope)
        .split(' ')
        .sort(),
    ).toEqual(['orders:delete', 'orders:read'])
    await updateUser(prisma, j.alice.id, { roles: [] }, change())
    expect((await ask(access_token)).scope).toBe('orders:read')
  })

  test('is inactive to an API that takes no tokens, and not to its own client', async () => {
    const { access_token } = await tokens('orders:read')
    await setApi(['api_key'])
    expect(await ask(access_token)).toEqual({ active: false })
    expect((await ask(access_token, undefined, 'shop-web')).active).toBe(true)
    await setApi(['oauth', 'api_key', 'basic', 'session'])
  })
})

test('whoever is not authenticated hears 401, whatever the credential is', async () => {
  const { value } = await keyOf({ clientId: 'reports' }, 'orders:read')
  const response = await fetch(`${server.url}/oauth/introspect`, {
    method: 'POST',
    headers: { authorization: `Basic ${basic('orders-api', 'wrong')}` },
    body: new URLSearchParams({ token: value }),
  })
  expect(response.status).toBe(401)
})
