// The gateways of deploy/ in front of an API that believes what it is told: Debian's nginx and Caddy with the files as they are (only
// addresses and folders are changed), and the wire formats of Traefik and Envoy. Each row of the contract's table of answers, through each.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { describeReceipt } from '#src/access/receipts.ts'
import { writeRelations } from '#src/access/relations/relations.ts'
import { createRole } from '#src/access/roles.ts'
import { updateApi } from '#src/apis/apis.ts'
import { putRoute } from '#src/apis/routes.ts'
import { identityHeaders } from '#src/gate/forward.ts'
import { rowIdOfValue } from '#src/tokens/row-ids.ts'
import { updateUser } from '#src/users/users.ts'
import { makeProof, newProofKey } from '#test/support/dpop.ts'
import { change, orders, password, stock } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { freePort } from '#test/support/processes.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const folder = mkdtempSync(join(tmpdir(), 'sallyport-gateways-'))
const nginxProgram = '/usr/sbin/nginx'
const caddyProgram = '/usr/bin/caddy'

type Answer = { status: number; headers: IncomingHttpHeaders; body: string }
type Ask = (path: string, options?: { method?: string; headers?: Record<string, string | string[]> }) => Promise<Answer>

let server: TestServer
let j: Journey
let api: Server
let host: string
let key: string
const asks: Record<string, Ask> = {}
/** What callers of each address, where it is not the host alone. */
const ports: Record<string, number> = {}
const children: ChildProcess[] = []
const scopes = {
  'orders:read': 'See orders',
  'orders:write': 'Change orders',
  'orders:delete': { description: 'Delete orders', byRole: true },
}
const accept = ['oauth', 'api_key', 'basic', 'session']

function raw(
  port: number,
  path: string,
  options: { method?: string; headers?: Record<string, string | string[]> } = {},
) {
  return new Promise<Answer>((resolve, reject) => {
    const outgoing = request({
      host: '127.0.0.1',
      port,
      path,
      method: options.method ?? 'GET',
      headers: options.headers,
    })
    outgoing.once('error', reject)
    outgoing.once('response', (response) => {
      text(response).then(
        (body) => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        reject,
      )
    })
    outgoing.end()
  })
}

/** What a gateway without a program here would send, and do with the answer. */
function byWire(
  path: string,
  forwarded: (target: string, method: string) => [string, string, Record<string, string>],
): Ask {
  return async (target, { method = 'GET', headers = {} } = {}) => {
    const [at, verb, said] = forwarded(target, method)
    const answer = await raw(server.port, path + at, { method: verb, headers: { ...headers, ...said } })
    if (answer.status !== 200) return answer
    const identity = Object.fromEntries(
      identityHeaders.map((name) => [name, String(answer.headers[name.toLowerCase()])]),
    )
    return raw((api.address() as AddressInfo).port, target, { method, headers: { ...headers, ...identity } })
  }
}

