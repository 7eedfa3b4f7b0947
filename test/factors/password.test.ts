import argon2 from 'argon2'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Database } from '#src/db/database.ts'
import { hashPassword, isPasswordHash, passwordHashing, verifyPassword } from '#src/factors/password.ts'
import { checkPassword } from '#src/factors/password-rules.ts'
import { createWorkQueue, QueueFull } from '#src/factors/work-queue.ts'
import { createUser, setUserDisabled } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const password = 'correct horse battery staple'
let created: TestDatabase
let db: Database['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  db = created.database.prisma
})
afterAll(() => created.drop())

async function person(email: string, plain = password) {
  return createUser(db, { email, passwordHash: await hashPassword(plain) }, change)
}
const wrong = { ok: false, reason: 'wrong_credentials' }

describe('verifyPassword', () => {
  test('knows the right password, by the address in any case', async () => {
    const { id } = await person('right@example.com')
    expect(await verifyPassword(db, { identifier: ' RIGHT@example.com', password })).toEqual({ ok: true, userId: id })
  })

  test('wrong password, unknown and impossible addresses, no password, disabled: one answer', async () => {
    const { id } = await person('off@example.com')
    await setUserDisabled(db, id, true, change)
    await person('on@example.com')
    await createUser(db, { email: 'none@example.com' }, change)
    for (const attempt of [
      { identifier: 'on@example.com', password: `${password}r` },
      { identifier: 'on@example.com', password: '' },
      { identifier: 'on@example.com', password: password.toUpperCase() },
      { identifier: 'off@example.com', password },
      { identifier: 'none@example.com', password },
      { identifier: 'nobody@example.com', password },
      { identifier: '', password },
      { identifier: 'a\0b', password },
      { identifier: '\ud800', password },
      { identifier: 'x'.repeat(5000), password },
    ])
      expect(await verifyPassword(db, attempt)).toEqual(wrong)
  })

  test('compares every character up to 256, none beyond, in NFC (ASVS 6.2.8, NIST 800-63B-4)', async () => {
    for (const plain of [
      'a'.repeat(72),
      `${'a'.repeat(72)}b`,
      'pass\0word and more',
      '\u0065\u0301'.repeat(20),
      'p'.repeat(256),
      '😀'.repeat(256),
    ]) {
      const email = `n${Math.random()}@example.com`
      await person(email, plain)
      expect(await verifyPassword(db, { identifier: email, password: plain })).toMatchObject({ ok: true })
      expect(await verifyPassword(db, { identifier: email, password: plain.normalize('NFC') })).toMatchObject({
        ok: true,
      })
      expect(
        await verifyPassword(db, { identifier: email, password: [...plain.normalize('NFC')].slice(0, -1).join('') }),
      ).toEqual(wrong)
    }
    for (const length of [257, 1_000_000])
      expect(await verifyPassword(db, { identifier: 'on@example.com', password: 'p'.repeat(length) })).toEqual({
        ok: false,
        reason: 'too_long',
      })
  })

  test('rehashes at login when the parameters were raised, without ending sessions', async () => {
    const old = await argon2.hash(password, { memoryCost: 19_456, timeCost: 2, parallelism: 1 })
    const { id, generation } = await createUser(db, { email: 'old@example.com', passwordHash: old }, change)
    await verifyPassword(db, { identifier: 'old@example.com', password: 'wrong' })
    expect(await secretOf(id)).toBe(old)
    expect(await verifyPassword(db, { identifier: 'old@example.com', password })).toMatchObject({ ok: true })
    expect(await secretOf(id)).toMatch(/^\$argon2id\$v=19\$m=47104,p=1,t=1\$/)
    expect(await verifyPassword(db, { identifier: 'old@example.com', password })).toMatchObject({ ok: true })
    expect(await db.user.findUnique({ where: { id } })).toMatchObject({ generation })
  })

  test('turns a crowd away before it costs queries', async () => {
    let queries = 0
    const counted = db.$extends({
      query: {
        $allOperations({ args, query }) {
          queries++
          return query(args)
        },
      },
    }) as unknown as typeof db
    const cheap = { memoryCost: 8192, timeCost: 1, parallelism: 1, hashLength: 32 }
    const crowd = Array.from({ length: 90 }, () => passwordHashing.hash('x', cheap).catch(() => undefined))
    const attempt = { identifier: 'nobody@example.com', password }
    expect(await verifyPassword(counted, attempt)).toEqual({ ok: false, reason: 'busy' })
    expect(queries).toBe(0)
    await Promise.all(crowd)
    expect(await verifyPassword(counted, attempt)).toEqual(wrong)
    expect(queries).toBe(1)
  })

  test('says busy instead of queueing without bound', async () => {
    const attempts = Array.from({ length: 90 }, () =>
      verifyPassword(db, { identifier: 'nobody@example.com', password: 'x' }),
    )
    const verdicts = await Promise.all(attempts)
    const busy = verdicts.filter((verdict) => !verdict.ok && verdict.reason === 'busy').length
    expect(busy).toBeGreaterThanOrEqual(1)
    expect(busy).toBeLessThanOrEqual(90 - 64)
    expect(await verifyPassword(db, { identifier: 'nobody@example.com', password: 'x' })).toEqual(wrong)
  }, 60_000)
})

