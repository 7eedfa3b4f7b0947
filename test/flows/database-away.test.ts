// The database goes away under a running server: refused, frozen, back again. Answers are 503 within three seconds, what needs no
// database is served, and nothing has to be restarted (faults R5, R6).
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
let wire: Awaited<ReturnType<typeof startWire>>
beforeAll(async () => {
  server = await startServer({
    databaseThrough: async (url) => {
      wire = await startWire(url)
      return wire.url
    },
  })
  j = await startJourney(server)
})
afterEach(() => wire.pass())
afterAll(async () => {
  await server.stop()
  await wire.close()
})

describe.each([
  ['refuses connections', () => wire.refuse()],
  ['is frozen', () => wire.freeze()],
])('while the database %s', (_how, breakIt) => {
  test('every endpoint that needs it answers 503 with Retry-After within 3 s; the others answer', async () => {
    const tokens = await j.tokensFor()
    const person = new Person(server.url)
    const login = await person.open((await j.begin()).address)
    breakIt()
    const within = async (what: string, ask: () => Promise<{ status: number; headers: Headers }>) => {
      const start = performance.now()
      const { status, headers } = await ask()
      expect([what, status, headers.get('retry-after')]).toEqual([what, 503, expect.stringMatching(/^\d+$/)])
      expect(performance.now() - start, what).toBeLessThan(3000)
      expect(headers.get('set-cookie'), what).toBeNull()
    }
    await Promise.all([
      within('refresh', () => j.refresh(tokens.refresh)),
      within('client_credentials', () =>
        j.post('/oauth/token', { grant_type: 'client_credentials', scope: 'stock:read' }, { as: 'reports' }),
      ),
      within('introspection', () => j.introspect(tokens.access_token)),
      within('userinfo', () => j.userinfo(tokens.access_token)),
      within('authorize', async () =>
        fetch(server.url + (await j.begin()).address, { redirect: 'manual', headers: { Accept: 'text/html' } }),
      ),
      within('login page', () => person.fetch(login.url)),
      within('readyz', () => fetch(`${server.url}/readyz`)),
    ])
    for (const path of ['/.well-known/openid-configuration', '/oauth/jwks', '/healthz'])
      expect((await fetch(server.url + path)).status, path).toBe(200)

    wire.pass()
    await expect.poll(() => fetch(`${server.url}/readyz`).then(({ status }) => status), { timeout: 5000 }).toBe(200)
    const again = await j.refresh(tokens.refresh)
    expect(again.status).toBe(200) // nothing was lost: the old token still works
  })
})

/** A wire that can be cut and frozen. */
async function startWire(databaseUrl: string) {
  const target = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  let mode: 'pass' | 'refuse' | 'freeze' = 'pass'
  const server: Server = createServer((near) => {
    sockets.add(near)
    near.on('error', () => near.destroy()).on('close', () => sockets.delete(near))
    if (mode === 'refuse') return near.destroy()
    if (mode === 'freeze') return
    const socketDirectory = target.searchParams.get('host')
    const far = socketDirectory?.startsWith('/')
      ? connect(`${socketDirectory}/.s.PGSQL.${target.port || 5432}`)
      : connect(Number(target.port || 5432), target.hostname)
    sockets.add(far)
    far
      .on('error', () => near.destroy())
      .on('close', () => {
        sockets.delete(far)
        near.destroy()
      })
    near.on('close', () => far.destroy())
    near.on('data', (chunk) => mode !== 'freeze' && far.write(chunk))
    far.on('data', (chunk) => mode !== 'freeze' && near.write(chunk))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = new URL(databaseUrl)
  url.hostname = '127.0.0.1'
  url.port = String((server.address() as AddressInfo).port)
  url.searchParams.delete('host')
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: url.href,
    pass() {
      if (mode === 'freeze') cut()
      mode = 'pass'
    },
    refuse() {
      mode = 'refuse'
      cut()
    },
    freeze() {
      mode = 'freeze'
    },
    async close() {
      cut()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
