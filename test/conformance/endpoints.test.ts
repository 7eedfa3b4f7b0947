// The endpoint specifications line by line, where no other test has them: RFC 6749, 7009, 7523, 7662, 8707, 9068, 9126, 9207, 9700.
import { randomBytes, randomUUID } from 'node:crypto'
import {
  type CryptoKey,
  createRemoteJWKSet,
  decodeJwt,
  decodeProtectedHeader,
  exportJWK,
  generateKeyPair,
  jwtVerify,
  SignJWT,
} from 'jose'
import * as oauth from 'oauth4webapi'
import * as oidc from 'openid-client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { orders, password, stock } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let second: TestServer
let j: Journey
let person: Person

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  second = await startServer({ share: server }) // another process of the same installation, as far as storage can tell
  person = (await j.codeFor()).person
})
afterAll(async () => {
  await second.stop()
  await server.stop()
})

const elsewhere = () => `http://localhost:${second.port}`
const changed = async () => {
  await server.database.prisma.configurationVersion.update({ where: { id: 1 }, data: { version: { increment: 1 } } })
  await Promise.all([server.settle(), second.settle()])
}
const expire = (kind: number) =>
  server.database.pool.query(`UPDATE token SET expires_at = now() - interval '1 minute' WHERE kind = $1`, [kind])

describe('RFC 6749', () => {
  test('4.4.3 client credentials give neither a refresh token nor an ID token', async () => {
    const { body, headers } = await j.post(
      '/oauth/token',
      { grant_type: 'client_credentials', scope: 'orders:read' },
      { as: 'reports' },
    )
    expect(Object.keys(body).sort()).toEqual(['access_token', 'expires_in', 'scope', 'token_type'])
    expect(headers.get('cache-control')).toContain('no-store') // 5.1
  })

  test('4.1.2 a code lives for a minute and no longer', async () => {
    const { code, verifier } = await j.codeFor({ scope: 'openid' }, person)
    const { rows } = await server.database.pool.query(
      `SELECT extract(epoch FROM expires_at - issued_at) AS life FROM token WHERE kind = 3 ORDER BY issued_at DESC LIMIT 1`,
    )
    expect(Number(rows[0].life)).toBeLessThanOrEqual(61)
    await expire(3)
    expect((await j.redeem(code, verifier)).body.error).toBe('invalid_grant')
  })

  test('6 an expired refresh token is invalid_grant', async () => {
    const { refresh } = await j.tokensFor({ scope: 'openid' }, person)
    await expire(2)
    expect((await j.refresh(refresh)).body.error).toBe('invalid_grant')
  })

  test('3.2 the token endpoint takes POST of a form, nothing else', async () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH'])
      expect((await fetch(`${server.url}/oauth/token`, { method })).status, method).toBe(404)
    const fields = { grant_type: 'client_credentials', scope: 'orders:read' }
    for (const [type, body] of [
      ['application/json', JSON.stringify(fields)],
      ['text/plain', new URLSearchParams(fields).toString()],
      ['multipart/form-data; boundary=x', '--x--'],
    ] as const) {
      const headers = { Authorization: j.basic('reports'), 'Content-Type': type }
      const response = await fetch(`${server.url}/oauth/token`, { method: 'POST', headers, body })
      expect(response.status, type).toBe(400)
    }
    const inAddress = await fetch(`${server.url}/oauth/token?${new URLSearchParams(fields)}`, {
      method: 'POST',
      headers: { Authorization: j.basic('reports'), 'Content-Type': 'application/x-www-form-urlencoded' },
    })
    expect(inAddress.status).toBe(400)
  })

  test('10.5 a code is bound to its client, its address and its verifier, and a wrong try leaks no token', async () => {
    const { code, verifier } = await j.codeFor({ scope: 'openid' }, person)
    const answers = [
      await j.redeem(code, randomBytes(32).toString('base64url')),
      await j.redeem(code, verifier, { redirect_uri: 'https://shop.example/cb/' }),
      await j.redeem(code, verifier, {}, { as: 'shop-spa' }),
    ]
    for (const { status, body } of answers) {
      expect([status, body.error]).toEqual([400, 'invalid_grant'])
      expect(body).not.toHaveProperty('access_token')
    }
  })
})

