import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { NotSent, type OutOfBandDeps, type OutOfBandMessage } from '#src/factors/out-of-band.ts'
import {
  confirmPhone,
  listPhones,
  readPhoneNumber,
  readPhones,
  sendEnrolmentCode,
  sendSignInCode,
  takeSmsCode,
} from '#src/factors/phone.ts'
import { findStanding, hasSecondFactor, listFactors, removeFactor, resetFactors } from '#src/factors/second-factors.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { giveRecoveryCodes } from '#test/support/factors.ts'

const secretKeys = createSecretKeys([randomBytes(32)])
const number = '+447700900112'
const start = new Date('2026-11-26T12:00:00Z')
let own: TestDatabase
let db: TestDatabase['database']['prisma']
let alice: string
let bob: string
let sent: OutOfBandMessage[]
let fails: NotSent | undefined

beforeAll(async () => {
  own = await createTestDatabase()
  db = own.database.prisma
  alice = (await createUser(db, { email: 'alice@example.com' }, changeAt(start.toISOString()))).id
  bob = (await createUser(db, { email: 'bob@example.com' }, changeAt(start.toISOString()))).id
})
afterAll(() => own.drop())
beforeEach(async () => {
  sent = []
  fails = undefined
  await db.outOfBandMessage.deleteMany()
  await db.oneTimeCode.deleteMany()
  await db.credential.deleteMany()
})

const at = (seconds: number) => new Date(start.getTime() + seconds * 1000)
const deps = (now = start): OutOfBandDeps => ({
  database: own.database,
  secretKeys,
  now,
  transport: {
    async send(message) {
      if (fails) throw fails
      sent.push(message)
    },
  },
})
const enrol = (change: { userId?: string; number?: string; session?: string; askedFrom?: string; now?: Date } = {}) =>
  sendEnrolmentCode(deps(change.now), {
    userId: change.userId ?? alice,
    session: change.session ?? 'session',
    number: change.number ?? number,
    locale: 'fr',
    askedFrom: change.askedFrom ?? '192.0.2.1',
  })
const confirm = (code: string, change: { number?: string; session?: string; now?: Date; userId?: string } = {}) =>
  confirmPhone(
    db,
    {
      userId: change.userId ?? alice,
      generation: 0,
      session: change.session ?? 'session',
      number: change.number ?? number,
      code,
      name: 'Mine',
    },
    secretKeys,
    changeAt((change.now ?? start).toISOString()),
  )
const newest = () => sent.at(-1) as OutOfBandMessage & { code: string }
async function phoneOf(userId = alice, to = number): Promise<string> {
  await enrol({ userId, number: to })
  const added = await confirm(newest().code, { userId, number: to })
  await db.outOfBandMessage.deleteMany()
  return (added as { id: string }).id
}
const ask = (phoneId: string, uid = 'request', now = start, userId = alice) =>
  sendSignInCode(deps(now), { userId, phoneId, uid, locale: 'en', askedFrom: '192.0.2.1' })
const take = (phoneId: string, code: string, uid = 'request', now = start) =>
  takeSmsCode(db, secretKeys, { userId: alice, phoneId, uid, code, now })

test.each([
  ['+44 7700 900112', number],
  ['0044 (7700) 900-112', number],
  ['＋447700900112', number],
  [' +44.7700.900112\u200e', number],
  ['07700 900112', undefined],
  ['+0447700900112', undefined],
  ['+44770', undefined],
  ['+4477009001121234', undefined],
  ['+44 7700 900112 ext 3', undefined],
  ['+44\n7700900112\r\nBcc: x', undefined],
  ['', undefined],
  ['+'.repeat(5000), undefined],
])('a number is written in many ways, and must work from anywhere: %j', (typed, expected) => {
  expect(readPhoneNumber(typed)).toBe(expected)
})

