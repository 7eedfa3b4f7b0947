// A bound token is worth nothing without its key (RFC 9449, RFC 8705).
import { createHash, randomUUID } from 'node:crypto'
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { afterAll, describe, expect, it } from 'vitest'
import { rememberProofs } from '#src/guard/binding.ts'
import { createGuard, type Guard, type GuardOptions } from '#src/guard/guard.ts'
import { audience, epoch, outcome, requestWith, startIssuer } from './issuer.ts'

const issuer = await startIssuer()
const guardWith = (options: Partial<GuardOptions> = {}) =>
  createGuard({ issuer: issuer.url, audience, publicUrl: 'https://api.example.com/v1', ...options })
const guard = guardWith()
afterAll(() => issuer.stop())

async function newKey(alg = 'ES256') {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(publicKey)
  return { alg, privateKey, jwk, jkt: await calculateJwkThumbprint(jwk) }
}
const key = await newKey()
const token = await issuer.sign({ cnf: { jkt: key.jkt } })
const ath = (value: string) => createHash('sha256').update(value).digest('base64url')

/** A good proof, but for what is changed. */
function proof(
  change: {
    claims?: Record<string, unknown>
    header?: Record<string, unknown>
    by?: { privateKey: CryptoKey; jwk: JWK }
  } = {},
) {
  const { privateKey, jwk } = change.by ?? key
  const htu = 'https://api.example.com/v1/orders'
  return new SignJWT({ htm: 'GET', htu, iat: epoch(), jti: randomUUID(), ath: ath(token), ...change.claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk, ...change.header })
    .sign(privateKey)
}

const call = (proofs: string | string[], value = token, by: Guard = guard, target = '/orders?page=2') =>
  outcome(by.authenticate(requestWith({ authorization: `DPoP ${value}`, dpop: proofs }, { target })))

it('takes a token with a proof of its key', async () => {
  expect(await call(await proof())).toMatchObject({ status: 200, id: 'alice', scheme: 'DPoP' })
  const noise = { htu: 'HTTPS://API.example.com:443/v1/./orders?other=query#fragment' }
  expect(await call(await proof({ claims: noise }))).toMatchObject({ status: 200 })
  expect(await call(await proof({ claims: { iat: epoch() - 50 } }))).toMatchObject({ status: 200 })
})

it('takes EdDSA and RS256 keys', async () => {
  for (const alg of ['EdDSA', 'RS256']) {
    const by = await newKey(alg)
    const bound = await issuer.sign({ cnf: { jkt: by.jkt } })
    const good = await proof({ by, header: { alg }, claims: { ath: ath(bound) } })
    expect(await call(good, bound), alg).toMatchObject({ status: 200 })
  }
})

