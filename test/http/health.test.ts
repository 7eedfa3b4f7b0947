import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import Koa from 'koa'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'
import { createHealthRouter } from '#src/http/health.ts'
import { createListener } from '#src/http/listener.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

let db: TestDatabase
const closing: (() => unknown)[] = []

beforeAll(async () => {
  db = await createTestDatabase()
})
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})
afterAll(() => db.drop())

/** A ready server, except for what the test changes. */
async function serve(changes: Partial<Parameters<typeof createHealthRouter>[0]> = {}) {
  const router = createHealthRouter({
    database: db.database,
    isDraining: () => false,
    pendingMigrations: async () => [],
    hasCurrentKey: () => true,
    ...changes,
  })
  const listener = createListener(new Koa().use(router.routes()).callback())
  const port = await listener.listen({ host: '127.0.0.1', port: 0 })
  closing.push(() => listener.drain(0))
  return async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`)
    return { status: response.status, headers: response.headers, body: await response.json() }
  }
}

/** @returns a database that cannot be reached, and one that accepts and never answers. */
async function silentDatabase(): Promise<Database> {
  const server: Server = createServer(() => undefined).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const database = openDatabase(`postgresql://a:b@127.0.0.1:${typeof address === 'object' && address?.port}/x`, {
    poolSize: 1,
    onError: () => undefined,
  })
  closing.push(
    () => closeDatabase(database),
    () => server.close(),
  )
  return database
}

test('a server that has everything is alive and ready, and neither answer is cached', async () => {
  const get = await serve()
  for (const [path, status] of [
    ['/healthz', 'ok'],
    ['/readyz', 'ready'],
  ] as const) {
    const answer = await get(path)
    expect([answer.status, answer.body, answer.headers.get('cache-control')]).toEqual([200, { status }, 'no-store'])
  }
})

test.each([
  ['draining', { isDraining: () => true }],
  ['migrations', { pendingMigrations: async () => ['20270101000000_secret_plan'] }],
  ['migrations', { pendingMigrations: () => new Promise<never>(() => undefined) }], // never answers: the deadline does
  ['signing_key', { hasCurrentKey: () => false }],
  ['signing_key', { hasCurrentKey: () => Promise.reject(new Error('password=hunter2')) }],
])('is not ready: %s', async (failed, changes) => {
  const get = await serve(changes)
  const answer = await get('/readyz')
  // The name of the check and nothing else: the page is open to everybody.
  expect([answer.status, answer.headers.get('retry-after'), answer.body]).toEqual([
    503,
    '1',
    { status: 'not_ready', failed },
  ])
  expect((await get('/healthz')).status).toBe(200)
})

test('a database that hangs is told within the deadline, and the process still counts as alive', async () => {
  const get = await serve({ database: await silentDatabase() })
  const before = performance.now()
  expect((await get('/readyz')).body).toEqual({ status: 'not_ready', failed: 'database' })
  expect(performance.now() - before).toBeLessThan(10_000) // 3 s are promised; the rest is for a busy machine, and silence would last for ever
  expect((await get('/healthz')).status).toBe(200)
})
