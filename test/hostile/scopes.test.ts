// What is granted is part of what was asked, of what the client is registered for, of what the person agreed to and of what the
// API has, whatever is asked in whatever order (CVE-2024-52287, CVE-2026-67332).
import fc from 'fast-check'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createClient } from '#src/clients/clients.ts'
import { change, orders, password, stock } from '#test/support/installation.ts'
import { type Journey, offered, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const openid = ['openid', 'profile', 'email', 'offline_access']
const apis: Record<string, readonly string[]> = { [orders]: ['orders:read', 'orders:write'], [stock]: ['stock:read'] }
const every = [...openid, ...Object.values(apis).flat()]
const clients: Record<string, { scopes: string[]; apis: Record<string, string[]> }> = {
  all: { scopes: openid, apis: { [orders]: ['orders:read', 'orders:write'], [stock]: ['stock:read'] } },
  some: { scopes: ['openid', 'email'], apis: { [orders]: ['orders:read'] } },
  'one-api': { scopes: ['openid', 'profile'], apis: { [stock]: ['stock:read'] } },
  'no-api': { scopes: ['openid'], apis: {} },
}
const registered = (id: string) => [...(clients[id]?.scopes ?? []), ...Object.values(clients[id]?.apis ?? {}).flat()]
const words = (scope: unknown) => (typeof scope === 'string' ? scope.split(' ').filter(Boolean) : [])

let server: TestServer
let j: Journey
let signedIn: Person
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  const { prisma } = server.database
  for (const [id, { scopes, apis: allowed }] of Object.entries(clients)) {
    await createClient(
      prisma,
      { id, type: 'web', redirectUris: [j.callback], scopes, apis: allowed },
      [{ value: j.secret }],
      change(),
    )
    await createClient(prisma, { id: `${id}-service`, type: 'service', apis: allowed }, [{ value: j.secret }], change())
  }
  await server.settle()
  signedIn = (await j.codeFor()).person
})
afterAll(() => server.stop())

const anyScope = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...every) },
  fc.constantFrom('orders:delete', 'admin', 'clients:write', 'ORDERS:READ', 'orders', '*'),
)
const anyResource = fc.constantFrom(undefined, undefined, orders, stock, 'https://unknown.example')

function expectWithin(granted: string[], ...bounds: [string, readonly string[]][]) {
  for (const [name, bound] of bounds)
    for (const scope of granted) expect(bound, `${scope} is not ${name}`).toContain(scope)
}

test('of a person', async () => {
  const ask = fc.record({
    client: fc.constantFrom(...Object.keys(clients)),
    scopes: fc.uniqueArray(anyScope, { minLength: 1, maxLength: 6 }),
    resource: anyResource,
    keep: fc.uniqueArray(fc.constantFrom(...every), { maxLength: 6 }),
    atToken: anyResource,
    narrow: fc.uniqueArray(anyScope, { maxLength: 4 }),
  })
  let issued = 0
  const run = fc.asyncProperty(ask, async ({ client, scopes, resource, keep, atToken, narrow }) => {
    const { address, verifier } = await j.begin({
      client_id: client,
      scope: scopes.join(' '),
      resource,
      prompt: 'consent',
    })
    const person = new Person(server.url)
    for (const [key, value] of signedIn.cookies) if (!key.includes(' ')) person.cookies.set(key, value)
    let page = await person.open(address)
    if (page.url.includes('/login')) page = await person.submit(page, { identifier: 'alice@example.com', password })
    const offer = offered(page)
    // Not more is offered than was asked and registered, and what was not offered is refused.
    expectWithin(offer, ['asked', scopes], ['registered', registered(client)])
    const consented = ['openid', ...keep]
    if (page.url.includes('/consent'))
      page = await person.submit(page, { decision: 'allow', scope: offer.filter((scope) => keep.includes(scope)) })
    const code = page.url.startsWith(j.callback) ? new URL(page.url).searchParams.get('code') : null
    if (!code) return
    const redeemed = await j.redeem(code, verifier, atToken === undefined ? {} : { resource: atToken }, { as: client })
    const bounds: [string, readonly string[]][] = [
      ['asked', scopes],
      ['registered', registered(client)],
      ['agreed to', consented],
    ]
    const check = (body: { access_token?: string; scope?: string }) => {
      if (!body.access_token) return
      issued++
      expectWithin(words(body.scope), ...bounds)
      if (!body.access_token.includes('.')) return
      const claims = decodeJwt(body.access_token)
      expectWithin(words(claims.scope), ...bounds, ['of the audience', apis[String(claims.aud)] ?? []])
    }
    check(redeemed.body)
    if (!redeemed.body.refresh_token) return
    const more: Record<string, string> = narrow.length > 0 ? { scope: narrow.join(' ') } : {}
    check((await j.refresh(redeemed.body.refresh_token, more, { as: client })).body)
    const wide = { scope: every.join(' '), ...(resource === undefined ? {} : { resource }) }
    check((await j.refresh(redeemed.body.refresh_token, wide, { as: client })).body)
  })
  await fc.assert(run, { numRuns: 300, endOnFailure: true })
  expect(issued).toBeGreaterThan(30)
}, 120_000)

test('of a service', async () => {
  const ask = fc.record({
    client: fc.constantFrom(...Object.keys(clients)),
    scopes: fc.uniqueArray(anyScope, { maxLength: 6 }),
    resource: anyResource,
  })
  let issued = 0
  const run = fc.asyncProperty(ask, async ({ client, scopes, resource }) => {
    const fields: Record<string, string> = { grant_type: 'client_credentials' }
    if (scopes.length > 0) fields.scope = scopes.join(' ')
    if (resource !== undefined) fields.resource = resource
    const { status, body } = await j.post('/oauth/token', fields, { as: `${client}-service` })
    if (status !== 200) {
      expect(status).toBe(400)
      return
    }
    issued++
    const audience = body.access_token.includes('.')
      ? String(decodeJwt(body.access_token).aud)
      : String((await j.introspect(body.access_token, `${client}-service`)).body.aud)
    if (resource !== undefined) expect(audience).toBe(resource)
    expectWithin(
      words(body.scope),
      ['asked', scopes],
      ['registered', clients[client]?.apis[audience] ?? []],
      ['of the audience', apis[audience] ?? []],
    )
  })
  await fc.assert(run, { numRuns: 400, endOnFailure: true })
  expect(issued).toBeGreaterThan(30)
})
