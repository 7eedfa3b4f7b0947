// What a request gets that names no scope (RFC 6749 3.3), and what a person may leave out; over real HTTP, from the request to the
// refreshed token.

import fc from 'fast-check'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { updateApi } from '#src/apis/apis.ts'
import { updateClient } from '#src/clients/clients.ts'
import type { ClientInput } from '#src/clients/settings.ts'
import { updateUser } from '#src/users/users.ts'
import { change, orders, password, stock } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  await createRole(server.database.prisma, 'clerk', { permissions: ['orders:delete'] }, change())
  const scopes = {
    'orders:read': 'See orders',
    'orders:write': 'Create and change orders',
    'orders:delete': { description: 'Delete orders', byRole: true },
  }
  await updateApi(
    server.database.prisma,
    orders,
    { name: 'Orders', introspectionClients: ['orders-api'], scopes },
    change(),
  )
})
afterAll(() => server.stop())
beforeEach(() => updateUser(server.database.prisma, j.alice.id, { roles: [] }, change()))

const scopesOf = (text: unknown) =>
  String(text ?? '')
    .split(' ')
    .filter(Boolean)
    .sort()
const everyOrder = ['orders:delete', 'orders:read', 'orders:write']

async function shop(choices: Partial<ClientInput>) {
  await updateClient(
    server.database.prisma,
    'shop-web',
    {
      ...{ type: 'web', name: 'Shop', redirectUris: [j.callback] },
      scopes: ['openid', 'profile', 'email', 'offline_access'],
      apis: { [orders]: everyOrder, [stock]: ['stock:read'] },
      ...choices,
    },
    change(),
  )
  await server.settle()
}
async function reports(choices: Partial<ClientInput>) {
  const apis = { [orders]: ['orders:read', 'orders:write'], [stock]: ['stock:read'] }
  await updateClient(server.database.prisma, 'reports', { type: 'service', apis, ...choices }, change())
  await server.settle()
}
const service = (fields: Record<string, string> = {}) =>
  j.post('/oauth/token', { grant_type: 'client_credentials', ...fields }, { as: 'reports' })

/** From the request to the tokens, and one refresh further; each with what introspection says. */
async function go(
  parameters: Record<string, string | undefined>,
  options: { leave?: (offered: string[]) => string[]; resource?: string; person?: Person } = {},
) {
  const { person = new Person(server.url), leave = (offered) => offered, resource } = options
  const { address, verifier } = await j.begin({ scope: undefined, ...parameters })
  const shown: string[][] = []
  const page = await j.walk(person, address, (scopes) => {
    shown.push(scopes)
    return leave(scopes)
  })
  const answer = new URL(page.url)
  const code = answer.searchParams.get('code')
  if (!code) return { error: answer.searchParams.get('error'), shown, tokens: [] as string[][] }
  const target: Record<string, string> = resource ? { resource } : {}
  const first = await j.redeem(code, verifier, target)
  const second = await j.refresh(first.body.refresh_token ?? '', target)
  const tokens = [first, second].map(({ body }) => scopesOf(body.scope))
  for (const { body } of [first, second]) {
    const { active, scope } = (await j.introspect(body.access_token)).body
    expect([active, scopesOf(scope)]).toEqual([true, scopesOf(body.scope)])
  }
  return { error: null, shown, tokens, idToken: first.body.id_token, person }
}

