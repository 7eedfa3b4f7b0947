// The main journey over real HTTP, driven by two independent clients as a relying party would, and its refusals.
import * as oauth from 'oauth4webapi'
import * as oidc from 'openid-client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { orders, stock } from '#test/support/installation.ts'
import { type Journey, offered, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
})
afterAll(() => server.stop())

describe('with openid-client', () => {
  test('a person signs in, agrees, and the application learns who they are', async () => {
    const config = await oidc.discovery(new URL(server.url), 'shop-web', undefined, oidc.ClientSecretBasic(j.secret), {
      execute: [oidc.allowInsecureRequests],
    })
    const pkceCodeVerifier = oidc.randomPKCECodeVerifier()
    const url = oidc.buildAuthorizationUrl(config, {
      redirect_uri: j.callback,
      scope: 'openid profile email',
      state: 's',
      nonce: 'n',
      code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
    })
    const page = await j.walk(new Person(server.url), url.href)
    const tokens = await oidc.authorizationCodeGrant(config, new URL(page.url), {
      pkceCodeVerifier,
      expectedState: 's',
      expectedNonce: 'n',
    })
    expect(tokens.claims()).toMatchObject({ iss: server.url, sub: j.alice.id, aud: 'shop-web' })
    const info = await oidc.fetchUserInfo(config, tokens.access_token, j.alice.id)
    expect(info).toMatchObject({ email: 'Alice@Example.com', email_verified: true, name: 'Alice Liddell' })
    const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token ?? '')
    expect(refreshed.refresh_token).not.toBe(tokens.refresh_token)
    await oidc.tokenRevocation(config, refreshed.refresh_token ?? '')
    await expect(oidc.refreshTokenGrant(config, refreshed.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    })
  })
})

describe('with oauth4webapi', () => {
  test('a public client reads an API with a JWT access token (RFC 9068)', async () => {
    const allow = { [oauth.allowInsecureRequests]: true }
    const as = await oauth.processDiscoveryResponse(
      new URL(server.url),
      await oauth.discoveryRequest(new URL(server.url), { ...allow, algorithm: 'oauth2' }),
    )
    const client: oauth.Client = { client_id: 'shop-spa' }
    const { address, verifier } = await j.begin({
      client_id: 'shop-spa',
      scope: 'orders:read',
      resource: orders,
      nonce: undefined,
    })
    const page = await j.walk(new Person(server.url), address)
    const params = oauth.validateAuthResponse(as, client, new URL(page.url), 'the state')
    const response = await oauth.authorizationCodeGrantRequest(
      as,
      client,
      oauth.None(),
      params,
      j.callback,
      verifier,
      allow,
    )
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, response)
    expect(tokens.scope).toBe('orders:read')
    const request = new Request('https://api.example.com/orders/1', {
      headers: { Authorization: `Bearer ${tokens.access_token}` },
    })
    const claims = await oauth.validateJwtAccessToken(as, request, orders, allow)
    expect(claims).toMatchObject({
      iss: server.url,
      aud: orders,
      sub: j.alice.id,
      client_id: 'shop-spa',
      scope: 'orders:read',
    })
    expect(claims.exp - claims.iat).toBe(900)
  })
})

