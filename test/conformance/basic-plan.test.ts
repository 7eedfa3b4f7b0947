// The basic plan of the OpenID conformance suite, module by module under its own names, with an independent client. Modules of
// features that are off assert the refusal that docs/conformance.md promises.
import { createRemoteJWKSet, decodeProtectedHeader, type JWTVerifyResult, jwtVerify } from 'jose'
import * as oidc from 'openid-client'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient } from '#src/clients/clients.ts'
import { InvalidClient } from '#src/clients/errors.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createUser } from '#src/users/users.ts'
import { change, orders, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
let shop: oidc.Configuration

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  const { prisma } = server.database
  await createUser(
    prisma,
    { email: 'bob@example.com', emailVerified: true, name: 'Bob', passwordHash: await hashPassword(password) },
    change(),
  )
  await createClient(
    prisma,
    {
      id: 'many-addresses',
      type: 'web',
      redirectUris: ['https://shop.example/one', 'https://shop.example/two?tenant=7'],
      scopes: ['openid', 'email'],
      idTokenSignedResponseAlg: 'RS256',
    },
    [{ value: j.secret }],
    change(),
  )
  await server.settle()
  shop = await configuration('shop-web', oidc.ClientSecretBasic(j.secret))
})
afterAll(() => server.stop())

const configuration = (clientId: string, authentication: oidc.ClientAuth) =>
  oidc.discovery(new URL(server.url), clientId, undefined, authentication, { execute: [oidc.allowInsecureRequests] })

type Parameters = Record<string, string | undefined>

/** The whole flow by openid-client, which checks state, iss, nonce, audience, times and the signature's presence. */
async function flow(
  parameters: Parameters = {},
  options: { person?: Person; client?: oidc.Configuration; sign?: (person: Person, url: string) => Promise<Page> } = {},
) {
  const { person = new Person(server.url), client = shop, sign = j.walk } = options
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier()
  const defaults: Parameters = { redirect_uri: j.callback, scope: 'openid', state: 'the state', nonce: 'the nonce' }
  const asked = Object.entries({ ...defaults, ...parameters }).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  )
  const query = {
    ...Object.fromEntries(asked),
    code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
  }
  const page = await sign(person, oidc.buildAuthorizationUrl(client, query).href)
  const { state, nonce } = query as Parameters
  const tokens = await oidc.authorizationCodeGrant(client, new URL(page.url), {
    pkceCodeVerifier,
    ...(state === undefined ? {} : { expectedState: state }),
    ...(nonce === undefined ? {} : { expectedNonce: nonce }),
    idTokenExpected: true,
  })
  const claims = tokens.claims()
  if (!claims) throw new Error('no ID token')
  return { tokens, claims, person, page }
}

const userinfo = (tokens: { access_token: string }, init: RequestInit = {}) =>
  fetch(`${server.url}/oauth/userinfo`, {
    ...init,
    headers: { Authorization: `Bearer ${tokens.access_token}`, ...init.headers },
  })

/** The authorization response of a request that no person gets to see. */
async function answerTo(parameters: Parameters, person = new Person(server.url)) {
  const { address } = await j.begin(parameters)
  const response = await person.fetch(address)
  const location = response.headers.get('location')
  return {
    status: response.status,
    location: location === null ? null : new URL(location, server.url),
    params: Object.fromEntries(location === null ? [] : new URL(location, server.url).searchParams),
  }
}

const verifyIdToken = (token: string | undefined, audience = 'shop-web'): Promise<JWTVerifyResult> =>
  jwtVerify(token ?? '', createRemoteJWKSet(new URL(`${server.url}/oauth/jwks`)), { issuer: server.url, audience })

const seconds = (count: number) => new Promise((resolve) => setTimeout(resolve, count * 1000))

