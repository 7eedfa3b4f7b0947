import { createHash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import {
  ApiKeyNotFound,
  createApiKey,
  findApiKey,
  formatApiKey,
  isApiKey,
  listApiKeys,
  revokeApiKey,
} from '#src/access/api-keys.ts'
import { createRole, updateRole } from '#src/access/roles.ts'
import { createApi } from '#src/apis/apis.ts'
import { createClient, setClientDisabled, updateClient } from '#src/clients/clients.ts'
import type { Database } from '#src/db/database.ts'
import { createUser, setUserDisabled } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const { now } = change
const api = 'https://api.example.com'
let created: TestDatabase
let db: Database['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  db = created.database.prisma
  await createApi(db, { identifier: api, name: 'Api', scopes: { 'a:read': 'x', 'a:write': 'y' } }, change)
})
afterAll(() => created.drop())

const service = (id: string, scopes = ['a:read', 'a:write']) =>
  createClient(db, { id, type: 'service', apis: { [api]: scopes } }, [], change)

test('a key has a recognisable shape and a checksum; one wrong character is garbage', () => {
  const value = formatApiKey(randomBytes(32))
  expect(value).toMatch(/^sp_key_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$/)
  expect(isApiKey(value)).toBe(true)
  for (let at = 0; at < value.length; at++) {
    const other = value[at] === 'x' ? 'y' : 'x'
    expect(isApiKey(value.slice(0, at) + other + value.slice(at + 1)), `character ${at}`).toBe(false)
  }
  for (const garbage of ['', 'sp_key_', value.slice(0, -1), `${value}x`, `${value}\n`, ` ${value}`])
    expect(isApiKey(garbage)).toBe(false)
  expect(formatApiKey(new Uint8Array(32))).toMatch(/^sp_key_0{43}_/)
  expect(isApiKey(formatApiKey(new Uint8Array(32).fill(255)))).toBe(true)
})

test('garbage costs no database work', async () => {
  const nothing = new Proxy({} as typeof db, {
    get: (_, name) => {
      throw new Error(`asked for ${String(name)}`)
    },
  }) // prettier-ignore
  expect(await findApiKey(nothing, 'sp_key_garbage', now)).toBeUndefined()
  await expect(findApiKey(nothing, formatApiKey(randomBytes(32)), now)).rejects.toThrow('asked for apiKey')
})

test('only the SHA-256 is stored; the value is found again, unknown ones are not', async () => {
  await service('stored')
  const { value, id } = await createApiKey(
    db,
    { name: 'k', apiIdentifier: api, scopes: ['a:read'], owner: { clientId: 'stored' } },
    change,
  )
  expect(id).toBe(createHash('sha256').update(value).digest('hex'))
  const [row] = await db.apiKey.findMany({ where: { clientId: 'stored' } })
  expect(JSON.stringify({ ...row, id: Buffer.from(row?.id ?? []).toString('hex') })).not.toContain(value.slice(12, 50))
  expect(await findApiKey(db, value, now)).toMatchObject({
    id,
    clientId: 'stored',
    userId: null,
    scopes: ['a:read'],
    apiIdentifier: api,
  })
  expect(await findApiKey(db, formatApiKey(randomBytes(32)), now)).toBeUndefined()
})

test('an expired, a revoked key, and the key of a disabled client are refused', async () => {
  await service('owner')
  const owner = { clientId: 'owner' }
  const make = (expiresAt: Date | null) =>
    createApiKey(db, { name: 'k', apiIdentifier: api, scopes: ['a:read'], owner, expiresAt }, change)
  const ending = await make(new Date(now.getTime() + 1000))
  expect(await findApiKey(db, ending.value, now)).toBeDefined()
  expect(await findApiKey(db, ending.value, new Date(now.getTime() + 1000))).toBeUndefined()
  const lasting = await make(null)
  await revokeApiKey(db, ending.id, change)
  expect(await findApiKey(db, ending.value, now)).toBeUndefined()
  await expect(revokeApiKey(db, ending.id, change)).rejects.toBeInstanceOf(ApiKeyNotFound)
  await expect(revokeApiKey(db, 'x', change)).rejects.toBeInstanceOf(ApiKeyNotFound)
  await setClientDisabled(db, 'owner', true, change)
  expect(await findApiKey(db, lasting.value, now)).toBeUndefined()
  expect(await listApiKeys(db, owner)).toHaveLength(2)
})

test('a key can do what its owner can do now, and no more', async () => {
  await service('shrinking')
  const scopes = ['a:read', 'a:write']
  const ofClient = await createApiKey(
    db,
    { name: 'k', apiIdentifier: api, scopes, owner: { clientId: 'shrinking' } },
    change,
  )
  await updateClient(db, 'shrinking', { type: 'service', apis: { [api]: ['a:read'] } }, change)
  expect((await findApiKey(db, ofClient.value, now))?.scopes).toEqual(['a:read'])

  await createRole(db, 'keys', { permissions: ['a:read', 'a:write'] }, change)
  const { id } = await createUser(db, { email: 'k@example.com', roles: ['keys'] }, change)
  const ofPerson = await createApiKey(db, { name: 'k', apiIdentifier: api, scopes, owner: { userId: id } }, change)
  expect((await findApiKey(db, ofPerson.value, now))?.scopes).toEqual(scopes)
  await updateRole(db, 'keys', { permissions: ['a:write'] }, change)
  expect((await findApiKey(db, ofPerson.value, now))?.scopes).toEqual(['a:write'])
  await setUserDisabled(db, id, true, change)
  expect(await findApiKey(db, ofPerson.value, now)).toBeUndefined()
})

test('a scope that the API lacks is refused, naming the field', async () => {
  await service('wrong')
  const wrong = createApiKey(
    db,
    { name: 'k', apiIdentifier: api, scopes: ['a:read', 'b'], owner: { clientId: 'wrong' } },
    change,
  )
  await expect(wrong).rejects.toMatchObject({ field: 'scopes[1]' })
})