describe('RFC 9207: every authorization response names its issuer', () => {
  const response = async (parameters: Record<string, string | undefined>, browser = new Person(server.url)) => {
    const { address } = await j.begin(parameters)
    const location = new URL((await browser.open(address)).url)
    return new URLSearchParams(location.search || location.hash.slice(1))
  }

  test.each([
    ['a wrong scope', { scope: 'orders:delete', nonce: undefined }],
    ['a wrong resource', { resource: 'https://unknown.example' }],
    ['nobody signed in', { prompt: 'none' }],
    ['a wrong response type', { response_type: 'token' }],
    ['no PKCE', { code_challenge: undefined, code_challenge_method: undefined }],
    ['registration', { registration: '{}' }],
  ])('error: %s', async (_name, parameters) => {
    const answer = await response(parameters)
    expect([answer.get('iss'), answer.has('error'), answer.get('state')]).toEqual([server.url, true, 'the state'])
  })

  test('success, and oauth4webapi takes it only from the issuer it asked', async () => {
    const answer = await response({ scope: 'openid' }, person)
    const as = { issuer: server.url, authorization_response_iss_parameter_supported: true }
    expect(oauth.validateAuthResponse(as, { client_id: 'shop-web' }, answer, 'the state').get('code')).toBeTruthy()
    const other = { ...as, issuer: 'https://other.example' }
    expect(() => oauth.validateAuthResponse(other, { client_id: 'shop-web' }, answer, 'the state')).toThrow(/iss/)
  })

  test('after the person cancelled at login', async () => {
    const browser = new Person(server.url)
    const page = await browser.submit(await browser.open((await j.begin()).address), { decision: 'deny' })
    expect(Object.fromEntries(new URL(page.url).searchParams)).toMatchObject({
      error: 'access_denied',
      iss: server.url,
    })
  })
})

describe('RFC 9700', () => {
  test('2.1.1 PKCE: a verifier for a request of another challenge, and a missing one, are invalid_grant', async () => {
    const one = await j.codeFor({ scope: 'openid' }, person)
    const two = await j.codeFor({ scope: 'openid' }, person)
    expect((await j.redeem(one.code, two.verifier)).body.error).toBe('invalid_grant')
    const missing = await j.post('/oauth/token', {
      grant_type: 'authorization_code',
      code: two.code,
      redirect_uri: j.callback,
    })
    expect(missing.body.error).toBe('invalid_grant')
  })

  test('2.6 CORS: a browser application from its own origin, nobody else, and never at authorize', async () => {
    const corsOf = async (path: string, origin: string, body: Record<string, string>) => {
      const init = { method: 'POST', headers: { Origin: origin }, body: new URLSearchParams(body) }
      return (await fetch(server.url + path, init)).headers
    }
    const shop = 'https://shop.example'
    const own = await corsOf('/oauth/token', shop, {
      client_id: 'shop-spa',
      grant_type: 'refresh_token',
      refresh_token: 'x',
    })
    expect(own.get('access-control-allow-origin')).toBe(shop)
    expect(own.get('access-control-allow-credentials')).toBeNull()
    for (const origin of ['https://evil.example', 'null', 'https://shop.example.evil.example', 'http://shop.example'])
      expect(
        (
          await corsOf('/oauth/token', origin, {
            client_id: 'shop-spa',
            grant_type: 'refresh_token',
            refresh_token: 'x',
          })
        ).get('access-control-allow-origin'),
        origin,
      ).toBeNull()
    const confidential = {
      client_id: 'shop-web',
      client_secret: j.secret,
      grant_type: 'refresh_token',
      refresh_token: 'x',
    }
    expect((await corsOf('/oauth/token', shop, confidential)).get('access-control-allow-origin')).toBeNull()
    const { address } = await j.begin()
    const authorize = await fetch(server.url + address, { redirect: 'manual', headers: { Origin: shop } })
    expect(authorize.headers.get('access-control-allow-origin')).toBeNull()
  })

  test('4.12 nothing answers a POST with 307 or 308', async () => {
    const browser = new Person(server.url)
    const { address } = await j.begin({ prompt: 'consent' })
    const login = await browser.open(address)
    const csrf = /name="csrf" value="([^"]+)"/.exec(login.text)?.[1] ?? ''
    const body = new URLSearchParams({ csrf, identifier: 'alice@example.com', password })
    const statuses = [
      (await browser.fetch('/oauth/authorize', { method: 'POST', body: new URLSearchParams(address.split('?')[1]) }))
        .status,
      (await browser.fetch(login.url, { method: 'POST', body })).status,
      (
        await browser.fetch('/oauth/logout/confirm', {
          method: 'POST',
          body: new URLSearchParams({ decision: 'stay' }),
        })
      ).status,
    ]
    expect(statuses).toEqual([303, 303, 303])
  })
})

