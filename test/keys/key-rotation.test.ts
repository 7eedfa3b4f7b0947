// One key follows the other, over months of an injected clock and with two processes that both want to: each is published before it signs
// and until what it signed is over, and leaves with its private half.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { closeDatabase, type Database, openDatabase, type Prisma } from '#src/db/database.ts'
import {
  announcedSeconds,
  careForSigningKeys,
  keysMaxAgeSeconds,
  removeRetiredKeys,
  rotateSigningKeys,
} from '#src/keys/key-rotation.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys, loadSigningKeys, SigningKeysUnreadable } from '#src/keys/signing-keys.ts'
import { clearAudit } from '#test/support/audit.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const secretKeys = createSecretKeys([randomBytes(32)])
const start = Date.parse('2026-01-01T00:00:00Z')
const at = (seconds: number) => new Date(start + seconds * 1000)
const hour = 3_600
const day = 24 * hour
const kept = day + 600
const change = (seconds: number) => ({ now: at(seconds), actor: { kind: 'system' as const } })

let own: TestDatabase
let two: [Database, Database]
let first: Prisma.SigningKeyCreateManyInput[]
beforeAll(async () => {
  own = await createTestDatabase()
  const other = () => openDatabase(own.url, { poolSize: 3, onError: () => undefined })
  two = [other(), other()]
  await ensureSigningKeys(own.database, secretKeys, at(0))
  first = (await own.database.prisma.signingKey.findMany()) as Prisma.SigningKeyCreateManyInput[]
}, 60_000)
// The same six each time: making an RSA key takes a while.
beforeEach(async () => {
  await own.database.prisma.signingKey.deleteMany()
  await own.database.prisma.signingKey.createMany({ data: first })
  await clearAudit(own.database)
})
afterAll(async () => {
  for (const database of two) await closeDatabase(database)
  await own.drop()
})

const published = async () => loadSigningKeys(own.database, secretKeys)
const current = async (alg: string) => (await published()).find((key) => key.alg === alg)?.kid ?? ''
const events = (event: string) => own.database.prisma.auditEvent.count({ where: { event } })
const care = (database: Database, seconds: number, rotationDays = 2) =>
  careForSigningKeys(database, secretKeys, { rotationDays, keptSeconds: kept, change: change(seconds) })

test('over several rotations by two processes every key is known to verifiers before it signs and for as long as what it signed', async () => {
  const firstSeen = new Map<string, number>()
  const lastSigned = new Map<string, number>()
  const signed: { kid: string; at: number }[] = []
  for (let t = 0; t <= 9 * day; t += 6 * hour) {
    await Promise.all(two.map((database) => care(database, t)))
    const keys = await published()
    for (const { kid } of keys) if (!firstSeen.has(kid)) firstSeen.set(kid, t)
    expect(
      keys
        .filter(({ state }) => state === 'current')
        .map(({ alg }) => alg)
        .sort(),
    ).toEqual(['ES256', 'EdDSA', 'RS256'])
    expect(keys.filter(({ state }) => state === 'next')).toHaveLength(3)
    for (const alg of ['ES256', 'EdDSA', 'RS256']) {
      const kid = await current(alg)
      if (t > 0) expect(t - (firstSeen.get(kid) ?? t)).toBeGreaterThanOrEqual(t < 2 * day ? 0 : announcedSeconds)
      lastSigned.set(kid, t)
      signed.push({ kid, at: t })
    }
    const known = new Set(keys.map(({ kid }) => kid))
    for (const token of signed) if (t - token.at <= day) expect(known.has(token.kid), `${token.kid} at ${t}`).toBe(true)
  }
  // Every two days, four times; each once, though two processes wanted to.
  expect(await events('key.activated')).toBe(12)
  expect(await events('key.retired')).toBe(12)
  expect(lastSigned.size).toBe(15)
  // Of those that retired only the last are still there: the fourth a day ago.
  expect((await published()).filter(({ state }) => state === 'retired')).toHaveLength(3)
  expect(await events('key.removed')).toBe(9)
  expect(await own.database.prisma.signingKey.count()).toBe(9)
}, 60_000)

