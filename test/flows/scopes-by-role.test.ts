// A scope by role is a person's only while a role of theirs carries it: at the consent page, in the token, at every refresh and use.
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createRole, updateRole } from '#src/access/roles.ts'
import { updateApi } from '#src/apis/apis.ts'
import { updateClient } from '#src/clients/clients.ts'
import { updateUser } from '#src/users/users.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  const { prisma } = server.database
  const scopes = { 'orders:read': 'See orders', 'orders:delete': { description: 'Delete orders', byRole: true } }
  await updateApi(prisma, orders, { name: 'Orders', introspectionClients: ['orders-api'], scopes }, change())
  await updateClient(
    prisma,
    'shop-web',
    {
      ...{ type: 'web', name: 'shop-web', redirectUris: [j.callback] },
      scopes: ['openid', 'profile', 'email', 'offline_access'],
      apis: { [orders]: ['orders:read', 'orders:delete'] },
    },
    change(),
  )
  await createRole(prisma, 'clerk', { permissions: ['orders:delete'] }, change())
  await server.settle()
})
afterAll(() => server.stop())

const asked = { scope: 'openid offline_access orders:read orders:delete', resource: orders, prompt: 'consent' }
const tokens = () => j.tokensFor(asked, undefined, { resource: orders })
const scopeOf = (token: string) => String(decodeJwt(token).scope).split(' ').sort()
const give = (roles: string[]) => updateUser(server.database.prisma, j.alice.id, { roles }, change())

test('without the role the scope is not offered, not granted and not issued', async () => {
  expect(scopeOf((await tokens()).access_token)).toEqual(['orders:read'])
})

test('with the role it is; when the role goes, so does the scope, at the next refresh and at introspection', async () => {
  await give(['clerk'])
  const { access_token, refresh } = await tokens()
  expect(scopeOf(access_token)).toEqual(['orders:delete', 'orders:read'])
  await give([])
  const { body } = await j.refresh(refresh, { resource: orders })
  expect(scopeOf(body.access_token ?? '')).toEqual(['orders:read'])
})

test('a role whose permissions change is the same', async () => {
  await give(['clerk'])
  const { refresh } = await tokens()
  await updateRole(server.database.prisma, 'clerk', { permissions: [] }, change())
  const { body } = await j.refresh(refresh, { resource: orders })
  expect(scopeOf(body.access_token ?? '')).toEqual(['orders:read'])
})

test('roles and permissions ride in the token where the API asks for them, and nowhere else', async () => {
  await updateRole(server.database.prisma, 'clerk', { permissions: ['orders:delete', 'elsewhere'] }, change())
  await give(['clerk'])
  expect(decodeJwt((await tokens()).access_token)).not.toHaveProperty('roles')
  const scopes = { 'orders:read': 'See orders', 'orders:delete': { description: 'Delete orders', byRole: true } }
  const input = { name: 'Orders', introspectionClients: ['orders-api'], scopes, tokenClaims: ['roles', 'permissions'] }
  await updateApi(server.database.prisma, orders, input, change())
  await server.settle()
  const { access_token } = await tokens()
  const expected = { roles: ['clerk'], permissions: ['elsewhere', 'orders:delete'] }
  expect(decodeJwt(access_token)).toMatchObject(expected)
  expect((await j.introspect(access_token, 'orders-api')).body).toMatchObject(expected)
})

test('a client that acts for itself has what it is registered for', async () => {
  const { prisma } = server.database
  await updateClient(
    prisma,
    'reports',
    { type: 'service', name: 'reports', apis: { [orders]: ['orders:read', 'orders:delete'] } },
    change(),
  )
  await server.settle()
  const { body } = await j.post(
    '/oauth/token',
    { grant_type: 'client_credentials', resource: orders },
    { as: 'reports' },
  )
  expect(scopeOf(body.access_token).length).toBeGreaterThan(0)
})
