// Default and optional scopes of a client: what can be said, and that it is read back as it was said.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApi, updateApi } from '#src/apis/apis.ts'
import { createClient, findClient, updateClient } from '#src/clients/clients.ts'
import { type ClientInput, clientSettings, describeClient } from '#src/clients/settings.ts'
import type { Database } from '#src/db/database.ts'
import type { Refusal } from '#src/refusal.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const orders = 'https://api.example.com/orders'
const stock = 'https://api.example.com/stock'
const change = changeAt()
let own: TestDatabase
let db: Database['prisma']

beforeAll(async () => {
  own = await createTestDatabase()
  db = own.database.prisma
  const scopes = { 'orders:read': 'See', 'orders:write': 'Change' }
  await createApi(db, { identifier: orders, name: 'Orders', scopes }, change)
  await createApi(db, { identifier: stock, name: 'Stock', scopes: { 'stock:read': 'See' } }, change)
})
afterAll(() => own.drop())

const shop: ClientInput = {
  type: 'web',
  redirectUris: ['https://shop.example/cb'],
  scopes: ['openid', 'email', 'offline_access'],
  apis: { [orders]: ['orders:read', 'orders:write'], [stock]: ['stock:read'] },
}
let made = 0
const create = (input: Partial<ClientInput>) =>
  createClient(db, { ...shop, ...input, id: `client-${++made}` } as ClientInput & { id: string }, [], change)
const flawsOf = async (input: Partial<ClientInput>) =>
  create(input).then(
    () => [],
    (error: Refusal) => error.flaws.map(({ field }) => field),
  )
const chosen = ({
  defaultScopes,
  defaultApiScopes,
  optionalScopes,
  optionalApiScopes,
}: ReturnType<typeof clientSettings>) => ({ defaultScopes, defaultApiScopes, optionalScopes, optionalApiScopes })

test('where nothing is said there is no default, and everything may be left out', async () => {
  const nothing = { defaultScopes: [], defaultApiScopes: {}, optionalScopes: null, optionalApiScopes: {} }
  expect(chosen(clientSettings(await create({})))).toEqual(nothing)
})

test('what is said is read back, and shown in the words of the declarative file', async () => {
  const said = {
    defaultScopes: ['openid'],
    defaultApiScopes: { [orders]: ['orders:read'] },
    optionalScopes: ['email'],
    optionalApiScopes: { [orders]: [], [stock]: [] },
  }
  const record = await create(said)
  expect(chosen(describeClient(record))).toEqual(said)
  expect(chosen(clientSettings((await findClient(db, record.id)) as typeof record))).toEqual(said)
  expect(chosen(clientSettings(await updateClient(db, record.id, shop, change)))).toMatchObject({
    defaultScopes: [],
    optionalScopes: null,
  })
})

test('what says nothing is not kept: everything named is the same as nothing named', async () => {
  const all = {
    optionalScopes: ['email', 'offline_access'],
    optionalApiScopes: { [orders]: ['orders:write', 'orders:read'] },
    defaultApiScopes: { [stock]: [] },
  }
  expect(chosen(clientSettings(await create(all)))).toEqual(chosen(clientSettings(await create({}))))
})

test('a scope that leaves its API leaves the defaults with it', async () => {
  const { id } = await create({ defaultApiScopes: { [stock]: ['stock:read'] } })
  await updateApi(db, stock, { name: 'Stock', scopes: { 'stock:count': 'Count' } }, change)
  const record = await findClient(db, id)
  expect(record && clientSettings(record).defaultApiScopes).toEqual({})
  await updateApi(db, stock, { name: 'Stock', scopes: { 'stock:read': 'See' } }, change)
})

describe('is refused by its path', () => {
  test.each<[string, Partial<ClientInput>, string[]]>([
    [
      'an OpenID scope by default that the client may not ask for',
      { defaultScopes: ['profile'] },
      ['defaultScopes[0]'],
    ],
    ['offline_access by default (OIDC Core 11)', { defaultScopes: ['openid', 'offline_access'] }, ['defaultScopes[1]']],
    ['a scope twice', { defaultScopes: ['email', 'email'] }, ['defaultScopes[1]']],
    [
      'an API scope that the client may not ask for',
      { defaultApiScopes: { [orders]: ['orders:read', 'orders:burn'] } },
      [`defaultApiScopes["${orders}"][1]`],
    ],
    [
      'an API that the client may not call',
      { optionalApiScopes: { 'https://other.example/': ['x'] } },
      ['optionalApiScopes["https://other.example/"]'],
    ],
    ['leaving out openid', { optionalScopes: ['openid'] }, ['optionalScopes[0]']],
    ['leaving out what is not registered', { optionalScopes: ['profile'] }, ['optionalScopes[0]']],
    [
      'a choice of people at a client without any',
      { type: 'service', redirectUris: [], scopes: [], optionalScopes: [], optionalApiScopes: { [orders]: [] } },
      ['optionalScopes', 'optionalApiScopes'],
    ],
  ])('%s', async (_, input, fields) => {
    expect(await flawsOf(input)).toEqual(fields)
  })
})
