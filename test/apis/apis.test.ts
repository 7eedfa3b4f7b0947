import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readApis } from '#src/apis/api-reads.ts'
import {
  ApiExists,
  type ApiInput,
  ApiNotFound,
  apiSettings,
  createApi,
  deleteApi,
  findApi,
  InvalidApi,
  insertApi,
  updateApi,
} from '#src/apis/apis.ts'
import { checkRoute, checkRouteKey, listRoutes, putRoute, routeName } from '#src/apis/routes.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { createClient, findClient } from '#src/clients/clients.ts'
import type { Database } from '#src/db/database.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const orders = 'https://api.example.com/orders'
let created: TestDatabase
let db: Database['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  db = created.database.prisma
})
afterAll(() => created.drop())

test('the server reads the same records in plain SQL', async () => {
  await createApi(
    db,
    {
      identifier: 'https://api.example.com/everything',
      name: 'Everything',
      accessTokenFormat: 'opaque',
      accessTokenTtlSeconds: 120,
      accept: ['oauth', 'basic'],
      hideExistence: true,
      scopes: { b: 'B', a: 'A' },
    },
    change,
  )
  await createClient(db, { id: 'asks', type: 'service' }, [], change)
  await db.apiIntrospectionClient.create({
    data: { apiIdentifier: 'https://api.example.com/everything', clientId: 'asks' },
  })
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1)
  const sorted = (records: Awaited<ReturnType<typeof readApis>>) =>
    records.map((record) => ({ ...record, scopes: record.scopes.toSorted(byName) }))
  const include = { scopes: true, introspectionClients: true }
  const read = await readApis(created.database)
  expect(read.length).toBeGreaterThan(0)
  expect(sorted(read)).toEqual(sorted(await db.api.findMany({ include, orderBy: { identifier: 'asc' } })))
})

test('defaults: JWT, 900 seconds, oauth', async () => {
  const api = await createApi(db, { identifier: 'https://defaults.example', name: 'Defaults' }, change)
  expect(apiSettings(api)).toEqual({
    name: 'Defaults',
    accessTokenFormat: 'jwt',
    accessTokenTtlSeconds: 900,
    accept: ['oauth'],
    introspectionClients: [],
    hideExistence: false,
    tokenClaims: [],
    scopes: {},
    objects: {},
  })
})

describe('an identifier is an absolute URI without fragment, in one spelling (RFC 8707 2)', () => {
  test.each([
    [orders],
    ['https://api.example.com'],
    ['http://localhost:3000/api'],
    ['urn:example:orders'],
    ['https://api.example.com/a?b=c'],
  ])('takes %s', async (identifier) => {
    await createApi(db, { identifier, name: 'x' }, change)
    expect(await findApi(db, identifier)).toMatchObject({ identifier })
  })
  test.each([
    ['orders'],
    ['/orders'],
    [''],
    ['https://api.example.com/orders#a'],
    ['https://api.example.com/orders#'],
    ['https://user@api.example.com'],
    ['https://API.example.com'],
    ['https://api.example.com:443/'],
    ['https://api.example.com/a/../b'],
    ['https://api.example.com/a b'],
    ['https://api.example.com/\0'],
    ['https://api.example.com/ü'],
    ['https:api.example.com'],
  ])('refuses %j', async (identifier) => {
    await expect(createApi(db, { identifier, name: 'x' }, change)).rejects.toMatchObject({ field: 'identifier' })
    expect(await findApi(db, identifier)).toBeNull()
  })
})

describe('refused, naming the field', () => {
  test.each<[string, Partial<ApiInput>, string]>([
    ['an empty name', { name: ' ' }, 'name'],
    ['an unknown format', { accessTokenFormat: 'paseto' }, 'accessTokenFormat'],
    ['59 seconds', { accessTokenTtlSeconds: 59 }, 'accessTokenTtlSeconds'],
    ['more than a day', { accessTokenTtlSeconds: 86_401 }, 'accessTokenTtlSeconds'],
    ['an unknown credential', { accept: ['oauth', 'cookie'] }, 'accept[1]'],
    ['no credential', { accept: [] }, 'accept'],
    ['an introspection client that does not exist', { introspectionClients: ['nobody'] }, 'introspectionClients[0]'],
    ['a scope with a space', { scopes: { 'a b': 'x' } }, 'scopes["a b"]'],
    ['a scope with a quotation mark (RFC 6749 3.3)', { scopes: { 'a"': 'x' } }, 'scopes["a\\""]'],
    ['an empty scope', { scopes: { '': 'x' } }, 'scopes[""]'],
    ['an OpenID scope', { scopes: { openid: 'x' } }, 'scopes["openid"]'],
    ['offline_access', { scopes: { offline_access: 'x' } }, 'scopes["offline_access"]'],
    ["a scope of Sallyport's own API", { scopes: { 'users:read': 'x' } }, 'scopes["users:read"]'],
    ['a scope without description', { scopes: { 'a:b': '' } }, 'scopes["a:b"]'],
  ])('%s', async (_, input, field) => {
    const refusal = createApi(db, { identifier: 'https://refused.example', name: 'x', ...input }, change)
    await expect(refusal).rejects.toBeInstanceOf(InvalidApi)
    await expect(refusal).rejects.toMatchObject({ field })
    expect(await findApi(db, 'https://refused.example')).toBeNull()
  })
})

