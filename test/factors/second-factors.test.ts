import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { combineMethods, levelOf, reportedAcr } from '#src/factors/assurance.ts'
import { replaceRecoveryCodes } from '#src/factors/recovery-code.ts'
import {
  findStanding,
  listFactors,
  neededLevel,
  readStanding,
  removeFactor,
  resetFactors,
} from '#src/factors/second-factors.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createUser, UserNotFound } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { giveTotp } from '#test/support/factors.ts'

const change = changeAt()
const [one, two, phr] = ['urn:sallyport:acr:1fa', 'urn:sallyport:acr:2fa', 'phr'] as const
let created: TestDatabase
let db: TestDatabase['database']['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  db = created.database.prisma
  await createRole(db, 'keeper', { secondFactor: 'required' }, change)
  await createRole(db, 'clerk', {}, change)
})
afterAll(() => created.drop())

const person = async (email: string, roles: string[] = []) =>
  (await createUser(db, { email: `${email}@example.com`, roles }, change)).id
const giveApp = (userId: string) =>
  giveTotp({ database: created.database, secretKeys: createSecretKeys([Buffer.alloc(32, 1)]) }, userId)

describe('what proofs are worth', () => {
  test.each([
    [[['pwd']], ['pwd'], one],
    [[['otp']], ['otp'], one],
    [[['pwd'], ['otp']], ['pwd', 'otp', 'mfa'], two],
    [[['otp'], ['otp']], ['otp', 'mfa'], two],
    [[['pop', 'swk', 'user', 'mfa']], ['pop', 'swk', 'user', 'mfa'], phr],
    [[['pwd'], ['pop', 'hwk', 'user', 'mfa']], ['pwd', 'pop', 'hwk', 'user', 'mfa'], phr],
    [
      [
        ['pwd', 'otp', 'mfa'],
        ['pop', 'swk', 'user', 'mfa'],
      ],
      ['pwd', 'otp', 'pop', 'swk', 'user', 'mfa'],
      phr,
    ],
  ])('%j', (from, amr, acr) => {
    expect(combineMethods(from)).toEqual(amr)
    expect(levelOf(amr)).toBe(acr)
  })

  test('a client reads the value that it asked for, if that was reached', () => {
    expect(reportedAcr(phr, [two])).toBe(two)
    expect(reportedAcr(two, [phr, one])).toBe(one)
    expect(reportedAcr(one, [phr])).toBe(one)
    expect(reportedAcr(two, [])).toBe(two)
  })
})

test.each([
  ['nobody asks, nothing is there', [], false, 'optional', one],
  ['a role asks', ['clerk', 'keeper'], false, 'optional', two],
  ['the client asks', ['clerk'], false, 'required', two],
  ['nobody asks, but they have one', [], true, 'optional', two],
])('a second factor is needed or not: %s', async (what, roles, has, secondFactor, level) => {
  const id = await person(`need${what.length}`, roles)
  if (has) await giveApp(id)
  const standing = await findStanding(db, id)
  expect(standing && neededLevel(standing, { secondFactor })).toBe(level)
  expect(await readStanding(created.database, id)).toEqual(standing)
})

test('factors are listed and removed by their owner alone; recovery codes go with the last one', async () => {
  const [alice, bob] = [await person('alice'), await person('bob')]
  await giveApp(alice)
  await giveApp(alice)
  await replaceRecoveryCodes(db, alice, change)
  const [first, second] = await listFactors(db, alice)
  expect(first).toMatchObject({ kind: 'totp', name: 'App' })
  expect(await removeFactor(db, bob, first?.id ?? '', change)).toBe(false)
  expect(await removeFactor(db, alice, 'not an id', change)).toBe(false)
  expect(await removeFactor(db, alice, first?.id ?? '', change)).toBe(true)
  expect(await findStanding(db, alice)).toMatchObject({ totp: 1, recoveryCodes: 10 })
  expect(await removeFactor(db, alice, second?.id ?? '', change)).toBe(true)
  expect(await findStanding(db, alice)).toMatchObject({ totp: 0, recoveryCodes: 0 })
  expect(await db.auditEvent.count({ where: { event: 'factor.removed', targetId: alice } })).toBe(2)
})

test('two that are the last, removed at once, take the recovery codes with them', async () => {
  for (let round = 0; round < 10; round++) {
    const id = await person(`both-at-once-${round}`)
    await giveApp(id)
    await giveApp(id)
    await replaceRecoveryCodes(db, id, change)
    const factors = await listFactors(db, id)
    expect(await Promise.all(factors.map((factor) => removeFactor(db, id, factor.id, change)))).toEqual([true, true])
    expect(await findStanding(db, id)).toMatchObject({ totp: 0, recoveryCodes: 0 })
  }
})

test('a reset takes the factors, ends the sessions, keeps the password, and is recorded', async () => {
  const id = await person('lost', ['keeper'])
  await db.credential.create({ data: { id: crypto.randomUUID(), userId: id, kind: 'password', secret: 'hash' } })
  await giveApp(id)
  await replaceRecoveryCodes(db, id, change)
  const before = await findStanding(db, id)
  expect(await resetFactors(db, id, change)).toBe(11)
  expect(await findStanding(db, id)).toMatchObject({
    generation: (before?.generation ?? 0) + 1,
    totp: 0,
    recoveryCodes: 0,
    roleRequires: true,
  })
  expect(await db.credential.findMany({ where: { userId: id } })).toMatchObject([{ kind: 'password' }])
  expect(await db.auditEvent.findFirst({ where: { event: 'user.factors_reset' } })).toMatchObject({
    targetId: id,
    detail: { removed: 11 },
  })
  for (const unknown of ['nobody', '00000000-0000-4000-8000-000000000000'])
    await expect(resetFactors(db, unknown, change)).rejects.toBeInstanceOf(UserNotFound)
  for (const unknown of ['nobody', '00000000-0000-4000-8000-000000000000']) {
    expect(await findStanding(db, unknown)).toBeUndefined()
    expect(await readStanding(created.database, unknown)).toBeUndefined()
  }
})
