// DPoP at gateways and at our own endpoints (RFC 9449 7, 9): a token that is bound to a key opens nothing without a proof for this very request, and no
// proof opens anything twice.
import { randomUUID } from 'node:crypto'
import { exportJWK, type JWK, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeReceipt } from '#src/access/receipts.ts'
import { createRole } from '#src/access/roles.ts'
import { updateApi } from '#src/apis/apis.ts'
import { putRoute } from '#src/apis/routes.ts'
import { ensureOwnApi } from '#src/bootstrap/own-api.ts'
import { updateClient } from '#src/clients/clients.ts'
import { ath, makeProof, newProofKey, type ProofKey } from '#test/support/dpop.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let second: TestServer
let j: Journey
let key: ProofKey
let ownApi: string
let clock = 0
const host = 'api.example.com'

beforeAll(async () => {
  const env = { TRUST_PROXY: '127.0.0.0/8,::1' }
  const now = () => new Date(Date.now() + clock)
  server = await startServer({ env, now })
  second = await startServer({ env, share: server })
  j = await startJourney(server)
  const { prisma } = server.database
  ownApi = `${server.url}/api`
  await ensureOwnApi(server.database, ownApi, change())
  await updateApi(
    prisma,
    orders,
    { name: 'Orders', scopes: { 'orders:read': 'See orders', 'orders:write': 'Change orders' } },
    change(),
  )
  const scopes = ['orders:read']
  await updateClient(
    prisma,
    'reports',
    { name: 'reports', type: 'service', apis: { [orders]: scopes, [ownApi]: ['access:evaluate', 'clients:read'] } },
    change(),
  )
  await createRole(prisma, 'clerk', { permissions: [] }, change())
  const put = (method: string, path: string, input: object) =>
    putRoute(prisma, { host, method, path }, { api: orders, position: 0, ...input }, change())
  await put('GET', '/orders', { scopes })
  await put('GET', '/orders/{id}', { scopes })
  await put('DELETE', '/orders/{id}', { scopes: ['orders:write'] })
  await put('GET', '/safe', { acrValues: ['urn:sallyport:acr:2fa'] })
  await server.settle()
  await second.settle()
  key = await newProofKey()
})
afterAll(async () => {
  await second.stop()
  await server.stop()
})

type Answer = { status: number; headers: Headers }
const dialects = ['forward', 'nginx', 'envoy'] as const

/** As the gateway would ask about a request of its own: `https://api.example.com` + path. */
async function ask(
  dialect: (typeof dialects)[number],
  path: string,
  headers: [string, string][] | Record<string, string>,
  { method = 'GET', port = server.port, host: at = host }: { method?: string; port?: number; host?: string } = {},
): Promise<Answer> {
  const { request } = await import('node:http')
  const said: [string, string][] =
    dialect === 'envoy'
      ? [['host', at]]
      : [
          ['host', 'sallyport:3000'],
          ['x-forwarded-method', method],
          ['x-forwarded-host', at],
          ['x-forwarded-uri', path],
        ]
  const all = [...said, ['x-forwarded-proto', 'https'], ...(Array.isArray(headers) ? headers : Object.entries(headers))]
  return new Promise((resolve, reject) => {
    const outgoing = request({
      host: '127.0.0.1',
      port,
      method: dialect === 'envoy' ? method : 'GET',
      path: dialect === 'envoy' ? `/authz/envoy${path}` : `/authz/${dialect}`,
      headers: all.flat() as never,
    })
    outgoing.once('error', reject)
    outgoing.once('response', (response) => {
      response.resume()
      const received = new Headers()
      for (const [name, value] of Object.entries(response.headers)) received.set(name, String(value))
      const status = Number(received.get('x-sallyport-status') ?? response.statusCode)
      resolve({ status, headers: received })
    })
    outgoing.end()
  })
}

async function tokenFor(resource = orders, scope = 'orders:read', by: ProofKey | null = key): Promise<string> {
  const url = `${server.url}/oauth/token`
  const headers: Record<string, string> = by ? { DPoP: await makeProof(by, { method: 'POST', url }) } : {}
  const { body } = await j.post(
    '/oauth/token',
    { grant_type: 'client_credentials', scope, resource },
    { as: 'reports', headers },
  )
  return body.access_token
}
const proofFor = (token: string, change: Parameters<typeof makeProof>[2] = {}, by = key, path = '/orders') =>
  makeProof(by, { method: 'GET', url: `https://${host}${path}`, token }, change)
