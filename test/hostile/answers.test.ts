// What every answer carries and keeps to itself: cookies, decision ids, the order of the two doors, and the log and the record
// searched for everything that was planted.
import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient } from '#src/clients/clients.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createUser } from '#src/users/users.ts'
import { change, orders, stock } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
/** What must never be read anywhere, by name. */
const canaries = new Map<string, string>()
const cookiesSet: string[] = []

/** A person whose every Set-Cookie is written down. */
class Watched extends Person {
  override async fetch(address: string | URL, init: RequestInit = {}): Promise<Response> {
    const response = await super.fetch(address, init)
    cookiesSet.push(...response.headers.getSetCookie())
    return response
  }
}

const canary = (name: string, value: string) => {
  expect(value.length, name).toBeGreaterThan(11)
  canaries.set(name, value)
  return value
}

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  const planted = canary('password', `pw-${randomBytes(12).toString('hex')}`)
  const email = canary('email', `canary-${randomBytes(6).toString('hex')}@example.com`)
  const { prisma } = server.database
  await createUser(
    prisma,
    { email, emailVerified: true, name: 'Canary', passwordHash: await hashPassword(planted) },
    change(),
  )

  const person = new Watched(server.url)
  const walk = async (address: string): Promise<Page> => {
    let page = await person.open(address)
    for (let step = 0; step < 4 && page.url.startsWith(server.url); step++)
      if (page.url.includes('/login')) page = await person.submit(page, { identifier: email, password: planted })
      else if (page.url.includes('/consent')) page = await person.submit(page, { decision: 'allow' })
    return page
  }
  const state = canary('state', `state-${randomBytes(12).toString('hex')}`)
  const nonce = canary('nonce', `nonce-${randomBytes(12).toString('hex')}`)
  const login = await person.open((await j.begin({ state, nonce })).address)
  const wrong = canary('mistyped password', `typo-${randomBytes(12).toString('hex')}`)
  await person.submit(login, { identifier: email, password: wrong })
  // People type their password into the first field.
  await person.submit(login, { identifier: planted, password: wrong })
  const { address, verifier } = await j.begin({
    state,
    nonce,
    scope: 'openid email offline_access orders:read',
    resource: orders,
    prompt: 'consent',
  })
  canary('code_verifier', verifier)
  const code = canary('code', new URL((await walk(address)).url).searchParams.get('code') ?? '')
  const { body } = await j.redeem(code, verifier, { resource: orders })
  canary('JWT access token', body.access_token)
  canary('JWT access token’s signature', body.access_token.split('.')[2] ?? '')
  canary('ID token', body.id_token ?? '')
  canary('refresh token', body.refresh_token ?? '')
  const next = await j.refresh(body.refresh_token ?? '')
  canary('opaque access token', next.body.access_token)
  canary('successor', next.body.refresh_token ?? '')
  await j.userinfo(next.body.access_token)
  await j.introspect(next.body.access_token)
  await j.revoke(next.body.access_token)
  await j.redeem(code, verifier) // reuse
  canary('client secret', j.secret)
  canary('wrong client secret', `no-${randomBytes(20).toString('hex')}`)
  await j.post(
    '/oauth/token',
    { grant_type: 'client_credentials' },
    { as: null, headers: { Authorization: j.basic('reports', canaries.get('wrong client secret')) } },
  )
  await j.post('/oauth/token', { grant_type: 'password', username: email, password: planted })
  await j.post(
    '/oauth/token',
    { grant_type: 'client_credentials', scope: canary('unknown scope', `s-${randomBytes(12).toString('hex')}`) },
    { as: 'reports' },
  )
  await j.refresh(canary('unknown refresh token', `sp_rt_${randomBytes(32).toString('base64url')}`))
  await fetch(`${server.url}/oauth/userinfo?access_token=${next.body.access_token}`)
  await fetch(`${server.url}/oauth/userinfo`, {
    headers: { Authorization: `Bearer ${canary('unknown token', `sp_at_${randomBytes(32).toString('base64url')}`)}` },
  })
  await fetch(`${server.url}/api/v1/clients`, {
    headers: { 'X-API-Key': canary('unknown key', `sp_key_${randomBytes(32).toString('hex')}`) },
  })
  await fetch(`${server.url}/api/v1/clients/${body.access_token}?access_token=${body.access_token}`)
  await fetch(`${server.url}/nowhere/${planted}`)
  await fetch(
    `${server.url}/oauth/authorize?login_hint=${encodeURIComponent(email)}&id_token_hint=${body.id_token}&state=%00${state}`,
  )
  const pushed = await j.post('/oauth/par', [
    ...new URLSearchParams((await j.begin({ login_hint: email })).address.split('?')[1]),
  ])
  canary('request_uri', String(pushed.body.request_uri).split(':').at(-1) ?? '')
  const page = await person.open('/oauth/logout')
  canary('csrf token', /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? '')
  for (const [key, { value }] of person.cookies) if (value.length > 11) canary(`cookie ${key}`, value)
  await person.submit(page, { decision: 'logout' })
})
afterAll(() => server.stop())

