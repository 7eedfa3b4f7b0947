// Limits on what programs call, over real HTTP: of a client by its name once it has shown who it is, of everybody else by address.
import { randomUUID } from 'node:crypto'
import { type IncomingHttpHeaders, request } from 'node:http'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ensureOwnApi } from '#src/bootstrap/own-api.ts'
import { createClient } from '#src/clients/clients.ts'
import type { RefusedBy } from '#src/http/rate-limits.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Answer, type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const limits = { token: 5, introspection: 4, revocation: 3, par: 2, unidentified: 8 }
const env = {
  TRUST_PROXY: '127.0.0.1,::1',
  ...Object.fromEntries(
    Object.entries(limits).map(([name, count]) => [`RATE_LIMIT_${name.toUpperCase()}_PER_MINUTE`, String(count)]),
  ),
}

/** Without limits that anybody here would meet. */
let server: TestServer
/** With its own memory, for one test. */
let strict: TestServer
let j: Journey
let clock = new Date()
let counted: RefusedBy[] = []
const counters = {
  tokenOperation: () => undefined,
  unavailable: () => undefined,
  requestLimited: (limit: RefusedBy) => void counted.push(limit),
}
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  const api = `${server.url}/api`
  await ensureOwnApi(server.database, api, change())
  await server.settle()
  const secrets = [{ value: j.secret }]
  const robot = { id: 'robot', name: 'Robot', type: 'service', apis: { [api]: ['clients:read'] } } as const
  await createClient(server.database.prisma, robot, secrets, change())
})
afterAll(() => server.stop())
beforeEach(async () => {
  clock = new Date()
  counted = []
  strict = await startServer({ env, share: server, counters, now: () => clock })
})
afterEach(() => strict.stop())
const pass = (seconds: number) => {
  clock = new Date(clock.getTime() + seconds * 1000)
}

/** fetch would name the port it connects to. */
const get = (url: URL, headers: Record<string, string>) =>
  new Promise<{ status: number; text: string; headers: IncomingHttpHeaders }>((resolve, reject) => {
    request(url, { headers }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk) => chunks.push(chunk))
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          text: Buffer.concat(chunks).toString(),
          headers: response.headers,
        }),
      )
    })
      .on('error', reject)
      .end()
  })

type Options = Parameters<Journey['post']>[2]
/** From an address, by way of the proxy that is listed. */
const from = (address: string, headers: Record<string, string> = {}) => ({
  origin: `http://localhost:${strict.port}`,
  headers: { 'X-Forwarded-For': address, ...headers },
})
const token = (as: string | null = 'reports', options: Options = from('192.0.2.1')): Promise<Answer> =>
  j.post('/oauth/token', { grant_type: 'client_credentials', resource: orders }, { as, ...options })
const wrongly = (clientId: string, address = '192.0.2.66') =>
  token(null, from(address, { Authorization: j.basic(clientId, 'it is not this one, however long it may be') }))
async function statuses(times: number, send: () => Promise<Answer>): Promise<number[]> {
  const all: number[] = []
  for (let n = 0; n < times; n++) all.push((await send()).status)
  return all
}
const limited = (answer: Answer) => [answer.status, answer.body.error, answer.headers.get('retry-after')]
const times = (count: number, status: number) => Array<number>(count).fill(status)
const lines = () => strict.logged.filter((line) => line.includes('"requests.limited"')).map((line) => JSON.parse(line))
const rows = async () => [await server.database.prisma.token.count(), await server.database.prisma.auditEvent.count()]

