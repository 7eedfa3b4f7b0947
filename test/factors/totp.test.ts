import { Secret, TOTP } from 'otpauth'
import { encode } from 'uqr'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { closeDatabase, openDatabase } from '#src/db/database.ts'
import { confirmTotp, createSeed, qrCode, totpUri, verifyTotp } from '#src/factors/totp.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { codeAt } from '#test/support/factors.ts'

const change = changeAt()
const secretKeys = createSecretKeys([Buffer.alloc(32, 3)])
let created: TestDatabase
let db: TestDatabase['database']['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  db = created.database.prisma
})
afterAll(() => created.drop())

const later = (seconds: number) => new Date(change.now.getTime() + seconds * 1000)

/** @returns a person whose app was confirmed with the code of `change.now`. */
async function person(name: string) {
  const { id: userId } = await createUser(db, { email: `${name}@example.com` }, change)
  const seed = createSeed()
  const given = { userId, generation: 0, seed, code: codeAt(seed, change.now), name: 'Phone' }
  const factor = await confirmTotp(db, secretKeys, given, change)
  return { userId, seed, id: factor?.id ?? '' }
}
const verify = (userId: string, code: string, now: Date) => verifyTotp(db, secretKeys, { userId, code, now })

test('the codes are those of RFC 6238 appendix B', () => {
  const seed = Secret.fromUTF8('12345678901234567890').base32
  for (const [seconds, code] of [
    [59, '287082'],
    [1111111109, '081804'],
    [20000000000, '353130'],
  ] as const)
    expect(codeAt(seed, new Date(seconds * 1000))).toBe(code)
})

test('a seed has 160 random bits and stands sealed in its row (ASVS 6.5.3)', async () => {
  const { seed, id } = await person('seed')
  expect(Secret.fromBase32(seed).bytes.length).toBe(20)
  expect(createSeed()).not.toBe(createSeed())
  const row = await db.credential.findUniqueOrThrow({ where: { id } })
  expect(JSON.stringify(row, (_, value) => (typeof value === 'bigint' ? Number(value) : value))).not.toContain(seed)
  expect(() => secretKeys.unseal('totp', 'another id', row.secret)).toThrow()
  expect(secretKeys.unseal('totp', id, row.secret).toString()).toBe(seed)
})

describe('verifyTotp', () => {
  test.each([
    [-2, false],
    [-1, true],
    [0, true],
    [1, true],
    [2, false],
  ])('a code of %i steps from now: %s (the window is one step, exactly)', async (steps, taken) => {
    const { userId, seed } = await person(`window${steps}`)
    const now = later(300)
    expect(await verify(userId, codeAt(seed, now, steps), now)).toBe(taken)
  })

  test('to the millisecond: a code of the step before is taken until the next step begins', async () => {
    const { userId, seed } = await person('edge')
    const begin = new Date(Math.ceil(later(300).getTime() / 30_000) * 30_000)
    const code = codeAt(seed, begin)
    expect(await verify(userId, code, new Date(begin.getTime() + 60_000))).toBe(false)
    expect(await verify(userId, code, new Date(begin.getTime() - 30_001))).toBe(false)
    expect(await verify(userId, code, new Date(begin.getTime() + 59_999))).toBe(true)
  })

  test('takes a code once, and none of a step at or before one that was taken (ASVS 6.5.1)', async () => {
    const { userId, seed } = await person('once')
    const now = later(300)
    expect(await verify(userId, codeAt(seed, now), now)).toBe(true)
    for (const steps of [0, -1]) expect(await verify(userId, codeAt(seed, now, steps), now)).toBe(false)
    expect(await verify(userId, codeAt(seed, now, 1), now)).toBe(true)
  })

  test('the code that confirmed the app is used up', async () => {
    const { userId, seed } = await person('confirmed')
    expect(await verify(userId, codeAt(seed, change.now), change.now)).toBe(false)
  })

  test('of twenty at once with one code one is right', async () => {
    const { userId, seed } = await person('parallel')
    const now = later(300)
    const answers = await Promise.all(Array.from({ length: 20 }, () => verify(userId, codeAt(seed, now), now)))
    expect(answers.filter(Boolean)).toHaveLength(1)
  })

  test('of twenty at once over two processes one is right, twenty times over (CVE-2026-82470)', async () => {
    const second = openDatabase(created.url, { poolSize: 10, onError: () => undefined })
    try {
      const { userId, seed } = await person('two-processes')
      for (let round = 1; round <= 20; round++) {
        const now = later(300 * round)
        const attempt = { userId, code: codeAt(seed, now), now }
        const answers = await Promise.all(
          Array.from({ length: 20 }, (_, n) => verifyTotp(n % 2 ? second.prisma : db, secretKeys, attempt)),
        )
        expect([round, answers.filter(Boolean).length]).toEqual([round, 1])
      }
    } finally {
      await closeDatabase(second)
    }
  })

  test('any of several apps will do, each on its own count; nobody else’s does', async () => {
    const { userId, seed } = await person('several')
    const other = await person('neighbour')
    const second = createSeed()
    const given = { userId, generation: 0, seed: second, name: 'Tablet' }
    await confirmTotp(db, secretKeys, { ...given, code: codeAt(second, change.now) }, change)
    const now = later(300)
    expect(await verify(userId, codeAt(seed, now), now)).toBe(true)
    expect(await verify(userId, codeAt(second, now), now)).toBe(true)
    expect(await verify(userId, codeAt(other.seed, now), now)).toBe(false)
  })

  test.each([[''], ['12345'], ['1234567'], ['abcdef'], ['１２３４５６'], ['-12345'], ['1e5000']])(
    'is not confused by %j',
    async (code) => {
      const { userId } = await person(`odd${Math.random()}`)
      expect(await verify(userId, code, later(300))).toBe(false)
    },
  )

  test('spaces do not count: people read codes in two groups', async () => {
    const { userId, seed } = await person('spaces')
    const now = later(300)
    expect(await verify(userId, codeAt(seed, now).replace(/^.../, ' $& '), now)).toBe(true)
  })
})

