// Queueing: in the transaction of the cause, sealed, and within limits.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { type OutgoingMail, queueMail, unsealMail } from '#src/mail/outbox.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const secretKeys = createSecretKeys([randomBytes(32)])
const start = Date.parse('2026-11-26T12:00:00Z')
let test: TestDatabase
beforeAll(async () => {
  test = await createTestDatabase()
})
afterAll(() => test.drop())
beforeEach(async () => {
  await test.database.prisma.mail.deleteMany()
})

const code = (change: Partial<OutgoingMail<'sign_up_code'>> = {}): OutgoingMail => ({
  template: 'sign_up_code',
  to: 'canary@example.com',
  locale: 'de',
  data: { code: '13572468' },
  askedFrom: '192.0.2.7',
  ...change,
})
const queue = (mail = code(), seconds = 0) =>
  test.database.prisma.$transaction((tx) => queueMail(tx, mail, { secretKeys, now: new Date(start + seconds * 1000) }))
const queueMany = async (times: number, mail: (n: number) => OutgoingMail, seconds = 0) => {
  let queued = 0
  for (let n = 0; n < times; n++) if (await queue(mail(n), seconds)) queued++
  return queued
}

it('a mail whose transaction fails was never there', async () => {
  await expect(
    test.database.prisma.$transaction(async (tx) => {
      await queueMail(tx, code(), { secretKeys, now: new Date(start) })
      throw new Error('the cause failed')
    }),
  ).rejects.toThrow('the cause failed')
  expect(await test.database.prisma.mail.count()).toBe(0)
})

it('keeps address, code and language sealed, each row under its own name', async () => {
  await queue()
  await queue(code({ to: 'other@example.com' }))
  const [one, other] = await test.database.prisma.mail.findMany()
  if (!one?.sealed || !other?.sealed) throw new Error('two rows')
  const seen = JSON.stringify([one, other])
  for (const secret of ['canary', 'example.com', '13572468', '1357'])
    expect(seen.replaceAll(/"(id|sealed|recipient)":"?[^"]*"/g, '')).not.toContain(secret)
  expect(unsealMail(secretKeys, { id: one.id, sealed: one.sealed })).toMatchObject({
    locale: 'de',
    data: { code: '13572468' },
  })
  expect(() => unsealMail(secretKeys, { id: one.id, sealed: other.sealed ?? '' })).toThrow()
})

describe('the limits on what anybody can have sent to an address', () => {
  it('are four in a quarter of an hour from one network, whatever the spelling of the address', async () => {
    const spellings = ['a@example.com', 'A@EXAMPLE.com', 'a@Example.Com']
    expect(await queueMany(9, (n) => code({ to: spellings[n % 3] ?? '', askedFrom: `192.0.2.${n}` }))).toBe(4)
    expect(await queue(code({ to: 'a@example.com' }), 899)).toBe(false)
    expect(await queue(code({ to: 'a@example.com' }), 901)).toBe(true)
  })

  it('leave something for the owner, who asks from elsewhere', async () => {
    expect(await queueMany(9, () => code())).toBe(4)
    expect(await queueMany(9, () => code({ askedFrom: '198.51.100.1' }))).toBe(4)
  })

  it('are ten an hour from everywhere together', async () => {
    expect(await queueMany(20, (n) => code({ askedFrom: `10.0.${n}.1` }))).toBe(10)
    expect(await queue(code({ askedFrom: '10.0.99.1' }), 3601)).toBe(true)
  })

  it('are sixty an hour for one network over all addresses', async () => {
    expect(await queueMany(70, (n) => code({ to: `p${n}@example.com`, askedFrom: `192.0.2.${n}` }))).toBe(60)
    expect(await queue(code({ askedFrom: '192.0.3.1' }))).toBe(true)
  })

  it('take a /64 for one network of IPv6, however it is written', async () => {
    const spellings = ['2001:db8::1', '2001:db8:0:0:1::1', '2001:0db8:0000::ffff', '2001:db8::1:2:3:4', '2001:db8::']
    expect(await queueMany(5, (n) => code({ askedFrom: spellings[n] }))).toBe(4)
    expect(await queue(code({ askedFrom: '2001:db8:0:1::1' }))).toBe(true)
  })

  it('hold when everybody asks at once', async () => {
    const queued = await Promise.all(Array.from({ length: 20 }, () => queue()))
    expect(queued.filter(Boolean)).toHaveLength(4)
  })

  it('hold back no notice, and notices use nothing up', async () => {
    const notice: OutgoingMail = { template: 'password_changed', to: 'canary@example.com', locale: 'en', data: {} }
    expect(await queueMany(12, () => notice)).toBe(12)
    expect(await queueMany(9, () => code())).toBe(4)
    expect(await queue(notice)).toBe(true)
  })
})
