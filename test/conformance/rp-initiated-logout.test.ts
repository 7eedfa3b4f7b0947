// The RP-initiated logout plan of the OpenID conformance suite, module by module. Whatever the request, the person is asked
// first: a GET alone ends nothing (ASVS 10.6.2).
import { generateKeyPair, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Journey, startJourney } from '#test/support/journey.ts'
import type { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const registered = 'https://shop.example/bye'
let server: TestServer
let j: Journey
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
})
afterAll(() => server.stop())

const address = (parameters: Record<string, string>) => `/oauth/logout?${new URLSearchParams(parameters)}`

/** For requests that are refused: stays signed in throughout. */
let resident: Awaited<ReturnType<typeof signedIn>>
beforeAll(async () => {
  resident = await signedIn()
})

async function signedIn() {
  const { person, id_token = '', refresh } = await j.tokensFor()
  return { person, hint: id_token, refresh }
}

const isSignedIn = async (person: Person) =>
  (await person.open((await j.begin({ prompt: 'none' })).address)).url.includes('code=')

/** Asks, confirms, and tells where the browser ended up. */
async function leave(person: Person, parameters: Record<string, string>) {
  const asked = await person.open(address(parameters))
  expect([asked.status, await isSignedIn(person)], 'asked, still signed in').toEqual([200, true])
  return person.submit(asked, { decision: 'logout' })
}

async function expectRefused(parameters: Record<string, string>) {
  const { person } = resident
  const page = await person.open(address(parameters))
  expect([page.status, page.url.startsWith(server.url)]).toEqual([400, true])
  expect(page.text).not.toMatch(/name="decision"/)
  expect(await isSignedIn(person)).toBe(true)
}

test('oidcc-rp-initiated-logout-discovery-endpoint-verification', async () => {
  const { end_session_endpoint } = (await (
    await fetch(`${server.url}/.well-known/openid-configuration`)
  ).json()) as Record<string, string>
  expect(end_session_endpoint).toBe(`${server.url}/oauth/logout`)
})

test('oidcc-rp-initiated-logout', async () => {
  const { person, hint, refresh } = await signedIn()
  const left = await leave(person, { id_token_hint: hint, post_logout_redirect_uri: registered, state: 'the state' })
  expect(left.url).toBe(`${registered}?state=the+state`)
  expect(await isSignedIn(person)).toBe(false)
  expect((await j.refresh(refresh)).body.error).toBe('invalid_grant')
})

describe('oidcc-rp-initiated-logout-bad-post-logout-redirect-uri', () => {
  test.each([
    'https://shop.example/other',
    'https://shop.example/bye/',
    'https://shop.example/bye?x=1',
    'https://shop.example.evil.example/bye',
    'https://shop.example:443@evil.example/bye',
    '//evil.example/bye',
    'javascript:alert(1)',
    '/bye',
  ])('%s', async (post_logout_redirect_uri) => {
    const { hint } = resident
    await expectRefused({ id_token_hint: hint, post_logout_redirect_uri })
  })
})

test('oidcc-rp-initiated-logout-query-added-to-post-logout-redirect-uri', async () => {
  const { hint } = resident
  await expectRefused({ id_token_hint: hint, post_logout_redirect_uri: `${registered}?foo=bar` })
})

describe('oidcc-rp-initiated-logout-modified-id-token-hint', () => {
  test.each([
    ['another signature', (hint: string) => hint.replace(/\.[^.]*$/, `.${'A'.repeat(86)}`)],
    ['no signature', (hint: string) => hint.replace(/[^.]*$/, '')],
    [
      'another person',
      (hint: string) => {
        const [header, payload = '', signature] = hint.split('.')
        const claims = { ...JSON.parse(Buffer.from(payload, 'base64url').toString()), sub: 'somebody' }
        return [header, Buffer.from(JSON.stringify(claims)).toString('base64url'), signature].join('.')
      },
    ],
    ['alg none', (hint: string) => `${Buffer.from('{"alg":"none"}').toString('base64url')}.${hint.split('.')[1]}.`],
  ])('%s', async (_name, modify) => {
    const { hint } = resident
    await expectRefused({ id_token_hint: modify(hint), post_logout_redirect_uri: registered })
  })
})

describe('oidcc-rp-initiated-logout-bad-id-token-hint', () => {
  test.each(['nonsense', 'a.b.c', '...', 'e30.e30.e30', '{}'])('%s', async (id_token_hint) => {
    await expectRefused({ id_token_hint, post_logout_redirect_uri: registered })
  })

  test('signed by a stranger', async () => {
    const { privateKey } = await generateKeyPair('ES256')
    const forged = await new SignJWT({ iss: server.url, aud: 'shop-web', sub: j.alice.id })
      .setProtectedHeader({ alg: 'ES256' })
      .setIssuedAt()
      .setExpirationTime('1h')
      .sign(privateKey)
    await expectRefused({ id_token_hint: forged, post_logout_redirect_uri: registered })
  })

  test('of another client than client_id says', async () => {
    const { hint } = resident
    await expectRefused({ id_token_hint: hint, client_id: 'shop-spa', post_logout_redirect_uri: registered })
  })
})

describe('without enough to know the application, the person may leave and goes nowhere', () => {
  test.each([
    ['oidcc-rp-initiated-logout-no-id-token-hint', { post_logout_redirect_uri: registered, state: 'x' }],
    ['oidcc-rp-initiated-logout-no-params', {}],
    ['oidcc-rp-initiated-logout-only-state', { state: 'the state' }],
  ] as const)('%s', async (_name, parameters) => {
    const { person } = await signedIn()
    const left = await leave(person, parameters)
    expect([left.status, left.url.startsWith(`${server.url}/oauth/logout/success`)]).toEqual([200, true])
    expect(left.url).not.toContain('state')
    expect(await isSignedIn(person)).toBe(false)
  })

  test('oidcc-rp-initiated-logout-no-post-logout-redirect-uri', async () => {
    const { person, hint } = await signedIn()
    const left = await leave(person, { id_token_hint: hint, state: 'the state' })
    expect(left.url.startsWith(`${server.url}/oauth/logout/success`)).toBe(true)
    expect(await isSignedIn(person)).toBe(false)
  })
})

test('oidcc-rp-initiated-logout-no-state', async () => {
  const { person, hint } = await signedIn()
  const left = await leave(person, { id_token_hint: hint, post_logout_redirect_uri: registered })
  expect(left.url).toBe(registered)
})

test('client_id alone names the application, and its registered address is used', async () => {
  const { person } = await signedIn()
  const left = await leave(person, { client_id: 'shop-web', post_logout_redirect_uri: registered })
  expect(left.url).toBe(registered)
})

test('the page’s token is good once', async () => {
  const { person } = await signedIn()
  const asked = await person.open('/oauth/logout')
  await person.submit(asked, { decision: 'logout' })
  expect((await person.submit(asked, { decision: 'logout' })).status).toBe(400)
})

test('the request may be a POST (RP-Initiated Logout 1.0, 2)', async () => {
  const { person, hint } = await signedIn()
  const body = new URLSearchParams({ id_token_hint: hint, post_logout_redirect_uri: registered })
  const asked = await person.open('/oauth/logout', { method: 'POST', body })
  expect([asked.status, await isSignedIn(person)]).toEqual([200, true])
  expect((await person.submit(asked, { decision: 'logout' })).url).toBe(registered)
})
