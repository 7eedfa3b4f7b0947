// RFC 9449: a token is worth nothing without the key it was bound to. Good proofs come from openid-client, bad ones are made here.
import { createHash, randomUUID } from 'node:crypto'
import {
  type CryptoKey,
  calculateJwkThumbprint,
  decodeJwt,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTPayload,
  SignJWT,
} from 'jose'
import * as oidc from 'openid-client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let second: TestServer
let j: Journey
let key: { privateKey: CryptoKey; jwk: JWK; thumbprint: string }
let person: Person

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  second = await startServer({ share: server }) // another process of the same installation, as far as storage can tell
  key = await newKey()
  person = (await j.codeFor()).person
})
afterAll(async () => {
  await second.stop()
  await server.stop()
})

async function newKey(alg = 'ES256') {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(publicKey)
  return { privateKey, jwk, thumbprint: await calculateJwkThumbprint(jwk) }
}

const now = () => Math.floor(Date.now() / 1000)

/** A good proof for the token endpoint, but for what is changed. undefined removes a claim. */
function proof(
  change: { claims?: Record<string, unknown>; header?: Record<string, unknown>; with?: typeof key } = {},
): Promise<string> {
  const { privateKey, jwk } = change.with ?? key
  const claims = { htm: 'POST', htu: `${server.url}/oauth/token`, iat: now(), jti: randomUUID(), ...change.claims }
  return new SignJWT(claims as JWTPayload)
    .setProtectedHeader({ alg: 'ES256', typ: 'dpop+jwt', jwk, ...change.header })
    .sign(privateKey)
}

const ath = (token: string) => createHash('sha256').update(token).digest('base64url')
const forUserinfo = (token: string, claims: Record<string, unknown> = {}, by = key) =>
  proof({ claims: { htm: 'GET', htu: `${server.url}/oauth/userinfo`, ath: ath(token), ...claims }, with: by })

const service = (DPoP?: string, origin?: string) =>
  j.post(
    '/oauth/token',
    { grant_type: 'client_credentials', scope: 'orders:read' },
    { as: 'reports', headers: DPoP === undefined ? {} : { DPoP }, ...(origin === undefined ? {} : { origin }) },
  )

const userinfo = (token: string, headers: Record<string, string>, scheme = 'DPoP') =>
  fetch(`${server.url}/oauth/userinfo`, { headers: { Authorization: `${scheme} ${token}`, ...headers } })

/** Tokens of a person, bound to `key`. */
async function bound(clientId = 'shop-web', parameters: Record<string, string> = {}) {
  const { code, verifier } = await j.codeFor({ client_id: clientId, scope: 'openid', ...parameters }, person)
  const answer = await j.redeem(code, verifier, {}, { as: clientId, headers: { DPoP: await proof() } })
  expect([answer.status, answer.body.token_type]).toEqual([200, 'DPoP'])
  return answer.body
}

describe('with openid-client', () => {
  test.each(['ES256', 'EdDSA'])(
    'the whole flow of a public client, %s: code, token, userinfo, refresh',
    async (alg) => {
      const config = await oidc.discovery(new URL(server.url), 'shop-spa', undefined, oidc.None(), {
        execute: [oidc.allowInsecureRequests],
      })
      const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair(alg === 'EdDSA' ? 'Ed25519' : alg), {
        [oidc.modifyAssertion]: (header) => {
          header.alg = alg // RFC 9864 renames it; what we publish is EdDSA
        },
      })
      const pkceCodeVerifier = oidc.randomPKCECodeVerifier()
      const url = oidc.buildAuthorizationUrl(config, {
        redirect_uri: j.callback,
        scope: 'openid email',
        state: 's',
        code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
        code_challenge_method: 'S256',
        dpop_jkt: await DPoP.calculateThumbprint(),
      })
      const page = await j.walk(person, url.href)
      const checks = { pkceCodeVerifier, expectedState: 's' }
      const tokens = await oidc.authorizationCodeGrant(config, new URL(page.url), checks, {}, { DPoP })
      expect(tokens.token_type).toBe('dpop')
      const info = await oidc.fetchUserInfo(config, tokens.access_token, j.alice.id, { DPoP })
      expect(info.email).toBe('Alice@Example.com')
      const again = await oidc.refreshTokenGrant(config, tokens.refresh_token ?? '', {}, { DPoP })
      expect(again.token_type).toBe('dpop')
      await oidc.fetchUserInfo(config, again.access_token, j.alice.id, { DPoP })
    },
  )

  test('the algorithms are published', async () => {
    const metadata = (await (await fetch(`${server.url}/.well-known/openid-configuration`)).json()) as object
    expect(metadata).toMatchObject({ dpop_signing_alg_values_supported: ['ES256', 'EdDSA'] })
  })
})

