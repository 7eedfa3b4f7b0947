// The engine is rebuilt when the configuration moves, while requests are under way (oauth/provider.ts).
import { randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createApi } from '#src/apis/apis.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { loadSigningKeys, SigningKeysUnreadable } from '#src/keys/signing-keys.ts'
import { change } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
})
afterAll(() => server.stop())

test('a request in flight finishes on the engine it began with; the next meets the new one', async () => {
  const before = server.app.providers.current()
  const body = new URLSearchParams({ grant_type: 'client_credentials', scope: 'orders:read' }).toString()
  const slow = request(`${server.url}/oauth/token`, {
    method: 'POST',
    headers: {
      Authorization: j.basic('reports'),
      'Content-Type': 'application/x-www-form-urlencoded',
      'Content-Length': body.length,
    },
  })
  const answered = new Promise<number>((resolve, reject) =>
    slow.on('response', (response) => resolve(response.resume().statusCode ?? 0)).on('error', reject),
  )
  slow.write(body.slice(0, 10))
  await createApi(
    server.database.prisma,
    { identifier: 'https://new.example', name: 'New', scopes: { 'new:read': 'Read' } },
    change(),
  )
  await expect.poll(() => server.app.providers.current() !== before, { timeout: 2000 }).toBe(true) // by itself, from the poll
  slow.end(body.slice(10))
  expect(await answered).toBe(200)
  expect(server.app.providers.current().snapshot.apis.has('https://new.example')).toBe(true)
})

test('who just changed something and asks is not put off with a read that began before', async () => {
  const { pool } = server.database
  const read = pool.query.bind(pool) as (...args: unknown[]) => Promise<unknown>
  const held = Promise.withResolvers<void>()
  await server.settle()
  vi.spyOn(pool, 'query').mockImplementationOnce((async (...args: unknown[]) => {
    const found = await read(...args)
    await held.promise
    return found
  }) as unknown as typeof pool.query)
  const underWay = server.app.providers.refresh()
  await vi.waitFor(() => expect(pool.query).toHaveBeenCalled())
  await createApi(server.database.prisma, { identifier: 'https://newer.example', name: 'Newer' }, change())
  const settled = server.settle()
  held.resolve()
  await Promise.all([underWay, settled])
  expect(server.app.providers.current().snapshot.apis.has('https://newer.example')).toBe(true)
  vi.restoreAllMocks()
})

test('nothing is rebuilt while nothing changes', async () => {
  const before = server.app.providers.current()
  await new Promise((resolve) => setTimeout(resolve, 1000))
  expect(server.app.providers.current()).toBe(before)
})

test('load and change together: no request fails', async () => {
  let stop = false
  const load = Array.from({ length: 4 }, async () => {
    const statuses = new Set<number>()
    while (!stop)
      statuses.add(
        (await j.post('/oauth/token', { grant_type: 'client_credentials', scope: 'stock:read' }, { as: 'reports' }))
          .status,
      )
    return statuses
  })
  for (let n = 0; n < 5; n++) {
    await createApi(
      server.database.prisma,
      { identifier: `https://n${n}.example`, name: 'N', scopes: { 'n:read': 'Read' } },
      change(),
    )
    await server.settle()
  }
  stop = true
  for (const statuses of await Promise.all(load)) expect([...statuses]).toEqual([200])
})

test('signing keys made under another SECRET_KEY stop the start with a sentence that says what to do', async () => {
  await expect(loadSigningKeys(server.database, createSecretKeys([randomBytes(32)]))).rejects.toThrow(
    SigningKeysUnreadable,
  )
  await expect(loadSigningKeys(server.database, createSecretKeys([randomBytes(32)]))).rejects.toThrow(/SECRET_KEY/)
})