describe('a client', () => {
  test('that asks too often gets 429 and the time to wait, which is true; nothing is written for it (RFC 6585 4)', async () => {
    expect(await statuses(5, () => token())).toEqual(times(5, 200))
    const before = await rows()
    const refused = await token()
    expect(limited(refused)).toEqual([429, 'temporarily_unavailable', '12'])
    expect(refused.headers.get('cache-control')).toContain('no-store')
    expect(await rows()).toEqual(before)
    pass(11.9)
    expect(limited(await token())).toEqual([429, 'temporarily_unavailable', '1'])
    pass(0.1)
    expect(await statuses(2, () => token())).toEqual([200, 429])
  })

  test('has a budget for each endpoint, and leaves those of others alone', async () => {
    await statuses(6, () => token())
    const calls = {
      introspection: () => j.post('/oauth/introspect', { token: 'x' }, { as: 'reports', ...from('192.0.2.1') }),
      revocation: () => j.post('/oauth/revoke', { token: 'x' }, { as: 'reports', ...from('192.0.2.1') }),
    }
    for (const [name, call] of Object.entries(calls)) {
      const count = limits[name as keyof typeof limits]
      expect([name, await statuses(count + 1, call)]).toEqual([name, [...times(count, 200), 429]])
    }
    const fields = Object.fromEntries(new URLSearchParams((await j.begin()).address.split('?')[1]))
    expect(await statuses(3, () => j.post('/oauth/par', fields, from('192.0.2.1')))).toEqual([201, 201, 429])
    expect((await token()).status).toBe(429)
    const other = await j.post('/oauth/introspect', { token: 'x' }, { as: 'orders-api', ...from('192.0.2.1') })
    expect(other.status).toBe(200)
  })

  test('is the same client from everywhere, and in every spelling of the address', async () => {
    const path = (n: number) => ['/oauth/token', '/oauth/token/', '/OAuth/Token'][n % 3] ?? ''
    const answers: number[] = []
    for (let n = 0; n < 6; n++)
      answers.push(
        (
          await j.post(
            path(n),
            { grant_type: 'client_credentials', resource: orders },
            { as: 'reports', ...from(`192.0.2.${n}`) },
          )
        ).status,
      )
    expect(answers).toEqual([...times(5, 200), 429])
  })

  test('loses nothing but time: a refresh token that met the limit works afterwards', async () => {
    const { refresh } = await j.tokensFor({ scope: 'openid' })
    await statuses(5, () => j.refresh('sp_rt_unknown', {}, from('192.0.2.1')))
    expect((await j.refresh(refresh, {}, from('192.0.2.1'))).status).toBe(429)
    pass(60)
    expect((await j.refresh(refresh, {}, from('192.0.2.1'))).status).toBe(200)
  })

  test('that signs an assertion instead of showing a secret is counted like any other', async () => {
    const pair = await generateKeyPair('ES256', { extractable: true })
    const jwks = { keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }] }
    const id = 'by-key'
    await createClient(
      server.database.prisma,
      { id, name: id, type: 'service', apis: { [orders]: ['orders:read'] } },
      [{ value: j.secret }],
      change(),
    )
    const where = { where: { id } }
    await server.database.prisma.client.update({
      ...where,
      data: { tokenEndpointAuthMethod: 'private_key_jwt', jwks },
    })
    await server.database.prisma.configurationVersion.update({ where: { id: 1 }, data: { version: { increment: 1 } } })
    await strict.settle()
    const call = async () => {
      const now = Math.floor(Date.now() / 1000)
      const client_assertion = await new SignJWT({
        iss: id,
        sub: id,
        aud: server.url,
        jti: randomUUID(),
        iat: now,
        exp: now + 60,
      })
        .setProtectedHeader({ alg: 'ES256', kid: 'one' })
        .sign(pair.privateKey)
      const client_assertion_type = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer'
      const fields = { grant_type: 'client_credentials', resource: orders, client_assertion, client_assertion_type }
      return j.post('/oauth/token', fields, { as: null, ...from('192.0.2.1') })
    }
    expect(await statuses(5, call)).toEqual(times(5, 200))
    const [before] = await rows()
    expect(limited(await call())).toEqual([429, 'temporarily_unavailable', '12'])
    expect((await rows())[0]).toBe(before)
  })

  test('without a secret has a budget for each address, so that no stranger spends it; its page may read the answer', async () => {
    const call = (address: string) => () =>
      j.post(
        '/oauth/token',
        { grant_type: 'refresh_token', refresh_token: 'x' },
        { as: 'shop-spa', ...from(address, { Origin: 'https://shop.example' }) },
      )
    expect(await statuses(6, call('192.0.2.7'))).toEqual([...times(5, 400), 429])
    const refused = await call('192.0.2.7')()
    expect(refused.headers.get('access-control-allow-origin')).toBe('https://shop.example')
    expect((await call('192.0.2.8')()).status).toBe(400)
    const { refresh } = await j.tokensFor({ client_id: 'shop-spa', scope: 'openid' })
    expect((await j.refresh(refresh, {}, { as: 'shop-spa', ...from('192.0.2.8') })).status).toBe(200)
  })
})