describe('a repeated parameter is invalid_request', () => {
  const twice = (fields: Record<string, string>, name: string): [string, string][] => [
    ...Object.entries(fields),
    [name, fields[name] ?? 'x'],
  ]

  test.each([
    ['/oauth/token', { grant_type: 'refresh_token', refresh_token: 'x' }, 'refresh_token'],
    ['/oauth/token', { grant_type: 'authorization_code', code: 'x' }, 'code'],
    ['/oauth/token', { grant_type: 'client_credentials' }, 'grant_type'],
    ['/oauth/introspect', { token: 'x' }, 'token'],
    ['/oauth/introspect', { token: 'x', token_type_hint: 'access_token' }, 'token_type_hint'],
    ['/oauth/revoke', { token: 'x' }, 'token'],
    ['/oauth/par', { client_id: 'shop-web', response_type: 'code' }, 'response_type'],
    [
      '/oauth/par',
      { client_id: 'shop-web', response_type: 'code', redirect_uri: 'https://shop.example/cb' },
      'redirect_uri',
    ],
  ])('%s %j, %s twice', async (path, fields, name) => {
    const answer = await j.post(path, twice(fields, name))
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
  })

  test('at userinfo', async () => {
    const { access_token } = await j.tokensFor({ scope: 'openid' }, person)
    const body = new URLSearchParams(twice({ access_token }, 'access_token'))
    expect((await fetch(`${server.url}/oauth/userinfo`, { method: 'POST', body })).status).toBe(400)
  })

  test('at logout', async () => {
    expect((await fetch(`${server.url}/oauth/logout?state=a&state=b`)).status).toBe(400)
  })

  test.each(['client_id', 'redirect_uri', 'scope', 'response_type', 'code_challenge', 'prompt'])(
    'at authorize: %s',
    async (name) => {
      const { address } = await j.begin({ prompt: 'none' })
      const value = new URLSearchParams(address.split('?')[1]).get(name) ?? ''
      const response = await fetch(`${server.url}${address}&${new URLSearchParams({ [name]: value })}`, {
        redirect: 'manual',
      })
      const location = response.headers.get('location')
      if (location === null) expect(response.status).toBe(400)
      else {
        expect(location.startsWith(`${j.callback}?`)).toBe(true)
        expect(new URL(location).searchParams.get('error')).toBe('invalid_request')
      }
    },
  )
})