describe('planted values are found nowhere', () => {
  const spellings = (value: string) => [
    value,
    encodeURIComponent(value),
    Buffer.from(value).toString('base64').replace(/=+$/, ''),
    Buffer.from(value).toString('hex'),
  ]

  test('in no line of the log (ASVS 16.2.5)', () => {
    const log = server.logged.join('\n')
    expect(server.logged.length).toBeGreaterThan(20)
    expect(canaries.size).toBeGreaterThan(20)
    for (const [name, value] of canaries)
      for (const spelling of spellings(value))
        expect(log.toLowerCase().includes(spelling.toLowerCase()), name).toBe(false)
  })

  test('in no row of the record', async () => {
    const { rows } = await server.database.pool.query(`SELECT event, audit_event::text AS text FROM audit_event`)
    for (const event of [
      'login.failed',
      'login.succeeded',
      'consent.granted',
      'token.refused',
      'grant.revoked',
      'logout.completed',
    ])
      expect(
        rows.some((row) => row.event === event),
        event,
      ).toBe(true)
    for (const { event, text } of rows)
      for (const [name, value] of canaries)
        for (const spelling of spellings(value))
          expect(String(text).toLowerCase().includes(spelling.toLowerCase()), `${name} in ${event}`).toBe(false)
  })

  test('and the search would find one', () => {
    const line = JSON.stringify({ event: 'x', path: canaries.get('code') })
    expect([...canaries.values()].some((value) => spellings(value).some((spelling) => line.includes(spelling)))).toBe(
      true,
    )
  })
})

describe('cookies', () => {
  test('each is HttpOnly, SameSite=Lax or Strict, without a domain, shorter than 4096 bytes (ASVS 3.3)', () => {
    const names = new Set(cookiesSet.map((line) => line.split('=')[0]))
    for (const name of ['sallyport_session', 'sallyport_interaction', 'sallyport_resume', 'sallyport_csrf'])
      expect(names).toContain(name)
    for (const line of cookiesSet) {
      expect(line).toMatch(/; httponly/i)
      expect(line).toMatch(/; samesite=(lax|strict)/i)
      expect(line).not.toMatch(/; domain=/i)
      expect(line.length).toBeLessThan(4096)
      expect(line, 'a session lives as long as the browser, or has an end').not.toMatch(/max-age=\d{9,}/i)
    }
    for (const line of cookiesSet.filter((cookie) => /^sallyport_(session|csrf)/.test(cookie)))
      expect(line).toMatch(/; path=\/(;|$)/)
    for (const line of cookiesSet.filter((cookie) => /^sallyport_(interaction|resume)/.test(cookie)))
      expect(line).toMatch(/; path=\/(interaction|oauth\/authorize)\/[\w-]{43}(;|$)/)
  })

  test('none is set by an endpoint that programs call', async () => {
    for (const path of [
      '/oauth/token',
      '/oauth/par',
      '/oauth/revoke',
      '/oauth/introspect',
      '/oauth/userinfo',
      '/oauth/jwks',
      '/.well-known/openid-configuration',
      '/api/v1/clients',
      '/healthz',
    ])
      for (const method of ['GET', 'POST'])
        expect((await fetch(server.url + path, { method })).headers.getSetCookie(), `${method} ${path}`).toEqual([])
  })
})

/** A caller who is nobody, in all the ways one can be. */
const nobody = fc.oneof(
  fc.constant<Record<string, string>>({}),
  fc
    .constantFrom('Bearer x', 'Bearer', 'Bearer a b', 'Basic eDp5', 'Basic x', 'DPoP x', 'Digest x', 'Negotiate', 'x')
    .map((Authorization) => ({ Authorization })),
  fc.base64String({ minLength: 4, maxLength: 60 }).map((value) => ({ Authorization: `Bearer ${value}` })),
  fc.base64String({ minLength: 4, maxLength: 60 }).map((value) => ({ Authorization: `Basic ${value}` })),
  fc.stringMatching(/^[a-zA-Z0-9_]{1,40}$/).map((value) => ({ 'X-API-Key': value })),
  fc.constant({ Authorization: 'Bearer x', 'X-API-Key': 'y' }),
  fc
    .stringMatching(/^[a-z0-9-]{1,20}$/)
    .map((id) => ({ Authorization: `Basic ${Buffer.from(`${id}:${'s'.repeat(40)}`).toString('base64')}` })),
  fc
    .constantFrom('shop-web', 'reports', 'orders-api')
    .map((id) => ({ Authorization: `Basic ${Buffer.from(`${id}:${'s'.repeat(40)}`).toString('base64')}` })),
)