const bound = (token: string, DPoP: string) => ({ Authorization: `DPoP ${token}`, DPoP })
const receiptOf = async ({ headers }: Answer) => {
  const id = headers.get('x-decision-id') ?? ''
  return describeReceipt(await server.database.prisma.decisionReceipt.findUniqueOrThrow({ where: { id } }))
}
const challenge = (error: string, realm = orders) => `DPoP realm="${realm}", error="${error}", algs="ES256 EdDSA"`

describe.each(dialects)('at a gateway (%s)', (dialect) => {
  test('a proof for the request in front of the gateway opens it (7.1)', async () => {
    const token = await tokenFor()
    const { status, headers } = await ask(dialect, '/orders?page=2', bound(token, await proofFor(token)))
    expect(status).toBe(200)
    expect([headers.get('x-sallyport-client'), headers.get('x-sallyport-method')]).toEqual(['reports', 'oauth'])
  })

  test('as Bearer, with and without a proof: 401 invalid_token, and a challenge that names the scheme (7.1)', async () => {
    const token = await tokenFor()
    const proofs: Record<string, string>[] = [{}, { DPoP: await proofFor(token) }]
    for (const more of proofs) {
      const answer = await ask(dialect, '/orders', { Authorization: `Bearer ${token}`, ...more })
      expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, challenge('invalid_token')])
      expect(await receiptOf(answer)).toMatchObject({ gate: 'signature', reason: 'bound_to_key', clientId: 'reports' })
    }
  })

  test('a bearer token is not made better by the other scheme (7.1)', async () => {
    const token = await tokenFor(orders, 'orders:read', null)
    const answer = await ask(dialect, '/orders', bound(token, await proofFor(token)))
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, challenge('invalid_token')])
    expect(await receiptOf(answer)).toMatchObject({ gate: 'signature', reason: 'not_bound' })
  })

  test('DPoP without a token, or with two credentials: 400', async () => {
    const token = await tokenFor()
    expect((await ask(dialect, '/orders', { Authorization: 'DPoP' })).status).toBe(400)
    expect((await ask(dialect, '/orders', { Authorization: `DPoP ${token} ${token}` })).status).toBe(400)
    const both = { ...bound(token, await proofFor(token)), 'X-API-Key': 'sp_key_x' }
    expect((await ask(dialect, '/orders', both)).status).toBe(400)
  })

  test('a token that does not count: 401 in its own scheme', async () => {
    const token = await tokenFor()
    await j.post('/oauth/revoke', { token }, { as: 'reports' })
    const answer = await ask(dialect, '/orders', bound(token, await proofFor(token)))
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, challenge('invalid_token')])
    expect(await receiptOf(answer)).toMatchObject({ gate: 'revoked' })
  })

  test('identified, and a scope is missing: 403 in its own scheme; a stronger sign-in: 401', async () => {
    const token = await tokenFor()
    const url = `https://${host}/orders/88`
    const DPoP = await makeProof(key, { method: 'DELETE', url, token })
    const refused = await ask(dialect, '/orders/88', bound(token, DPoP), { method: 'DELETE' })
    expect([refused.status, refused.headers.get('www-authenticate')]).toEqual([
      403,
      `DPoP realm="${orders}", error="insufficient_scope", scope="orders:write"`,
    ])
    const weak = await ask(dialect, '/safe', bound(token, await proofFor(token, {}, key, '/safe')))
    expect(weak.headers.get('www-authenticate')).toMatch(/^DPoP .*insufficient_user_authentication/)
  })
})