describe('RFC 9126', () => {
  const push = async (
    parameters: Record<string, string | undefined> = {},
    options: Parameters<Journey['post']>[2] = {},
  ) => {
    const { address, verifier } = await j.begin({ scope: 'openid', ...parameters })
    const answer = await j.post('/oauth/par', [...new URLSearchParams(address.split('?')[1])], options)
    return { ...answer, verifier }
  }
  const authorize = (requestUri: unknown, clientId = 'shop-web', browser = person) =>
    browser.open(`/oauth/authorize?${new URLSearchParams({ client_id: clientId, request_uri: String(requestUri) })}`)

  test('with openid-client', async () => {
    const config = await oidc.discovery(new URL(server.url), 'shop-web', undefined, oidc.ClientSecretBasic(j.secret), {
      execute: [oidc.allowInsecureRequests],
    })
    const pkceCodeVerifier = oidc.randomPKCECodeVerifier()
    const url = await oidc.buildAuthorizationUrlWithPAR(config, {
      redirect_uri: j.callback,
      scope: 'openid',
      state: 's',
      code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
    })
    expect([...url.searchParams.keys()].sort()).toEqual(['client_id', 'request_uri'])
    const page = await j.walk(person, url.href)
    const tokens = await oidc.authorizationCodeGrant(config, new URL(page.url), {
      pkceCodeVerifier,
      expectedState: 's',
    })
    expect(tokens.claims()?.sub).toBe(j.alice.id)
  })

  test('2.2 lives for a minute', async () => {
    const { status, body } = await push()
    expect([status, Number(body.expires_in) <= 60]).toEqual([201, true])
    await expire(7)
    expect((await authorize(body.request_uri)).status).toBe(400)
  })

  test('2.1 takes no request_uri inside, no request object, no GET, no caller without credentials', async () => {
    expect((await push({ request_uri: 'urn:ietf:params:oauth:request_uri:x' })).status).toBe(400)
    expect((await push({ request: 'e30.e30.' })).body.error).toBe('request_not_supported')
    expect((await fetch(`${server.url}/oauth/par`)).status).toBe(404)
    const wrong = await push({}, { as: null, headers: { Authorization: j.basic('shop-web', 'wrong') } })
    expect([wrong.status, wrong.body.error]).toEqual([401, 'invalid_client'])
  })

  test.each([
    ['an unregistered address', { redirect_uri: 'https://evil.example/cb' }],
    ['no PKCE', { code_challenge: undefined, code_challenge_method: undefined }],
    ['another client', { client_id: 'shop-spa' }],
    ['an unknown resource', { resource: 'https://unknown.example' }],
    ['implicit', { response_type: 'token' }],
  ])('2.3 refuses at once, in JSON: %s', async (_name, parameters) => {
    const { status, body, headers } = await push(parameters)
    expect([400, 401]).toContain(status)
    expect(body.error).toEqual(expect.any(String))
    expect(body).not.toHaveProperty('request_uri')
    expect(headers.get('location')).toBeNull()
  })

  test('4 what was pushed counts, not what is added at authorize', async () => {
    const { body } = await push({ scope: 'openid' })
    const query = new URLSearchParams({
      client_id: 'shop-web',
      request_uri: String(body.request_uri),
      redirect_uri: 'https://evil.example/cb',
      scope: 'openid email orders:write',
      state: 'mine',
    })
    const page = await person.open(`/oauth/authorize?${query}`)
    const location = new URL(page.url)
    expect(location.origin).not.toBe('https://evil.example')
    if (location.origin === 'https://shop.example') expect(location.searchParams.get('state')).toBe('the state')
    else expect(page.status).toBe(400)
  })

  test.each(['urn:ietf:params:oauth:request_uri:unknown', 'urn:ietf:params:oauth:request_uri:', 'urn:x', '%00'])(
    'an unknown request_uri (%s) leads nowhere',
    async (requestUri) => {
      const page = await authorize(requestUri)
      expect([page.status, page.url.startsWith(server.url)]).toEqual([400, true])
    },
  )

  test('5 a client that must push (profile high) is refused without', async () => {
    const { prisma } = server.database
    await prisma.client.update({ where: { id: 'shop-web' }, data: { profile: 'high' } })
    await changed()
    try {
      const { address } = await j.begin({ scope: 'openid' })
      const location = new URL((await person.open(address)).url)
      expect([location.searchParams.get('error'), location.searchParams.has('code')]).toEqual([
        'invalid_request',
        false,
      ])
      const { body } = await push()
      expect(new URL((await authorize(body.request_uri)).url).searchParams.has('code')).toBe(true)
    } finally {
      await prisma.client.update({ where: { id: 'shop-web' }, data: { profile: 'default' } })
      await changed()
    }
  })
})

