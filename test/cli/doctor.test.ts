// `sallyport doctor` and `sallyport backup`, as a script sees them.
import { spawn } from 'node:child_process'
import { randomBytes, randomUUID } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApi } from '#src/apis/apis.ts'
import { createClient } from '#src/clients/clients.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys } from '#src/keys/signing-keys.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const secretKey = randomBytes(32)
const orders = 'https://api.example.com/orders'
let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
  const { prisma } = db.database
  await ensureSigningKeys(db.database, createSecretKeys([secretKey]), new Date())
  await createApi(prisma, { identifier: orders, name: 'Orders', scopes: { a: 'A' } }, changeAt())
  await createClient(prisma, { id: 'idle', type: 'service', apis: { [orders]: ['a'] } }, [], changeAt())
})
afterAll(() => db.drop())

async function sallyport(args: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, ['src/sallyport.mjs', ...args], {
    env: {
      ...{ PATH: process.env.PATH, DATABASE_URL: db.url, LOG_LEVEL: 'error', NODE_ENV: 'production' },
      ...{ ISSUER_URL: 'https://id.example.com', SMTP_URL: 'smtps://mail.example.com', TRUST_PROXY: '10.0.0.1' },
      ...{ SECRET_KEY: secretKey.toString('base64url'), ...env },
    },
  })
  child.stdin.end()
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { code, out, err }
}

test('a sound installation: code 0, a note about backups until one is recorded', async () => {
  const noted = await sallyport(['doctor'])
  expect(noted).toMatchObject({ code: 0, err: '' })
  expect(noted.out).toMatch(
    /^NOTE {2}Nothing here can tell whether there is a backup\.\n {2}why: .*\(NIST.*\)\n {2}fix: /,
  )
  expect((await sallyport(['doctor', '--fail-on', 'note'])).code).toBe(1)
  expect(await sallyport(['backup', 'done'])).toMatchObject({ code: 0, err: '' })
  const { code, out } = await sallyport(['doctor', '--fail-on', 'note', '--json'])
  expect([code, JSON.parse(out)]).toMatchObject([0, { findings: [], counts: { critical: 0, warning: 0, note: 0 } }])
})

test('a finding: code 1 and the whole of it; --fail-on says from which severity on', async () => {
  const env = { TRUST_PROXY: '' }
  const { code, out, err } = await sallyport(['doctor', '--json'], env)
  expect([code, err]).toEqual([1, ''])
  expect(JSON.parse(out).findings).toMatchObject([{ id: 'proxies', severity: 'warning', oneClick: null }])
  expect((await sallyport(['doctor'], env)).out).toMatch(/^WARNING {2}ISSUER_URL is https/)
  expect((await sallyport(['doctor', '--fail-on', 'critical'], env)).code).toBe(0)
  expect((await sallyport(['doctor', '--fail-on', 'never'], { TRUST_PROXY: '0.0.0.0/0' })).code).toBe(0)
  expect((await sallyport(['doctor', '--fail-on', 'bad'])).code).toBe(2)
  expect((await sallyport(['doctor'], { ISSUER_URL: 'nonsense' })).code).toBe(2)
})

test('shrink tells, and with --yes does', async () => {
  await db.database.pool.query(`UPDATE client_scope SET granted_at = now() - interval '91 days'`)
  expect((await sallyport(['doctor'])).out).toContain(
    'WARNING  client idle: It may ask for a, and has not for 90 days.',
  )
  expect((await sallyport(['doctor', 'shrink'])).out).toMatch(/WOULD BE REMOVED\nidle +https:\S+ +a\n$/)
  const named = await sallyport(['doctor', 'shrink', '--yes', '--json', '--client', randomUUID()])
  expect(JSON.parse(named.out)).toEqual({ removed: [], kept: [], dryRun: false, more: false })
  const done = await sallyport(['doctor', 'shrink', '--yes', '--json', '--client', 'idle'])
  expect(JSON.parse(done.out).removed).toEqual([{ clientId: 'idle', api: orders, scope: 'a' }])
  expect((await sallyport(['doctor'])).code).toBe(0)
})

test('a backup of another time: told by its moment, never one that is still to come', async () => {
  expect((await sallyport(['backup', 'done', '--at', '2026-01-01T03:00:00Z'])).code).toBe(0)
  expect((await sallyport(['backup', 'done', '--at', '2999-01-01T03:00:00Z'])).code).toBe(1)
  for (const at of ['yesterday', '2026-01-01', '2026-13-01T03:00:00Z', '2026-01-01T03:00:00'])
    expect((await sallyport(['backup', 'done', '--at', at])).code, at).toBe(2)
})