describe('tokens and userinfo', () => {
  test('oidcc-server', async () => {
    const { claims, tokens } = await flow()
    expect(claims).toMatchObject({ iss: server.url, aud: 'shop-web', sub: j.alice.id, nonce: 'the nonce' })
    expect(claims.exp - claims.iat).toBe(3600)
    expect([tokens.token_type, tokens.expires_in]).toEqual(['bearer', 900])
  })

  test('oidcc-idtoken-signature', async () => {
    const { tokens } = await flow()
    const { protectedHeader } = await verifyIdToken(tokens.id_token)
    expect(protectedHeader).toMatchObject({ alg: 'ES256', kid: expect.any(String) })
  })

  test('oidcc-idtoken-rs256, of a client that asks for it', async () => {
    const client = await configuration('many-addresses', oidc.ClientSecretBasic(j.secret))
    const { tokens } = await flow({ redirect_uri: 'https://shop.example/one' }, { client })
    expect((await verifyIdToken(tokens.id_token, 'many-addresses')).protectedHeader.alg).toBe('RS256')
  })

  test('oidcc-idtoken-unsigned: alg none can neither be registered nor is it offered', async () => {
    const input = { id: 'unsigned', type: 'web', redirectUris: [j.callback], idTokenSignedResponseAlg: 'none' } as const
    await expect(createClient(server.database.prisma, input, [], change())).rejects.toThrow(InvalidClient)
    expect(shop.serverMetadata().id_token_signing_alg_values_supported).not.toContain('none')
  })

  test('oidcc-userinfo-get', async () => {
    const { tokens, claims } = await flow()
    expect(await oidc.fetchUserInfo(shop, tokens.access_token, claims.sub)).toEqual({ sub: claims.sub })
  })

  test('oidcc-userinfo-post-header', async () => {
    const { tokens, claims } = await flow()
    const response = await userinfo(tokens, { method: 'POST' })
    expect([response.status, await response.json()]).toEqual([200, { sub: claims.sub }])
  })

  test('oidcc-userinfo-post-body', async () => {
    const { tokens, claims } = await flow()
    const body = new URLSearchParams({ access_token: tokens.access_token })
    const response = await fetch(`${server.url}/oauth/userinfo`, { method: 'POST', body })
    expect([response.status, await response.json()]).toEqual([200, { sub: claims.sub }])
  })

  test('userinfo needs the scope openid, and the token in its header only (RFC 9700 4.3.2)', async () => {
    const { tokens } = await flow()
    const inAddress = await fetch(`${server.url}/oauth/userinfo?access_token=${tokens.access_token}`)
    expect([400, 401]).toContain(inAddress.status)
    const twice = await userinfo(tokens, { method: 'POST', body: new URLSearchParams({ access_token: 'x' }) })
    expect([twice.status, ((await twice.json()) as { error: string }).error]).toEqual([400, 'invalid_request'])
    const forAnApi = await j.tokensFor({ scope: 'stock:read' })
    expect((await userinfo(forAnApi)).status).toBe(401)
  })

  test('oidcc-ensure-request-without-nonce-succeeds-for-code-flow', async () => {
    expect((await flow({ nonce: undefined })).claims.nonce).toBeUndefined()
  })

  test('oidcc-userinfo-rs256: signed userinfo is off, the answer is JSON', async () => {
    const { tokens } = await flow()
    expect((await userinfo(tokens)).headers.get('content-type')).toMatch(/^application\/json/)
    expect(shop.serverMetadata().userinfo_signing_alg_values_supported ?? []).toEqual([])
  })
})

describe('scopes', () => {
  const claimsFor = async (scope: string) => {
    const { tokens, claims } = await flow({ scope })
    const told: Record<string, unknown> = await oidc.fetchUserInfo(shop, tokens.access_token, claims.sub)
    return { told, claims, scope: tokens.scope }
  }

  test('oidcc-scope-profile', async () => {
    const { told, claims } = await claimsFor('openid profile')
    expect(told).toMatchObject({ name: 'Alice Liddell', updated_at: expect.any(Number) })
    expect(told).not.toHaveProperty('email')
    expect(claims).not.toHaveProperty('name') // OIDC Core 5.4: from userinfo when an access token is issued
  })

  test('oidcc-scope-email', async () => {
    const { told, claims } = await claimsFor('openid email')
    expect(told).toEqual({ sub: j.alice.id, email: 'Alice@Example.com', email_verified: true })
    expect(claims).not.toHaveProperty('email')
  })

  test.each(['address', 'phone'])('oidcc-scope-%s: not held, so not offered, and dropped', async (scope) => {
    const { told, scope: granted } = await claimsFor(`openid ${scope}`)
    expect([told, granted]).toEqual([{ sub: j.alice.id }, 'openid'])
    expect(shop.serverMetadata().scopes_supported).not.toContain(scope)
  })

  test('oidcc-scope-all', async () => {
    const { told, scope } = await claimsFor('openid profile email address phone')
    expect(scope?.split(' ').sort()).toEqual(['email', 'openid', 'profile'])
    expect(told).toMatchObject({ sub: j.alice.id, name: 'Alice Liddell', email: 'Alice@Example.com' })
  })
})