describe('RFC 8707', () => {
  const grant = async () => {
    const scope = 'openid orders:read stock:read'
    const { address, verifier } = await j.begin({ scope })
    const both = `${address}&${new URLSearchParams([
      ['resource', orders],
      ['resource', stock],
    ])}`
    const page = await j.walk(person, both)
    return { code: new URL(page.url).searchParams.get('code') ?? '', verifier }
  }

  test('2.2 of two granted resources each token is for one, with that one’s scopes', async () => {
    const { code, verifier } = await grant()
    const first = await j.redeem(code, verifier, { resource: orders })
    expect(decodeJwt(first.body.access_token)).toMatchObject({ aud: orders, scope: 'orders:read' })
    const next = await j.refresh(first.body.refresh_token ?? '', { resource: stock })
    expect(next.body.scope).toBe('stock:read')
    expect((await j.introspect(next.body.access_token)).body).toMatchObject({ active: true, aud: stock })
    const again = await j.refresh(next.body.refresh_token ?? '', { resource: orders })
    expect(decodeJwt(again.body.access_token)).toMatchObject({ aud: orders, scope: 'orders:read' })
  })

  test('2.2 a resource that was not granted is invalid_target, at the code and at refresh', async () => {
    const { code, verifier } = await j.codeFor({ scope: 'openid orders:read', resource: orders }, person)
    expect((await j.redeem(code, verifier, { resource: stock })).body.error).toBe('invalid_target')
    const tokens = await j.redeem(code, verifier, { resource: orders })
    expect(tokens.status).toBe(200)
    expect((await j.refresh(tokens.body.refresh_token ?? '', { resource: stock })).body.error).toBe('invalid_target')
  })

  test('after openid, without resource, the token is for userinfo only', async () => {
    const { code, verifier } = await grant()
    const { body } = await j.redeem(code, verifier)
    expect(body.scope).toBe('openid')
    expect((await j.userinfo(body.access_token)).status).toBe(200)
  })

  test.each(['', '/orders', 'api.example.com/orders', `${orders}#x`, 'https://[', 'javascript:alert(1)'])(
    '2 the resource "%s" is invalid_target',
    async (resource) => {
      const fields = { grant_type: 'client_credentials', scope: 'orders:read', resource }
      const { status, body } = await j.post('/oauth/token', fields, { as: 'reports' })
      if (resource === '') expect(status).toBeLessThan(500)
      else expect([status, body.error]).toEqual([400, 'invalid_target'])
    },
  )
})

describe('RFC 9068', () => {
  test('2.2 the token of a person has every claim that is required', async () => {
    const tokens = await j.tokensFor({ scope: 'openid orders:read', resource: orders }, person, { resource: orders })
    const { payload, protectedHeader } = await jwtVerify(
      tokens.access_token,
      createRemoteJWKSet(new URL(`${server.url}/oauth/jwks`)),
      { issuer: server.url, audience: orders, typ: 'at+jwt', algorithms: ['ES256'] },
    )
    expect(protectedHeader).toEqual({ alg: 'ES256', typ: 'at+jwt', kid: expect.any(String) })
    expect(payload).toMatchObject({
      sub: j.alice.id,
      client_id: 'shop-web',
      scope: 'orders:read',
      jti: expect.any(String),
    })
    expect(Number(payload.exp) - Number(payload.iat)).toBe(900)
    for (const personal of ['email', 'name', 'phone_number']) expect(payload).not.toHaveProperty(personal) // 6
  })

  test('no two tokens have one jti', async () => {
    const ids = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const { body } = await j.post(
          '/oauth/token',
          { grant_type: 'client_credentials', scope: 'orders:read' },
          { as: 'reports' },
        )
        return decodeJwt(body.access_token).jti
      }),
    )
    expect(new Set(ids).size).toBe(20)
  })

  test('4 what is no access token is none to us: ID tokens, JWTs of other APIs, refresh tokens, codes', async () => {
    const tokens = await j.tokensFor({ scope: 'openid orders:read', resource: orders }, person, { resource: orders })
    const { code } = await j.codeFor({ scope: 'openid' }, person)
    const values = [tokens.access_token, tokens.id_token ?? '', tokens.refresh, code]
    for (const value of values) {
      expect((await j.userinfo(value)).status).toBe(401)
      const api = await fetch(`${server.url}/api/v1/clients`, { headers: { Authorization: `Bearer ${value}` } })
      expect(api.status).toBe(401)
    }
  })

  test('the ID token says in its header that it is none', async () => {
    const { id_token = '' } = await j.tokensFor({ scope: 'openid' }, person)
    expect(decodeProtectedHeader(id_token).typ).not.toBe('at+jwt')
    expect(decodeJwt(id_token)).not.toHaveProperty('client_id')
  })
})