describe('a proof at the token endpoint', () => {
  test('binds the token: cnf.jkt is the thumbprint of its key (6.1)', async () => {
    const { status, body } = await service(await proof())
    expect([status, body.token_type]).toEqual([200, 'DPoP'])
    expect(decodeJwt(body.access_token).cnf).toEqual({ jkt: key.thumbprint })
  })

  test('one that is absent leaves a bearer token', async () => {
    const { body } = await service()
    expect(body.token_type).toBe('Bearer')
    expect(decodeJwt(body.access_token).cnf).toBeUndefined()
  })

  const bad: [string, () => Promise<string> | string][] = [
    ['of another method (htm)', () => proof({ claims: { htm: 'GET' } })],
    ['of a method in lower case', () => proof({ claims: { htm: 'post' } })],
    ['without htm', () => proof({ claims: { htm: undefined } })],
    ['of another endpoint (htu)', () => proof({ claims: { htu: `${server.url}/oauth/par` } })],
    ['of another host', () => proof({ claims: { htu: 'https://evil.example/oauth/token' } })],
    ['of another scheme', () => proof({ claims: { htu: `${server.url.replace('http:', 'https:')}/oauth/token` } })],
    ['with a path that climbs past it', () => proof({ claims: { htu: `${server.url}/oauth/token/` } })],
    ['without htu', () => proof({ claims: { htu: undefined } })],
    ['whose htu is no address', () => proof({ claims: { htu: 'token' } })],
    ['whose htu is a list', () => proof({ claims: { htu: [`${server.url}/oauth/token`] } })],
    ['without iat', () => proof({ claims: { iat: undefined } })],
    ['whose iat is text', () => proof({ claims: { iat: String(now()) } })],
    ['without jti', () => proof({ claims: { jti: undefined } })],
    ['with an empty jti', () => proof({ claims: { jti: '' } })],
    ['whose jti is a number', () => proof({ claims: { jti: 7 } })],
    ['that has expired', () => proof({ claims: { exp: now() - 120 } })],
    ['of the future (nbf)', () => proof({ claims: { nbf: now() + 120 } })],
    ['of type JWT', () => proof({ header: { typ: 'JWT' } })],
    ['of no type', () => proof({ header: { typ: undefined } })],
    ['without its key', () => proof({ header: { jwk: undefined } })],
    ['signed by another key than it shows', async () => proof({ header: { jwk: (await newKey()).jwk } })],
    ['showing its private key', async () => proof({ header: { jwk: await exportJWK(key.privateKey) } })],
    [
      'under a symmetric algorithm, the key in the header',
      () => {
        const secret = Buffer.alloc(32, 7)
        return new SignJWT({ htm: 'POST', htu: `${server.url}/oauth/token`, jti: randomUUID() })
          .setProtectedHeader({
            alg: 'HS256',
            typ: 'dpop+jwt',
            jwk: { kty: 'oct', k: secret.toString('base64url') } as JWK,
          })
          .setIssuedAt()
          .sign(secret)
      },
    ],
    [
      'under an algorithm that is not offered',
      async () => proof({ with: await newKey('ES384'), header: { alg: 'ES384' } }),
    ],
    [
      'unsigned (alg none)',
      async () => {
        const [, payload] = (await proof()).split('.')
        const header = { alg: 'none', typ: 'dpop+jwt', jwk: key.jwk }
        return `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${payload}.`
      },
    ],
    ['whose signature was changed', async () => (await proof()).replace(/\.[^.]*$/, `.${'A'.repeat(86)}`)],
    ['that is nonsense', () => 'nonsense'],
    ['twice in one header', async () => `${await proof()}, ${await proof()}`],
  ]
  test.each(bad)('is refused: %s', async (_name, make) => {
    const answer = await service(await make())
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_dpop_proof'])
    expect(answer.body.access_token).toBeUndefined()
  })

  test.each([
    ['an hour ago', -3600],
    ['in an hour', 3600],
  ])('made %s is asked to come back with a nonce (8), and then counts', async (_name, offset) => {
    const answer = await service(await proof({ claims: { iat: now() + offset } }))
    expect([answer.status, answer.body.error]).toEqual([400, 'use_dpop_nonce'])
    const nonce = answer.headers.get('dpop-nonce')
    expect(nonce).toBeTruthy()
    expect((await service(await proof({ claims: { nonce } }))).status).toBe(200)
    const onSecond = await service(await proof({ claims: { nonce } }), `http://localhost:${second.port}`)
    expect(onSecond.status, 'the nonce holds on every process').toBe(200)
  })

  test.each([-10, 10])('made %i seconds off is accepted (FAPI 2.0 5.3.2.1)', async (offset) => {
    expect((await service(await proof({ claims: { iat: now() + offset } }))).status).toBe(200)
  })

  test.each(['made up', 'A'.repeat(43)])('with the nonce %s is refused', async (nonce) => {
    expect((await service(await proof({ claims: { nonce } }))).body.error).toBe('use_dpop_nonce')
  })

  test('may carry a query or a fragment in htu: both are ignored (4.3)', async () => {
    expect((await service(await proof({ claims: { htu: `${server.url}/oauth/token?x=1#y` } }))).status).toBe(200)
  })

  test('is good once (11.1), on whichever process', async () => {
    const used = await proof()
    expect((await service(used)).status).toBe(200)
    for (const origin of [server.url, `http://localhost:${second.port}`]) {
      const again = await service(used, origin)
      expect([again.status, again.body.access_token]).toEqual([400, undefined])
    }
  })

  test('is good once when ten come at the same moment, over two processes', async () => {
    const used = await proof()
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, n) => service(used, n % 2 ? server.url : `http://localhost:${second.port}`)),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status >= 500)).toEqual([])
  })
})

