// JWT access tokens that only look right (RFC 9068 4, RFC 8725 3), and what happens when the issuer is out of reach.
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createGuard, type Guard, type GuardOptions } from '#src/guard/guard.ts'
import { audience, epoch, outcome, requestWith, startIssuer } from './issuer.ts'

const issuer = await startIssuer()
const troubles: Error[] = []
let at = 0
let guard: Guard
const guardWith = (options: Partial<GuardOptions> = {}) =>
  createGuard({
    issuer: issuer.url,
    audience,
    onTrouble: (trouble) => troubles.push(trouble),
    now: () => Date.now() + at,
    ...options,
  })
beforeEach(() => {
  at = 0
  troubles.length = 0
  issuer.asked.length = 0
  guard = guardWith()
})
afterAll(() => issuer.stop())

const call = (token: string, by = guard) => outcome(by.authenticate(requestWith({ authorization: `Bearer ${token}` })))

it('knows who is calling', async () => {
  expect(await call(await issuer.sign({ scope: 'orders:read orders:write', acr: 'phr', auth_time: 7 }))).toMatchObject({
    status: 200,
    type: 'user',
    id: 'alice',
    clientId: 'shop',
    scopes: ['orders:read', 'orders:write'],
    acr: 'phr',
    authTime: 7,
    authMethod: 'oauth',
    scheme: 'Bearer',
  })
  expect(await call(await issuer.sign({ sub: 'shop', scope: undefined }))).toMatchObject({ type: 'client', scopes: [] })
  expect(await call(await issuer.sign({}, { typ: 'application/at+jwt' }))).toMatchObject({ status: 200 })
  expect(await call(await issuer.sign({ aud: ['https://other.example', audience] }))).toMatchObject({ status: 200 })
})

it.each([
  ['an ID token: typ is JWT', {}, { typ: 'JWT' }],
  ['no typ at all', {}, { typ: undefined }],
  ['another issuer', { iss: 'http://localhost:1' }, {}],
  ['another audience', { aud: 'https://api.example.com/invoices' }, {}],
  ['no audience', { aud: undefined }, {}],
  ['expired', { exp: 1 }, {}],
  ['not valid yet', { nbf: epoch() + 3600 }, {}],
  ['issued in the future', { iat: epoch() + 3600, exp: epoch() + 7200 }, {}],
  ['without an expiry', { exp: undefined }, {}],
  ['without a time of issue', { iat: undefined }, {}],
  ['without an id', { jti: undefined }, {}],
  ['without a subject', { sub: undefined }, {}],
  ['without a client', { client_id: undefined }, {}],
  ['bound to a key, sent as bearer (RFC 9449 7.1)', { cnf: { jkt: 'x' } }, {}],
  ['bound in a way nobody knows', { cnf: { 'x5t#S512': 'x' } }, {}],
  ['bound to nothing', { cnf: {} }, {}],
  ['a key that the issuer does not publish', {}, { kid: 'k2' }],
])('401: %s', async (_name, claims, header) => {
  expect(await call(await issuer.sign(claims, header))).toMatchObject({ status: 401, code: 'invalid_token' })
})

it('401: signed by a key that came with the token, by the public key as a secret, or by nobody', async () => {
  const other = await generateKeyPair('ES256', { extractable: true })
  const jwk = await exportJWK(other.publicKey)
  const bad = [
    await issuer.sign({}, { kid: undefined, jwk }, other.privateKey),
    await new SignJWT(issuer.claims())
      .setProtectedHeader({ alg: 'HS256', kid: 'k1', typ: 'at+jwt' })
      .sign(new TextEncoder().encode(JSON.stringify(issuer.jwk))),
    `${[{ alg: 'none', typ: 'at+jwt' }, issuer.claims()].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.`,
  ]
  for (const token of bad) expect(await call(token)).toMatchObject({ status: 401, code: 'invalid_token' })
})

