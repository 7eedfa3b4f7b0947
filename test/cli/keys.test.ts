// sallyport keys secret, over a change of SECRET_KEY, as an operator sees it; and the server that is started on the way.
import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys } from '#src/keys/signing-keys.ts'
import { createUser } from '#src/users/users.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { change } from '#test/support/installation.ts'
import { freePort, killAll, runNode } from '#test/support/processes.ts'

const [old, fresh] = [randomBytes(32), randomBytes(32)]
const text = (...keys: Buffer[]) => keys.map((key) => key.toString('base64url')).join(',')
let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
  const secretKeys = createSecretKeys([old])
  await ensureSigningKeys(db.database, secretKeys, new Date())
  const { id: userId } = await createUser(db.database.prisma, { email: 'a@example.com' }, change())
  const id = randomUUID()
  const secret = secretKeys.seal('totp', id, 'seed')
  await db.database.prisma.credential.create({ data: { id, userId, kind: 'totp', secret } })
})
afterEach(killAll)
afterAll(() => db.drop())

const env = (SECRET_KEY: string) => ({ DATABASE_URL: db.url, LOG_LEVEL: 'error', DATA_DIR: '/nonexistent', SECRET_KEY })
async function keys(secretKey: string, ...args: string[]) {
  const running = runNode(['src/sallyport.mjs', 'keys', ...args], { env: env(secretKey) })
  const { code } = await running.ended()
  return { code, output: running.output() }
}
async function status(secretKey: string) {
  const { code, output } = await keys(secretKey, 'secret', 'status', '--json')
  expect(code).toBe(0)
  return JSON.parse(output)
}
/** @returns once it answers, or has ended. */
async function start(secretKey: string) {
  const port = String(await freePort())
  const running = runNode(['src/sallyport.mjs', 'start'], {
    env: { ...env(secretKey), PORT: port, ISSUER_URL: `http://localhost:${port}` },
  })
  await Promise.race([running.prints('Issuer  '), running.ended()])
  return running
}
async function startAndStop(secretKey: string) {
  const running = await start(secretKey)
  running.child.kill('SIGTERM')
  return running.ended()
}

test('old; new in front; dropped too early; moved; dropped', async () => {
  await startAndStop(text(old))
  expect(await status(text(old))).toMatchObject({ pending: 0, unreadable: 0, droppableFrom: null })

  const waiting = await status(text(fresh, old))
  expect([waiting.pending, waiting.droppableFrom]).toEqual([7, null])
  expect((await keys(text(fresh, old), 'secret', 'status')).output).toMatch(/7 rows need an older key/)

  const early = await start(text(fresh))
  expect(await early.ended()).toMatchObject({ code: 1 })
  expect(early.output()).toMatch(/^SECRET_KEY does not open what the database holds: 6 signing keys, 1 seeds .*\n$/)
  const would = JSON.parse((await keys(text(fresh), 'secret', 'discard', '--json')).output)
  expect(would).toEqual({ discarded: false, rows: { 'signing keys': 6, 'seeds of authenticator apps': 1 } })

  const reseal = async () => (await keys(text(fresh, old), 'secret', 'reseal')).output
  expect(await reseal()).toBe('Sealed 7 rows anew; 0 are left.\n')
  expect((await keys(text(fresh, old), 'secret', 'status')).output).toMatch(/no server has said yet/)
  await startAndStop(text(fresh, old))
  expect(await reseal()).toBe('Sealed 0 rows anew; 0 are left.\n')
  const moved = await status(text(fresh, old))
  expect([moved.pending, Date.parse(moved.droppableFrom) > Date.now()]).toEqual([0, true])
  expect((await keys(text(fresh, old), 'secret', 'status')).output).toMatch(/may leave SECRET_KEY from 2/)

  expect(await startAndStop(text(fresh))).toMatchObject({ code: 0 })
  expect(await status(text(fresh))).toMatchObject({ pending: 0, unreadable: 0 })
}, 60_000)

test('retire: in words', async () => {
  const { rows } = await db.database.pool.query(`SELECT kid FROM signing_key WHERE alg = 'ES256' AND state = 'next'`)
  const { code, output } = await keys(text(fresh), 'retire', rows[0].kid)
  expect([code, output]).toEqual([
    0,
    expect.stringMatching(/^Withdrew \S+, which was announced\. \S+ is announced\.\n$/),
  ])
  expect(await keys(text(fresh), 'retire', rows[0].kid)).toMatchObject({ code: 1 })
})