const secretOf = async (userId: string) => (await db.credential.findFirst({ where: { userId } }))?.secret

test('a hash is argon2id with m=46 MiB, t=1, p=1 and its own salt (ASVS 11.4.2)', async () => {
  const [one, two] = [await hashPassword(password), await hashPassword(password)]
  expect(one).toMatch(/^\$argon2id\$v=19\$m=47104,p=1,t=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/)
  expect(one).not.toBe(two)
  expect(isPasswordHash(one)).toBe(true)
})

test.each([
  [''],
  ['$2b$10$abcdefghijklmnopqrstuv'],
  ['$argon2i$v=19$m=47104,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA'],
  ['$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA'], // 4 GiB
  ['$argon2id$v=19$m=47104,t=99,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA'],
  ['$argon2id$v=19$m=47104,t=1,p=1,keyid=x$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA'],
  ['$argon2id$v=19$m=47104,t=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA'],
])('a foreign or ruinous hash is refused: %s', (text) => expect(isPasswordHash(text)).toBe(false))

describe('checkPassword', () => {
  test.each([
    [password],
    ['völlig beliebige Wörter 日本語'],
    ['                 x      y '],
    ['alice in wonderland, again and again'],
    ['a😀b😀c😀d😀e😀f😀g😀h'],
  ])('takes %j: length counts, composition does not (ASVS 6.2.5)', (plain) =>
    expect(checkPassword(plain, ['alice@example.com', 'Alice Liddell'])).toEqual([]),
  )
  test.each([
    ['', 'too_short'],
    ['fourteen chars', 'too_short'],
    ['e\u0301'.repeat(14), 'too_short'],
    ['x'.repeat(257), 'too_long'],
    ['x'.repeat(10_000_000), 'too_long'],
    ['aaaaaaaaaaaaaaaaaaaa', 'repetitive'],
    ['abababababababababab', 'repetitive'],
    ['AbAbAbAbabababab', 'repetitive'],
    ['123412341234123412', 'repetitive'],
    ['1234567890123456', 'repetitive'],
    ['9876543210987654', 'repetitive'],
    ['abcdefghijklmnopq', 'repetitive'],
    ['qwertyuiopasdfgh', 'repetitive'],
    ['alice@example.com', 'personal'],
    ['Alice.Liddell123', 'personal'],
    ['sallyport-sallyport', 'personal'],
    ['Sallyport2026!!!!', 'personal'],
  ])('refuses %j (ASVS 6.2.1, 6.2.11)', (plain, code) =>
    expect(checkPassword(plain, ['alice@example.com', 'Alice Liddell']).map((flaw) => flaw.code)).toEqual([code]),
  )
})

test('the queue runs so many at once, in order, and hands places over after failures', async () => {
  const queue = createWorkQueue({ running: 2, waiting: 3 })
  const started: number[] = []
  const finish: (() => void)[] = []
  const work = (n: number) => () => {
    started.push(n)
    return new Promise<void>((resolve, reject) => finish.push(n === 1 ? () => reject(new Error('failed')) : resolve))
  }
  const results = [1, 2, 3, 4, 5].map((n) =>
    queue(work(n)).then(
      () => n,
      () => `failed ${n}`,
    ),
  )
  await expect(queue(work(6))).rejects.toBeInstanceOf(QueueFull)
  expect(started).toEqual([1, 2])
  for (let done = 0; done < 5; done++) {
    finish[done]?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(await Promise.all(results)).toEqual(['failed 1', 2, 3, 4, 5])
  expect(started).toEqual([1, 2, 3, 4, 5])
})