describe('a proof is refused', () => {
  type Made = string | [string, string][]
  const now = () => Math.floor(Date.now() / 1000)
  const claims = (changed: Record<string, unknown>) => (token: string) => proofFor(token, { claims: changed })
  const header = (changed: Record<string, unknown>) => (token: string) => proofFor(token, { header: changed })
  const bad: [string, string, (token: string) => Promise<Made> | Made][] = [
    ['that is absent', 'signature bound_to_key', () => []],
    [
      'that came twice',
      'signature bad_proof',
      async (token) => [
        ['DPoP', await proofFor(token)],
        ['DPoP', await proofFor(token)],
      ],
    ],
    [
      'twice in one header',
      'signature bad_proof',
      async (token) => `${await proofFor(token)}, ${await proofFor(token)}`,
    ],
    ['that is nonsense', 'signature bad_proof', () => 'nonsense'],
    ['of another method (htm)', 'signature bad_proof', claims({ htm: 'POST' })],
    ['of the method in lower case', 'signature bad_proof', claims({ htm: 'get' })],
    ['without htm', 'signature bad_proof', claims({ htm: undefined })],
    ['of another path (htu)', 'signature bad_proof', claims({ htu: `https://${host}/orders/1` })],
    ['of another host', 'signature bad_proof', claims({ htu: 'https://evil.example/orders' })],
    ['of another scheme', 'signature bad_proof', claims({ htu: `http://${host}/orders` })],
    ['of another port', 'signature bad_proof', claims({ htu: `https://${host}:8443/orders` })],
    [
      "of the gateway's own request",
      'signature bad_proof',
      async (token) => proofFor(token, { claims: { htu: `${server.url}/authz/forward` } }),
    ],
    ['with somebody else in front of the host', 'signature bad_proof', claims({ htu: `https://evil@${host}/orders` })],
    ['without htu', 'signature bad_proof', claims({ htu: undefined })],
    ['whose htu is no address', 'signature bad_proof', claims({ htu: '/orders' })],
    ['whose htu is a list', 'signature bad_proof', claims({ htu: [`https://${host}/orders`] })],
    ['of another token (ath)', 'signature bad_proof', claims({ ath: ath('other') })],
    ['without ath', 'signature bad_proof', claims({ ath: undefined })],
    ['without iat', 'signature bad_proof', claims({ iat: undefined })],
    ['whose iat is text', 'signature bad_proof', claims({ iat: 'now' })],
    ['without jti', 'signature bad_proof', claims({ jti: undefined })],
    ['with an empty jti', 'signature bad_proof', claims({ jti: '' })],
    ['whose jti is a number', 'signature bad_proof', claims({ jti: 7 })],
    ['whose jti is a novel', 'signature bad_proof', claims({ jti: 'x'.repeat(600) })],
    ['of type JWT', 'signature bad_proof', header({ typ: 'JWT' })],
    ['of no type', 'signature bad_proof', header({ typ: undefined })],
    ['without its key', 'signature bad_proof', header({ jwk: undefined })],
    ['by another key', 'signature bad_proof', async (token) => proofFor(token, {}, await newProofKey())],
    [
      'by another key than it shows',
      'signature bad_proof',
      async (token) => proofFor(token, { header: { jwk: (await newProofKey()).jwk } }),
    ],
    [
      'showing its private key',
      'signature bad_proof',
      async (token) => proofFor(token, { header: { jwk: await exportJWK(key.privateKey) } }),
    ],
    [
      'under an algorithm that is not offered',
      'signature bad_proof',
      async (token) => proofFor(token, {}, await newProofKey('ES384')),
    ],
    [
      'under a symmetric algorithm, the key in the header',
      'signature bad_proof',
      (token) => {
        const secret = Buffer.alloc(32, 7)
        const jwk = { kty: 'oct', k: secret.toString('base64url') } as JWK
        return new SignJWT({ htm: 'GET', htu: `https://${host}/orders`, ath: ath(token), jti: randomUUID() })
          .setProtectedHeader({ alg: 'HS256', typ: 'dpop+jwt', jwk })
          .setIssuedAt()
          .sign(secret)
      },
    ],
    [
      'unsigned (alg none)',
      'signature bad_proof',
      async (token) => {
        const [, payload] = (await proofFor(token)).split('.')
        const unsigned = { alg: 'none', typ: 'dpop+jwt', jwk: key.jwk }
        return `${Buffer.from(JSON.stringify(unsigned)).toString('base64url')}.${payload}.`
      },
    ],
    [
      'whose signature was changed',
      'signature bad_proof',
      async (token) => (await proofFor(token)).replace(/\.[^.]*$/, `.${'A'.repeat(86)}`),
    ],
    ['made two minutes ago', 'time stale_proof', claims({ iat: now() - 120 })],
    ['of in two minutes', 'time stale_proof', claims({ iat: now() + 120 })],
    ['that has expired', 'time stale_proof', claims({ exp: now() - 120 })],
    ['of the future (nbf)', 'time stale_proof', claims({ nbf: now() + 120 })],
    ['with a nonce that was made up', 'time stale_proof', claims({ nonce: 'A'.repeat(43) })],
    ['whose nonce is no text', 'time stale_proof', claims({ nonce: 7 })],
  ]
  test.each(bad)('%s (%s)', async (_name, where, make) => {
    const token = await tokenFor()
    const made = await make(token)
    const proofs: [string, string][] = typeof made === 'string' ? [['DPoP', made]] : made
    const answer = await ask('forward', '/orders', [['Authorization', `DPoP ${token}`], ...proofs])
    const error = where === 'time stale_proof' ? 'use_dpop_nonce' : 'invalid_dpop_proof'
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, challenge(error)])
    const { gate, reason } = await receiptOf(answer)
    expect(`${gate} ${reason}`).toBe(where)
    expect(answer.headers.get('x-sallyport-client')).toBe('')
  })

  test.each([-50, 0, 50])('not when its clock is %i seconds off', async (offset) => {
    const token = await tokenFor()
    const DPoP = await proofFor(token, { claims: { iat: now() + offset } })
    expect((await ask('forward', '/orders', bound(token, DPoP))).status).toBe(200)
  })

  test('not for a query and a fragment in htu, another case of the host, or the port that the scheme implies (4.3)', async () => {
    const token = await tokenFor()
    for (const htu of [`https://${host}/orders?x=1#y`, 'HTTPS://API.Example.com:443/orders'])
      expect((await ask('forward', '/orders', bound(token, await proofFor(token, { claims: { htu } })))).status).toBe(
        200,
      )
  })

  test('what nobody listed forwards is no request, so nothing is proven about it', async () => {
    const untrusting = await startServer({ share: server })
    try {
      const token = await tokenFor()
      const answer = await ask('forward', '/orders', bound(token, await proofFor(token)), { port: untrusting.port })
      expect(answer.status).toBe(401)
    } finally {
      await untrusting.stop()
    }
  })
})

