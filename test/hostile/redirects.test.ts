// The browser is sent to addresses that were registered, character for character, and nowhere else (RFC 9700 2.1, 4.1, 4.11).
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient } from '#src/clients/clients.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const loopback = ['http://127.0.0.1/cb', 'http://[::1]/cb?app=1', 'http://localhost:4000/cb', 'com.example.app:/cb']
let server: TestServer
let j: Journey
let person: Person

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  const { prisma } = server.database
  await createClient(
    prisma,
    { id: 'phone', type: 'native', redirectUris: loopback, scopes: ['openid', 'email'] },
    [],
    change(),
  )
  await createClient(
    prisma,
    { id: 'local-web', type: 'web', redirectUris: ['http://localhost:4000/cb'], scopes: ['openid'] },
    [{ value: j.secret }],
    change(),
  )
  await server.settle()
  person = (await j.codeFor()).person
  await j.walk(person, (await j.begin({ client_id: 'phone', redirect_uri: 'http://127.0.0.1/cb' })).address)
})
afterAll(() => server.stop())

async function authorize(parameters: Record<string, string | undefined>, browser = person) {
  const response = await browser.fetch((await j.begin({ scope: 'openid', ...parameters })).address)
  return { status: response.status, location: response.headers.get('location'), text: await response.text() }
}

describe('a native application on loopback (RFC 8252 7.3, CVE-2020-15233)', () => {
  test.each([
    'http://127.0.0.1/cb',
    'http://127.0.0.1:51234/cb',
    'http://127.0.0.1:1/cb',
    'http://[::1]:51234/cb?app=1',
    'http://localhost:51234/cb',
    'http://localhost/cb',
    'com.example.app:/cb',
  ])('may use another port: %s', async (redirect_uri) => {
    // RFC 8252 8.6: who answers at such an address is not known, so the person is asked every time.
    const { address } = await j.begin({ client_id: 'phone', redirect_uri, scope: 'openid' })
    const asked = await person.open(address)
    expect(asked.url).toContain('/consent')
    const { url } = await person.submit(asked, { decision: 'allow' })
    expect(url.startsWith(`${redirect_uri}${redirect_uri.includes('?') ? '&' : '?'}code=`), url).toBe(true)
  })

  test.each([
    'https://127.0.0.1/cb',
    'http://127.0.0.2/cb',
    'http://127.1/cb',
    'http://2130706433/cb',
    'http://0x7f.0.0.1/cb',
    'http://0.0.0.0/cb',
    'http://127.0.0.1/cb/',
    'http://127.0.0.1/CB',
    'http://127.0.0.1/',
    'http://127.0.0.1/cb?x=1',
    'http://127.0.0.1/cb#x',
    'http://127.0.0.1/cb/../cb',
    'http://127.0.0.1/cb%2f',
    'http://127.0.0.1/%63b',
    'http://127.0.0.1:99999/cb',
    'http://127.0.0.1:-1/cb',
    'http://127.0.0.1:80@evil.example/cb',
    'http://user@127.0.0.1/cb',
    'http://127.0.0.1.evil.example/cb',
    'http://evil.example/cb',
    'http://127.0.0.1\\@evil.example/cb',
    'http:\\\\127.0.0.1/cb',
    'http:127.0.0.1/cb',
    'HTTP://127.0.0.1/cb',
    ' http://127.0.0.1/cb',
    'http://127.0.0.1/cb ',
    'http://[::1]/cb',
    'http://[::1]/cb?app=2',
    'http://[::ffff:127.0.0.1]/cb?app=1',
    'http://[0:0:0:0:0:0:0:1]/cb?app=1',
    'http://localhost.:4000/cb',
    'http://LOCALHOST:4000/cb',
    'http://localhost:4000/cb?app=1',
    'com.example.app:/cb2',
    'com.example.app://cb',
    'com.example.evil:/cb',
  ])('may change nothing else: %s', async (redirect_uri) => {
    const { status, location, text } = await authorize({ client_id: 'phone', redirect_uri })
    expect([status, location]).toEqual([400, null])
    expect(text).not.toMatch(/href="[^"]*evil/)
  })

  test('redeems its code at the port it asked for, not at another', async () => {
    const redirect_uri = 'http://127.0.0.1:51234/cb'
    const redeem = async (redirectUri: string) => {
      const { address, verifier } = await j.begin({ client_id: 'phone', redirect_uri, scope: 'openid' })
      const { url } = await j.walk(person, address)
      const code = new URL(url).searchParams.get('code') ?? ''
      const fields = { client_id: 'phone', redirect_uri: redirectUri }
      return (await j.redeem(code, verifier, fields, { as: null })).status
    }
    expect(await redeem('http://127.0.0.1:51235/cb')).toBe(400)
    expect(await redeem(redirect_uri)).toBe(200)
  })

  test.each(['http://localhost:4001/cb', 'http://localhost/cb', 'http://127.0.0.1:4000/cb'])(
    'no other type has that freedom: %s',
    async (redirect_uri) => {
      expect((await authorize({ client_id: 'local-web', redirect_uri })).status).toBe(400)
    },
  )
})

