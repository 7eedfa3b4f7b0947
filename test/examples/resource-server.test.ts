// The resource server of examples/ against a real issuer: the two doors, in their order, with the answers of RFC 6750.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startServer } from '#test/support/server.ts'
import { createOrdersApi, ordersApi, requestToken } from './orders.ts'
import { type Program, startProgram } from './program.ts'

describe('with tokens of the real server', () => {
  let server: Awaited<ReturnType<typeof startServer>>
  let api: Program
  beforeAll(async () => {
    server = await startServer()
    await createOrdersApi(server)
    api = await startApi(server.url)
  }, 60_000)
  afterAll(async () => {
    await api?.stop()
    await server?.stop()
  })

  it('200: shows the caller their own orders', async () => {
    const token = await requestToken(server.url, 'orders:read orders:write')
    const created = await ask(api, 'POST', '/orders', { authorization: `Bearer ${token}` })
    expect(created.status).toBe(201)
    const id = (created.body as { id: string }).id
    expect(await ask(api, 'GET', `/orders/${id}`, { authorization: `bearer ${token}` })).toMatchObject({ status: 200 })
    expect((await ask(api, 'GET', '/orders', { authorization: `Bearer ${token}` })).body).toMatchObject({
      orders: [{ id }],
    })
  })

  it.each([
    ['a scheme without a token', '/orders', { authorization: 'Bearer' }],
    ['a token with a space', '/orders', { authorization: 'Bearer a b' }],
    ['two credentials at once', '/orders', { authorization: 'Bearer a', 'x-api-key': 'b' }],
    ['a token in the query string', '/orders?access_token=a', {}],
  ])('400 invalid_request: %s', async (_name, path, headers) => {
    expect(await ask(api, 'GET', path, headers)).toMatchObject({
      status: 400,
      challenge: expect.stringMatching(/^Bearer realm="orders", error="invalid_request"/),
    })
  })

  it('401 without an error code when no credential was sent (RFC 6750 3.1)', async () => {
    const others: Record<string, string>[] = [{}, { authorization: 'Basic YTpi' }, { 'x-api-key': 'k' }]
    for (const headers of others)
      expect(await ask(api, 'GET', '/orders', headers)).toMatchObject({
        status: 401,
        challenge: 'Bearer realm="orders"',
      })
  })

  it('401 invalid_token: a token that nobody issued', async () => {
    const [header, payload] = (await requestToken(server.url)).split('.')
    for (const token of ['garbage', `${header}.${payload}.AAAA`, `${header}.${payload}.`])
      expect(await ask(api, 'GET', '/orders', { authorization: `Bearer ${token}` })).toMatchObject({
        status: 401,
        challenge: 'Bearer realm="orders", error="invalid_token"',
      })
  })

  it('403 insufficient_scope, with the scope that is missing', async () => {
    const token = await requestToken(server.url)
    expect(await ask(api, 'DELETE', '/orders/1', { authorization: `Bearer ${token}` })).toMatchObject({
      status: 403,
      challenge: 'Bearer realm="orders", error="insufficient_scope", scope="orders:delete"',
    })
  })

  it('403 without a challenge for an order of somebody else: no other token would help', async () => {
    const token = await requestToken(server.url)
    expect(await ask(api, 'GET', '/orders/1', { authorization: `Bearer ${token}` })).toMatchObject({
      status: 403,
      challenge: null,
      body: { error: 'access_denied' },
    })
  })

  it('asks who before it asks what: never 403 or 404 to a stranger', async () => {
    for (const path of ['/orders/1', '/orders/999', '/nowhere'])
      expect((await ask(api, 'GET', path, {})).status, path).toBe(401)
  })
})