describe('what the request may ask of the screens', () => {
  test('oidcc-alternate-happy-flow: another registered address, no state', async () => {
    const client = await configuration('many-addresses', oidc.ClientSecretBasic(j.secret))
    const parameters = { redirect_uri: 'https://shop.example/one', state: undefined }
    const { page } = await flow(parameters, { client })
    const { searchParams } = new URL(page.url)
    expect([...searchParams.keys()].sort()).toEqual(['code', 'iss'])
  })

  test.each(['page', 'popup'])('oidcc-display-%s', async (display) => {
    expect((await flow({ display })).claims.sub).toBe(j.alice.id)
  })

  test('oidcc-prompt-login: asks again, although somebody is signed in, and the time moves', async () => {
    const first = await flow({ max_age: '10000' })
    await seconds(1.1)
    let asked = 0
    const second = await flow(
      { prompt: 'login', max_age: '10000' },
      {
        person: first.person,
        sign: async (person, url) => {
          const page = await person.open(url)
          if (page.url.includes('/login')) asked++
          return person.submit(page, { identifier: 'alice@example.com', password })
        },
      },
    )
    expect(asked).toBe(1)
    expect(second.claims.sub).toBe(first.claims.sub)
    expect(Number(second.claims.auth_time)).toBeGreaterThan(Number(first.claims.auth_time))
  })

  test('oidcc-prompt-none-not-logged-in', async () => {
    const { status, params } = await answerTo({ prompt: 'none' })
    expect([status, params]).toEqual([
      303,
      {
        error: 'login_required',
        error_description: expect.any(String),
        state: 'the state',
        iss: server.url,
      },
    ])
  })

  test('oidcc-prompt-none-logged-in', async () => {
    const first = await flow({ max_age: '10000' })
    const second = await flow(
      { prompt: 'none', max_age: '10000' },
      { person: first.person, sign: (person, url) => person.open(url) },
    )
    expect(second.claims).toMatchObject({ sub: first.claims.sub, auth_time: first.claims.auth_time })
  })

  test('prompt=none without consent is consent_required, with no screen (OIDC Core 3.1.2.6)', async () => {
    const { person } = await flow()
    const { params } = await answerTo({ prompt: 'none', scope: 'openid orders:write', resource: orders }, person)
    expect(params.error).toBe('consent_required')
  })

  test('oidcc-max-age-1: asks again once the sign-in is older', async () => {
    const first = await flow({ max_age: '10000' })
    await seconds(2.1)
    const { params } = await answerTo({ prompt: 'none', max_age: '1' }, first.person)
    expect(params.error).toBe('login_required')
    const second = await flow({ max_age: '1' }, { person: first.person })
    expect(Number(second.claims.auth_time)).toBeGreaterThan(Number(first.claims.auth_time) + 1)
  })

  test('oidcc-max-age-10000: does not ask again', async () => {
    const first = await flow({ max_age: '15000' })
    const second = await flow({ max_age: '10000' }, { person: first.person, sign: (person, url) => person.open(url) })
    expect(second.claims.auth_time).toBe(first.claims.auth_time)
  })

  test.each(['-1', 'x', '1.5', '99999999999999999999'])('max_age=%s is refused', async (max_age) => {
    expect((await answerTo({ max_age })).params.error).toBe('invalid_request')
  })

  test('oidcc-ensure-request-with-unknown-parameter-succeeds', async () => {
    expect((await flow({ extra: 'foobar' })).claims.sub).toBe(j.alice.id)
  })

  test('oidcc-id-token-hint', async () => {
    const { tokens, person } = await flow()
    const { params } = await answerTo({ prompt: 'none', id_token_hint: tokens.id_token ?? '' }, person)
    expect(params).toMatchObject({ code: expect.any(String), iss: server.url })
  })

  test('an id_token_hint of somebody else is login_required, one that was changed is refused', async () => {
    const { tokens } = await flow()
    const asBob = (person: Person, url: string) =>
      person
        .open(url)
        .then((page) => person.submit(page, { identifier: 'bob@example.com', password }))
        .then((page) => (page.url.includes('/consent') ? person.submit(page, { decision: 'allow' }) : page))
    const bob = await flow({}, { sign: asBob })
    expect(bob.claims.sub).not.toBe(j.alice.id)
    const hint = tokens.id_token ?? ''
    expect((await answerTo({ prompt: 'none', id_token_hint: hint }, bob.person)).params.error).toBe('login_required')
    const [header, , signature] = hint.split('.')
    const forged = [
      header,
      Buffer.from(JSON.stringify({ ...bob.claims, aud: 'shop-web' })).toString('base64url'),
      signature,
    ].join('.')
    expect((await answerTo({ prompt: 'none', id_token_hint: forged }, bob.person)).params.error).toBe('invalid_request')
  })

  test('oidcc-login-hint', async () => {
    const page = await new Person(server.url).open((await j.begin({ login_hint: 'carol@example.com' })).address)
    expect(page.text).toMatch(/<input[^>]*name="identifier"[^>]*value="carol@example\.com"/)
  })

  test('oidcc-ui-locales', async () => {
    const asked = shop.serverMetadata().ui_locales_supported ?? []
    expect(asked.length).toBeGreaterThanOrEqual(3)
    for (const locale of asked) {
      const page = await new Person(server.url).open((await j.begin({ ui_locales: `tlh ${locale}` })).address)
      expect(page.text).toContain(`<html lang="${locale}"`)
    }
  })

  test('oidcc-claims-locales: ignored', async () => {
    expect((await flow({ claims_locales: 'se' })).claims.sub).toBe(j.alice.id)
  })

  test('oidcc-ensure-request-with-acr-values-succeeds, and no level is claimed that was not reached', async () => {
    const { claims } = await flow({ acr_values: 'urn:mace:incommon:iap:silver 1' })
    expect(claims.acr).toBe('urn:sallyport:acr:1fa')
  })
})

