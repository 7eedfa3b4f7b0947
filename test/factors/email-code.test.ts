// A code by mail in the place of the password: to the verified address, once, in the request where it was asked for.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { beginEmailCode, finishEmailCode } from '#src/factors/email-code.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { MailLimitReached, unsealMail } from '#src/mail/outbox.ts'
import { createUser, endUserTokens, setUserDisabled, updateUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const secretKeys = createSecretKeys([randomBytes(32)])
const change = { ...changeAt(), origin: { address: '192.0.2.7' } }
let test: TestDatabase
let userId = ''
let email = ''
let n = 0
beforeAll(async () => {
  test = await createTestDatabase()
})
afterAll(() => test.drop())
beforeEach(async () => {
  await test.database.prisma.mail.deleteMany()
  email = `p${++n}@example.com`
  userId = (await createUser(test.database.prisma, { email, emailVerified: true, locale: 'de-CH' }, change)).id
})

const begin = (address = email, uid = `uid${n}`) =>
  beginEmailCode(test.database, { uid, email: address, locale: 'en' }, change, secretKeys)
const finish = (code: string, uid = `uid${n}`) => finishEmailCode(test.database, { uid, code }, change, secretKeys)
async function newest() {
  const row = await test.database.prisma.mail.findFirstOrThrow({
    where: { template: 'email_code', sealed: { not: null } },
  })
  const { to, locale, data } = unsealMail(secretKeys, { id: row.id, sealed: row.sealed ?? '' })
  return { to, locale, code: (data as { code: string }).code }
}

it('goes to the address as the account has it, in the person’s language, and is right once', async () => {
  await begin(email.toUpperCase())
  const { to, locale, code } = await newest()
  expect([to, locale]).toEqual([email, 'de'])
  expect(await finish(code)).toEqual({ userId })
  expect(await finish(code)).toBe('over')
})

it('of 20 that bring the right code at once one signs in', async () => {
  await begin()
  const { code } = await newest()
  const results = await Promise.all(Array.from({ length: 20 }, () => finish(code)))
  expect(results.filter((result) => typeof result === 'object')).toEqual([{ userId }])
})

it('is refused in another request, and leaves its own waiting', async () => {
  await begin()
  const { code } = await newest()
  expect(await finish(code, 'another')).toBe('over')
  await begin('somebody@example.com', 'another')
  expect(await finish(code, 'another')).toBe('wrong')
  expect(await finish(code)).toEqual({ userId })
})

describe('nobody is let in by a code', () => {
  it('that was sent before the address changed, the person was switched off, or their sessions were ended', async () => {
    const { prisma } = test.database
    const changes = [
      () => prisma.user.update({ where: { id: userId }, data: { email: `moved${email}`, emailKey: `moved${email}` } }),
      () => updateUser(prisma, userId, { emailVerified: false }, change),
      () => setUserDisabled(prisma, userId, true, change),
      () => endUserTokens(prisma, userId, change),
    ]
    for (const [index, happen] of changes.entries()) {
      const address = `q${n}.${index}@example.com`
      userId = (await createUser(prisma, { email: address, emailVerified: true }, change)).id
      email = address
      await prisma.mail.deleteMany()
      await begin(address, `uid${index}`)
      const { code } = await newest()
      await happen()
      expect([index, await finish(code, `uid${index}`)]).toEqual([index, 'over'])
    }
  })

  it('that was guessed at five times', async () => {
    await begin()
    const { code } = await newest()
    const wrong = String((Number(code) + 1) % 1e8).padStart(8, '0')
    for (let time = 0; time < 5; time++) expect(await finish(wrong)).toBe('wrong')
    expect(await finish(code)).toBe('over')
  })
})

it('an address that was never verified, of a disabled person, of nobody: no mail, and the same rows', async () => {
  const { prisma } = test.database
  const rows = async () => [
    await prisma.mail.count(),
    await prisma.oneTimeCode.count(),
    await prisma.addressProof.count(),
  ]
  const off = (await createUser(prisma, { email: `off${n}@example.com`, emailVerified: true }, change)).id
  await setUserDisabled(prisma, off, true, change)
  await createUser(prisma, { email: `new${n}@example.com` }, change)
  const before = await rows()
  for (const [index, address] of [
    email,
    `off${n}@example.com`,
    `new${n}@example.com`,
    'nobody@example.com',
  ].entries()) {
    await begin(address, `same${n}.${index}`)
    expect(await rows()).toEqual(before.map((count) => count + index + 1))
  }
  expect(await prisma.mail.count({ where: { template: 'email_code' } })).toBe(1)
})

it('is not sent more often than four times in a quarter of an hour; the code that was sent last stays good', async () => {
  for (let time = 0; time < 3; time++) await begin()
  await test.database.prisma.mail.updateMany({ data: { sealed: null } })
  await begin()
  await expect(begin()).rejects.toThrow(MailLimitReached)
  expect(await finish((await newest()).code)).toEqual({ userId })
})