test('two processes at the same moment rotate once', async () => {
  const results = await Promise.all(
    [...two, ...two].map((database) =>
      rotateSigningKeys(database, secretKeys, { afterSeconds: day, change: change(day) }),
    ),
  )
  expect(results.flatMap(({ rotated }) => rotated)).toHaveLength(3)
  expect(await own.database.prisma.signingKey.count()).toBe(9)
})

describe('a key that was announced a moment ago', () => {
  const rotate = (seconds: number, more: { unannounced?: boolean; algorithms?: ['ES256'] } = {}) =>
    rotateSigningKeys(own.database, secretKeys, { afterSeconds: 0, change: change(seconds), ...more })

  test('does not sign yet: who holds the keys for as long as we said would not know it', async () => {
    expect(announcedSeconds).toBeGreaterThan(keysMaxAgeSeconds)
    const states = async () => (await published()).map(({ kid, state }) => [kid, state])
    const before = await states()
    expect(await rotate(announcedSeconds - 1)).toMatchObject({ rotated: [], early: [{}, {}, {}] })
    expect(await states()).toEqual(before)
    expect((await rotate(announcedSeconds)).rotated).toHaveLength(3)
    expect((await rotate(announcedSeconds + 1)).rotated).toEqual([])
  })

  test('signs at once for an operator who cannot wait, of one algorithm if he likes', async () => {
    const [es, ed] = [await current('ES256'), await current('EdDSA')]
    const { rotated } = await rotate(1, { unannounced: true, algorithms: ['ES256'] })
    expect(rotated).toMatchObject([{ alg: 'ES256', retired: es, current: await current('ES256') }])
    expect(await current('EdDSA')).toBe(ed)
  })
})

test('each change raises the version of the configuration, so that every process hears of it; no change does not', async () => {
  const version = async () => (await own.database.prisma.configurationVersion.findFirstOrThrow()).version
  const seen = [await version()]
  for (const seconds of [day, 2 * day, 2 * day + 1, 4 * day + hour, 4 * day + 2 * hour]) {
    await care(own.database, seconds)
    seen.push(await version())
  }
  expect(seen.slice(1).map((now, n) => now > (seen[n] ?? 0n))).toEqual([false, true, false, true, false])
})

test('a retired key leaves with its private half when nothing it signed is valid, not earlier', async () => {
  const old = await current('ES256')
  await rotateSigningKeys(own.database, secretKeys, { afterSeconds: 0, change: change(day) })
  const remove = (seconds: number) => removeRetiredKeys(own.database, { keptSeconds: kept, change: change(seconds) })
  expect(await remove(day + kept - 1)).toEqual([])
  const [first, second] = await Promise.all(
    two.map((database) => removeRetiredKeys(database, { keptSeconds: kept, change: change(day + kept) })),
  )
  expect([...(first ?? []), ...(second ?? [])]).toHaveLength(3)
  expect(await own.database.prisma.signingKey.findUnique({ where: { kid: old } })).toBeNull()
})

test('with 0 days nothing rotates by itself, and what an operator rotated is still cleared away', async () => {
  await care(own.database, 400 * day, 0)
  expect(await events('key.activated')).toBe(0)
  await rotateSigningKeys(own.database, secretKeys, { afterSeconds: 0, change: change(400 * day) })
  await care(own.database, 402 * day, 0)
  expect(await events('key.removed')).toBe(3)
})

test('under another SECRET_KEY nothing is rotated: the servers could not open the new key', async () => {
  const stranger = createSecretKeys([randomBytes(32)])
  const rotating = rotateSigningKeys(own.database, stranger, { afterSeconds: 0, change: change(day) })
  await expect(rotating).rejects.toBeInstanceOf(SigningKeysUnreadable)
  expect(await own.database.prisma.signingKey.count()).toBe(6)
})