describe('vectors against the comparison', () => {
  test.each([
    'https://shop.example.evil.com/cb', // CVE-2023-6291
    'https://shop.example:80@evil.example/cb', // CVE-2024-8883
    'https://shop.example@evil.example/cb',
    'https://evil.example/cb@shop.example',
    'https://evil.example#@shop.example/cb',
    'https://evil.example?https://shop.example/cb',
    'https://shop.example/cb/..%2f..%2fevil', // CVE-2024-1132
    'https://shop.example/cb/%252e%252e/evil', // CVE-2022-3782
    'https://shop.example/cb/..;/evil', // CVE-2026-3872
    'https://shopaexample/cb', // CVE-2024-52289
    'https://shop.example/cbx',
    'https://shop.example/cb?',
    'https://shop.example/cb#',
    'https://shop.example:443/cb',
    'https://shop.example./cb',
    'https://SHOP.example/cb',
    'http://shop.example/cb',
    'https:shop.example/cb',
    'https:/shop.example/cb',
    '//shop.example/cb',
    '/cb',
    'https://shop.example\\.evil.example/cb',
    'https://evil.example\\@shop.example/cb',
    'https://shop.example%2f@evil.example/cb',
    'https://shop.example%00.evil.example/cb',
    'https://shop.example\u3002evil.example/cb',
    'https://ｓhop.example/cb',
    'https://shop.example/cb https://evil.example',
    'javascript:alert(1)//https://shop.example/cb',
    'data:text/html,https://shop.example/cb',
    '',
    'https://shop.example/*',
  ])('%j is refused on our page', async (redirect_uri) => {
    const { status, location } = await authorize({ redirect_uri })
    expect([status, location]).toEqual([400, null])
  })

  test('also without a sound request around it: an error never travels to an address that was not registered', async () => {
    const redirect_uri = 'https://evil.example/cb'
    for (const spoilt of [
      { response_type: 'token' },
      { scope: '' },
      { prompt: 'none' },
      { code_challenge: undefined },
      { client_id: undefined },
      { client_id: 'nobody' },
      { request: 'e30.e30.' },
      { registration: '{}' },
      { response_mode: 'form_post', prompt: 'none' },
      { response_mode: 'web_message' },
    ]) {
      const { status, location, text } = await authorize({ redirect_uri, ...spoilt })
      expect([status, location], JSON.stringify(spoilt)).toEqual([400, null])
      expect(text).not.toMatch(/(action|href)="https:\/\/evil/)
    }
  })
})

/** Where any answer may send a browser. */
function isHome(location: string | null): boolean {
  if (location === null) return true
  const url = new URL(location, server.url)
  return (
    url.origin === server.url ||
    location.startsWith('https://shop.example/cb?') ||
    location.startsWith('https://shop.example/cb#') ||
    /^https:\/\/shop\.example\/bye(\?|$)/.test(location)
  )
}

test('no Location leaves for an address that was not registered, whatever is asked where', async () => {
  const { id_token = '' } = await j.tokensFor({ scope: 'openid' }, person)
  const evil = fc.oneof(
    fc.constantFrom(
      'https://evil.example/cb',
      '//evil.example',
      '/\\evil.example',
      '\\\\evil.example',
      'https:evil.example',
      'https://shop.example@evil.example/cb',
      'https://shop.example/cb',
      'https://shop.example/bye',
      'javascript:alert(1)',
    ),
    fc.webUrl({ withQueryParameters: true, withFragments: true }),
    fc
      .tuple(fc.constantFrom('https://shop.example', '//', 'https://'), fc.string({ maxLength: 12 }))
      .map((parts) => parts.join('')),
  )
  const names =
    'redirect_uri post_logout_redirect_uri returnTo return_to next rd redirect url continue callbackURL request_uri state iss login_hint target_link_uri lang ui_locales client_id'.split(
      ' ',
    )
  const paths = [
    '/oauth/authorize',
    '/oauth/logout',
    '/oauth/logout/success',
    '/oauth/logout/stayed',
    '/admin/setup',
    '/',
    '/nowhere',
    '/interaction/x',
    '/interaction/x/login',
    '/oauth/authorize/x',
    '//evil.example/',
    '/\\evil.example',
  ]
  const asked = fc.record({
    path: fc.constantFrom(...paths),
    method: fc.constantFrom('GET', 'POST'),
    extra: fc.array(fc.tuple(fc.constantFrom(...names), evil), { minLength: 1, maxLength: 3 }),
    sound: fc.boolean(),
    hint: fc.boolean(),
  })
  const run = fc.asyncProperty(asked, async ({ path, method, extra, sound, hint }) => {
    const query = new URLSearchParams(sound ? (await j.begin({ scope: 'openid' })).address.split('?')[1] : '')
    if (hint) query.set('id_token_hint', id_token)
    for (const [name, value] of extra) query.set(name, value.toWellFormed())
    const browser = new Person(server.url)
    for (const [key, value] of person.cookies) browser.cookies.set(key, value)
    const headers = { 'Content-Type': 'application/x-www-form-urlencoded', Referer: 'https://evil.example/' }
    const [address, init] =
      method === 'GET' ? [`?${query}`, { headers }] : ['', { method, headers, body: query.toString() }]
    const response = await browser.fetch(server.url + path + address, init)
    const about = `${method} ${path} ${query} -> ${response.status} ${response.headers.get('location')}`
    expect(isHome(response.headers.get('location')), about).toBe(true)
    expect(response.headers.get('refresh'), about).toBeNull()
    for (const [, target = ''] of (await response.text()).matchAll(
      /<(?:form|meta|base)[^>]*(?:action|content|href)="([^"]*:\/\/[^"]*)"/g,
    ))
      expect(isHome(target.includes('?') ? target : `${target}?`), about).toBe(true)
  })
  await fc.assert(run, { numRuns: 800, endOnFailure: true })
}, 60_000)

test('an error page shows what was sent as text only', async () => {
  const payload = '<img src=x onerror=alert(1)>"\'--><script>alert(1)</script>'
  const query = new URLSearchParams(
    Object.fromEntries(
      'client_id redirect_uri response_type scope state prompt id_token_hint lang ui_locales error error_description error_hint post_logout_redirect_uri'
        .split(' ')
        .map((name) => [name, payload]),
    ),
  )
  const anonymous = new Person(server.url)
  for (const path of [
    `/oauth/authorize?${query}`,
    `/oauth/authorize?client_id=${encodeURIComponent(payload)}`,
    `/oauth/logout?${query}`,
    `/oauth/logout/success?${query}`,
    `/interaction/${encodeURIComponent(payload)}/login?${query}`,
    `/oauth/authorize/${encodeURIComponent(payload)}`,
    `/nowhere/${encodeURIComponent(payload)}?${query}`,
    `/admin/setup?${query}`,
    `/api/v1/clients/${encodeURIComponent(payload)}?${query}`,
    `/oauth/userinfo?${query}`,
    `/?${encodeURIComponent(payload)}=1`,
  ]) {
    const response = await anonymous.fetch(path)
    const text = await response.text()
    if (/html/.test(response.headers.get('content-type') ?? ''))
      expect(text, path).not.toMatch(/<img src=x|<script>alert/)
    expect(response.headers.get('content-security-policy'), path).not.toMatch(/unsafe/)
  }
  const login = await anonymous.open((await j.begin({ login_hint: payload })).address)
  expect(login.text).not.toMatch(/<img src=x|<script>alert/)
  const wrong = await anonymous.submit(login, { identifier: payload, password: `${password}${payload}` })
  expect(wrong.text).not.toMatch(/<img src=x|<script>alert/)
  expect(wrong.text).not.toContain(password)
})