describe('whoever does not show who they are', () => {
  test('costs the client that they name nothing', async () => {
    expect(await statuses(8, () => wrongly('reports'))).toEqual(times(8, 401))
    expect(await statuses(5, () => token())).toEqual(times(5, 200))
  })

  test.each<[string, () => Promise<Answer>, number]>([
    ['an unknown client', () => wrongly('nobody'), 401],
    ['a wrong secret', () => wrongly('reports'), 401],
    ['unknown clients by turns', () => wrongly(`nobody-${randomUUID()}`), 401],
    ['nothing', () => token(null, from('192.0.2.66')), 401],
    ['a header that is none', () => token(null, from('192.0.2.66', { Authorization: 'Basic x' })), 400],
    [
      'codes of a public client that are none',
      () => j.redeem('x', 'x'.repeat(43), {}, { as: 'shop-spa', ...from('192.0.2.66') }),
      400,
    ],
  ])('is counted by address: %s', async (what, call, status) => {
    const ownLimit = what.startsWith('codes') ? limits.token : limits.unidentified
    expect(await statuses(ownLimit, call)).toEqual(times(ownLimit, status))
    expect(limited(await call())).toEqual([429, 'temporarily_unavailable', what.startsWith('codes') ? '12' : '8'])
    if (what.startsWith('codes')) return
    pass(7.4)
    expect((await call()).status).toBe(429)
    pass(0.1)
    expect(await statuses(2, call)).toEqual([status, 429])
  })

  test('waits at every endpoint, and elsewhere nobody waits', async () => {
    await statuses(8, () => wrongly('nobody'))
    for (const path of ['/oauth/introspect', '/oauth/revoke', '/oauth/par', '/oauth/token/'])
      expect((await j.post(path, { token: 'x' }, { as: null, ...from('192.0.2.66') })).status).toBe(429)
    expect((await wrongly('nobody', '192.0.2.67')).status).toBe(401)
  })

  test('is the /64 of an IPv6 address', async () => {
    const call = (n: number) => wrongly('nobody', `2001:db8:1:2::${n + 1}`)
    for (let n = 0; n < 8; n++) expect((await call(n)).status).toBe(401)
    expect((await call(99)).status).toBe(429)
    expect((await wrongly('nobody', '2001:db8:1:3::1')).status).toBe(401)
  })

  test('has no say in where they come from', async () => {
    await strict.stop()
    strict = await startServer({ env: { ...env, TRUST_PROXY: '' }, share: server, now: () => clock })
    for (let n = 0; n < 8; n++) expect((await wrongly('nobody', `192.0.2.${n}`)).status).toBe(401)
    expect((await wrongly('nobody', '192.0.2.9')).status).toBe(429)
  })

  test('does not keep their neighbours out that were right before; others there wait, whatever they show', async () => {
    const here = from('192.0.2.66')
    expect((await token('reports', here)).status).toBe(200)
    await statuses(8, () => wrongly('nobody'))
    expect((await token('reports', here)).status).toBe(200)
    expect((await wrongly('reports')).status).toBe(401) // costs as much as any request, and no budget of the client
    expect(limited(await j.post('/oauth/introspect', { token: 'x' }, { as: 'orders-api', ...here }))).toEqual([
      429,
      'temporarily_unavailable',
      '8',
    ])
    expect((await j.post('/oauth/introspect', { token: 'x' }, { as: 'orders-api', ...from('192.0.2.1') })).status).toBe(
      200,
    )
    pass(3_601)
    await statuses(8, () => wrongly('nobody'))
    expect((await token('reports', here)).status).toBe(429)
  })
})

describe('the admin API', () => {
  const basic = (secret: string) => ({ Authorization: j.basic('robot', secret) })
  const call = (headers: Record<string, string>, address = '192.0.2.66') =>
    get(new URL('/api/v1/clients', from('').origin), {
      ...from(address).headers,
      Host: new URL(server.url).host,
      ...headers,
    })

  test('counts what was wrong by address, and knows whoever was right', async () => {
    expect((await call(basic(j.secret))).status).toBe(200)
    const wrong: Record<string, string>[] = [
      { 'X-API-Key': 'spk_wrong' },
      { Authorization: 'Bearer wrong' },
      basic('it is not this one, however long it may be'),
    ]
    for (let n = 0; n < 8; n++) expect((await call(wrong[n % 3] ?? {})).status).toBe(401)
    for (const headers of wrong) {
      const refused = await call(headers)
      expect([refused.status, refused.headers['retry-after']]).toEqual([429, '8'])
      expect(JSON.parse(refused.text)).toMatchObject({ status: 429, error: 'too_many_requests' })
    }
    expect((await call(basic(j.secret))).status).toBe(200)
    expect((await call({})).status).toBe(401) // nothing was shown, so nothing is looked at
    expect((await call(basic('another wrong one'), '192.0.2.67')).status).toBe(401)
    expect(counted).toEqual(Array(3).fill('unidentified'))
    pass(8)
    expect((await call(basic('another wrong one'))).status).toBe(401)
    expect((await call(basic('another wrong one'))).status).toBe(429)
  })
})

describe('the operator', () => {
  test('reads of each client once a minute, and counts every refusal', async () => {
    await statuses(9, () => token())
    await statuses(10, () => wrongly('nobody'))
    expect(lines()).toMatchObject([
      { level: 'warn', limit: 'token', clientId: 'reports' },
      { level: 'warn', limit: 'unidentified', address: '192.0.2.66' },
    ])
    expect(counted.filter((limit) => limit === 'token')).toHaveLength(4)
    expect(counted.filter((limit) => limit === 'unidentified')).toHaveLength(2)
    pass(61)
    await statuses(7, () => token())
    expect(lines().filter(({ limit }) => limit === 'token')).toHaveLength(2)
  })

  test('switches each off by 0', async () => {
    await strict.stop()
    const off = Object.fromEntries(Object.keys(env).map((name) => [name, '0']))
    strict = await startServer({ env: { ...off, TRUST_PROXY: env.TRUST_PROXY }, share: server, now: () => clock })
    expect(await statuses(10, () => token())).toEqual(times(10, 200))
    expect(await statuses(20, () => wrongly('nobody'))).toEqual(times(20, 401))
  })
})

test('a browser gets a page that says so', async () => {
  await statuses(5, () => token())
  const refused = await token('reports', from('192.0.2.1', { Accept: 'text/html' }))
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '12'])
  expect(refused.headers.get('content-type')).toContain('text/html')
  expect(JSON.stringify(refused.body)).toContain('Too many')
})
