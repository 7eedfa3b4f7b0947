import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Change } from '#src/audit/change.ts'
import { beginVerification, finishVerification } from '#src/factors/verification.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { MailLimitReached, unsealMail } from '#src/mail/outbox.ts'
import { createUser, type UserRecord } from '#src/users/users.ts'
import { clearAudit } from '#test/support/audit.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change: Change = { ...changeAt(), origin: { address: '192.0.2.1', userAgent: undefined, requestId: 'r' } }
const secretKeys = createSecretKeys([Buffer.alloc(32, 1)])
const uid = 'the pending request'
const proven = { factor: 'passkey', amr: 'pop hwk user mfa' }
let created: TestDatabase
let db: TestDatabase['database']['prisma']
let user: UserRecord

beforeAll(async () => {
  created = await createTestDatabase()
  db = created.database.prisma
})
afterAll(() => created.drop())
beforeEach(async () => {
  for (const table of [db.user, db.mail, db.addressProof, db.oneTimeCode] as { deleteMany(): unknown }[])
    await table.deleteMany()
  await clearAudit(created.database)
  user = await createUser(db, { email: 'Ada@Example.com', locale: 'de' }, change)
})

const begin = (id = uid) =>
  beginVerification(created.database, { uid: id, user, locale: 'en', proven }, change, secretKeys)
async function sent(before: readonly { id: string }[] = []) {
  const { id, sealed } = await db.mail.findFirstOrThrow({ where: { id: { notIn: before.map((mail) => mail.id) } } })
  return unsealMail(secretKeys, { id, sealed: sealed ?? '' })
}
async function finish(code?: string, id = uid) {
  const right = ((await sent()).data as { code: string }).code
  return finishVerification(created.database, { uid: id, code: code ?? right }, change, secretKeys)
}
const verifiedAt = async () => (await db.user.findUniqueOrThrow({ where: { id: user.id } })).emailVerifiedAt

test('the code goes to the address of the account in the language of its owner; with it the address is verified, on record, and the first factor comes back as it was proven', async () => {
  await begin()
  expect(await sent()).toMatchObject({ to: 'Ada@Example.com', locale: 'de' })
  const { generation } = user
  expect(await finish()).toEqual({ userId: user.id, data: { ...proven, generation: String(generation) } })
  expect(await verifiedAt()).toEqual(change.now)
  expect(await db.auditEvent.findMany({ where: { event: { startsWith: 'email.' } } })).toMatchObject([
    { event: 'email.verified', outcome: 'success', actorId: user.id, targetId: user.id },
  ])
  expect(await finish()).toBe('over')
})

describe('the code is over, and no address is verified, when meanwhile', () => {
  test.each<[string, () => Promise<unknown>]>([
    [
      'the person has another address',
      () => db.user.update({ where: { id: user.id }, data: { email: 'ada@elsewhere.example' } }),
    ],
    ['the person was switched off', () => db.user.update({ where: { id: user.id }, data: { disabledAt: change.now } })],
    [
      'their sessions were ended',
      () => db.user.update({ where: { id: user.id }, data: { generation: { increment: 1 } } }),
    ],
    ['they are gone', () => db.user.delete({ where: { id: user.id } })],
  ])('%s', async (_what, happens) => {
    await begin()
    await happens()
    expect(await finish()).toBe('over')
    expect(await db.user.count({ where: { emailVerifiedAt: { not: null } } })).toBe(0)
    expect(await db.auditEvent.count({ where: { event: 'email.verified' } })).toBe(0)
  })
})

test('wrong ones count, in another request it is none, and a time of verification stays what it was', async () => {
  await begin()
  expect(await finish('00000000x')).toBe('wrong')
  expect(await finish(undefined, 'another request')).toBe('over')
  expect(await verifiedAt()).toBeNull()
  const before = new Date('2026-01-01T00:00:00Z')
  await db.user.update({ where: { id: user.id }, data: { emailVerifiedAt: before } })
  expect(await finish()).toMatchObject({ userId: user.id })
  expect(await verifiedAt()).toEqual(before)
})

test('a mailbox is not flooded: the fifth mail of a quarter of an hour is held back, and the code of the fourth stays good', async () => {
  for (let n = 0; n < 3; n++) await begin()
  const before = await db.mail.findMany({ select: { id: true } })
  await begin()
  const { data } = await sent(before)
  await expect(begin()).rejects.toBeInstanceOf(MailLimitReached)
  expect(await finish((data as { code: string }).code)).toMatchObject({ userId: user.id })
})