describe('consent', () => {
  test('is asked once: a second sign-in in a new session goes straight through', async () => {
    await j.tokensFor({ scope: 'openid email' })
    const person = new Person(server.url)
    const { address } = await j.begin({ scope: 'openid email' })
    const seen: string[] = []
    const page = await j.walk(person, address, (scopes) => {
      seen.push(...scopes)
      return scopes
    })
    expect(seen).toEqual([])
    expect(page.url).toContain('code=')
  })

  test('can be narrowed, and what was left out is not in the token', async () => {
    const person = new Person(server.url)
    const { address, verifier } = await j.begin({
      client_id: 'shop-web',
      scope: 'openid orders:read orders:write',
      resource: orders,
      prompt: 'consent',
    })
    const page = await j.walk(person, address, (scopes) => {
      expect(scopes.sort()).toEqual(['orders:read', 'orders:write'])
      return ['orders:read']
    })
    const answer = await j.redeem(new URL(page.url).searchParams.get('code') ?? '', verifier, { resource: orders })
    expect(answer.body.scope).toBe('orders:read')
  })

  test('a scope that was withdrawn does not come back with an answer to another request', async () => {
    const person = new Person(server.url)
    const ask = async (
      scope: string,
      agree?: (offered: string[]) => string[],
      prompt: string | undefined = undefined,
    ) => {
      const { address, verifier } = await j.begin({ client_id: 'shop-spa', scope, prompt })
      const page = await j.walk(person, address, agree)
      const code = new URL(page.url).searchParams.get('code') ?? ''
      return (await j.redeem(code, verifier, {}, { as: 'shop-spa' })).body.scope
    }
    expect(await ask('openid email')).toBe('openid email')
    expect(await ask('openid email', () => [], 'consent')).toBe('openid')
    expect(await ask('openid profile')).toBe('openid profile')
    expect(await ask('openid email profile')).toBe('openid profile')
  })

  test('is remembered as a whole: asking for more later does not forget what was agreed before', async () => {
    await j.tokensFor({ client_id: 'shop-spa', scope: 'openid email', prompt: 'consent' })
    await j.tokensFor({ client_id: 'shop-spa', scope: 'openid profile', prompt: 'consent' })
    const asked: string[] = []
    const { address } = await j.begin({ client_id: 'shop-spa', scope: 'openid email profile' })
    await j.walk(new Person(server.url), address, (scopes) => {
      asked.push(...scopes)
      return scopes
    })
    expect(asked).toEqual([])
  })

  test('refused: the application hears access_denied with state and iss (RFC 9207)', async () => {
    const person = new Person(server.url)
    const { address } = await j.begin({ prompt: 'consent' })
    let page = await person.open(address)
    page = await person.submit(page, { identifier: 'alice@example.com', password: 'correct horse battery staple' })
    expect(page.text).toContain('Alice@Example.com')
    expect(page.text).toContain('shop-web')
    page = await person.submit(page, { decision: 'deny' })
    const params = new URL(page.url).searchParams
    expect(Object.fromEntries(params)).toMatchObject({ error: 'access_denied', state: 'the state', iss: server.url })
    expect(params.has('code')).toBe(false)
  })

  test('without a decision, or without its token, never advances', async () => {
    const person = new Person(server.url)
    const { address } = await j.begin({ prompt: 'consent' })
    let page = await person.open(address)
    page = await person.submit(page, { identifier: 'alice@example.com', password: 'correct horse battery staple' })
    expect((await person.submit(page, { scope: offered(page) })).status).toBe(400)
    expect((await person.submit(page, { decision: 'allow', scope: ['orders:delete'] })).status).toBe(400)
    expect((await person.submit(page, { decision: 'allow' }, { csrf: null })).status).toBe(403)
    expect((await person.submit(page, { decision: 'allow' }, { csrf: 'x'.repeat(43) })).status).toBe(403)
  })
})

describe('an authorization request is refused', () => {
  // On our own page: the application may be an impostor, so nothing is sent there (RFC 9700 4.11.2).
  test.each([
    ['unknown client', { client_id: 'nobody' }],
    ['no client', { client_id: undefined }],
    ['unregistered redirect_uri', { redirect_uri: 'https://shop.example.evil.com/cb' }],
    ['redirect_uri with a path added', { redirect_uri: 'https://shop.example/cb/..%2f' }],
    ['redirect_uri with a query added', { redirect_uri: 'https://shop.example/cb?x=1' }],
    ['redirect_uri with user info', { redirect_uri: 'https://shop.example:80@evil.example/cb' }],
    ['redirect_uri of other case', { redirect_uri: 'https://shop.example/CB' }],
    ['no redirect_uri', { redirect_uri: undefined }],
  ])('on our page: %s', async (_name, parameters) => {
    const { address } = await j.begin(parameters)
    const response = await fetch(server.url + address, { redirect: 'manual', headers: { Accept: 'text/html' } })
    expect(response.status).toBe(400)
    expect(response.headers.get('location')).toBeNull()
    expect(response.headers.get('x-decision-id')).toBeTruthy()
    expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(await response.text()).toContain('<html lang="en"')
  })

  test.each([
    ['implicit', { response_type: 'token' }, 'unsupported_response_type'],
    ['hybrid', { response_type: 'code id_token' }, 'unsupported_response_type'],
    ['no code_challenge', { code_challenge: undefined, code_challenge_method: undefined }, 'invalid_request'],
    ['plain PKCE', { code_challenge_method: 'plain' }, 'invalid_request'],
    ['unknown prompt', { prompt: 'sing' }, 'invalid_request'],
    ['prompt none and login', { prompt: 'none login' }, 'invalid_request'],
    ['nobody signed in, prompt none', { prompt: 'none' }, 'login_required'],
    ['unknown resource', { resource: 'https://unknown.example' }, 'invalid_target'],
    ['resource with a fragment', { resource: `${orders}#x` }, 'invalid_target'],
    ['malformed resource', { resource: 'not a uri' }, 'invalid_target'],
    ['scopes of two APIs and no resource', { scope: 'openid orders:read stock:read' }, 'invalid_target'],
    ['no scope the client may have', { client_id: 'shop-spa', scope: 'stock:read' }, 'invalid_scope'],
    ['a scope of another client’s', { client_id: 'shop-spa', scope: 'orders:write' }, 'invalid_scope'],
    ['a request object', { request: 'e30.e30.' }, 'request_not_supported'],
  ])('by redirect: %s', async (_name, parameters, error) => {
    const { address } = await j.begin(parameters)
    const response = await fetch(server.url + address, { redirect: 'manual' })
    expect(response.status).toBe(303)
    const location = new URL(response.headers.get('location') ?? '')
    expect(location.origin + location.pathname).toBe(j.callback)
    const answer = Object.fromEntries(
      location.search ? location.searchParams : new URLSearchParams(location.hash.slice(1)),
    )
    expect(answer).toMatchObject({ error, state: 'the state', iss: server.url })
  })

  test('by redirect: a repeated parameter', async () => {
    const { address } = await j.begin()
    const response = await fetch(`${server.url}${address}&nonce=again`, { redirect: 'manual' })
    expect(new URL(response.headers.get('location') ?? '').searchParams.get('error')).toBe('invalid_request')
  })

  test.each(['nonce=a%00b', 'state=a%0ab', 'login_hint=%1b', 'nonce=%ff', 'state=%zz'])(
    'with 400: %s',
    async (pair) => {
      const { address } = await j.begin()
      const response = await fetch(`${server.url}${address}&${pair}`, { redirect: 'manual' })
      expect(response.status).toBe(400)
      expect(await response.text()).toContain(pair.split('=')[0])
    },
  )
})

