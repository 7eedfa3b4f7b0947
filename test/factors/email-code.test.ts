// A code by mail as a factor: to the verified address, once, within the limits.
import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { issueEmailCode, verifyEmailCode } from '#src/factors/email-code.ts'
import type { CodeFlow } from '#src/factors/one-time-code.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { MailLimitReached, unsealMail } from '#src/mail/outbox.ts'
import { createUser, setUserDisabled, updateUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const secretKeys = createSecretKeys([randomBytes(32)])
const change = { ...changeAt(), origin: { address: '192.0.2.7' } }
const flow: CodeFlow = { interaction: 'uid' }
let test: TestDatabase
let userId = ''
let n = 0
beforeAll(async () => {
  test = await createTestDatabase()
})
afterAll(() => test.drop())
beforeEach(async () => {
  await test.database.prisma.mail.deleteMany()
  const person = { email: `p${++n}@example.com`, emailVerified: true, locale: 'de-CH' }
  userId = (await createUser(test.database.prisma, person, change)).id
})

const issue = (who = userId, where = flow) =>
  issueEmailCode(test.database, { userId: who, flow: where, locale: 'en' }, change, secretKeys)
const verify = (code: string, more: { userId?: string; flow?: CodeFlow } = {}) =>
  verifyEmailCode(test.database, { userId, flow, code, address: '192.0.2.7', now: change.now, ...more }, secretKeys)
async function newest() {
  const row = await test.database.prisma.mail.findFirstOrThrow({ orderBy: { id: 'asc' } })
  const { to, locale, data } = unsealMail(secretKeys, { id: row.id, sealed: row.sealed ?? '' })
  return { to, locale, code: (data as { code: string }).code }
}

it('goes to the verified address in the person’s language, and is right once', async () => {
  expect(await issue()).toBe(true)
  const { to, locale, code } = await newest()
  expect([to, locale]).toEqual([`p${n}@example.com`, 'de'])
  expect(await verify(code)).toEqual({ ok: true })
  expect(await verify(code)).toMatchObject({ ok: false, reason: 'over' })
})

it('is refused for another person, elsewhere, and after the address changed', async () => {
  await issue()
  const { code } = await newest()
  const { id } = await createUser(test.database.prisma, { email: `q${n}@example.com`, emailVerified: true }, change)
  expect(await verify(code, { flow: { session: 'uid' } })).toMatchObject({ ok: false, reason: 'over' })
  expect(await verify(code, { userId: id })).toMatchObject({ ok: false, reason: 'wrong' })
  const key = `moved${n}@example.com`
  await test.database.prisma.user.update({ where: { id: userId }, data: { email: key, emailKey: key } })
  expect(await verify(code)).toMatchObject({ ok: false, reason: 'wrong' })
})

describe('nothing is sent', () => {
  it('to an address that was never verified, to a disabled person, to nobody', async () => {
    await updateUser(test.database.prisma, userId, { emailVerified: false }, change)
    expect(await issue()).toBe(false)
    await updateUser(test.database.prisma, userId, { emailVerified: true }, change)
    await setUserDisabled(test.database.prisma, userId, true, change)
    expect(await issue()).toBe(false)
    expect(await issue(randomUUID())).toBe(false)
    expect(await test.database.prisma.mail.count()).toBe(0)
  })

  it('more often than four times in a quarter of an hour; the code that was sent last stays good', async () => {
    for (let time = 0; time < 3; time++) await issue()
    await test.database.prisma.mail.updateMany({ data: { sealed: null } })
    await issue()
    await expect(issue()).rejects.toThrow(MailLimitReached)
    const row = await test.database.prisma.mail.findFirstOrThrow({ where: { sealed: { not: null } } })
    const { data } = unsealMail(secretKeys, { id: row.id, sealed: row.sealed ?? '' })
    expect(await verify((data as { code: string }).code)).toEqual({ ok: true })
  })
})

it('of 200 wrong tries at once no more are evaluated than the limits allow (CVE-2025-64102)', async () => {
  await issue()
  const { code } = await newest()
  const wrong = String((Number(code) + 1) % 1e8).padStart(8, '0')
  const verdicts = await Promise.all(Array.from({ length: 200 }, () => verify(wrong)))
  const evaluated = verdicts.filter((verdict) => !verdict.ok && verdict.reason !== 'limited')
  expect(evaluated.length).toBeLessThanOrEqual(6)
  expect(await verify(code)).toMatchObject({ ok: false, reason: 'limited' })
})

it('somebody who was switched off in between is not let in', async () => {
  await issue()
  const { code } = await newest()
  await setUserDisabled(test.database.prisma, userId, true, change)
  expect((await verify(code)).ok).toBe(false)
})