test('an app of a session that was ended meanwhile is not set up: whoever recovered the account begins without it', async () => {
  const { id: userId } = await createUser(db, { email: 'recovered@example.com' }, change)
  const seed = createSeed()
  const given = { userId, seed, code: codeAt(seed, change.now), name: 'Phone' }
  await db.user.update({ where: { id: userId }, data: { generation: { increment: 1 } } })
  for (const generation of [0, null])
    expect(await confirmTotp(db, secretKeys, { ...given, generation }, change)).toBeUndefined()
  expect(await confirmTotp(db, secretKeys, { ...given, generation: 1 }, change)).toMatchObject({ added: true })
})

test('an app that shows another code is not set up, and nobody has more than ten', async () => {
  const { userId, seed } = await person('many')
  const give = (of: string, steps = 0) =>
    confirmTotp(
      db,
      secretKeys,
      { userId, generation: 0, seed: of, code: codeAt(of, change.now, steps), name: 'App' },
      change,
    )
  expect(await give(seed, 5)).toBeUndefined()
  const given = await Promise.all(Array.from({ length: 12 }, () => give(createSeed())))
  expect(given.filter((factor) => factor?.added)).toHaveLength(9)
  expect(given.filter((factor) => factor === undefined)).toHaveLength(3)
})

describe('the form of a set-up sent again', () => {
  const apps = (userId: string) => db.credential.findMany({ where: { userId, kind: 'totp' } })

  test('five times at once: one app, one record of it, and all five hear which', async () => {
    const { id: userId } = await createUser(db, { email: 'again@example.com' }, change)
    const seed = createSeed()
    const given = { userId, generation: 0, seed, code: codeAt(seed, change.now), name: 'Phone' }
    const factors = await Promise.all(Array.from({ length: 5 }, () => confirmTotp(db, secretKeys, given, change)))
    const [app, ...others] = await apps(userId)
    expect(others).toEqual([])
    expect(factors.map((factor) => factor?.id)).toEqual(Array(5).fill(app?.id))
    expect(factors.filter((factor) => factor?.added)).toHaveLength(1)
    expect(await db.auditEvent.count({ where: { event: 'factor.added', targetId: userId } })).toBe(1)
  })

  test('later, with another code: still one app, so that no code of it is good twice (CVE-2026-82470)', async () => {
    const { userId, seed } = await person('afterwards')
    const now = later(60)
    const given = { userId, generation: 0, seed, code: codeAt(seed, now), name: 'Phone' }
    expect(await confirmTotp(db, secretKeys, given, { ...change, now })).toMatchObject({ added: false })
    expect(await apps(userId)).toHaveLength(1)
    expect(await verify(userId, codeAt(seed, now), now)).toBe(true)
    expect(await verify(userId, codeAt(seed, now), now)).toBe(false)
  })

  test('the same seed in the apps of two people is two apps', async () => {
    const { seed } = await person('one-of-two')
    const { id: userId } = await createUser(db, { email: 'two-of-two@example.com' }, change)
    const given = { userId, generation: 0, seed, code: codeAt(seed, change.now), name: 'Phone' }
    expect(await confirmTotp(db, secretKeys, given, change)).toMatchObject({ added: true })
  })

  test('what must be the first is, of several at once with seeds of their own', async () => {
    const { id: userId } = await createUser(db, { email: 'first@example.com' }, change)
    const factors = await Promise.all(
      Array.from({ length: 5 }, () => {
        const seed = createSeed()
        const given = { userId, generation: 0, seed, code: codeAt(seed, change.now), name: 'Phone', first: true }
        return confirmTotp(db, secretKeys, given, change)
      }),
    )
    expect(factors.filter((factor) => factor?.added)).toHaveLength(1)
    expect(await apps(userId)).toHaveLength(1)
  })
})

test('the QR code carries issuer, account and seed, and is a picture without script or style', () => {
  const seed = createSeed()
  const uri = totpUri(seed, { issuer: 'id.example.com', account: 'a&b"<c>@example.com' })
  const read = new URL(uri)
  expect([read.protocol, read.host, read.searchParams.get('secret'), read.searchParams.get('issuer')]).toEqual([
    'otpauth:',
    'totp',
    seed,
    'id.example.com',
  ])
  expect(new TOTP({ secret: seed }).digits).toBe(6)
  const svg = qrCode(uri)
  expect(svg).toMatch(/^<svg /)
  expect(svg).not.toMatch(/<script|style=|href|on\w+=/i)
  const { size, data } = encode(uri, { border: 4, ecc: 'L' })
  const drawn = Array.from({ length: size }, () => Array<boolean>(size).fill(false))
  for (const [, x, y, run] of svg.matchAll(/M(\d+) (\d+)\.5h(\d+)/g))
    drawn[Number(y)]?.fill(true, Number(x), Number(x) + Number(run))
  expect(drawn).toEqual(data)
})
