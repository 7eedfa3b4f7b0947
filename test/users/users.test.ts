import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  createRole,
  InvalidRole,
  insertRole,
  LastOwner,
  ownerRole,
  permissionsOf,
  RoleNotFound,
  updateRole,
} from '#src/access/roles.ts'
import type { Database } from '#src/db/database.ts'
import {
  createUser,
  deleteUser,
  EmailTaken,
  endUserTokens,
  findUser,
  findUserByEmail,
  setPassword,
  setUserDisabled,
  UserNotFound,
  updateUser,
} from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
let created: TestDatabase
let db: Database['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  db = created.database.prisma
  await createRole(db, 'reader', { permissions: ['orders:read'] }, change)
  await createRole(db, 'writer', { permissions: ['orders:read', 'orders:write'] }, change)
})
afterAll(() => created.drop())

test('one person per address, whatever its case, composition and surrounding space', async () => {
  const person = await createUser(db, { email: ' Zo\u0065\u0308@Example.COM ' }, change)
  for (const spelling of ['zo\u00eb@example.com', 'ZO\u00cb@EXAMPLE.COM', '  zoe\u0308@example.com'])
    expect((await findUserByEmail(db, spelling))?.id).toBe(person.id)
  await expect(createUser(db, { email: 'zo\u00eb@EXAMPLE.com' }, change)).rejects.toBeInstanceOf(EmailTaken)
  expect(person.email).toBe('Zo\u00eb@Example.COM')
})

test('the subject is a random UUID', async () => {
  const { id } = await createUser(db, { email: 'uuid@example.com' }, change)
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  for (const stranger of ['', 'x', '\0', `${id}\0`, "' OR 1=1", '00000000-0000-4000-8000-000000000000'])
    expect(await findUser(db, stranger)).toBeNull()
  expect(await findUserByEmail(db, 'a\0@example.com')).toBeNull()
})

describe('refused, naming the field', () => {
  test.each([
    [{ email: 'alice' }, 'email'],
    [{ email: 'Alice <alice@example.com>' }, 'email'],
    [{ email: 'alice@example' }, 'email'],
    [{ email: 'a\0@example.com' }, 'email'],
    [{ email: `${'a'.repeat(300)}@example.com` }, 'email'],
    [{ name: 'Al\nice' }, 'name'],
    [{ picture: 'javascript:alert(1)' }, 'picture'],
    [{ roles: ['nobody'] }, 'roles[0]'],
    [{ roles: ['reader', 'reader'] }, 'roles[1]'],
    [{ attributes: { a: 'x\0' } }, 'attributes.a'],
    [{ attributes: { a: ['\ud800'] } }, 'attributes.a[0]'],
    [{ attributes: { 'a b': 1 } }, 'attributes["a b"]'],
    [{ attributes: { a: 2 ** 60 } }, 'attributes.a'],
  ])('%j', async (wrong, field) => {
    await expect(createUser(db, { email: 'refused@example.com', ...wrong }, change)).rejects.toMatchObject({ field })
    expect(await findUserByEmail(db, 'refused@example.com')).toBeNull()
  })
})

test('disabling, a new password and revoking each raise the generation, so that sessions and tokens end', async () => {
  const { id, generation } = await createUser(db, { email: 'g@example.com' }, change)
  await setUserDisabled(db, id, true, change)
  await setUserDisabled(db, id, true, change) // nothing happens twice
  await setUserDisabled(db, id, false, change)
  expect((await findUser(db, id))?.generation).toBe(generation + 1)
  await setPassword(db, id, '$argon2id$a', change)
  await setPassword(db, id, '$argon2id$b', change)
  await endUserTokens(db, id, change)
  expect((await findUser(db, id))?.generation).toBe(generation + 4)
  expect(await db.credential.findMany({ where: { userId: id }, select: { kind: true, secret: true } })).toEqual([
    { kind: 'password', secret: '$argon2id$b' },
  ])
  const events = await db.auditEvent.findMany({ where: { targetId: id }, orderBy: { id: 'asc' } })
  expect(events.map((row) => row.event)).toEqual([
    'user.created',
    'user.disabled',
    'user.enabled',
    'user.password_changed',
    'user.password_changed',
    'token.revoked',
  ])
})

test('an update leaves what it does not name', async () => {
  const { id } = await createUser(
    db,
    { email: 'part@example.com', name: 'Part', emailVerified: true, roles: ['reader'], attributes: { a: 1 } },
    change,
  )
  const updated = await updateUser(db, id, { locale: 'en' }, changeAt('2027-01-01T00:00:00Z'))
  expect(updated).toMatchObject({
    name: 'Part',
    locale: 'en',
    emailVerifiedAt: change.now,
    attributes: { a: 1 },
    roles: [{ roleName: 'reader' }],
  })
  await expect(updateUser(db, '00000000-0000-4000-8000-000000000000', { name: 'x' }, change)).rejects.toBeInstanceOf(
    UserNotFound,
  )
  await expect(updateUser(db, id, { roles: ['none'] }, change)).rejects.toBeInstanceOf(RoleNotFound)
  expect((await findUser(db, id))?.roles).toHaveLength(1)
})

test('permissions are those of the roles held now, and none for a disabled person', async () => {
  const { id } = await createUser(db, { email: 'perm@example.com', roles: ['reader', 'writer'] }, change)
  expect([...(await permissionsOf(db, id, 'https://any.example'))].sort()).toEqual(['orders:read', 'orders:write'])
  await updateRole(db, 'writer', { permissions: [] }, change)
  expect([...(await permissionsOf(db, id, 'https://any.example'))]).toEqual(['orders:read'])
  await setUserDisabled(db, id, true, change)
  expect((await permissionsOf(db, id, 'https://any.example')).size).toBe(0)
})

test('nobody makes or changes the role owner: its permissions are Sallyport’s', async () => {
  await expect(createRole(db, ownerRole, { permissions: [] }, change)).rejects.toBeInstanceOf(InvalidRole)
  await expect(updateRole(db, ownerRole, { permissions: ['x'] }, change)).rejects.toBeInstanceOf(InvalidRole)
})

describe('the last owner who can sign in', () => {
  test('is neither disabled, deleted nor stripped, also when two requests try it at once', async () => {
    await db.$transaction((tx) => insertRole(tx, ownerRole, { permissions: ['clients:read'] }, change))
    const one = await createUser(db, { email: 'one@example.com', roles: [ownerRole] }, change)
    const two = await createUser(db, { email: 'two@example.com', roles: [ownerRole] }, change)
    const results = await Promise.allSettled([
      setUserDisabled(db, one.id, true, change),
      deleteUser(db, two.id, change),
    ])
    expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected'])
    const [left] = await db.userRole.findMany({ where: { roleName: ownerRole, user: { disabledAt: null } } })
    const last = left?.userId ?? ''
    await expect(setUserDisabled(db, last, true, change)).rejects.toBeInstanceOf(LastOwner)
    await expect(deleteUser(db, last, change)).rejects.toBeInstanceOf(LastOwner)
    await expect(updateUser(db, last, { roles: [] }, change)).rejects.toBeInstanceOf(LastOwner)
    expect(await findUser(db, last)).toMatchObject({ disabledAt: null, roles: [{ roleName: ownerRole }] })
  })
})