test('a scope beyond what the client may have is dropped and the rest is told', async () => {
  const tokens = await j.tokensFor({ client_id: 'shop-spa', scope: 'orders:read orders:write bogus' }, undefined, {
    resource: orders,
  })
  expect(tokens.scope).toBe('orders:read')
})

test('one API that owns every asked scope is chosen without resource', async () => {
  const tokens = await j.tokensFor({ scope: 'stock:read' })
  const { body } = await j.introspect(tokens.access_token)
  expect(body).toMatchObject({ active: true, aud: stock, scope: 'stock:read' })
})

test('the authorization endpoint takes POST (OIDC Core 3.1.2.1)', async () => {
  const { address } = await j.begin()
  const page = await new Person(server.url).open('/oauth/authorize', {
    method: 'POST',
    body: new URLSearchParams(address.split('?')[1]),
  })
  expect(page.url).toContain('/login')
})

test('a pushed request is used once and belongs to its client (RFC 9126)', async () => {
  const { address, verifier } = await j.begin()
  const pushed = await j.post('/oauth/par', [...new URLSearchParams(address.split('?')[1])])
  expect(pushed.status).toBe(201)
  const query = new URLSearchParams({ client_id: 'shop-web', request_uri: String(pushed.body.request_uri) })
  const stolen = new URLSearchParams({ client_id: 'shop-spa', request_uri: String(pushed.body.request_uri) })
  expect((await new Person(server.url).open(`/oauth/authorize?${stolen}`)).status).toBe(400)
  const person = new Person(server.url)
  const page = await j.walk(person, `/oauth/authorize?${query}`)
  expect((await j.redeem(new URL(page.url).searchParams.get('code') ?? '', verifier)).status).toBe(200)
  const again = await j.walk(person, `/oauth/authorize?${query}`)
  expect(again.url).not.toContain('code=')
})