describe('RFC 7009', () => {
  test('2 takes POST only, from a client that authenticates', async () => {
    const { access_token } = await j.tokensFor({ scope: 'openid' }, person)
    expect((await fetch(`${server.url}/oauth/revoke?token=${access_token}`)).status).toBe(404)
    const wrong = { as: null, headers: { Authorization: j.basic('shop-web', 'wrong') } }
    expect((await j.post('/oauth/revoke', { token: access_token }, wrong)).status).toBe(401)
    const nobody = await j.post('/oauth/revoke', { token: access_token }, { as: null })
    expect([nobody.status, nobody.body.error]).toEqual([401, 'invalid_client'])
    expect(nobody.headers.get('www-authenticate')).toBe(`Basic realm="${server.url}"`)
    expect((await j.userinfo(access_token)).status).toBe(200)
  })

  test.each(['refresh_token', 'access_token', 'nonsense'])('2.1 the hint %s may be wrong', async (token_type_hint) => {
    const { access_token } = await j.tokensFor({ scope: 'openid' }, person)
    expect((await j.post('/oauth/revoke', { token: access_token, token_type_hint })).status).toBe(200)
    expect((await j.userinfo(access_token)).status).toBe(401)
  })

  test('2.2 twice is as good as once, and without a token is invalid_request', async () => {
    const { refresh } = await j.tokensFor({ scope: 'openid' }, person)
    expect([(await j.revoke(refresh)).status, (await j.revoke(refresh)).status]).toEqual([200, 200])
    expect((await j.post('/oauth/revoke', {})).body.error).toBe('invalid_request')
  })

  test('a public client revokes its own tokens, and nobody else’s', async () => {
    const own = await j.tokensFor({ client_id: 'shop-spa', scope: 'openid' }, person)
    const foreign = await j.tokensFor({ scope: 'openid' }, person)
    expect((await j.revoke(foreign.access_token, 'shop-spa')).status).toBe(400)
    expect((await j.userinfo(foreign.access_token)).status).toBe(200)
    expect((await j.revoke(own.access_token, 'shop-spa')).status).toBe(200)
    expect((await j.userinfo(own.access_token)).status).toBe(401)
  })
})

describe('RFC 7662', () => {
  test('2.2 an expired token is exactly {"active":false}', async () => {
    const { body } = await j.post(
      '/oauth/token',
      { grant_type: 'client_credentials', scope: 'stock:read' },
      { as: 'reports' },
    )
    expect((await j.introspect(body.access_token, 'reports')).body.active).toBe(true)
    await expire(4)
    expect((await j.introspect(body.access_token, 'reports')).body).toEqual({ active: false })
  })

  test('2.1 takes POST only', async () => {
    expect((await fetch(`${server.url}/oauth/introspect?token=x`)).status).toBe(404)
  })

  test('4 says no more than the caller may know (acr and auth_time: RFC 9470 6.2): no person’s data, no secret', async () => {
    const { access_token } = await j.tokensFor({ scope: 'stock:read' }, person)
    const { body } = await j.introspect(access_token, 'stock-api')
    expect(Object.keys(body).sort()).toEqual(
      [
        'active',
        'acr',
        'aud',
        'auth_method',
        'auth_time',
        'client_id',
        'exp',
        'iat',
        'iss',
        'scope',
        'sub',
        'token_type',
      ].sort(),
    )
  })

  test.each(['ID token', 'code'])('an %s is not a token', async (what) => {
    const value =
      what === 'code'
        ? (await j.codeFor({ scope: 'openid' }, person)).code
        : ((await j.tokensFor({ scope: 'openid' }, person)).id_token ?? '')
    const { status, body } = await j.introspect(value)
    expect([status, body]).toEqual([200, { active: false }])
  })
})