describe('adding a number', () => {
  test('the code goes to it, in the language of the page, and shows that it is theirs', async () => {
    expect(await enrol()).toMatchObject({ outcome: 'sent', id: newest().id })
    expect(newest()).toMatchObject({
      channel: 'sms',
      to: number,
      code: expect.stringMatching(/^\d{8}$/),
      locale: 'fr',
      expiresAt: at(600),
      purpose: 'enrolment',
    })
    const added = (await confirm(newest().code)) as { id: string }
    expect(await listPhones(db, alice)).toEqual([{ id: added.id, ending: '12' }])
    expect(await readPhones(db, secretKeys, alice)).toEqual([{ id: added.id, number }])
    expect(await listFactors(db, alice)).toMatchObject([{ kind: 'phone', name: 'Mine', ending: '12' }])
    expect(await db.auditEvent.count({ where: { event: 'factor.added', targetId: alice } })).toBe(1)
  })

  test('nothing that is stored shows the number, and its row opens only in its place', async () => {
    const id = await phoneOf()
    const stored = JSON.stringify(
      [await db.credential.findMany(), await db.outOfBandMessage.findMany(), await db.oneTimeCode.findMany()],
      (_key, value) =>
        typeof value === 'bigint'
          ? Number(value)
          : value instanceof Uint8Array
            ? Buffer.from(value).toString('latin1')
            : value,
    )
    for (const part of [number, number.slice(1), number.slice(3), '900112']) expect(stored, part).not.toContain(part)
    const { secret } = await db.credential.findUniqueOrThrow({ where: { id } })
    expect(() => secretKeys.unseal('phone', bob, secret)).toThrow('phone')
  })

  test('a code is for one number, session and person; wrong, late and used ones add nothing', async () => {
    await enrol()
    const { code } = newest()
    expect(await confirm(String((Number(code) + 1) % 1e8).padStart(8, '0'))).toBe('wrong')
    expect(await confirm(code, { number: '+447700900113' })).toBe('wrong')
    expect(await confirm(code, { session: 'another' })).toBe('over')
    expect(await confirm(code, { now: at(600) })).toBe('over')
    expect(await db.credential.count()).toBe(0)
    expect(await confirm(code)).toMatchObject({ id: expect.any(String) })
    expect(await confirm(code)).toBe('over')
    expect(await db.credential.count()).toBe(1)
  })

  test('nothing is added by a session that was ended meanwhile', async () => {
    await enrol()
    await db.user.update({ where: { id: alice }, data: { generation: 1 } })
    expect(await confirm(newest().code)).toBe('over')
    expect(await listPhones(db, alice)).toEqual([])
    await db.user.update({ where: { id: alice }, data: { generation: 0 } })
  })

  test('the same number once, and three at most', async () => {
    await phoneOf()
    expect(await enrol()).toEqual({ outcome: 'taken' })
    await phoneOf(alice, '+447700900113')
    await phoneOf(alice, '+447700900114')
    expect(await enrol({ number: '+447700900115' })).toEqual({ outcome: 'full' })
    expect(await enrol({ userId: bob })).toMatchObject({ outcome: 'sent' }) // a family may share one
  })

  test('of one number five times at once one is added', async () => {
    const codes: string[] = []
    for (let n = 0; n < 5; n++) {
      await enrol({ session: `session ${n}` })
      codes.push(newest().code)
    }
    // A connection for each, or the first is done before the second has one.
    await Promise.all(codes.map(() => own.database.pool.query('SELECT pg_sleep(0.1)')))
    const results = await Promise.all(codes.map((code, n) => confirm(code, { session: `session ${n}` })))
    expect(results.filter((result) => result === 'over')).toHaveLength(4)
    expect(await db.credential.count()).toBe(1)
  })
})

describe('a code at a sign-in', () => {
  test('is good once, in its request, for its phone, for ten minutes', async () => {
    const [phone, other] = [await phoneOf(), await phoneOf(alice, '+447700900113')]
    await ask(phone)
    const { code } = newest()
    expect(newest()).toMatchObject({ to: number, purpose: 'sign_in', locale: 'en' })
    expect(await take(phone, code, 'another request')).toBe('over')
    expect(await take(other, code)).toBe('wrong')
    expect(await take(phone, code, 'request', at(600))).toBe('over')
    expect(await take(phone, code.replace(/(.{4})/, '$1 '))).toBe('right')
    expect(await take(phone, code)).toBe('over')
  })

  test('a new one voids the one before, and five wrong tries void it, too', async () => {
    const phone = await phoneOf()
    await ask(phone)
    const { code: first } = newest()
    await ask(phone)
    const { code: second } = newest()
    expect(await take(phone, first)).toBe('wrong')
    for (let n = 0; n < 4; n++) expect(await take(phone, 'x')).toBe('wrong')
    expect(await take(phone, second)).toBe('over')
  })

  test('of twenty at once one is taken', async () => {
    const phone = await phoneOf()
    await ask(phone)
    const { code } = newest()
    const verdicts = await Promise.all(Array.from({ length: 20 }, () => take(phone, code)))
    expect(verdicts.filter((verdict) => verdict === 'right')).toHaveLength(1)
  })

  test('nothing is sent to somebody else’s phone, nor to one that is gone; its code proves nothing any more', async () => {
    const [phone, foreign] = [await phoneOf(), await phoneOf(bob, '+447700900119')]
    sent = []
    expect(await ask(foreign)).toBeUndefined()
    expect(await ask('not an id')).toBeUndefined()
    expect(sent).toEqual([])
    await ask(phone)
    expect(await removeFactor(db, alice, phone, changeAt(start.toISOString()))).toBe(true)
    expect(await take(phone, newest().code)).toBe('over')
    expect(await ask(phone)).toBeUndefined()
  })
})