describe('a bound access token', () => {
  test('opens userinfo with a proof of its own', async () => {
    const { access_token } = await bound()
    expect((await userinfo(access_token, { DPoP: await forUserinfo(access_token) })).status).toBe(200)
  })

  test('is refused as Bearer, with and without a proof (7.1)', async () => {
    const { access_token } = await bound()
    expect((await userinfo(access_token, {}, 'Bearer')).status).toBe(401)
    const both = await userinfo(access_token, { DPoP: await forUserinfo(access_token) }, 'Bearer')
    expect([400, 401]).toContain(both.status)
  })

  test('is refused as Bearer by the admin API, too', async () => {
    const { access_token } = await bound()
    const response = await fetch(`${server.url}/api/v1/clients`, {
      headers: { Authorization: `Bearer ${access_token}` },
    })
    expect(response.status).toBe(401)
  })

  const bad: [string, (token: string) => Promise<Record<string, string>>][] = [
    ['without a proof', async () => ({})],
    ['of another key', async (token) => ({ DPoP: await forUserinfo(token, {}, await newKey()) })],
    ['of another token (ath)', async (token) => ({ DPoP: await forUserinfo(token, { ath: ath('other') }) })],
    ['without ath', async (token) => ({ DPoP: await forUserinfo(token, { ath: undefined }) })],
    ['of another method', async (token) => ({ DPoP: await forUserinfo(token, { htm: 'POST' }) })],
    ['made for the token endpoint', async (token) => ({ DPoP: await proof({ claims: { ath: ath(token) } }) })],
  ]
  test.each(bad)('is refused with a proof: %s', async (_name, headers) => {
    const { access_token } = await bound()
    const response = await userinfo(access_token, await headers(access_token))
    expect([400, 401]).toContain(response.status)
    expect(response.headers.get('www-authenticate')).toMatch(/^DPoP .*algs="ES256 EdDSA"/)
  })

  test('is refused with a proof that was used', async () => {
    const { access_token } = await bound()
    const DPoP = await forUserinfo(access_token)
    expect((await userinfo(access_token, { DPoP })).status).toBe(200)
    expect((await userinfo(access_token, { DPoP })).status).toBe(401)
  })

  test('is refused after it was revoked, proof or not', async () => {
    const { access_token } = await bound()
    expect((await j.revoke(access_token)).status).toBe(200)
    expect((await userinfo(access_token, { DPoP: await forUserinfo(access_token) })).status).toBe(401)
  })

  test('is told with its key at introspection (6.2)', async () => {
    const { access_token } = await bound()
    const { body } = await j.introspect(access_token)
    expect(body).toMatchObject({ active: true, token_type: 'DPoP', cnf: { jkt: key.thumbprint } })
  })

  test('a bearer token is not made better by a proof', async () => {
    const { access_token } = await j.tokensFor({ scope: 'openid' }, person)
    const response = await userinfo(access_token, { DPoP: await forUserinfo(access_token) })
    expect(response.status).toBe(401)
  })
})