describe('a nonce (9)', () => {
  test('comes with the refusal of a proof from a wrong clock, and makes up for it, on every process', async () => {
    const token = await tokenFor()
    const iat = Math.floor(Date.now() / 1000) - 3_600
    const refused = await ask('forward', '/orders', bound(token, await proofFor(token, { claims: { iat } })))
    const nonce = refused.headers.get('dpop-nonce')
    expect([refused.status, nonce]).toEqual([401, expect.stringMatching(/^[\w-]{43}$/)])
    for (const port of [server.port, second.port]) {
      const DPoP = await proofFor(token, { claims: { iat, nonce } })
      expect((await ask('forward', '/orders', bound(token, DPoP), { port })).status).toBe(200)
      expect((await ask('forward', '/orders', bound(token, DPoP), { port })).status, 'once').toBe(401)
    }
  })

  test('is good for a few minutes, and another one comes then', async () => {
    const token = await tokenFor()
    const old = await ask('forward', '/orders', bound(token, await proofFor(token, { claims: { iat: 1 } })))
    const nonce = old.headers.get('dpop-nonce')
    clock = 150_000
    try {
      const late = await ask('forward', '/orders', bound(token, await proofFor(token, { claims: { nonce } })))
      expect(late.status).toBe(401)
      expect(late.headers.get('dpop-nonce')).not.toBe(nonce)
    } finally {
      clock = 0
    }
  })
})

describe('a proof is good once (11.1)', () => {
  test('whichever process is asked, and the receipt says so', async () => {
    const token = await tokenFor()
    const headers = bound(token, await proofFor(token))
    expect((await ask('forward', '/orders', headers)).status).toBe(200)
    for (const [dialect, port] of [
      ['forward', server.port],
      ['nginx', second.port],
      ['envoy', second.port],
    ] as const) {
      const again = await ask(dialect, '/orders', headers, { port })
      expect([again.status, again.headers.get('www-authenticate')]).toEqual([401, challenge('invalid_dpop_proof')])
      expect(await receiptOf(again)).toMatchObject({ gate: 'time', reason: 'used_proof' })
    }
  })

  test('of ten at the same moment, over two processes, one is let through', async () => {
    const token = await tokenFor()
    const headers = bound(token, await proofFor(token))
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        ask('forward', '/orders', headers, { port: n % 2 ? server.port : second.port }),
      ),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(9).fill(401)])
  })

  test('but the identifiers of one key are not those of another', async () => {
    const other = await newProofKey()
    const jti = randomUUID()
    for (const by of [key, other]) {
      const token = await tokenFor(orders, 'orders:read', by)
      const headers = bound(token, await proofFor(token, { claims: { jti } }, by))
      expect((await ask('forward', '/orders', headers)).status).toBe(200)
    }
  })

  test('and a refused one was not used', async () => {
    const token = await tokenFor()
    const jti = randomUUID()
    expect(
      (await ask('forward', '/orders', bound(token, await proofFor(token, { claims: { jti, ath: 'x' } })))).status,
    ).toBe(401)
    expect((await ask('forward', '/orders', bound(token, await proofFor(token, { claims: { jti } })))).status).toBe(200)
  })
})