describe('how much is sent', () => {
  test('five messages an hour for a person, whatever they are for; then when to come back', async () => {
    const phone = await phoneOf()
    for (let n = 0; n < 3; n++) expect(await ask(phone, `request ${n}`)).toMatchObject({ outcome: 'sent' })
    for (let n = 3; n < 5; n++) expect(await enrol({ number: `+4477009002${n}0` })).toMatchObject({ outcome: 'sent' })
    const count = sent.length
    expect(await ask(phone, 'one more')).toEqual({ outcome: 'limited', retryAfterSeconds: 3600 })
    expect(await enrol({ number: '+447700900299' })).toMatchObject({ outcome: 'limited' })
    expect(sent).toHaveLength(count)
    expect(await ask(phone, 'later', at(3601))).toMatchObject({ outcome: 'sent' })
  })

  test('of thirty at once five are sent, and a code that was sent stays good', async () => {
    const phone = await phoneOf()
    sent = []
    const all = await Promise.all(Array.from({ length: 30 }, (_, n) => ask(phone, `request ${n}`)))
    expect([sent.length, all.filter((one) => one?.outcome === 'limited').length]).toEqual([5, 25])
  })

  test('five an hour for a number over all accounts, twenty for a network (toll fraud)', async () => {
    const people: string[] = []
    for (let n = 0; n < 8; n++)
      people.push((await createUser(db, { email: `p${n}@example.com` }, changeAt(start.toISOString()))).id)
    const outcomes: string[] = []
    for (const userId of people) outcomes.push((await enrol({ userId })).outcome)
    expect(outcomes).toEqual([...Array(5).fill('sent'), ...Array(3).fill('limited')])
    await db.outOfBandMessage.deleteMany()
    let through = 0
    for (const [index, userId] of people.entries())
      for (let n = 0; n < 4; n++) {
        const one = await enrol({ userId, number: `+4477009${index}00${n}5`, askedFrom: '2001:db8::' + (n + 1) })
        if (one.outcome === 'sent') through++
      }
    expect(through).toBe(20)
    const elsewhere = { userId: people[7] as string, number: '+447700955555', askedFrom: '2001:db8:1::1' }
    expect(await enrol(elsewhere)).toMatchObject({ outcome: 'sent' })
  })

  test('what may have left counts although it failed; what never left does not', async () => {
    const phone = await phoneOf()
    fails = new NotSent('ECONNREFUSED', { mayHaveLeft: false })
    for (let n = 0; n < 8; n++)
      expect(await ask(phone)).toMatchObject({ outcome: 'failed', reason: 'ECONNREFUSED', id: expect.any(String) })
    expect(await db.outOfBandMessage.count()).toBe(0)
    fails = new NotSent('timeout', { mayHaveLeft: true })
    for (let n = 0; n < 5; n++) expect(await ask(phone)).toMatchObject({ outcome: 'failed' })
    fails = undefined
    expect(await ask(phone)).toMatchObject({ outcome: 'limited' })
  })

  test('without a transport nothing is sent, and it is said', async () => {
    const phone = await phoneOf()
    const answer = await sendSignInCode(
      { ...deps(), transport: undefined },
      { userId: alice, phoneId: phone, uid: 'request', locale: 'en', askedFrom: undefined },
    )
    expect(answer).toMatchObject({ outcome: 'failed', reason: 'off' })
  })
})

test('a phone is a second factor: it is asked for, goes with a reset, and takes the recovery codes along when it was the last', async () => {
  const phone = await phoneOf()
  await giveRecoveryCodes({ database: own.database }, alice)
  const standing = await findStanding(db, alice)
  expect(standing).toMatchObject({ phones: 1, totp: 0, passkeys: 0 })
  expect(standing && hasSecondFactor(standing)).toBe(true)
  expect(await removeFactor(db, alice, phone, changeAt(start.toISOString()))).toBe(true)
  expect(await findStanding(db, alice)).toMatchObject({ phones: 0, recoveryCodes: 0 })
  await phoneOf()
  expect(await resetFactors(db, alice, changeAt(start.toISOString()))).toBe(1)
  expect(await db.credential.count()).toBe(0)
})
