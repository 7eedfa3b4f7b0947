// The contract's table of answers, row by row, through every adapter over real HTTP, with tokens of the real server.
import { randomUUID } from 'node:crypto'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createGuard, type Guard } from '#src/guard/guard.ts'
import { revoke } from '#src/tokens/revoke.ts'
import { rowIdOfValue } from '#src/tokens/row-ids.ts'
import { change, orders, stock } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'
import { type Api, ask, frameworks, startApi } from './apps.ts'

let server: TestServer
let j: Journey
/** Of a person, for the orders API: `orders:read`. */
let token: string
/** Of a program, opaque, for the stock API. */
let opaque: string
const guards: Guard[] = []

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  token = (await j.tokensFor({ scope: 'orders:read', resource: orders }, undefined, { resource: orders })).access_token
  opaque = (await service('stock:read')).access_token
}, 60_000)
afterAll(async () => {
  for (const guard of guards) guard.close()
  await server?.stop()
})

const service = async (scope: string, headers: Record<string, string> = {}) => {
  const answer = await j.post('/oauth/token', { grant_type: 'client_credentials', scope }, { as: 'reports', headers })
  expect(answer.status, JSON.stringify(answer.body)).toBe(200)
  return answer.body
}

function guardWith(options: Partial<Parameters<typeof createGuard>[0]> = {}): Guard {
  const guard = createGuard({ issuer: server.url, audience: orders, realm: 'orders', ...options })
  guards.push(guard)
  return guard
}

const bearer = (value: string) => ['authorization', `Bearer ${value}`] as const