test('an update replaces; clients lose the scopes that go; deleting takes the rest', async () => {
  const identifier = 'https://changing.example'
  await createApi(db, { identifier, name: 'x', scopes: { a: 'A', b: 'B' } }, change)
  await createClient(db, { id: 'caller', type: 'service', apis: { [identifier]: ['a', 'b'] } }, [], change)
  await updateApi(db, identifier, { name: 'y', scopes: { b: 'B2' }, introspectionClients: ['caller'] }, change)
  expect(apiSettings((await findApi(db, identifier)) ?? (undefined as never))).toMatchObject({
    name: 'y',
    scopes: { b: 'B2' },
    introspectionClients: ['caller'],
  })
  expect((await findClient(db, 'caller'))?.apiScopes.map((row) => row.scopeName)).toEqual(['b'])
  await deleteApi(db, identifier, change)
  expect((await findClient(db, 'caller'))?.apiScopes).toEqual([])
  await expect(deleteApi(db, identifier, change)).rejects.toBeInstanceOf(ApiNotFound)
  const events = await db.auditEvent.findMany({ where: { targetId: identifier }, orderBy: { id: 'asc' } })
  expect(events.map((row) => row.event)).toEqual(['api.created', 'api.updated', 'api.deleted'])
})

test("Sallyport's own API is neither changed nor deleted here", async () => {
  const identifier = 'https://id.example/api'
  await db.$transaction((tx) =>
    insertApi(tx, identifier, { name: 'Sallyport', scopes: ownScopes }, { builtIn: true }, change),
  )
  await expect(updateApi(db, identifier, { name: 'mine' }, change)).rejects.toBeInstanceOf(ApiNotFound)
  await expect(deleteApi(db, identifier, change)).rejects.toBeInstanceOf(ApiNotFound)
  await expect(createApi(db, { identifier, name: 'mine' }, change)).rejects.toBeInstanceOf(ApiExists)
})

describe('routes', () => {
  const key = { host: 'api.example.com', method: 'DELETE', path: '/orders/{id}' }

  test('are stored once per host, method and path', async () => {
    await putRoute(db, key, { api: orders, position: 0, relation: 'owner@order:{id}' }, change)
    await putRoute(db, key, { api: orders, position: 0 }, change)
    expect((await listRoutes(db)).map((route) => [routeName(route), route.relation])).toEqual([
      ['DELETE api.example.com/orders/{id}', null],
    ])
  })

  test.each([
    [{ host: 'https://api.example.com' }, 'host'],
    [{ host: 'API.example.com' }, 'host'],
    [{ host: 'api.example.com\0' }, 'host'],
    [{ method: 'delete' }, 'method'],
    [{ path: 'orders' }, 'path'],
    [{ path: '/orders/../x' }, 'path'],
    [{ path: '/orders/{id}/{id}' }, 'path'],
    [{ path: '/orders/%2e%2e' }, 'path'],
    [{ path: '/orders/x{id}' }, 'path'],
  ])('refuses %j', (wrong, field) => {
    expect(checkRouteKey({ ...key, ...wrong }).map((flaw) => flaw.field)).toEqual([field])
  })

  test.each([
    [{ relation: 'owner' }, 'relation'],
    [{ relation: 'owner@order:{other}' }, 'relation'],
    [{ anonymous: true, scopes: ['a'] }, 'anonymous'],
    [{ scopes: ['a', 'a'] }, 'scopes[1]'],
  ])('refuses %j', (wrong, field) => {
    expect(checkRoute(key, { api: orders, position: 0, ...wrong }).map((flaw) => flaw.field)).toEqual([field])
  })
})