describe('codes and clients', () => {
  test.each([
    ['oidcc-codereuse', 0],
    ['oidcc-codereuse-30seconds', 30],
  ])('%s', async (_name, age) => {
    const { code, verifier } = await j.codeFor()
    const first = await j.redeem(code, verifier)
    expect(first.status).toBe(200)
    await server.database.pool.query(
      `UPDATE token SET consumed_at = consumed_at - make_interval(secs => $1) WHERE kind = 3 AND consumed_at IS NOT NULL`,
      [age],
    )
    const second = await j.redeem(code, verifier)
    expect([second.status, second.body.error]).toEqual([400, 'invalid_grant'])
    expect((await userinfo(first.body)).status).toBe(401) // RFC 6749 10.5
  })

  test('oidcc-ensure-registered-redirect-uri: refused on our own page', async () => {
    const { status, location } = await answerTo({ redirect_uri: 'https://shop.example/unregistered' })
    expect([status, location]).toEqual([400, null])
  })

  test.each([
    ['oidcc-redirect-uri-query-OK', 'https://shop.example/two?tenant=7', true],
    ['oidcc-redirect-uri-query-mismatch', 'https://shop.example/two?tenant=8', false],
    ['oidcc-redirect-uri-query-added', 'https://shop.example/one?tenant=7', false],
    ['oidcc-redirect-uri-query-added, to a query', 'https://shop.example/two?tenant=7&x=1', false],
    ['a query left out', 'https://shop.example/two', false],
  ])('%s', async (_name, redirect_uri, accepted) => {
    const { status, location } = await answerTo({ client_id: 'many-addresses', redirect_uri, scope: 'openid' })
    if (accepted) expect(location?.pathname).toMatch(/^\/interaction\//)
    else expect([status, location]).toEqual([400, null])
  })

  test('oidcc-ensure-redirect-uri-in-authorization-request', async () => {
    const { status, location } = await answerTo({ redirect_uri: undefined })
    expect([status, location]).toEqual([400, null])
  })

  test('oidcc-redirect-uri-regfrag: a fragment cannot be registered', async () => {
    const input = { id: 'fragment', type: 'web', redirectUris: [`${j.callback}#x`] } as const
    await expect(createClient(server.database.prisma, input, [], change())).rejects.toThrow(/fragment/)
  })

  test('oidcc-ensure-post-request-succeeds', async () => {
    const sign = async (person: Person, url: string) => {
      const body = new URL(url).searchParams
      const page = await person.open('/oauth/authorize', { method: 'POST', body })
      expect(page.url).toContain('/login')
      return j.walk(person, page.url)
    }
    expect((await flow({}, { sign })).claims.sub).toBe(j.alice.id)
  })

  test('oidcc-server-client-secret-post', async () => {
    const client = await configuration('shop-web', oidc.ClientSecretPost(j.secret))
    expect((await flow({}, { client })).claims.sub).toBe(j.alice.id)
  })

  test('oidcc-refresh-token', async () => {
    const { tokens, claims } = await flow()
    const again = await oidc.refreshTokenGrant(shop, tokens.refresh_token ?? '')
    // OIDC Core 12.2: the same person and audience, a new time of issue, the old time of sign-in.
    expect(again.claims()).toMatchObject({ iss: server.url, sub: claims.sub, aud: 'shop-web' })
    expect(Number(again.claims()?.iat)).toBeGreaterThanOrEqual(claims.iat)
    expect(again.claims()?.auth_time).toBe(claims.auth_time)
    expect((await userinfo(again)).status).toBe(200)
    const stranger = await configuration('many-addresses', oidc.ClientSecretBasic(j.secret))
    await expect(oidc.refreshTokenGrant(stranger, again.refresh_token ?? '')).rejects.toMatchObject({
      error: 'invalid_grant',
    })
  })

  test('oidcc-ensure-request-with-valid-pkce-succeeds, for a client with a secret and for one without', async () => {
    await flow()
    const spa = await configuration('shop-spa', oidc.None())
    expect((await flow({}, { client: spa })).claims.aud).toBe('shop-spa')
  })
})

describe('what is off is refused as documented', () => {
  test('oidcc-response-type-missing', async () => {
    const { params } = await answerTo({ response_type: undefined })
    expect(params).toMatchObject({ error: 'invalid_request', state: 'the state', iss: server.url })
  })

  test('oidcc-request-uri-unsigned-supported-correctly-or-rejected-as-unsupported', async () => {
    const { params } = await answerTo({ request_uri: 'https://shop.example/request.jwt' })
    expect(params.error ?? 'on our own page').toMatch(
      /^(request_uri_not_supported|invalid_request_uri|on our own page)$/,
    )
    expect(params).not.toHaveProperty('code')
    expect(shop.serverMetadata().request_uri_parameter_supported).toBe(false)
  })

  const unsigned = (payload: object) =>
    `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.`

  test('oidcc-unsigned-request-object-supported-correctly-or-rejected-as-unsupported', async () => {
    const { params } = await answerTo({ request: unsigned({ nonce: 'inside' }) })
    expect(params).toMatchObject({ error: 'request_not_supported', iss: server.url })
  })

  test('oidcc-ensure-request-object-with-redirect-uri: the address inside counts for nothing', async () => {
    const request = unsigned({ redirect_uri: 'https://evil.example/cb', response_type: 'code', client_id: 'shop-web' })
    const { location, params } = await answerTo({ request })
    expect([location?.origin, params.error]).toEqual(['https://shop.example', 'request_not_supported'])
    expect((await answerTo({ request, redirect_uri: undefined })).location).toBeNull()
  })

  test('oidcc-claims-essential: of the claims parameter only what concerns the sign-in is read; a person’s data is not told for the asking', async () => {
    const asked = JSON.stringify({ userinfo: { name: { essential: true } }, id_token: { email: { essential: true } } })
    const { tokens, claims } = await flow({ claims: asked })
    expect(await oidc.fetchUserInfo(shop, tokens.access_token, claims.sub)).toEqual({ sub: claims.sub })
    expect(claims).not.toHaveProperty('email')
    expect(shop.serverMetadata().claims_parameter_supported).toBe(true)
  })

  test.each(['id_token', 'token', 'id_token token', 'code id_token', 'code token', 'code id_token token', 'none'])(
    'implicit and hybrid plans, response_type=%s',
    async (response_type) => {
      const { address } = await j.begin({ response_type })
      const location = new URL((await new Person(server.url).fetch(address)).headers.get('location') ?? '')
      const answer = new URLSearchParams(location.search || location.hash.slice(1))
      expect(answer.get('error')).toBe('unsupported_response_type')
      expect([...answer.keys()].filter((name) => /token|code/.test(name))).toEqual([])
    },
  )

  test('dynamic plan: nobody registers a client by themselves', async () => {
    const body = JSON.stringify({ redirect_uris: ['https://evil.example/cb'] })
    const headers = { 'Content-Type': 'application/json' }
    expect((await fetch(`${server.url}/oauth/register`, { method: 'POST', body, headers })).status).toBe(404)
    expect(shop.serverMetadata().registration_endpoint).toBeUndefined()
  })
})

describe('response_mode', () => {
  test('formpost-basic plan: the answer is a form to the registered address, no script in it', async () => {
    const { page, person } = await j.codeFor()
    expect(page.url).toContain('code=')
    const { address } = await j.begin({ response_mode: 'form_post' })
    const posted = await person.open(address)
    expect([posted.status, posted.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
    expect(posted.text).toMatch(/<form[^>]*method="post"[^>]*action="https:\/\/shop\.example\/cb"/)
    for (const name of ['code', 'state', 'iss']) expect(posted.text).toMatch(new RegExp(`<input[^>]*name="${name}"`))
    expect(posted.text).not.toMatch(/<script>|onload=/)
    expect(posted.headers.get('content-security-policy')).toContain("form-action 'self' https://shop.example")
  })

  test.each(['fragment', 'query'])('%s carries code, state and iss', async (response_mode) => {
    const { person } = await j.codeFor()
    const page = await person.open((await j.begin({ response_mode })).address)
    const location = new URL(page.url)
    const answer = new URLSearchParams(response_mode === 'query' ? location.search : location.hash.slice(1))
    expect([...answer.keys()].sort()).toEqual(['code', 'iss', 'state'])
  })

  test.each(['jwt', 'query.jwt', 'web_message', 'carrier_pigeon'])('%s is refused', async (response_mode) => {
    const { status, params } = await answerTo({ response_mode })
    expect([303, 400]).toContain(status)
    expect(params).not.toHaveProperty('code')
  })
})

describe('oidcc-discovery-endpoint-verification', () => {
  test('has what OpenID Discovery 3 requires, and says what is off', () => {
    const metadata = shop.serverMetadata()
    expect(metadata).toMatchObject({
      issuer: server.url,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      claims_parameter_supported: true,
      request_uri_parameter_supported: false,
      code_challenge_methods_supported: ['S256'],
    })
    expect(metadata.id_token_signing_alg_values_supported?.sort()).toEqual(['ES256', 'EdDSA', 'RS256'])
    expect(metadata.scopes_supported?.sort()).toEqual(['email', 'offline_access', 'openid', 'profile'])
    expect(metadata.claims_supported).toEqual(expect.arrayContaining(['sub', 'name', 'email', 'email_verified']))
    expect(metadata.token_endpoint_auth_methods_supported).not.toContain('client_secret_jwt')
    expect(metadata.acr_values_supported).toEqual(['urn:sallyport:acr:1fa', 'urn:sallyport:acr:2fa', 'phr'])
  })

  test('the key that signs is published with its algorithm and use', async () => {
    const { tokens } = await flow()
    const { kid } = decodeProtectedHeader(tokens.id_token ?? '')
    const { keys } = (await (await fetch(`${server.url}/oauth/jwks`)).json()) as { keys: Record<string, string>[] }
    expect(keys.find((key) => key.kid === kid)).toMatchObject({ alg: 'ES256', use: 'sig', kty: 'EC' })
    expect(new Set(keys.map((key) => key.kid)).size).toBe(keys.length)
  })
})
