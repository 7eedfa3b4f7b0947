import { afterAll, beforeAll, expect, test } from 'vitest'
import { looksLikeRecoveryCode, replaceRecoveryCodes, useRecoveryCode } from '#src/factors/recovery-code.ts'
import { createUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const { now } = change
let created: TestDatabase
let db: TestDatabase['database']['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  db = created.database.prisma
})
afterAll(() => created.drop())

async function person(name: string) {
  const { id: userId } = await createUser(db, { email: `${name}@example.com` }, change)
  return { userId, codes: await replaceRecoveryCodes(db, userId, change) }
}

test('there are ten of 120 bits, and rows hold digests only (ASVS 6.5.2)', async () => {
  const { userId, codes } = await person('ten')
  expect(new Set(codes).size).toBe(10)
  for (const code of codes) expect(code).toMatch(/^[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){5}$/)
  const rows = await db.credential.findMany({ where: { userId } })
  expect(rows).toHaveLength(10)
  for (const { secret } of rows) expect(secret).toMatch(/^[A-Za-z0-9_-]{43}$/)
  const text = JSON.stringify(rows, (_, value) => (typeof value === 'bigint' ? Number(value) : value))
  for (const code of codes) expect(text).not.toContain(code.replaceAll('-', ''))
})

test('each works once, and says how many are left', async () => {
  const { userId, codes } = await person('once')
  const [code = '', another = ''] = codes
  expect(await useRecoveryCode(db, { userId, code, now })).toEqual({ ok: true, left: 9 })
  expect(await useRecoveryCode(db, { userId, code, now })).toEqual({ ok: false })
  expect(await useRecoveryCode(db, { userId, code: another, now })).toEqual({ ok: true, left: 8 })
})

test('of twenty at once with one code one is right', async () => {
  const { userId, codes } = await person('parallel')
  const tries = Array.from({ length: 20 }, () => useRecoveryCode(db, { userId, code: codes[0] ?? '', now }))
  expect((await Promise.all(tries)).filter(({ ok }) => ok)).toHaveLength(1)
})

test('new ones void the old, and nobody else’s work', async () => {
  const { userId, codes } = await person('renewed')
  const other = await person('neighbour')
  const fresh = await replaceRecoveryCodes(db, userId, change)
  for (const code of [...codes, ...other.codes])
    expect((await useRecoveryCode(db, { userId, code, now })).ok).toBe(false)
  expect(await useRecoveryCode(db, { userId, code: fresh[9] ?? '', now })).toEqual({ ok: true, left: 9 })
})

test('of several sets made at once one stays: ten codes are good, not fifty', async () => {
  const { userId } = await person('several')
  const sets = await Promise.all(Array.from({ length: 5 }, () => replaceRecoveryCodes(db, userId, change)))
  expect(await db.credential.count({ where: { userId, kind: 'recovery_code' } })).toBe(10)
  const good: boolean[] = []
  for (const [code = ''] of sets) good.push((await useRecoveryCode(db, { userId, code, now })).ok)
  expect(good.filter(Boolean)).toHaveLength(1)
})

test('is read as people write it, and nothing else is', async () => {
  const { userId, codes } = await person('typed')
  const [one = '', two = '', three = ''] = codes
  for (const code of ['', one.slice(1), `${one}0`, one.replace(/.$/, 'u'), 'x'.repeat(10_000), '\0'.repeat(24)])
    expect((await useRecoveryCode(db, { userId, code, now })).ok).toBe(false)
  for (const code of [
    one.toUpperCase().replaceAll('-', ''),
    ` ${two.replaceAll('-', ' – ')} `,
    three.replaceAll('0', 'O').replaceAll('1', 'l'),
  ])
    expect((await useRecoveryCode(db, { userId, code, now })).ok).toBe(true)
  expect([looksLikeRecoveryCode(one), looksLikeRecoveryCode('123 456')]).toEqual([true, false])
})