it('401: rightly signed with an algorithm that is not among those allowed (RFC 8725 3.1)', async () => {
  const token = await issuer.sign()
  expect(await call(token, guardWith({ algorithms: ['ES256'] }))).toMatchObject({ status: 200 })
  expect(await call(token, guardWith({ algorithms: ['EdDSA', 'RS256'] }))).toMatchObject({ status: 401 })
})

describe('a token that comes again', () => {
  it('is not verified again, and is over when it expires', async () => {
    const token = await issuer.sign()
    expect(await call(token)).toMatchObject({ status: 200 })
    at = 59_000
    expect(await call(token)).toMatchObject({ status: 200 })
    at = 70_000
    expect(await call(token)).toMatchObject({ status: 401 })
  })

  it('is refused some minutes after its key was withdrawn', async () => {
    const token = await issuer.sign({ exp: epoch() + 3_600 })
    expect(await call(token)).toMatchObject({ status: 200 })
    const another = await exportJWK((await generateKeyPair('ES256', { extractable: true })).publicKey)
    issuer.answers.set('/jwks', () => ({ body: { keys: [{ ...another, kid: 'k9' }] } }))
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11 * 60_000 })
    expect(await call(token)).toMatchObject({ status: 401 })
    vi.useRealTimers()
    issuer.answers.set('/jwks', () => ({ body: { keys: [issuer.jwk] } }))
  })

  it('does not stand in for another that begins alike', async () => {
    const token = await issuer.sign()
    expect(await call(token)).toMatchObject({ status: 200 })
    expect(await call(`${token.slice(0, -4)}AAAA`)).toMatchObject({ status: 401 })
  })
})

describe('503 with Retry-After, and never 401, when the issuer is out of reach', () => {
  const wellKnown = '/.well-known/oauth-authorization-server'
  const restore = () => {
    issuer.answers.set(wellKnown, () => ({ body: issuer.document }))
    issuer.answers.set('/jwks', () => ({ body: { keys: [issuer.jwk] } }))
  }

  it.each<[string, string, { status?: number; body?: unknown }]>([
    ['no discovery document', wellKnown, { status: 500 }],
    ['a document of another issuer (RFC 8414 3.3)', wellKnown, { body: { issuer: 'https://evil.example', jwks_uri: `${issuer.url}/jwks` } }], // biome-ignore format: one line
    ['keys by plain http from elsewhere', wellKnown, { body: { issuer: issuer.url, jwks_uri: 'http://keys.example/jwks' } }], // biome-ignore format: one line
    ['no keys', '/jwks', { status: 500 }],
    ['keys that are none', '/jwks', { body: { keys: 7 } }],
  ])('%s', async (_what, path, reply) => {
    issuer.answers.set(path, () => reply)
    const token = await issuer.sign()
    expect(await call(token)).toMatchObject({ status: 503, code: 'temporarily_unavailable', retryAfter: '1' })
    expect(troubles).toHaveLength(1)
    restore()
    at = 5_000
    expect(await call(token)).toMatchObject({ status: 200 })
  })

  it('asks the issuer once for a crowd', async () => {
    issuer.answers.set(wellKnown, () => ({ status: 500 }))
    const token = await issuer.sign()
    const all = await Promise.all(Array.from({ length: 50 }, () => call(token)))
    expect(new Set(all.map(({ status }) => status))).toEqual(new Set([503]))
    expect(issuer.countOf(wellKnown)).toBe(1)
    restore()
  })
})

it.each<[string, Partial<GuardOptions>]>([
  ['an issuer over plain http', { issuer: 'http://login.example.com' }],
  ['no audience', { audience: '' }],
  ['a secret-key algorithm', { algorithms: ['HS256'] }],
  ['no algorithm', { algorithms: [] }],
  ['alg none', { algorithms: ['ES256', 'none'] }],
  ['DPoP without the address that proofs are for', { dpop: 'optional' }],
  ['API keys without a client that asks about them', { accept: ['oauth', 'api_key'] }],
  ['nothing at all', { accept: [] }],
])('does not start with %s', (_what, options) => {
  expect(() => guardWith(options)).toThrow(TypeError)
})