test('never a 403 for a caller who is not identified, over every route of /oauth and /api', async () => {
  const routes = [
    '/oauth/token',
    '/oauth/par',
    '/oauth/revoke',
    '/oauth/introspect',
    '/oauth/userinfo',
    '/oauth/register',
    '/oauth/device',
    '/oauth/backchannel',
    '/oauth/jwks',
    '/oauth/nowhere',
    '/api/v1/clients',
    '/api/v1/clients/shop-web',
    '/api/v1/users',
    '/api/v1/users/x',
    '/api/v1/apis',
    '/api/v1/nowhere',
    '/api/openapi.json',
    '/api/docs/nowhere',
    '/api',
    '/api/v1',
  ]
  /** Public documents: what verifiers and generators of clients read before they know anyone here. */
  const open = new Set(['/oauth/jwks', '/api/openapi.json'])
  const asked = fc.record({
    path: fc.constantFrom(...routes),
    method: fc.constantFrom('GET', 'POST', 'PUT', 'PATCH', 'DELETE'),
    headers: nobody,
    grant: fc.constantFrom('client_credentials', 'refresh_token', 'authorization_code', 'password', 'x'),
  })
  const run = fc.asyncProperty(asked, async ({ path, method, headers, grant }) => {
    const body = new URLSearchParams({
      grant_type: grant,
      token: 'x',
      refresh_token: 'x',
      code: 'x',
      scope: 'orders:read',
      response_type: 'code',
    })
    const response = await fetch(server.url + path, {
      method,
      headers,
      redirect: 'manual',
      ...(method === 'GET' ? {} : { body }),
    })
    const about = `${method} ${path} ${JSON.stringify(headers)} -> ${response.status}`
    expect(response.status, about).not.toBe(403)
    expect(response.status, about).toBeLessThan(500)
    if (!open.has(path)) expect(response.status, about).toBeGreaterThanOrEqual(400)
    if (response.status === 401) expect(response.headers.get('www-authenticate'), about).toBeTruthy() // RFC 9110 15.5.2
    if ([400, 401].includes(response.status))
      expect(response.headers.get('x-decision-id'), about).toMatch(/^[\w-]{16,64}$/)
  })
  await fc.assert(run, { numRuns: 600, endOnFailure: true })
})

describe('a refusal', () => {
  /** Everything an answer says, but for what differs between any two answers. */
  const told = async (response: Response) => {
    const text = (await response.text()).replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID')
    return [response.status, response.headers.get('www-authenticate'), text]
  }

  test('of a client does not say whether it exists, is switched off, or has another secret', async () => {
    const { prisma } = server.database
    await createClient(prisma, { id: 'switched-off', type: 'service' }, [{ value: j.secret }], change())
    await prisma.client.update({ where: { id: 'switched-off' }, data: { disabledAt: new Date() } })
    const answers = await Promise.all(
      [
        ['reports', 'x'.repeat(43)],
        ['nobody', j.secret],
        ['switched-off', j.secret],
        ['shop-spa', j.secret],
      ].map(([id = '', secret = '']) =>
        fetch(`${server.url}/oauth/token`, {
          method: 'POST',
          headers: { Authorization: j.basic(id, secret) },
          body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'orders:read' }),
        }).then(told),
      ),
    )
    for (const answer of answers) expect(answer).toEqual(answers[0])
    expect(answers[0]?.[0]).toBe(401)
  })

  test('of a code does not say which part was wrong', async () => {
    const one = await j.codeFor({ scope: 'openid' })
    const answers = [
      await j.redeem('sp_ac_unknown', one.verifier),
      await j.redeem(one.code, 'x'.repeat(43)),
      await j.redeem(one.code, one.verifier, { redirect_uri: 'https://shop.example/other' }),
      await j.redeem(one.code, one.verifier, {}, { as: 'shop-spa' }),
    ]
    for (const { status, body } of answers) expect([status, body]).toEqual([answers[0]?.status, answers[0]?.body])
  })

  test('of a token does not say whether it was ever one', async () => {
    const { access_token, refresh } = await j.tokensFor({ scope: 'openid' })
    await j.revoke(access_token)
    const api = await j.tokensFor({ scope: 'stock:read' })
    const answers = await Promise.all(
      ['sp_at_unknown', 'garbage', access_token, refresh].map((value) => j.userinfo(value).then(told)),
    )
    for (const answer of answers) expect(answer).toEqual(answers[0])
    const admin = await Promise.all(
      ['sp_at_unknown', 'garbage', access_token, api.access_token, refresh].map((value) =>
        fetch(`${server.url}/api/v1/clients`, { headers: { Authorization: `Bearer ${value}` } }).then(told),
      ),
    )
    for (const answer of admin) expect(answer).toEqual(admin[0])
  })

  test('of a resource does not say whether the API exists', async () => {
    const ask = (resource: string, as: string) =>
      j.post('/oauth/token', { grant_type: 'client_credentials', scope: 'orders:read', resource }, { as })
    const [unknown, foreign] = [await ask('https://unknown.example', 'orders-api'), await ask(stock, 'orders-api')]
    expect([unknown.status, unknown.body]).toEqual([foreign.status, foreign.body])
  })

  test('has an id of its own each time, which says nothing by itself', async () => {
    const ids = await Promise.all(
      Array.from({ length: 10 }, async () =>
        (await fetch(`${server.url}/oauth/userinfo`)).headers.get('x-decision-id'),
      ),
    )
    expect(new Set(ids).size).toBe(10)
    for (const id of ids) expect(id).toMatch(/^[0-9a-f-]{36}$/)
  })
})
