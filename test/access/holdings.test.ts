// What somebody holds at this moment, for one API.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { holdingsOf, nothing } from '#src/access/holdings.ts'
import { createRole, deleteRole, InvalidRole, permissionsOf, updateRole } from '#src/access/roles.ts'
import { createApi, deleteApi } from '#src/apis/apis.ts'
import { createClient, findClient, setClientDisabled, updateClient } from '#src/clients/clients.ts'
import { InvalidClient } from '#src/clients/errors.ts'
import { createUser, setUserDisabled, updateUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const orders = 'https://api.example.com/orders'
const stock = 'https://api.example.com/stock'
let own: TestDatabase
let db: TestDatabase['database']['prisma']
let alice: string

beforeAll(async () => {
  own = await createTestDatabase()
  db = own.database.prisma
  const scopes = { read: 'Read', write: 'Write' }
  await createApi(db, { identifier: orders, name: 'Orders', scopes }, change)
  await createApi(db, { identifier: stock, name: 'Stock', scopes }, change)
  await createRole(db, 'reader', { permissions: ['read'] }, change)
  await createRole(db, 'orders-writer', { permissions: ['write'], api: orders }, change)
  const attributes = { department: 'sales', level: 3 }
  alice = (await createUser(db, { email: 'a@example.com', emailVerified: true, attributes, roles: ['reader'] }, change))
    .id
})
afterAll(() => own.drop())

const of = async (kind: string, id: string, api = orders) => {
  const { roles, permissions, ...rest } = await holdingsOf(own.database, { kind, id }, api)
  return { ...rest, roles: [...roles].sort(), permissions: [...permissions].sort() }
}

test('of a person: roles, permissions, attributes, and whether they count at all', async () => {
  expect(await of('user', alice)).toEqual({
    disabled: false,
    emailVerified: true,
    attributes: { department: 'sales', level: 3 },
    roles: ['reader'],
    permissions: ['read'],
  })
  await setUserDisabled(db, alice, true, change)
  expect((await of('user', alice)).disabled).toBe(true)
  await setUserDisabled(db, alice, false, change)
})

test('a role for one API is none for another', async () => {
  await updateUser(db, alice, { roles: ['reader', 'orders-writer'] }, change)
  expect(await of('user', alice)).toMatchObject({ roles: ['orders-writer', 'reader'], permissions: ['read', 'write'] })
  expect(await of('user', alice, stock)).toMatchObject({ roles: ['reader'], permissions: ['read'] })
  for (const api of [orders, stock])
    expect([...(await permissionsOf(db, alice, api))].sort()).toEqual((await of('user', alice, api)).permissions)
})

test('of a client that acts for itself: what it is registered for, and its roles', async () => {
  const input = { type: 'service' as const, apis: { [orders]: ['read'] } }
  await createClient(db, { id: 'robot', ...input }, [], change)
  expect(await of('client', 'robot')).toMatchObject({ roles: [], permissions: ['read'] })
  expect(await of('client', 'robot', stock)).toMatchObject({ permissions: [] })
  await updateClient(db, 'robot', { ...input, roles: ['orders-writer'] }, change)
  expect(await of('client', 'robot')).toMatchObject({ roles: ['orders-writer'], permissions: ['read', 'write'] })
  await setClientDisabled(db, 'robot', true, change)
  expect((await of('client', 'robot')).disabled).toBe(true)
  await expect(updateClient(db, 'robot', { ...input, roles: ['none'] }, change)).rejects.toBeInstanceOf(InvalidClient)
  const web = { type: 'web' as const, redirectUris: ['https://shop.example/cb'], roles: ['reader'] }
  await expect(createClient(db, { id: 'shop', ...web }, [], change)).rejects.toThrow(/they hold the roles/)
})

test('nobody who is not known here holds anything', async () => {
  for (const [kind, id] of [
    ['user', '00000000-0000-4000-8000-000000000000'],
    ['user', "x' OR 1=1"],
    ['user', 'somebody@example.com'],
    ['client', 'nobody'],
    ['robot', alice],
  ] as const)
    expect(await holdingsOf(own.database, { kind, id }, orders)).toEqual(nothing)
})

test('changes count at once, also those of the role', async () => {
  await updateRole(db, 'reader', { permissions: ['read', 'write'] }, change)
  expect((await of('user', alice, stock)).permissions).toEqual(['read', 'write'])
  await updateRole(db, 'reader', { permissions: [], api: stock }, change)
  expect(await of('user', alice)).toMatchObject({ roles: ['orders-writer'] })
  await deleteRole(db, 'orders-writer', change)
  expect(await of('user', alice)).toMatchObject({ roles: [], permissions: [] })
  expect((await findClient(db, 'robot'))?.roles).toEqual([])
})

test('a role is for an API that exists, and goes with it', async () => {
  await expect(createRole(db, 'x', { api: 'https://none.example' }, change)).rejects.toBeInstanceOf(InvalidRole)
  await deleteApi(db, stock, change)
  expect(await db.role.count({ where: { name: 'reader' } })).toBe(0)
})