describe('RFC 7523: private_key_jwt', () => {
  let key: CryptoKey
  beforeAll(async () => {
    const pair = await generateKeyPair('ES256', { extractable: true })
    key = pair.privateKey
    const jwks = { keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }] }
    await server.database.prisma.client.update({
      where: { id: 'stock-api' },
      data: { tokenEndpointAuthMethod: 'private_key_jwt', jwks },
    })
    await changed()
  })

  const now = () => Math.floor(Date.now() / 1000)
  const assertion = (claims: Record<string, unknown> = {}, alg = 'ES256', by: CryptoKey | Uint8Array = key) =>
    new SignJWT({
      iss: 'stock-api',
      sub: 'stock-api',
      aud: server.url,
      jti: randomUUID(),
      iat: now(),
      exp: now() + 60,
      ...claims,
    })
      .setProtectedHeader({ alg, kid: 'one' })
      .sign(by)
  const ask = (client_assertion: string, options: { origin?: string } = {}, fields: Record<string, string> = {}) =>
    j.post(
      '/oauth/introspect',
      {
        token: 'x',
        client_id: 'stock-api',
        client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
        client_assertion,
        ...fields,
      },
      { as: null, ...options },
    )

  test('a client proves itself by its key, with oauth4webapi', async () => {
    const as = { issuer: server.url, introspection_endpoint: `${server.url}/oauth/introspect` }
    const client = { client_id: 'stock-api' }
    const response = await oauth.introspectionRequest(as, client, oauth.PrivateKeyJwt({ key, kid: 'one' }), 'x', {
      [oauth.allowInsecureRequests]: true,
    })
    expect(await oauth.processIntrospectionResponse(as, client, response)).toEqual({ active: false })
  })

  test('3 an assertion is good once, on whichever process (CVE-2020-15222, CVE-2020-5300)', async () => {
    const used = await assertion()
    expect((await ask(used)).status).toBe(200)
    for (const origin of [server.url, elsewhere()]) expect([(await ask(used, { origin })).status]).toEqual([401])
  })

  test('3 of ten copies at one moment over two processes one counts', async () => {
    const used = await assertion()
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, n) => ask(used, { origin: n % 2 ? server.url : elsewhere() })),
    )
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status >= 500)).toEqual([])
  })

  test.each([
    ['that has expired', () => assertion({ exp: now() - 60 })],
    ['without exp', () => assertion({ exp: undefined })],
    ['without jti', () => assertion({ jti: undefined })],
    ['of the future', () => assertion({ nbf: now() + 60 })],
    ['for another server', () => assertion({ aud: 'https://other.example' })],
    ['without audience', () => assertion({ aud: undefined })],
    ['of another issuer', () => assertion({ iss: 'reports' })],
    ['without subject', () => assertion({ sub: undefined })],
    ['of another key', async () => assertion({}, 'ES256', (await generateKeyPair('ES256')).privateKey)],
    ['under the published key as a shared secret', () => assertion({}, 'HS256', Buffer.from('one'.repeat(20)))],
    ['under RS256', async () => assertion({}, 'RS256', (await generateKeyPair('RS256')).privateKey)],
    ['unsigned', async () => (await assertion()).replace(/^[^.]*/, 'eyJhbGciOiJub25lIn0').replace(/[^.]*$/, '')],
  ])('an assertion %s is invalid_client', async (_name, make) => {
    const answer = await ask(await make())
    expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client'])
  })

  test('a malformed one, or one about another client, is invalid_request', async () => {
    for (const value of ['nonsense', await assertion({ sub: 'reports' })]) {
      const answer = await ask(value)
      expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
    }
  })

  test('beside a secret, or of another type, is refused', async () => {
    expect((await ask(await assertion(), {}, { client_secret: j.secret })).status).toBeGreaterThanOrEqual(400)
    expect((await ask(await assertion(), {}, { client_assertion_type: 'jwt' })).status).toBeGreaterThanOrEqual(400)
    const secretOnly = await j.post('/oauth/introspect', { token: 'x' }, { as: 'stock-api' })
    expect([secretOnly.status, secretOnly.body.error]).toEqual([401, 'invalid_client'])
  })
})
