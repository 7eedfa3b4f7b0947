// Two real processes on one database, no sticky sessions: every request goes to the other one. Nothing may depend on memory, and
// nothing single-use may be used twice (faults R1, R18).
import { randomBytes } from 'node:crypto'
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { freePort, killAll, knownEverywhere, type Running, runNode } from '#test/support/processes.ts'

let db: TestDatabase
let front: Server
let url: string
let processes: Running[]
let ports: number[]
let j: Journey

beforeAll(async () => {
  db = await createTestDatabase()
  ports = [await freePort(), await freePort()]
  let turn = 0
  front = createServer((incoming, outgoing) => {
    const passed = request(
      {
        host: 'localhost',
        port: ports[turn++ % 2] ?? 0,
        path: incoming.url ?? '/',
        method: incoming.method ?? 'GET',
        headers: incoming.headers,
      },
      (answer) => {
        outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders)
        answer.pipe(outgoing)
      },
    )
    passed.on('error', () => outgoing.destroy())
    incoming.pipe(passed)
  })
  await new Promise<void>((resolve) => front.listen(0, 'localhost', resolve))
  url = `http://localhost:${(front.address() as AddressInfo).port}`
  const SECRET_KEY = randomBytes(32).toString('base64url')
  processes = ports.map((port) =>
    runNode(['src/sallyport.mjs', 'start'], {
      env: {
        PORT: String(port),
        ISSUER_URL: url,
        DATABASE_URL: db.url,
        SECRET_KEY,
        LOG_LEVEL: 'info',
        DATA_DIR: '/nonexistent',
      },
    }),
  )
  // Both start at once on an empty installation: one makes the keys and the set-up code, the other waits for it.
  await Promise.all(processes.map((running) => running.prints('"event":"server.started"')))
  j = await startJourney({
    url,
    database: db.database,
    settle: () => knownEverywhere(url, { client_id: 'shop-web', redirect_uri: 'https://shop.example/cb' }),
  })
})
afterAll(async () => {
  killAll()
  await new Promise((resolve) => front?.close(resolve))
  await db?.drop()
})

test('both publish the same keys', async () => {
  const [one, two] = await Promise.all([0, 1].map(async () => (await fetch(`${url}/oauth/jwks`)).text()))
  expect(one).toBe(two)
})

test('login, consent, tokens, refresh and logout alternate between them', async () => {
  for (let round = 0; round < 5; round++) {
    const { person, refresh, access_token } = await j.tokensFor({ prompt: 'consent' })
    expect((await j.userinfo(access_token)).status).toBe(200)
    const next = await j.refresh(refresh)
    expect(next.status).toBe(200)
    await person.submit(await person.open('/oauth/logout'), { decision: 'logout' })
    expect((await j.refresh(next.body.refresh_token ?? '')).body.error).toBe('invalid_grant')
    expect((await j.userinfo(next.body.access_token)).status).toBe(401)
  }
})

describe.each([2, 10, 50])('of %i uses at once', (n) => {
  const all = <T>(run: () => Promise<T>) => Promise.all(Array.from({ length: n }, run))

  test('of a code one wins', async () => {
    const { code, verifier } = await j.codeFor()
    const answers = await all(() => j.redeem(code, verifier))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(new Set(answers.map(({ status, body }) => `${status} ${body.error ?? ''}`))).toEqual(
      new Set(['200 ', '400 invalid_grant']),
    )
  })

  test('of a refresh token the successes carry one successor, which works', async () => {
    const { refresh } = await j.tokensFor()
    const answers = await all(() => j.refresh(refresh))
    const good = answers.filter(({ status }) => status === 200)
    expect(good.length).toBeGreaterThan(0)
    for (const { status, body } of answers)
      if (status !== 200) expect([status, body.error]).toEqual([400, 'invalid_grant'])
    const successors = [...new Set(good.map(({ body }) => body.refresh_token ?? ''))]
    expect(successors).toHaveLength(1)
    expect((await j.refresh(successors[0] ?? '')).status).toBe(200)
    const { rows } = await db.database.pool.query(
      `SELECT grant_id FROM token WHERE kind = 2 AND consumed_at IS NULL AND revoked_at IS NULL GROUP BY grant_id HAVING count(*) > 1`,
    )
    expect(rows).toEqual([]) // never two live heads in one family
  })

  test('of a pushed request one wins (RFC 9126 4)', async () => {
    const person = new Person(url)
    await j.walk(person, (await j.begin()).address)
    const pushed = await j.post('/oauth/par', [...new URLSearchParams((await j.begin()).address.split('?')[1])])
    const query = new URLSearchParams({ client_id: 'shop-web', request_uri: String(pushed.body.request_uri) })
    const cookies = [...person.cookies]
      .filter(([, { path }]) => path === '/')
      .map(([name, { value }]) => `${name}=${value}`)
      .join('; ')
    const answers = await all(() =>
      fetch(`${url}/oauth/authorize?${query}`, { redirect: 'manual', headers: { Cookie: cookies } }),
    )
    expect(answers.filter((answer) => (answer.headers.get('location') ?? '').includes('code='))).toHaveLength(1)
    for (const answer of answers) expect(answer.status).toBeLessThan(500)
  })
})

test('what one revokes the other refuses at once', async () => {
  for (let round = 0; round < 6; round++) {
    const { refresh, access_token } = await j.tokensFor()
    await j.revoke(refresh)
    expect((await j.userinfo(access_token)).status).toBe(401)
    expect((await j.refresh(refresh)).body.error).toBe('invalid_grant')
  }
})

test('neither wrote a secret or an error to its log', () => {
  for (const running of processes) {
    const log = running
      .output()
      .split('\n')
      .filter((line) => line.startsWith('{'))
    for (const line of log) {
      expect(line).not.toMatch(/sp_(at|rt|ac|ct)_[\w-]{20}|correct horse|alice@example\.com|code=/i)
      expect(JSON.parse(line).level, line).not.toBe('error')
    }
    expect(log.length).toBeGreaterThan(50)
  }
})