describe('a request without scope gets the defaults (RFC 6749 3.3)', () => {
  test('a service: at the API that it names, and at the only one of which it has some', async () => {
    await reports({ defaultApiScopes: { [orders]: ['orders:read'] } })
    for (const fields of [{}, { resource: orders }, { scope: '' }]) {
      const { status, body } = await service(fields as Record<string, string>)
      expect([status, body.scope, decodeJwt(body.access_token).aud]).toEqual([200, 'orders:read', orders])
    }
    expect((await service({ scope: 'orders:write' })).body.scope).toBe('orders:write')
    expect((await service({ resource: stock })).body).not.toHaveProperty('scope')
  })

  test('a service with defaults at two APIs has to name one', async () => {
    await reports({ defaultApiScopes: { [orders]: ['orders:read'], [stock]: ['stock:read'] } })
    expect((await service()).body.error).toBe('invalid_target')
    expect((await service({ resource: stock })).body.scope).toBe('stock:read')
  })

  test('without a default the answer is what it was: a token without scope, a request that is granted nothing', async () => {
    await reports({})
    await shop({})
    expect((await service({ resource: orders })).body).not.toHaveProperty('scope')
    expect(await go({ resource: orders })).toMatchObject({ error: 'access_denied', shown: [] })
  })

  test('a person agrees to them, and to nothing else', async () => {
    await shop({ defaultScopes: ['openid', 'email'], defaultApiScopes: { [orders]: ['orders:read'] } })
    const { shown, tokens, idToken } = await go({}, { resource: orders })
    expect(shown).toEqual([['email', 'orders:read']])
    expect(tokens).toEqual([['orders:read'], ['orders:read']])
    expect(decodeJwt(idToken ?? '').sub).toBe(j.alice.id)
  })

  test('a pushed request has them as well, and only those of the API it names', async () => {
    await shop({ defaultApiScopes: { [orders]: ['orders:read'], [stock]: ['stock:read'] } })
    const { address } = await j.begin({ scope: undefined, resource: stock })
    const pushed = await j.post('/oauth/par', Object.fromEntries(new URL(address, server.url).searchParams))
    expect(pushed.status).toBe(201)
    const query = new URLSearchParams({ client_id: 'shop-web', request_uri: String(pushed.body.request_uri) })
    let asked: string[] = []
    await j.walk(new Person(server.url), `/oauth/authorize?${query}`, (scopes) => {
      asked = scopes
      return scopes
    })
    expect(asked).toEqual(['stock:read'])
  })

  test('a request that names what it may not have yet names a scope: it gets no default in its place (OIDC Core 11)', async () => {
    await shop({ defaultScopes: ['openid', 'email'] })
    expect(await go({ scope: 'offline_access' })).toMatchObject({ error: 'access_denied', shown: [] })
    const { address } = await j.begin({ scope: 'offline_access' })
    const pushed = await j.post('/oauth/par', Object.fromEntries(new URL(address, server.url).searchParams))
    const query = new URLSearchParams({ client_id: 'shop-web', request_uri: String(pushed.body.request_uri) })
    const page = await j.walk(new Person(server.url), `/oauth/authorize?${query}`)
    expect(new URL(page.url).searchParams.get('error')).toBe('access_denied')
  })

  test('a default by role is a person’s only while a role carries it', async () => {
    await shop({ defaultApiScopes: { [orders]: ['orders:delete', 'orders:read'] } })
    expect((await go({}, { resource: orders })).tokens[0]).toEqual(['orders:read'])
    await updateUser(server.database.prisma, j.alice.id, { roles: ['clerk'] }, change())
    const person = new Person(server.url)
    expect((await go({ prompt: 'consent' }, { resource: orders, person })).tokens[0]).toEqual([
      'orders:delete',
      'orders:read',
    ])
  })
})

describe('a client says what may be left out', () => {
  const asked = { scope: 'openid email orders:read orders:write', resource: orders, prompt: 'consent' }

  test('the rest is not offered and stays in; what is left out stays out of every token', async () => {
    await shop({ optionalScopes: [], optionalApiScopes: { [orders]: ['orders:write'] } })
    const all = await go(asked, { resource: orders })
    expect([all.shown, all.tokens]).toEqual([
      [['orders:write']],
      [
        ['orders:read', 'orders:write'],
        ['orders:read', 'orders:write'],
      ],
    ])
    const less = await go(asked, { resource: orders, leave: () => [] })
    expect(less.tokens).toEqual([['orders:read'], ['orders:read']])
    // In the same session what was left out is not asked for again, and not given either.
    const again = await go({ ...asked, prompt: undefined }, { resource: orders, person: less.person as Person })
    expect([again.shown, again.tokens[0]]).toEqual([[], ['orders:read']])
  })

  test('a box for what is required is refused', async () => {
    await shop({ optionalApiScopes: { [orders]: [] } })
    const { address } = await j.begin(asked)
    const person = new Person(server.url)
    const login = await person.open(address)
    const consent = await person.submit(login, { identifier: 'alice@example.com', password })
    const page = await person.submit(consent, { decision: 'allow', scope: ['email', 'orders:write'] })
    expect(page.status).toBe(400)
  })
})