const stranger = await newKey()
it.each<[string, () => Promise<string | string[]>]>([
  ['no proof', async () => []],
  ['two proofs', async () => [await proof(), await proof()]],
  ['two proofs that were joined', async () => `${await proof()}, ${await proof()}`],
  ['no JWT', async () => 'proof'],
  ['the key of a stranger', () => proof({ by: stranger })],
  ['the key of a stranger under the name of the right one', () => proof({ by: { ...stranger, jwk: key.jwk } })],
  ['a private key inside', async () => proof({ header: { jwk: await exportJWK(key.privateKey) } })],
  ['no key inside', () => proof({ header: { jwk: undefined } })],
  ['a key that is no key', () => proof({ header: { jwk: { kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' } } })],
  ['a typ of another thing', () => proof({ header: { typ: 'JWT' } })],
  ['another method', () => proof({ claims: { htm: 'POST' } })],
  ['another address', () => proof({ claims: { htu: 'https://api.example.com/v1/orders/1' } })],
  ['another host', () => proof({ claims: { htu: 'https://evil.example/v1/orders' } })],
  ['another scheme', () => proof({ claims: { htu: 'http://api.example.com/v1/orders' } })],
  ['no address', () => proof({ claims: { htu: undefined } })],
  ['another token', () => proof({ claims: { ath: ath('another') } })],
  ['no token', () => proof({ claims: { ath: undefined } })],
  ['from an hour ago', () => proof({ claims: { iat: epoch() - 3_600 } })],
  ['from the future', () => proof({ claims: { iat: epoch() + 3_600 } })],
  ['without a time', () => proof({ claims: { iat: undefined } })],
  ['without an id', () => proof({ claims: { jti: undefined } })],
])('401 invalid_dpop_proof: %s', async (_what, make) => {
  expect(await call(await make())).toMatchObject({
    status: 401,
    code: 'invalid_dpop_proof',
    challenge: expect.stringContaining('DPoP error="invalid_dpop_proof"'),
  })
})

it('401: a target that brings a host of its own', async () => {
  const elsewhere = await proof({ claims: { htu: 'https://evil.example/orders' } })
  expect(await call(elsewhere, token, guardWith({ publicUrl: 'https://api.example.com' }), '@evil.example/orders')).toMatchObject({ status: 401 }) // biome-ignore format: one line
})

it('401: a proof that was used before, and none of its kind keeps others out', async () => {
  const once = await proof({ claims: { jti: 'same' } })
  expect(await call(once)).toMatchObject({ status: 200 })
  expect(await call(once)).toMatchObject({ status: 401, code: 'invalid_dpop_proof' })
  const bound = await issuer.sign({ cnf: { jkt: stranger.jkt } })
  const other = await proof({ by: stranger, claims: { jti: 'same', ath: ath(bound) } })
  expect(await call(other, bound)).toMatchObject({ status: 200 })
})

it('401: a bearer token in the scheme DPoP, and the reverse (RFC 9449 7.1)', async () => {
  const plain = await issuer.sign()
  expect(await call(await proof({ claims: { ath: ath(plain) } }), plain)).toMatchObject({ status: 401 })
  const downgraded = requestWith({ authorization: `Bearer ${token}`, dpop: await proof() })
  expect(await outcome(guard.authenticate(downgraded))).toMatchObject({ status: 401, code: 'invalid_token' })
})

it('401: bound to more than is understood here', async () => {
  const bound = await issuer.sign({ cnf: { jkt: key.jkt, kid: 'another' } })
  expect(await call(await proof({ claims: { ath: ath(bound) } }), bound)).toMatchObject({
    status: 401,
    code: 'invalid_token',
  })
})

it('required: a bearer token is refused, and only DPoP is offered to strangers', async () => {
  const strict = guardWith({ dpop: 'required' })
  const plain = requestWith({ authorization: `Bearer ${await issuer.sign()}` })
  expect(await outcome(strict.authenticate(plain))).toMatchObject({ status: 401, code: 'invalid_token' })
  expect(await outcome(strict.authenticate(requestWith({})))).toMatchObject({
    challenge: expect.stringMatching(/^DPoP algs="ES256 EdDSA RS256", resource_metadata="[^"]+"$/),
  })
  expect(await call(await proof(), token, strict)).toMatchObject({ status: 200 })
})

it('503 when the shared memory of proofs is away: taking one unseen could be taking it twice', async () => {
  const away = guardWith({ rememberProof: () => Promise.reject(new Error('no store')), onTrouble: () => undefined })
  expect(await call(await proof(), token, away)).toMatchObject({ status: 503 })
})

describe('the memory of one process', () => {
  it('forgets what is over and refuses rather than forget what is not', async () => {
    let now = 0
    const remember = rememberProofs(2, () => now)
    expect([remember('a', 60), remember('a', 60), remember('b', 60)]).toEqual([true, false, true])
    expect(() => remember('c', 60)).toThrow('more than 2')
    now = 61_000
    expect([remember('c', 120), remember('a', 120)]).toEqual([true, true])
  })
})

describe('client certificates (RFC 8705 3)', async () => {
  const certificate = Buffer.from('the bytes of a certificate')
  const bound = await issuer.sign({ cnf: { 'x5t#S256': createHash('sha256').update(certificate).digest('base64url') } })
  const present = (value: string, shown: Uint8Array | undefined) =>
    outcome(guard.authenticate(requestWith({ authorization: `Bearer ${value}` }, { certificate: shown })))

  it('takes a bound token with its certificate, and with no other', async () => {
    expect(await present(bound, certificate)).toMatchObject({ status: 200 })
    for (const shown of [undefined, Buffer.from('another'), Buffer.alloc(0)])
      expect(await present(bound, shown)).toMatchObject({ status: 401, code: 'invalid_token' })
    expect(await present(await issuer.sign({ cnf: { 'x5t#S256': 7 } }), certificate)).toMatchObject({ status: 401 })
    expect(await present(await issuer.sign({ cnf: { 'x5t#S256': '' } }), certificate)).toMatchObject({ status: 401 })
  })

  it('a certificate shown with an ordinary token changes nothing', async () => {
    expect(await present(await issuer.sign(), certificate)).toMatchObject({ status: 200 })
  })
})