describe('a code is refused', () => {
  test.each([
    ['a wrong verifier', { code_verifier: 'x'.repeat(43) }],
    ['a malformed verifier', { code_verifier: 'short' }],
    ['another redirect_uri', { redirect_uri: 'https://shop.example/other' }],
    ['an unknown code', { code: 'sp_ac_unknown' }],
  ])('with %s', async (_name, fields) => {
    const { code, verifier } = await j.codeFor()
    const answer = await j.redeem(code, verifier, fields)
    expect([answer.status, answer.body.error]).toEqual([400, expect.stringMatching(/^invalid_(grant|request)$/)])
    expect(answer.headers.get('x-decision-id')).toBeTruthy()
  })

  test('without a verifier (CVE-2023-48228)', async () => {
    const { code } = await j.codeFor()
    const answer = await j.post('/oauth/token', { grant_type: 'authorization_code', code, redirect_uri: j.callback })
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_grant'])
  })

  test('from another client', async () => {
    const { code, verifier } = await j.codeFor()
    const answer = await j.redeem(code, verifier, {}, { as: 'shop-spa' })
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_grant'])
  })

  test('a second time, and every token it produced dies with it (RFC 6749 10.5)', async () => {
    const { code, verifier } = await j.codeFor()
    const first = await j.redeem(code, verifier)
    expect(first.status).toBe(200)
    expect((await j.userinfo(first.body.access_token)).status).toBe(200)
    const second = await j.redeem(code, verifier)
    expect([second.status, second.body.error]).toEqual([400, 'invalid_grant'])
    expect((await j.userinfo(first.body.access_token)).status).toBe(401)
    expect((await j.refresh(first.body.refresh_token ?? '')).body.error).toBe('invalid_grant')
  })
})

describe('the login page', () => {
  test('answers an unknown person and a wrong password alike', async () => {
    const attempts = [
      { identifier: 'alice@example.com', password: 'wrong password entirely' },
      { identifier: 'nobody@example.com', password: 'wrong password entirely' },
    ]
    const pages = await Promise.all(
      attempts.map(async (fields) => {
        const person = new Person(server.url)
        const page = await person.submit(await person.open((await j.begin()).address), fields)
        const strip = (text: string) =>
          text
            .replaceAll(fields.identifier, 'ID')
            .replace(/value="[^"]*"/g, '')
            .replace(/data-csrf="[^"]*"/g, '')
            .replace(/interaction\/[\w-]+/g, '')
            .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, '')
        return [page.status, strip(page.text)]
      }),
    )
    expect(pages[0]).toEqual(pages[1])
    expect(pages[0]?.[0]).toBe(401)
  })

  test('does not open in another browser', async () => {
    const page = await new Person(server.url).open((await j.begin()).address)
    const other = await new Person(server.url).open(page.url)
    expect(other.status).toBe(410)
  })

  test('gives the session a new id at every sign-in (fixation, CVE-2024-7341)', async () => {
    const { person } = await j.codeFor()
    const before = person.cookies.get('sallyport_session')?.value
    const { address } = await j.begin({ prompt: 'login' })
    await j.walk(person, address)
    const after = person.cookies.get('sallyport_session')?.value
    expect(before).toBeTruthy()
    expect(after).not.toBe(before)
    const thief = new Person(server.url)
    thief.cookies.set('sallyport_session', { value: before ?? '', path: '/' })
    thief.cookies.set('sallyport_session.sig', person.cookies.get('sallyport_session.sig') ?? { value: '', path: '/' })
    expect((await thief.open((await j.begin()).address)).url).toContain('/login')
  })

  test('a flipped byte in the session cookie is no session', async () => {
    const { person } = await j.codeFor()
    const { value = '' } = person.cookies.get('sallyport_session') ?? {}
    for (let at = 0; at < value.length; at += 5) {
      const thief = new Person(server.url)
      const flipped = value.slice(0, at) + (value[at] === 'a' ? 'b' : 'a') + value.slice(at + 1)
      thief.cookies.set('sallyport_session', { value: flipped, path: '/' })
      expect((await thief.open((await j.begin({ prompt: 'none' })).address)).url).toContain('error=login_required')
    }
  })
})

test('a disabled person is refused everywhere, and asked to sign in', async () => {
  const tokens = await j.tokensFor()
  const { prisma } = server.database
  await prisma.user.update({ where: { id: j.alice.id }, data: { disabledAt: new Date() } })
  try {
    expect((await j.userinfo(tokens.access_token)).status).toBe(401)
    expect((await j.refresh(tokens.refresh)).body.error).toBe('invalid_grant')
    expect((await j.introspect(tokens.access_token)).body).toEqual({ active: false })
    const page = await tokens.person.open((await j.begin()).address)
    expect(page.url).toContain('/login')
    expect(
      (await tokens.person.submit(page, { identifier: 'alice@example.com', password: 'correct horse battery staple' }))
        .status,
    ).toBe(401)
  } finally {
    await prisma.user.update({ where: { id: j.alice.id }, data: { disabledAt: null } })
  }
})

test('no grant takes a password (RFC 9700 2.4)', async () => {
  const answer = await j.post('/oauth/token', {
    grant_type: 'password',
    username: 'alice@example.com',
    password: 'correct horse battery staple',
  })
  expect([answer.status, answer.body.error]).toEqual([400, 'unsupported_grant_type'])
})