beforeAll(async () => {
  chmodSync(folder, 0o755) // nginx's workers are another user
  server = await startServer({ env: { TRUST_PROXY: '127.0.0.0/8,::1' } })
  const { prisma } = server.database
  j = await startJourney(server)
  api = createServer((incoming, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ url: incoming.url, method: incoming.method, headers: incoming.headers }))
  }).listen(0, '127.0.0.1')
  await once(api, 'listening')
  await updateApi(prisma, orders, { name: 'Orders', accept, introspectionClients: ['orders-api'], scopes }, change())
  await createRole(prisma, 'clerk', { permissions: ['orders:delete'] }, change())
  const [nginxPort, caddyPort] = [await freePort(), await freePort()]
  host = 'api.example.com'
  for (const at of [host, `${host}:${nginxPort}`, `${host}:${caddyPort}`]) {
    const put = (position: number, method: string, path: string, input: object) =>
      putRoute(prisma, { host: at, method, path }, { api: orders, position, ...input }, change())
    await put(0, 'GET', '/health', { anonymous: true })
    await put(1, 'GET', '/orders', { scopes: ['orders:read'] })
    await put(2, 'GET', '/orders/{id}', { scopes: ['orders:read'] })
    await put(3, 'DELETE', '/orders/{id}', { scopes: ['orders:delete'] })
    await put(4, 'GET', '/clerks', { roles: ['clerk'] })
    await put(7, 'PUT', '/orders/{id}', { scopes: ['orders:read'], relation: 'owner@order:{id}' })
    await put(5, 'GET', '/safe', { acrValues: ['urn:sallyport:acr:2fa'] })
    await put(6, 'GET', '/fresh', { maxAge: 1 })
  }
  key = (
    await createApiKey(
      prisma,
      { name: 'k', apis: { [orders]: ['orders:read'] }, owner: { clientId: 'reports' } },
      change(),
    )
  ).value
  await server.settle()

  const fill = (file: string, changes: [RegExp | string, string][]) =>
    changes.reduce(
      (config, [from, to]) => config.replaceAll(from, to),
      readFileSync(join(import.meta.dirname, '../../deploy', file), 'utf8'),
    )
  const upstreams: [string, string][] = [
    ['sallyport:3000', `127.0.0.1:${server.port}`],
    ['api:4000', `127.0.0.1:${(api.address() as AddressInfo).port}`],
  ]
  if (existsSync(nginxProgram)) {
    const config = fill('gateway-nginx.conf', [...upstreams, ['8081', String(nginxPort)], ['/tmp/', `${folder}/`]])
    writeFileSync(join(folder, 'nginx.conf'), config)
    const log = openSync(join(folder, 'nginx.log'), 'a')
    children.push(
      spawn(nginxProgram, ['-c', join(folder, 'nginx.conf'), '-g', 'daemon off;'], { stdio: ['ignore', log, log] }),
    )
    ports.nginx = nginxPort
    asks.nginx = (path, options) =>
      raw(nginxPort, path, { ...options, headers: { host: `${host}:${nginxPort}`, ...options?.headers } })
  }
  if (existsSync(caddyProgram)) {
    const config = fill('gateway.Caddyfile', [...upstreams, ['8082', String(caddyPort)]])
    writeFileSync(join(folder, 'Caddyfile'), config)
    const env = { ...process.env, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }
    const args = ['run', '--adapter', 'caddyfile', '--config', join(folder, 'Caddyfile')]
    children.push(spawn(caddyProgram, args, { stdio: 'ignore', env }))
    ports.caddy = caddyPort
    asks.caddy = (path, options) =>
      raw(caddyPort, path, { ...options, headers: { host: `${host}:${caddyPort}`, ...options?.headers } })
  }
  asks.traefik = byWire('/authz/forward', (target, method) => [
    '',
    'GET',
    {
      'x-forwarded-method': method,
      'x-forwarded-proto': 'http',
      'x-forwarded-host': host,
      'x-forwarded-uri': target,
      'x-forwarded-for': '203.0.113.9',
    },
  ])
  asks.envoy = byWire('/authz/envoy', (target, method) => [target, method, { host, 'x-forwarded-proto': 'http' }])
  for (const ask of Object.values(asks)) await until(async () => (await ask('/health')).status === 200)
}, 90_000)