const subset = (names: readonly string[]) => fc.subarray([...names])
const openidNames = ['openid', 'profile', 'email'] as const
const registered = fc
  .record({ openid: subset(openidNames), atOrders: subset(everyOrder), atStock: subset(['stock:read']) })
  .chain(({ openid, atOrders, atStock }) =>
    fc.record({
      openid: fc.constant(openid),
      atOrders: fc.constant(atOrders),
      atStock: fc.constant(atStock),
      defaults: fc.record({ openid: subset(openid), atOrders: subset(atOrders), atStock: subset(atStock) }),
      optional: fc.record({
        openid: fc.option(subset(openid.filter((name) => name !== 'openid')), { nil: undefined }),
        atOrders: fc.option(subset(atOrders), { nil: undefined }),
      }),
    }),
  )
const ask = fc.record({
  scope: fc.option(
    fc.uniqueArray(fc.constantFrom(...openidNames, ...everyOrder, 'stock:read', 'bogus'), { minLength: 1 }),
    { nil: undefined },
  ),
  resource: fc.constantFrom(undefined, orders, stock),
  isClerk: fc.boolean(),
  left: subset([...openidNames, ...everyOrder, 'stock:read']),
})

test('granted is a subset of what was asked (or is the default), registered, held, and not left out', {
  timeout: 300_000,
}, async () => {
  let granted = 0
  await fc.assert(
    fc.asyncProperty(registered, ask, async (client, { scope, resource, isClerk, left }) => {
      const apis = { [orders]: client.atOrders, [stock]: client.atStock }
      const named = <T>(api: string, names: T, has: readonly string[]) => (has.length > 0 ? { [api]: names } : {})
      await shop({
        scopes: client.openid,
        apis,
        defaultScopes: client.defaults.openid,
        defaultApiScopes: {
          ...named(orders, client.defaults.atOrders, client.atOrders),
          ...named(stock, client.defaults.atStock, client.atStock),
        },
        optionalScopes: client.optional.openid,
        optionalApiScopes: client.optional.atOrders ? named(orders, client.optional.atOrders, client.atOrders) : {},
      })
      await updateUser(server.database.prisma, j.alice.id, { roles: isClerk ? ['clerk'] : [] }, change())
      const { shown, tokens } = await go(
        { scope: scope?.join(' '), resource },
        { ...(resource && { resource }), leave: (offered) => offered.filter((name) => !left.includes(name)) },
      )
      const wanted = scope ?? [...client.defaults.openid, ...client.defaults.atOrders, ...client.defaults.atStock]
      const mayHave = [...client.openid, ...client.atOrders, ...client.atStock].filter(
        (name) => name !== 'orders:delete' || isClerk,
      )
      const leftOut = shown.flat().filter((name) => left.includes(name))
      for (const name of tokens.flat()) {
        granted++
        expect(wanted).toContain(name)
        expect(mayHave).toContain(name)
        expect(leftOut).not.toContain(name)
      }
      // Only what may be left out is offered.
      const optional = [
        ...(client.optional.openid ?? openidNames.filter((name) => name !== 'openid')),
        ...(client.optional.atOrders ?? everyOrder),
        'stock:read',
      ]
      for (const name of shown.flat()) expect(optional).toContain(name)
    }),
    { numRuns: 40 },
  )
  expect(granted).toBeGreaterThan(10)
})