describe.each(Object.keys(frameworks))('%s', (name) => {
  let api: Api
  let hiding: Api
  let asking: Api
  const start = (guard: Guard) => startApi((frameworks[name] as NonNullable<(typeof frameworks)[string]>)(guard))
  beforeAll(async () => {
    api = await start(guardWith())
    hiding = await start(guardWith({ hideExistence: true }))
    asking = await start(
      guardWith({ audience: stock, introspection: { clientId: 'stock-api', clientSecret: j.secret } }),
    )
  })
  afterAll(async () => {
    await Promise.all([api?.stop(), hiding?.stop(), asking?.stop()])
  })

  it.each<[string, string, (readonly [string, string])[]]>([
    ['Bearer with no token', '/read', [['authorization', 'Bearer']]],
    ['Bearer with two tokens', '/read', [['authorization', 'Bearer a b']]],
    ['an empty Authorization header', '/read', [['authorization', '']]],
    ['two Authorization headers', '/read', [bearer('a'), bearer('b')]],
    ['two Authorization headers of different schemes', '/read', [['authorization', 'Negotiate a'], bearer('b')]],
    ['Authorization and X-API-Key', '/read', [bearer('a'), ['x-api-key', 'b']]],
    ['two X-API-Key headers', '/read', [['x-api-key', 'a'], ['x-api-key', 'b']]], // biome-ignore format: one line
    ['an empty X-API-Key', '/read', [['x-api-key', '']]],
    ['Basic that is no pair', '/read', [['authorization', 'Basic !']]],
    ['a token in the query string', '/read?access_token=a', []],
    ['an API key in the query string, whatever the case of its name', '/read?API_Key=a', []],
  ])('400 invalid_request: %s', async (_what, path, headers) => {
    expect(await ask(api.url + path, { headers })).toMatchObject({
      status: 400,
      challenge: expect.stringMatching(/^Bearer realm="orders", error="invalid_request", error_description="/),
      body: { error: 'invalid_request' },
      headers: { 'cache-control': 'no-store' },
    })
  })

  it('400 invalid_request: a good token that is in the query string as well', async () => {
    expect(await ask(`${api.url}/read?access_token=${token}`, { headers: [bearer(token)] })).toMatchObject({
      status: 400,
    })
  })

  it('401 without an error code where nothing was sent, or nothing that is taken here (RFC 6750 3.1)', async () => {
    for (const headers of [
      [],
      [['authorization', 'Negotiate a']],
      [['authorization', 'Basic YTpi']],
      [['x-api-key', 'k']],
    ])
      expect(await ask(`${api.url}/read`, { headers: headers as [string, string][] })).toMatchObject({
        status: 401,
        challenge: 'Bearer realm="orders"',
      })
  })

  it('401 invalid_token: unknown, tampered, for another API', async () => {
    const [header, payload] = token.split('.')
    const bad = ['unknown', `${header}.${payload}.AAAA`, `${header}.${payload}.`, opaque]
    for (const value of bad)
      expect(await ask(`${api.url}/read`, { headers: [bearer(value)] }), value).toMatchObject({
        status: 401,
        challenge: 'Bearer realm="orders", error="invalid_token"',
        body: { error: 'invalid_token' },
      })
  })

  it('401 invalid_token: expired', async () => {
    const late = await start(guardWith({ now: () => Date.now() + 3_600_000 }))
    expect(await ask(`${late.url}/read`, { headers: [bearer(token)] })).toMatchObject({
      status: 401,
      challenge: 'Bearer realm="orders", error="invalid_token"',
    })
    await late.stop()
  })

  it('403 insufficient_scope, with the scope', async () => {
    expect(await ask(`${api.url}/delete`, { headers: [bearer(token)] })).toMatchObject({
      status: 403,
      challenge: 'Bearer realm="orders", error="insufficient_scope", scope="orders:delete"',
      body: { error: 'insufficient_scope' },
    })
  })

  it('403 without a challenge for an object of somebody else, 404 for one that is not there', async () => {
    expect(await ask(`${api.url}/mine/bob`, { headers: [bearer(token)] })).toMatchObject({
      status: 403,
      challenge: undefined,
      body: { error: 'access_denied' },
    })
    expect(await ask(`${api.url}/mine/nobody`, { headers: [bearer(token)] })).toMatchObject({ status: 404 })
  })

  it('404 with hideExistence, the same to the byte for what is not there', async () => {
    const [hidden, missing] = await Promise.all(
      ['bob', 'nobody'].map((owner) => ask(`${hiding.url}/mine/${owner}`, { headers: [bearer(token)] })),
    )
    expect(hidden?.status).toBe(404)
    expect({ ...hidden, headers: { ...hidden?.headers, date: '' } }).toEqual({
      ...missing,
      headers: { ...missing?.headers, date: '' },
    })
  })

  it('401 insufficient_user_authentication, with the level and the age (RFC 9470)', async () => {
    expect(await ask(`${api.url}/strong`, { headers: [bearer(token)] })).toMatchObject({
      status: 401,
      challenge:
        'Bearer realm="orders", error="insufficient_user_authentication", acr_values="urn:sallyport:acr:2fa", max_age="300"',
    })
  })

  it('200: both doors open', async () => {
    const caller = { caller: j.alice.id, type: 'user', authMethod: 'oauth' }
    expect(await ask(`${api.url}/read`, { headers: [bearer(token)] })).toMatchObject({ status: 200, body: caller })
    expect(
      await ask(`${api.url}/mine/${j.alice.id}`, { headers: [['Authorization', `bearer ${token}`]] }),
    ).toMatchObject({
      status: 200,
      body: { id: '88' },
    })
  })

  it('opaque tokens are asked about: 200, 403, and 401 once revoked', async () => {
    const { access_token: value } = await service('stock:read')
    const caller = { caller: 'reports', type: 'client', authMethod: 'oauth' }
    expect(await ask(`${asking.url}/`, { headers: [bearer(value)] })).toMatchObject({ status: 200, body: caller })
    expect(await ask(`${asking.url}/read`, { headers: [bearer(value)] })).toMatchObject({ status: 403 })
    await revoke(server.database.prisma, { kind: 'token', id: rowIdOfValue(value) }, change())
    await expect
      .poll(async () => (await ask(`${asking.url}/`, { headers: [bearer(value)] })).status, { timeout: 5_000 })
      .toBe(401)
    expect(await ask(`${asking.url}/`, { headers: [bearer('unknown')] })).toMatchObject({
      status: 401,
      challenge: 'Bearer realm="orders", error="invalid_token"',
    })
  })
})

describe('with the address of the API (DPoP, RFC 9728)', () => {
  it.each(Object.keys(frameworks))('%s: a bound token with its proof, the document, the challenges', async (name) => {
    let listener: Parameters<typeof startApi>[0] = () => undefined
    const api = await startApi((request, response) => listener(request, response))
    const guard = guardWith({ publicUrl: api.url, metadata: { scopes_supported: ['orders:read'] } })
    listener = (frameworks[name] as NonNullable<(typeof frameworks)[string]>)(guard)
    const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
    const jwk = await exportJWK(publicKey)
    const proof = (claims: Record<string, unknown>) =>
      new SignJWT({ jti: randomUUID(), ...claims })
        .setIssuedAt()
        .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk })
        .sign(privateKey)
    const { access_token: bound, token_type } = await service('orders:read', {
      DPoP: await proof({ htm: 'POST', htu: `${server.url}/oauth/token` }),
    })
    expect(token_type).toBe('DPoP')
    expect(await calculateJwkThumbprint(jwk)).toBeTruthy()
    const ath = Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.from(bound))).toString('base64url')
    const good = () => proof({ htm: 'GET', htu: `${api.url}/read`, ath })
    const withProof = async (value: string) =>
      ask(`${api.url}/read?page=2`, { headers: [['authorization', `DPoP ${bound}`], ['dpop', value]] }) // biome-ignore format: one line

    const once = await good()
    expect(await withProof(once)).toMatchObject({ status: 200, body: { caller: 'reports' } })
    const metadataUrl = `${api.url}/.well-known/oauth-protected-resource/orders`
    expect(await withProof(once)).toMatchObject({
      status: 401,
      challenge:
        `Bearer realm="orders", resource_metadata="${metadataUrl}", DPoP realm="orders", error="invalid_dpop_proof", ` +
        `error_description="The proof was used before.", algs="ES256 EdDSA RS256", resource_metadata="${metadataUrl}"`,
    })
    expect(await ask(`${api.url}/read`, { headers: [bearer(bound)] })).toMatchObject({
      status: 401,
      challenge: expect.stringMatching(/^Bearer realm="orders", error="invalid_token".*, DPoP realm="orders", algs=/),
    })
    expect(await ask(metadataUrl)).toMatchObject({
      status: 200,
      body: {
        resource: orders,
        authorization_servers: [server.url],
        bearer_methods_supported: ['header'],
        scopes_supported: ['orders:read'],
        dpop_bound_access_tokens_required: false,
      },
    })
    await api.stop()
  })
})
