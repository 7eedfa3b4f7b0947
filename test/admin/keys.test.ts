// The admin API on signing keys, on the whole server; and keys that change by hand as fast as hands can, under the eyes of a verifier.
import { createLocalJWKSet, decodeProtectedHeader, type JSONWebKeySet, jwtVerify } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { announcedSeconds, keysMaxAgeSeconds, retireSigningKey, rotateSigningKeys } from '#src/keys/key-rotation.ts'
import { type AdminApi, startAdminApi } from '#test/support/admin-api.ts'
import { change } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import type { TestServer } from '#test/support/server.ts'

let api: AdminApi
let server: TestServer
let j: Journey
beforeAll(async () => {
  api = await startAdminApi()
  server = api.server
  j = await startJourney(server)
  await server.settle()
})
afterAll(() => api.stop())

const call = (method: string, path: string, body?: unknown) => api.call(method, `/keys${path}`, { body })
type Row = { kid: string; alg: string; state: string }
const find = async (alg: string, state: string) =>
  ((await call('GET', '')).body.data as Row[]).find((row) => row.alg === alg && row.state === state)?.kid ?? ''

test('list shows every key with its age and what happens next, and nothing private', async () => {
  const { status, body } = await call('GET', '')
  expect([status, body.data.length]).toEqual([200, 6])
  expect(JSON.stringify(body)).not.toMatch(/"(d|p|q|privateJwk)"/)
  const [current, next] = ['current', 'next'].map((state) =>
    body.data.find((row: Row) => row.alg === 'ES256' && row.state === state),
  )
  const days = (from: string, to: string) => (Date.parse(to) - Date.parse(from)) / 86_400_000
  expect(current.nextChange.what).toBe('retires')
  expect(days(current.activatedAt, current.nextChange.at)).toBe(server.config.signingKeyRotationDays)
  expect(next.nextChange).toEqual({ what: 'signs', at: current.nextChange.at })
  expect(current.ageSeconds).toBeLessThan(600)
  expect((await call('GET', '?state=current')).status).toBe(400)
})

test('the scopes are keys:read and keys:write', async () => {
  const as = (scope: string, method: string, path: string) =>
    api.call(method, `/keys${path}`, { scopes: [scope], ...(method === 'POST' && { body: {} }) })
  expect((await as('clients:read', 'GET', '')).status).toBe(403)
  expect((await as('keys:read', 'GET', '')).status).toBe(200)
  expect((await as('keys:read', 'POST', '/rotate')).status).toBe(403)
  expect((await as('keys:read', 'POST', '/x/retire')).status).toBe(403)
})

test('a key that was announced a moment ago does not sign because somebody asks: 200 with what is waited for, 409 for one by name', async () => {
  const { status, body } = await call('POST', '/rotate', {})
  expect([status, body.rotated, body.early.length]).toEqual([200, [], 3])
  const kid = await find('ES256', 'current')
  expect(await call('POST', `/${kid}/retire`, {})).toMatchObject({ status: 409, body: { error: 'changed' } })
  expect(await find('ES256', 'current')).toBe(kid)
})

test('unannounced, for a key that leaked: it retires at once, its neighbour signs, another is announced', async () => {
  const [kid, next] = [await find('ES256', 'current'), await find('ES256', 'next')]
  const { status, body } = await call('POST', `/${kid}/retire`, { unannounced: true })
  expect([status, body]).toEqual([
    200,
    { alg: 'ES256', retired: kid, withdrawn: false, current: next, next: await find('ES256', 'next') },
  ])
  expect(await find('ES256', 'retired')).toBe(kid)
  const [retired] = (await call('GET', '')).body.data.filter((row: Row) => row.kid === kid)
  expect(retired.nextChange.what).toBe('removed')
  expect(Date.parse(retired.nextChange.at) - Date.parse(retired.retiredAt)).toBeGreaterThan(3_600_000)
  expect(await call('POST', `/${kid}/retire`, { unannounced: true })).toMatchObject({ status: 409 })
  const only = await call('POST', '/rotate', { alg: 'EdDSA', unannounced: true })
  expect(only.body.rotated.map(({ alg }: Row) => alg)).toEqual(['EdDSA'])
  const [row] = await server.database.prisma.auditEvent.findMany({ where: { event: 'key.retired', targetId: kid } })
  expect(row).toMatchObject({ actorKind: 'api_key', detail: { alg: 'ES256' } })
})

test('one that is announced can be withdrawn: it never signed, so it is gone', async () => {
  const [current, next] = [await find('RS256', 'current'), await find('RS256', 'next')]
  const { body } = await call('POST', `/${next}/retire`, {})
  expect(body).toMatchObject({ withdrawn: true, current, retired: next })
  expect(await find('RS256', 'next')).toBe(body.next)
  expect(await call('POST', `/${next}/retire`, {})).toMatchObject({ status: 404, body: { error: 'not_found' } })
})

test.each([
  ['/rotate', { alg: 'HS256' }, 400],
  ['/rotate', { force: true }, 400],
  ['/nobody/retire', {}, 404],
  ['/nobody/retire', { unannounced: 'yes' }, 400],
])('%s with %j is %i', async (path, body, status) => expect((await call('POST', path, body)).status).toBe(status))

test('of five people who press the button at once one retires the key', async () => {
  const kid = await find('ES256', 'current')
  const answers = await Promise.all(
    Array.from({ length: 5 }, () => call('POST', `/${kid}/retire`, { unannounced: true })),
  )
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409, 409, 409, 409])
})

test('a verifier that keeps the published keys for as long as Cache-Control allows never fails, however often somebody rotates and retires by hand', async () => {
  await server.settle()
  const service = async () =>
    (await j.post('/oauth/token', { grant_type: 'client_credentials', scope: 'orders:read' }, { as: 'reports' })).body
      .access_token
  let held: { keys: JSONWebKeySet; until: number } | undefined
  const signers = new Set<string>()
  const tokens: string[] = []
  let refused = 0
  // By a clock of their own: again and again somebody tries everything they may.
  const begin = Date.now() + 2 * announcedSeconds * 1000
  for (let seconds = 0; seconds <= 4 * announcedSeconds; seconds += 100) {
    const at = { ...change(), now: new Date(begin + seconds * 1000) }
    await rotateSigningKeys(server.database, server.secretKeys, { afterSeconds: 0, algorithms: ['ES256'], change: at })
    const kid = await find('ES256', 'current')
    await retireSigningKey(server.database, server.secretKeys, { kid, change: at }).catch(() => refused++)
    await server.settle()

    const jwt = await service()
    signers.add(decodeProtectedHeader(jwt).kid ?? '')
    tokens.push(jwt)
    if (!held || held.until <= seconds) {
      const answer = await fetch(`${server.url}/oauth/jwks`)
      expect(answer.headers.get('cache-control')).toBe(`public, max-age=${keysMaxAgeSeconds}`)
      held = { keys: (await answer.json()) as JSONWebKeySet, until: seconds + keysMaxAgeSeconds }
    }
    // What was issued a moment ago, and what is about to expire: 900 seconds.
    for (const token of tokens.slice(-9)) await jwtVerify(token, createLocalJWKSet(held.keys))
  }
  expect(signers.size).toBeGreaterThanOrEqual(4)
  expect(refused).toBeGreaterThan(100)
}, 120_000)