afterAll(async () => {
  for (const child of children)
    if (child.exitCode === null) {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
    }
  api.close()
  await server.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function until(ready: () => Promise<boolean>): Promise<void> {
  for (let n = 0; n < 200; n++) {
    if (await ready().catch(() => false)) return
    await delay(50)
  }
  throw new Error('it never became ready')
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const tokenOf = async (scope: string, resource = orders) => {
  const { access_token } = await j.tokensFor({ scope: `openid ${scope}`, resource }, undefined, { resource })
  return access_token
}
const seenBy = (answer: Answer): IncomingHttpHeaders => JSON.parse(answer.body).headers

test('each gateway is there', () => {
  expect(Object.keys(asks)).toEqual(['nginx', 'caddy', 'traefik', 'envoy'])
})

describe.each(['nginx', 'caddy', 'traefik', 'envoy'])('behind %s', (name) => {
  const ask: Ask = (...args) => (asks[name] as Ask)(...args)

  test('an anonymous route is open, and nobody comes through it with a name of their own choosing', async () => {
    const spoofed = Object.fromEntries(identityHeaders.map((header) => [header.toLowerCase(), 'root']))
    const answer = await ask('/health', {
      headers: { ...spoofed, X_Sallyport_User: 'root', 'X-Sallyport_User': 'root' },
    })
    expect(answer.status).toBe(200)
    for (const header of identityHeaders) expect(seenBy(answer)[header.toLowerCase()] ?? '', header).toBe('')
    if (name === 'nginx' || name === 'caddy') expect(answer.body).not.toContain('root')
  })

  test('malformed: 400; nobody: 401 without a code; a token that does not count: 401 invalid_token', async () => {
    expect((await ask('/orders', { headers: { authorization: 'Bearer' } })).status).toBe(400)
    expect((await ask('/orders', { headers: { ...bearer('x'), 'x-api-key': key } })).status).toBe(400)
    expect((await ask('/orders?access_token=x')).status).toBe(400)
    const nobody = await ask('/orders')
    expect([nobody.status, nobody.headers['www-authenticate']]).toEqual([401, `Bearer realm="${orders}"`])
    expect(nobody.headers['x-decision-id']).toMatch(/^[0-9a-f-]{36}$/)
    for (const token of ['garbage', await tokenOf('stock:read', stock)]) {
      const wrong = await ask('/orders', { headers: bearer(token) })
      expect([wrong.status, wrong.headers['www-authenticate']]).toEqual([
        401,
        `Bearer realm="${orders}", error="invalid_token"`,
      ])
    }
  })

  test('good: 200, and the API hears who it is; a revoked token: 401', async () => {
    const token = await tokenOf('orders:read')
    const answer = await ask('/orders/88?x=%2F', { headers: { ...bearer(token), 'X-Sallyport-User': 'root' } })
    expect(answer.status).toBe(200)
    expect(JSON.parse(answer.body).url).toBe('/orders/88?x=%2F')
    expect(seenBy(answer)).toMatchObject({
      'x-sallyport-user': j.alice.id,
      'x-sallyport-client': 'shop-web',
      'x-sallyport-scopes': 'orders:read',
      'x-sallyport-method': 'oauth',
      'x-sallyport-acr': 'urn:sallyport:acr:1fa',
    })
    await j.post('/oauth/revoke', { token })
    expect((await ask('/orders/88', { headers: bearer(token) })).status).toBe(401)
  })

  test('a scope that is missing: 403 that names it; a scope by role only while the role is held', async () => {
    const token = await tokenOf('orders:read')
    const answer = await ask('/orders/88', { method: 'DELETE', headers: bearer(token) })
    expect([answer.status, answer.headers['www-authenticate']]).toEqual([
      403,
      `Bearer realm="${orders}", error="insufficient_scope", scope="orders:delete"`,
    ])
  })

  test('a role: 403 without it, 200 with it, at once', async () => {
    const headers = bearer(await tokenOf('orders:read'))
    expect((await ask('/clerks', { headers })).status).toBe(403)
    await updateUser(server.database.prisma, j.alice.id, { roles: ['clerk'] }, change())
    const answer = await ask('/clerks', { headers })
    expect([answer.status, seenBy(answer)['x-sallyport-roles']]).toEqual([200, 'clerk'])
    await updateUser(server.database.prisma, j.alice.id, { roles: [] }, change())
    expect((await ask('/clerks', { headers })).status).toBe(403)
  })

  test("somebody else's object: 403, its own: 200, and an expired token is a 401 that a new one would mend", async () => {
    const { prisma } = server.database
    await writeRelations(prisma, { write: [`order:88#owner@user:${j.alice.id}`], delete: [] }, change())
    const token = await tokenOf('orders:read')
    const put = (id: string) => ask(`/orders/${id}`, { method: 'PUT', headers: bearer(token) })
    expect((await put('88')).status).toBe(200)
    const other = await put('89')
    expect(other.status).toBe(403)
    expect(await receiptOf(other)).toMatchObject({ gate: 'relation', reason: 'ownership', objectId: '89' })
    await server.database.pool.query(`UPDATE token SET expires_at = now() - interval '1 minute' WHERE id = $1`, [
      rowIdOfValue(token),
    ])
    const late = await put('89')
    expect(late.status).toBe(401)
    const receipt = await receiptOf(late)
    expect([receipt.gate, receipt.reason, describeReceipt(receipt).fix]).toEqual([
      'time',
      'expired',
      expect.stringContaining('A new token will help'),
    ])
  })

  test('a stronger or a more recent sign-in: 401 that says which (RFC 9470)', async () => {
    const headers = bearer(await tokenOf('orders:read'))
    const weak = await ask('/safe', { headers })
    expect([weak.status, weak.headers['www-authenticate']]).toEqual([
      401,
      `Bearer realm="${orders}", error="insufficient_user_authentication", acr_values="urn:sallyport:acr:2fa"`,
    ])
    await delay(1_100)
    const old = await ask('/fresh', { headers })
    expect(old.headers['www-authenticate']).toContain('error="insufficient_user_authentication", max_age=1')
  })

  test('an API key in either header, and a service by its secret', async () => {
    for (const headers of [{ 'x-api-key': key }, bearer(key)]) {
      const answer = await ask('/orders', { headers })
      expect([answer.status, seenBy(answer)['x-sallyport-method']]).toEqual([200, 'api_key'])
    }
    const basic = { authorization: `Basic ${Buffer.from(`reports:${j.secret}`).toString('base64')}` }
    const answer = await ask('/orders', { headers: basic })
    expect(seenBy(answer)['x-sallyport-client']).toBe('reports')
    expect(seenBy(answer)['x-sallyport-user'] ?? '').toBe('')
  })

  test('a token that is bound to a key: with a proof for the address that the caller sees, once (RFC 9449 7)', async () => {
    const proofKey = await newProofKey()
    const url = `${server.url}/oauth/token`
    const DPoP = await makeProof(proofKey, { method: 'POST', url })
    const fields = { grant_type: 'client_credentials', scope: 'orders:read', resource: orders }
    const { body } = await j.post('/oauth/token', fields, { as: 'reports', headers: { DPoP } })
    const token = body.access_token
    const origin = `http://${host}${ports[name] === undefined ? '' : `:${ports[name]}`}`
    const proof = (changed: object = {}) =>
      makeProof(proofKey, { method: 'GET', url: `${origin}/orders`, token }, { claims: { ...changed } })
    const send = (dpop: string) => ask('/orders', { headers: { authorization: `DPoP ${token}`, dpop } })
    const good = await proof()
    const answer = await send(good)
    expect([answer.status, seenBy(answer)['x-sallyport-client']]).toEqual([200, 'reports'])
    const again = await send(good)
    expect([again.status, again.headers['www-authenticate']]).toEqual([
      401,
      `DPoP realm="${orders}", error="invalid_dpop_proof", algs="ES256 EdDSA"`,
    ])
    expect((await send(await proof({ htm: 'DELETE' }))).status).toBe(401)
    expect((await send(await proof({ htu: `${origin}/orders/88` }))).status).toBe(401)
    expect((await ask('/orders', { headers: bearer(token) })).status).toBe(401)
    const late = await send(await proof({ iat: 1 }))
    expect(late.headers['www-authenticate']).toContain('error="use_dpop_nonce"')
    const nonce = String(late.headers['dpop-nonce'])
    expect((await send(await proof({ iat: 1, nonce }))).status).toBe(200)
  })

  test('an API that hides what exists: 404 for an object of somebody else, and for nothing before that', async () => {
    const settings = { name: 'Orders', accept, introspectionClients: ['orders-api'], scopes }
    await updateApi(server.database.prisma, orders, { ...settings, hideExistence: true }, change())
    await server.settle()
    try {
      const token = await tokenOf('orders:read')
      const put = (headers: Record<string, string>) => ask('/orders/89', { method: 'PUT', headers })
      const hidden = await put(bearer(token))
      expect([hidden.status, JSON.parse(hidden.body).error]).toEqual([404, 'not_found'])
      expect(await receiptOf(hidden)).toMatchObject({ gate: 'relation', reason: 'ownership' })
      expect((await put({})).status).toBe(401)
      expect((await put(bearer('garbage'))).status).toBe(401)
      expect((await ask('/orders/89', { method: 'DELETE', headers: bearer(token) })).status).toBe(403)
      expect((await ask('/nothing', { headers: bearer(token) })).status).toBe(403)
    } finally {
      await updateApi(server.database.prisma, orders, settings, change())
      await server.settle()
    }
  })

  test('credentials of a kind that the API does not accept are none, and no browser is sent to sign in', async () => {
    const settings = { name: 'Orders', introspectionClients: ['orders-api'], scopes }
    await updateApi(server.database.prisma, orders, { ...settings, accept: ['oauth'] }, change())
    await server.settle()
    try {
      const basic = { authorization: `Basic ${Buffer.from(`reports:${j.secret}`).toString('base64')}` }
      for (const headers of [{ 'x-api-key': key }, bearer(key), basic]) {
        const answer = await ask('/orders', { headers })
        expect([answer.status, answer.headers['www-authenticate']]).toEqual([
          401,
          `Bearer realm="${orders}", error="invalid_token"`,
        ])
      }
      expect((await ask('/orders', { headers: { accept: 'text/html', 'sec-fetch-mode': 'navigate' } })).status).toBe(
        401,
      )
      expect((await ask('/orders', { headers: bearer(await tokenOf('orders:read')) })).status).toBe(200)
    } finally {
      await updateApi(server.database.prisma, orders, { ...settings, accept }, change())
      await server.settle()
    }
  })

  test('an API key that is used more often in a minute than it may: 429, and when to come back', async () => {
    const owner = { clientId: 'reports' }
    const input = { name: 'k', apis: { [orders]: ['orders:read'] }, owner, requestsPerMinute: 1 }
    const { value } = await createApiKey(server.database.prisma, input, change())
    const headers = { 'x-api-key': value }
    expect((await ask('/orders', { headers })).status).toBe(200)
    const much = await ask('/orders', { headers })
    expect([much.status, JSON.parse(much.body).error]).toEqual([429, 'too_many_requests'])
    expect(Number(much.headers['retry-after'])).toBeGreaterThan(0)
    expect((await ask('/orders', { headers: { 'x-api-key': key } })).status, 'another key').toBe(200)
  })

  test('what no route names is refused: 401 to nobody, 403 to whoever is known', async () => {
    expect((await ask('/nothing')).status).toBe(401)
    expect((await ask('/nothing', { headers: bearer('garbage') })).status).toBe(401)
    const headers = bearer(await tokenOf('orders:read'))
    expect((await ask('/nothing', { headers })).status).toBe(403)
    expect((await ask('/orders', { method: 'POST', headers })).status).toBe(403)
    expect((await ask('/orders', { method: 'HEAD', headers })).status).toBe(200)
  })

  test('a path that two parties could read in two ways never opens anything', async () => {
    const headers = bearer(await tokenOf('orders:read'))
    for (const path of [
      '/orders/..%2fadmin',
      '/orders/%2e%2e/admin',
      '/orders/..;/admin',
      '/orders//88',
      '/orders/88%00',
      '/orders/%zz',
      '/orders/8%38',
      '/%6frders',
      '/orders/88;a=b',
      '/orders/a%5cb',
      '/orders/a%252fb',
    ])
      expect((await ask(path, { headers })).status, path).toBeGreaterThanOrEqual(400)
  })

  test('a browser is sent to sign in, comes back, stays signed in, and is out when its session ends', async () => {
    const page = { accept: 'text/html', 'sec-fetch-mode': 'navigate' }
    const first = await ask('/orders/88?a=b', { headers: page })
    expect(first.status).toBe(303)
    const start = first.headers.location ?? ''
    expect(start).toMatch(new RegExp(`^${server.url}/authz/start\\?begin=`))
    const began = cookieOf(first)

    const person = new Person(server.url)
    let shown = await person.open(start)
    if (shown.url.includes('/login')) shown = await person.submit(shown, { identifier: 'alice@example.com', password })
    const back = new URL(shown.url)
    expect([back.hostname, back.pathname]).toEqual([host, '/.sallyport/callback'])

    const path = back.pathname + back.search
    expect((await ask(path, { headers: page })).status).not.toBe(303) // another browser: the code is worth nothing there
    const arrived = await ask(path, { headers: { ...page, cookie: began } })
    expect([arrived.status, new URL(arrived.headers.location ?? '').pathname]).toEqual([303, '/orders/88'])
    const cookie = cookieOf(arrived)
    expect(String(arrived.headers['set-cookie'])).toMatch(/Path=\/; HttpOnly; SameSite=Lax/)
    expect((await ask(path, { headers: { ...page, cookie: began } })).status).toBeGreaterThanOrEqual(400) // once

    const inside = await ask('/orders/88', { headers: { ...page, cookie } })
    expect(inside.status).toBe(200)
    expect(seenBy(inside)).toMatchObject({ 'x-sallyport-user': j.alice.id, 'x-sallyport-method': 'session' })
    // A cookie counts only where nothing else is shown, and a script is told, not sent anywhere.
    expect((await ask('/orders/88', { headers: { ...page, cookie, ...bearer('garbage') } })).status).toBe(401)
    expect((await ask('/orders/88', { headers: { accept: 'application/json' } })).status).toBe(401)
    expect((await ask('/orders/88', { method: 'DELETE', headers: { ...page, cookie } })).status).toBe(403)

    await server.database.pool.query('UPDATE session SET ended_at = now() WHERE user_id = $1', [j.alice.id])
    expect((await ask('/orders/88', { headers: { ...page, cookie } })).status).toBe(303)
  })
})

function receiptOf(answer: Answer) {
  const id = String(answer.headers['x-decision-id'])
  return server.database.prisma.decisionReceipt.findUniqueOrThrow({ where: { id } })
}

function cookieOf(answer: Answer): string {
  return String(answer.headers['set-cookie']?.[0] ?? '').split(';')[0] ?? ''
}

test('a peer that is not listed is not believed', async () => {
  const untrusting = await startServer({ share: server })
  try {
    const headers = {
      'x-forwarded-method': 'GET',
      'x-forwarded-proto': 'http',
      'x-forwarded-host': host,
      'x-forwarded-uri': '/health',
    }
    expect((await raw(untrusting.port, '/authz/forward', { headers })).status).toBe(401)
    expect((await raw(untrusting.port, '/authz/envoy/health', { headers: { host } })).status).toBe(401)
  } finally {
    await untrusting.stop()
  }
})

test('nobody who is not identified ever gets a 403, whatever is asked', async () => {
  const paths = fc.constantFrom(
    '/health',
    '/orders',
    '/orders/1',
    '/clerks',
    '/safe',
    '/nothing',
    '/orders/%2e%2e',
    '//',
    '/',
  )
  const credentials = fc.oneof(
    fc.constant({}),
    fc.string({ minLength: 1, maxLength: 20, unit: fc.constantFrom(...'abcXYZ019._~+/-') }).map(bearer),
    fc.constant({ authorization: 'Basic eDp5' }),
    fc.constant({ authorization: 'DPoP abc' }),
    fc.constant({ 'x-api-key': 'sp_key_x' }),
    fc.constant({ cookie: 'sallyport_gate_session=abc' }),
  )
  await fc.assert(
    fc.asyncProperty(paths, fc.constantFrom('GET', 'POST', 'DELETE'), credentials, async (path, method, headers) => {
      const answer = await (asks.traefik as Ask)(path, { method, headers })
      expect([200, 400, 401]).toContain(answer.status)
    }),
    { numRuns: 150 },
  )
})