// An issuer that can be made to sign anything: the checks below are the resource server's own.
describe('with tokens that only look right (RFC 9068 4, RFC 8725 3)', async () => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const jwk = { ...(await exportJWK(publicKey)), kid: 'k1', use: 'sig', alg: 'ES256' }
  let issuer = ''
  let keysBroken = false
  const issuing = createServer((request, response) => {
    if (request.url === '/jwks' && keysBroken) response.writeHead(500).end()
    else
      response.end(JSON.stringify(request.url === '/jwks' ? { keys: [jwk] } : { issuer, jwks_uri: `${issuer}/jwks` }))
  })
  let api: Program
  beforeAll(async () => {
    await new Promise<void>((resolve) => issuing.listen(0, 'localhost', resolve))
    issuer = `http://localhost:${(issuing.address() as AddressInfo).port}`
    api = await startApi(issuer)
  }, 30_000)
  afterAll(async () => {
    await api?.stop()
    issuing.close()
  })

  const epoch = () => Math.floor(Date.now() / 1000)
  const good = (): JWTPayload => ({
    iss: issuer,
    aud: ordersApi,
    sub: 'alice',
    client_id: 'shop',
    scope: 'orders:read',
    jti: 'j',
    iat: epoch(),
    exp: epoch() + 60,
  })
  const sign = (claims: JWTPayload, header: object = {}) =>
    new SignJWT(claims).setProtectedHeader({ alg: 'ES256', kid: 'k1', typ: 'at+jwt', ...header }).sign(privateKey)
  const call = async (token: string) => (await ask(api, 'GET', '/orders', { authorization: `Bearer ${token}` })).status

  it('503, not 401, when the keys of the issuer cannot be read: the token may be good', async () => {
    keysBroken = true
    expect(await call(await sign(good()))).toBe(503)
    keysBroken = false
  })

  it('accepts the token that the cases below are made from', async () => {
    expect(await call(await sign(good()))).toBe(200)
    expect(await call(await sign(good(), { typ: 'application/at+jwt' }))).toBe(200)
  })

  it.each([
    ['an ID token: typ is JWT', {}, { typ: 'JWT' }],
    ['no typ at all', {}, { typ: undefined }],
    ['another issuer', { iss: 'http://localhost:1' }, {}],
    ['another audience', { aud: 'https://api.example.com/invoices' }, {}],
    ['expired', { exp: 1 }, {}],
    ['without an expiry', { exp: undefined }, {}],
    ['without a client', { client_id: undefined }, {}],
    ['bound to a key that did not sign the request (RFC 9449 7.1)', { cnf: { jkt: 'x' } }, {}],
    ['a key that the issuer does not publish', {}, { kid: 'k2' }],
  ])('401: %s', async (_name, claims, header) => {
    expect(await call(await sign({ ...good(), ...claims } as JWTPayload, header))).toBe(401)
  })

  it('401: signed by a key that came with the token', async () => {
    const other = await generateKeyPair('ES256', { extractable: true })
    const header = { alg: 'ES256', typ: 'at+jwt', jwk: await exportJWK(other.publicKey) }
    expect(await call(await new SignJWT(good()).setProtectedHeader(header).sign(other.privateKey))).toBe(401)
  })

  it('401: HS256 with the public key as its secret, and alg none', async () => {
    const secret = new TextEncoder().encode(JSON.stringify(jwk))
    expect(
      await call(await new SignJWT(good()).setProtectedHeader({ alg: 'HS256', kid: 'k1', typ: 'at+jwt' }).sign(secret)),
    ).toBe(401)
    const unsigned = [{ alg: 'none', typ: 'at+jwt' }, good()].map((part) =>
      Buffer.from(JSON.stringify(part)).toString('base64url'),
    )
    expect(await call(`${unsigned.join('.')}.`)).toBe(401)
  })
})

function startApi(issuer: string): Promise<Program> {
  return startProgram('examples/resource-server/server.ts', {
    ISSUER_URL: issuer,
    API_IDENTIFIER: ordersApi,
    PORT: '0',
  })
}

async function ask(api: Program, method: string, path: string, headers: Record<string, string>) {
  const response = await fetch(api.url + path, { method, headers })
  return { status: response.status, challenge: response.headers.get('www-authenticate'), body: await response.json() }
}