describe('a code', () => {
  const authorize = (parameters: Record<string, string>) => j.codeFor({ scope: 'openid', ...parameters }, person)

  test('asked for with dpop_jkt is redeemed by that key only (10)', async () => {
    for (const headers of [{}, { DPoP: await proof({ with: await newKey() }) }] as Record<string, string>[]) {
      const { code, verifier } = await authorize({ dpop_jkt: key.thumbprint })
      const answer = await j.redeem(code, verifier, {}, { headers })
      expect([answer.status, answer.body.error]).toEqual([400, 'invalid_grant'])
    }
    const { code, verifier } = await authorize({ dpop_jkt: key.thumbprint })
    expect((await j.redeem(code, verifier, {}, { headers: { DPoP: await proof() } })).status).toBe(200)
  })

  test.each(['short', `${'A'.repeat(42)}!`, 'A'.repeat(44)])(
    'asked for with dpop_jkt=%s is not given',
    async (value) => {
      const { address } = await j.begin({ dpop_jkt: value })
      const location = (await new Person(server.url).fetch(address)).headers.get('location') ?? ''
      expect(location).not.toContain('code=')
    },
  )

  test('pushed with a proof is bound to its key (10.1)', async () => {
    const { address, verifier } = await j.begin({ scope: 'openid' })
    const DPoP = await proof({ claims: { htu: `${server.url}/oauth/par` } })
    const pushed = await j.post('/oauth/par', [...new URLSearchParams(address.split('?')[1])], { headers: { DPoP } })
    expect(pushed.status).toBe(201)
    const query = new URLSearchParams({ client_id: 'shop-web', request_uri: String(pushed.body.request_uri) })
    const page = await j.walk(person, `/oauth/authorize?${query}`)
    const code = new URL(page.url).searchParams.get('code') ?? ''
    expect(code).not.toBe('')
    const thief = await j.redeem(code, verifier, {}, { headers: { DPoP: await proof({ with: await newKey() }) } })
    expect(thief.body.error).toBe('invalid_grant')
  })

  test('pushed with a proof of another key than dpop_jkt is refused', async () => {
    const { address } = await j.begin({ dpop_jkt: (await newKey()).thumbprint })
    const DPoP = await proof({ claims: { htu: `${server.url}/oauth/par` } })
    const pushed = await j.post('/oauth/par', [...new URLSearchParams(address.split('?')[1])], { headers: { DPoP } })
    expect([pushed.status, pushed.body.error]).toEqual([400, 'invalid_request'])
  })
})

