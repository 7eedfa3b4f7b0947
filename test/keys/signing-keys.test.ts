// For every algorithm one key that signs and one that is announced, whoever starts and however many at once.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys, loadSigningKeys } from '#src/keys/signing-keys.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const secretKeys = createSecretKeys([randomBytes(32)])
let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())

test('five starts at once leave one current and one next key of each algorithm, each on record', async () => {
  await Promise.all(Array.from({ length: 5 }, () => ensureSigningKeys(db.database, secretKeys, new Date())))
  const keys = await loadSigningKeys(db.database, secretKeys)
  expect(keys.map(({ alg, state }) => `${alg} ${state}`).sort()).toEqual(
    ['ES256', 'EdDSA', 'RS256'].flatMap((alg) => [`${alg} current`, `${alg} next`]).sort(),
  )
  expect(keys.slice(0, 3).map(({ state }) => state)).toEqual(['current', 'current', 'current']) // the engine signs with the first
  expect(await db.database.prisma.auditEvent.count({ where: { event: 'key.created' } })).toBe(6)
})

test('a later start changes nothing; a missing place is filled', async () => {
  const kids = async () => (await loadSigningKeys(db.database, secretKeys)).map(({ kid }) => kid)
  const before = await kids()
  await ensureSigningKeys(db.database, secretKeys, new Date())
  expect(await kids()).toEqual(before)
  await db.database.prisma.signingKey.deleteMany({ where: { alg: 'ES256', state: 'next' } })
  await ensureSigningKeys(db.database, secretKeys, new Date())
  expect(await loadSigningKeys(db.database, secretKeys)).toHaveLength(6)
})

test('private halves are not readable in the row', async () => {
  const rows = await db.database.prisma.signingKey.findMany()
  const { rows: texts } = await db.database.pool.query('SELECT signing_key::text AS text FROM signing_key')
  for (const { kid, privateJwk } of rows) {
    const opened = secretKeys.unseal('signing-key', kid, Buffer.from(privateJwk).toString('base64url')).toString()
    const { d } = JSON.parse(opened)
    expect(d.length).toBeGreaterThan(40)
    expect(JSON.stringify(texts)).not.toContain(d)
  }
})
