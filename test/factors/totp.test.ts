import { Secret, TOTP } from 'otpauth'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
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
  const id = await confirmTotp(db, secretKeys, { userId, seed, code: codeAt(seed, change.now), name: 'Phone' }, change)
  return { userId, seed, id: id ?? '' }
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

  test('any of several apps will do, each on its own count; nobody else’s does', async () => {
    const { userId, seed } = await person('several')
    const other = await person('neighbour')
    const second = createSeed()
    const given = { userId, seed: second, name: 'Tablet' }
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

test('an app that shows another code is not set up, and nobody has more than ten', async () => {
  const { userId, seed } = await person('many')
  const give = (code: string) => confirmTotp(db, secretKeys, { userId, seed, code, name: 'App' }, change)
  expect(await give(codeAt(seed, change.now, 5))).toBeUndefined()
  for (let n = 2; n <= 10; n++) expect(await give(codeAt(seed, change.now))).toBeDefined()
  expect(await give(codeAt(seed, change.now))).toBeUndefined()
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
})