describe('at our own endpoints', () => {
  const at = (path: string) => `${server.url}${path}`
  const headersFor = async (token: string, method: string, path: string, by = key) =>
    bound(token, await makeProof(by, { method, url: at(path), token }))

  test.each(['ES256', 'EdDSA'])('the admin API, %s', async (alg) => {
    const by = await newProofKey(alg)
    const token = await tokenFor(ownApi, 'clients:read', by)
    const path = '/api/v1/clients'
    const headers = await headersFor(token, 'GET', path, by)
    expect((await fetch(at(`${path}?limit=1`), { headers })).status).toBe(200)
    const again = await fetch(at(path), { headers })
    expect([again.status, again.headers.get('www-authenticate')]).toEqual([
      401,
      challenge('invalid_dpop_proof', ownApi),
    ])
    expect((await fetch(at(path), { headers: { Authorization: `Bearer ${token}` } })).status).toBe(401)
  })

  test('AuthZEN; a token that is only asked about proves nothing', async () => {
    const token = await tokenFor(ownApi, 'access:evaluate')
    const path = '/access/v1/evaluation'
    const evaluate = async (subject: object) => {
      const response = await fetch(at(path), {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', ...(await headersFor(token, 'POST', path)) },
        body: JSON.stringify({ subject, action: { name: 'orders:read' }, resource: { type: 'order', id: '1' } }),
      })
      return { status: response.status, body: await response.json() }
    }
    expect(await evaluate({ type: 'client', id: 'reports' })).toEqual({ status: 200, body: { decision: true } })
    const { body } = await evaluate({ type: 'access_token', id: await tokenFor() })
    expect(body.decision).toBe(false)
    const receipt = await server.database.prisma.decisionReceipt.findUniqueOrThrow({ where: { id: body.context.id } })
    expect(receipt.reason).toBe('bound_to_key')
  })

  test('a change that came with a used proof does not happen', async () => {
    const token = await tokenFor(ownApi, 'clients:read')
    const path = '/access/v1/evaluation'
    const headers = { 'Content-Type': 'application/json', ...(await headersFor(token, 'POST', path)) }
    const send = () => fetch(at(path), { method: 'POST', headers, body: '{}' })
    expect((await send()).status).toBe(403) // known, and without the scope: the proof is spent
    expect((await send()).status).toBe(401)
  })

  test('userinfo: a used proof is told as such', async () => {
    const { code, verifier } = await j.codeFor({ scope: 'openid' })
    const DPoP = await makeProof(key, { method: 'POST', url: at('/oauth/token') })
    const { body } = await j.redeem(code, verifier, {}, { headers: { DPoP } })
    const headers = await headersFor(body.access_token, 'GET', '/oauth/userinfo')
    const answers = await Promise.all(Array.from({ length: 8 }, () => fetch(at('/oauth/userinfo'), { headers })))
    expect(answers.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(401)])
    for (const { status, headers: received } of [...answers, await fetch(at('/oauth/userinfo'), { headers })])
      if (status !== 200) expect(received.get('www-authenticate')).toMatch(/^DPoP .*algs="ES256 EdDSA"/)
  })
})

test('a credential in the address of the application is refused (RFC 6750 2.3, RFC 9700 4.3.2); its own `token` is its own', async () => {
  const token = await tokenFor(orders, 'orders:read', null)
  for (const dialect of dialects) {
    for (const name of ['access_token', 'API_KEY'])
      expect((await ask(dialect, `/orders?${name}=${token}`, {})).status, `${dialect} ${name}`).toBe(400)
    const bearer = { Authorization: `Bearer ${token}` }
    expect((await ask(dialect, '/orders?token=x', bearer)).status).toBe(200)
  }
})
