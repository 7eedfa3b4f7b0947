// `can` against the server itself: the guard asks as a service client, and roles that change count at the next question.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createApiKey, revokeApiKey } from '#src/access/api-keys/api-keys.ts'
import { writeRelations } from '#src/access/relations/relations.ts'
import { createRole } from '#src/access/roles.ts'
import { updateApi } from '#src/apis/apis.ts'
import { ensureOwnApi } from '#src/bootstrap/own-api.ts'
import { createClient } from '#src/clients/clients.ts'
import { createGuard, type Guard, Refused } from '#src/guard/guard.ts'
import { rowIdOfValue } from '#src/tokens/row-ids.ts'
import { updateUser } from '#src/users/users.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'
import { requestWith } from './issuer.ts'

let server: TestServer
let j: Journey
let guard: Guard
const secret = 'a secret that is long enough: 0123456789'
const order = { type: 'order', id: '88' }

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  const ownApi = `${server.url}/api`
  await ensureOwnApi(server.database, ownApi, change())
  const asks = { id: 'orders-pep', type: 'service' as const, apis: { [ownApi]: ['access:evaluate'] } }
  await createClient(server.database.prisma, asks, [{ value: secret }], change())
  await createRole(server.database.prisma, 'reader', { permissions: ['orders:read'] }, change())
  await server.settle()
  const introspection = { clientId: 'orders-pep', clientSecret: secret }
  guard = createGuard({ issuer: server.url, audience: orders, introspection })
}, 60_000)
afterAll(() => server?.stop())

it('no, then yes once a role is given, then no once it is taken, with one token', async () => {
  const tokens = await j.tokensFor({ scope: 'orders:read', resource: orders }, undefined, { resource: orders })
  const caller = await guard.authenticate(requestWith({ authorization: `Bearer ${tokens.access_token}` }))
  const { prisma } = server.database
  expect(await guard.can(caller, 'orders:read', order)).toBe(false)
  await expect(guard.requireCan(caller, 'orders:read', order)).rejects.toMatchObject({
    status: 403,
    error: 'access_denied',
  })
  await updateUser(prisma, j.alice.id, { roles: ['reader'] }, change())
  await server.settle()
  expect(await guard.can(caller, 'orders:read', order)).toBe(true)
  await updateUser(prisma, j.alice.id, { roles: [] }, change())
  await server.settle()
  expect(await guard.can(caller, 'orders:read', order)).toBe(false)
})

it('who owns order 88 gets 88 and is refused 89, which the receipt calls ownership; with an expired token it is a 401', async () => {
  const { prisma } = server.database
  const settings = {
    name: 'Orders',
    introspectionClients: ['orders-api', 'orders-pep'],
    scopes: { 'orders:read': 'See orders', 'orders:write': 'Create and change orders' },
  }
  await updateApi(prisma, orders, { ...settings, objects: { order: { owner: ['orders:read'] } } }, change())
  await server.settle()
  await writeRelations(prisma, { write: [`order:88#owner@user:${j.alice.id}`], delete: [] }, change())
  try {
    const { access_token } = await j.tokensFor({ scope: 'orders:read', resource: orders }, undefined, {
      resource: orders,
    })
    const request = requestWith({ authorization: `Bearer ${access_token}` })
    const caller = await guard.authenticate(request)
    await guard.requireCan(caller, 'orders:read', order)
    await expect(guard.requireCan(caller, 'orders:read', { ...order, id: '89' })).rejects.toMatchObject({
      status: 403,
      error: 'access_denied',
      headers: { 'cache-control': 'no-store' },
    })
    expect(await prisma.decisionReceipt.findMany({ where: { objectId: '89' } })).toMatchObject([
      { gate: 'relation', reason: 'ownership', needs: ['owner'], subjectId: j.alice.id },
    ])
    const introspection = { clientId: 'orders-pep', clientSecret: secret, jwts: true }
    const [late, asking] = [
      createGuard({ issuer: server.url, audience: orders, now: () => Date.now() + 3_600_000 }),
      createGuard({ issuer: server.url, audience: orders, introspection }),
    ]
    expect((await asking.authenticate(request)).id).toBe(j.alice.id)
    const { pool } = server.database
    await pool.query(`UPDATE token SET expires_at = now() - interval '1 minute' WHERE id = $1`, [
      rowIdOfValue(access_token),
    ])
    for (const each of [late, asking])
      await expect(each.authenticate(request)).rejects.toMatchObject({ status: 401, error: 'invalid_token' })
  } finally {
    await writeRelations(prisma, { write: [], delete: [`order:88#owner@user:${j.alice.id}`] }, change())
    await updateApi(prisma, orders, settings, change())
    await server.settle()
  }
})

it('takes an API key in either header and a service client by Basic, as the server judges them', async () => {
  const { prisma } = server.database
  await updateApi(
    prisma,
    orders,
    {
      ...{ name: 'Orders', accept: ['oauth', 'api_key', 'basic'], introspectionClients: ['orders-api'] },
      scopes: { 'orders:read': 'See orders', 'orders:write': 'Create and change orders' },
    },
    change(),
  )
  await server.settle()
  const introspection = { clientId: 'orders-api', clientSecret: j.secret }
  const taking = createGuard({
    issuer: server.url,
    audience: orders,
    accept: ['oauth', 'api_key', 'basic'],
    introspection,
  })
  const made = { name: 'k', apis: { [orders]: ['orders:read'] }, owner: { userId: j.alice.id } }
  const { id, value } = await createApiKey(prisma, made, change())
  const ways: Record<string, string>[] = [{ 'x-api-key': value }, { authorization: `Bearer ${value}` }]
  for (const headers of ways) {
    const caller = await taking.authenticate(requestWith(headers))
    expect(caller).toMatchObject({ type: 'user', id: j.alice.id, authMethod: 'api_key' })
    expect(() => taking.authorize(caller, { scopes: ['orders:read'] })).not.toThrow()
    expect(() => taking.authorize(caller, { scopes: ['orders:write'] })).toThrow(Refused)
  }
  const basic = Buffer.from(`reports:${j.secret}`).toString('base64')
  const service = await taking.authenticate(requestWith({ authorization: `Basic ${basic}` }))
  expect(service).toMatchObject({ type: 'client', id: 'reports', authMethod: 'basic' })
  await revokeApiKey(prisma, id, change())
  await expect(taking.authenticate(requestWith({ 'x-api-key': value }))).rejects.toMatchObject({
    status: 401,
    error: 'invalid_token',
  })
})

it('503 when the guard itself may not ask', async () => {
  const introspection = { clientId: 'reports', clientSecret: j.secret }
  const stranger = createGuard({ issuer: server.url, audience: orders, introspection, onTrouble: () => undefined })
  const token = (await j.post('/oauth/token', { grant_type: 'client_credentials', scope: 'orders:read' }, { as: 'reports' })).body.access_token // biome-ignore format: one line
  const caller = await stranger.authenticate(requestWith({ authorization: `Bearer ${token}` }))
  const refusal = await stranger.can(caller, 'orders:read', order).catch((error: unknown) => error)
  expect(refusal).toBeInstanceOf(Refused)
  expect(refusal).toMatchObject({ status: 503 })
})