describe('a refresh token', () => {
  test('of a public client is bound: nobody else refreshes with it, and a refusal burns nothing (5)', async () => {
    const { refresh_token = '' } = await bound('shop-spa')
    const as = 'shop-spa'
    expect((await j.refresh(refresh_token, {}, { as })).body.error).toMatch(/^invalid_(grant|dpop_proof)$/)
    const stranger = { DPoP: await proof({ with: await newKey() }) }
    expect((await j.refresh(refresh_token, {}, { as, headers: stranger })).body.error).toBe('invalid_grant')
    const answer = await j.refresh(refresh_token, {}, { as, headers: { DPoP: await proof() } })
    expect([answer.status, answer.body.token_type]).toEqual([200, 'DPoP'])
    const successor = answer.body.refresh_token ?? ''
    expect((await j.refresh(successor, {}, { as })).body.error).toMatch(/^invalid_(grant|dpop_proof)$/)
  })

  test('of a public client: a repeat within the leeway needs a fresh proof of the same key', async () => {
    const { refresh_token = '' } = await bound('shop-spa')
    const as = 'shop-spa'
    const used = await proof()
    const first = await j.refresh(refresh_token, {}, { as, headers: { DPoP: used } })
    expect(first.status).toBe(200)
    expect((await j.refresh(refresh_token, {}, { as, headers: { DPoP: used } })).status).toBe(400)
    expect((await j.refresh(refresh_token, {}, { as })).status).toBe(400)
    const again = await j.refresh(refresh_token, {}, { as, headers: { DPoP: await proof() } })
    expect([again.status, again.body.refresh_token]).toEqual([200, first.body.refresh_token])
  })

  test('of a client with a secret is bound by that secret, each token by the key of its request (5)', async () => {
    const { refresh_token = '' } = await bound()
    const other = await newKey()
    const answer = await j.refresh(refresh_token, {}, { headers: { DPoP: await proof({ with: other }) } })
    expect([answer.status, answer.body.token_type]).toEqual([200, 'DPoP'])
    const { access_token } = answer.body
    expect((await userinfo(access_token, { DPoP: await forUserinfo(access_token) })).status).toBe(401)
    expect((await userinfo(access_token, { DPoP: await forUserinfo(access_token, {}, other) })).status).toBe(200)
  })

  test('of a client that must bind (profile high) comes with a proof or not at all', async () => {
    const { prisma } = server.database
    await prisma.client.update({ where: { id: 'reports' }, data: { profile: 'high' } })
    await prisma.configurationVersion.update({ where: { id: 1 }, data: { version: { increment: 1 } } })
    await server.settle()
    try {
      const answer = await service()
      expect([answer.status, answer.body.access_token]).toEqual([400, undefined])
      expect((await service(await proof())).body.token_type).toBe('DPoP')
    } finally {
      await prisma.client.update({ where: { id: 'reports' }, data: { profile: 'default' } })
      await prisma.configurationVersion.update({ where: { id: 1 }, data: { version: { increment: 1 } } })
      await server.settle()
    }
  })

  test('the audience stays: a bound token of an API is for that API', async () => {
    const { code, verifier } = await j.codeFor({ scope: 'openid orders:read', resource: orders }, person)
    const { body } = await j.redeem(code, verifier, { resource: orders }, { headers: { DPoP: await proof() } })
    expect(decodeJwt(body.access_token)).toMatchObject({ aud: orders, cnf: { jkt: key.thumbprint } })
    const response = await userinfo(body.access_token, { DPoP: await forUserinfo(body.access_token) })
    expect(response.status).toBe(401)
  })
})

test('7.1 a bound token of an API, without openid, is refused as Bearer with 401: nobody was identified', async () => {
  const { code, verifier } = await j.codeFor({ scope: 'stock:read' }, person)
  const { body } = await j.redeem(code, verifier, {}, { headers: { DPoP: await proof() } })
  expect((await userinfo(body.access_token, {}, 'Bearer')).status).toBe(401)
})
