// The second door: scopes, the strength of the sign-in, what the server decides (AuthZEN 1.0), and whose the object is.
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { type Caller, createGuard, type GuardOptions } from '#src/guard/guard.ts'
import { audience, epoch, outcome, startIssuer } from './issuer.ts'

const issuer = await startIssuer()
const guardWith = (options: Partial<GuardOptions> = {}) =>
  createGuard({
    issuer: issuer.url,
    audience,
    introspection: { clientId: 'orders-api', clientSecret: 'secret' },
    onTrouble: () => undefined,
    ...options,
  })
const guard = guardWith()
afterAll(() => issuer.stop())

const alice: Caller = {
  type: 'user',
  id: 'alice',
  clientId: 'shop',
  scopes: ['orders:read', 'orders:write'],
  acr: 'urn:sallyport:acr:1fa',
  authTime: epoch() - 100,
  authMethod: 'oauth',
  scheme: 'Bearer',
  claims: {},
}

describe('authorize', () => {
  const ask = (caller: Caller | undefined, needs: Parameters<typeof guard.authorize>[1], by = guard) =>
    outcome(() => by.authorize(caller, needs))

  it('lets any identified caller through where nothing is named, and nobody else', async () => {
    expect(await ask(alice, {})).toMatchObject({ status: 200 })
    expect(await ask(undefined, {})).toMatchObject({ status: 401, challenge: 'Bearer' })
  })

  it('wants every scope, and names all that are needed', async () => {
    expect(await ask(alice, { scopes: ['orders:read', 'orders:write'] })).toMatchObject({ status: 200 })
    expect(await ask(alice, { scopes: ['orders:read', 'orders:delete'] })).toMatchObject({
      status: 403,
      challenge: 'Bearer error="insufficient_scope", scope="orders:read orders:delete"',
    })
    expect(await ask({ ...alice, scopes: [] }, { scopes: ['orders:read'] })).toMatchObject({ status: 403 })
    expect(await ask({ ...alice, scopes: ['orders:reader'] }, { scopes: ['orders:read'] })).toMatchObject({
      status: 403,
    })
  })

  it.each<[string | undefined, string, number]>([
    ['urn:sallyport:acr:1fa', 'urn:sallyport:acr:1fa', 200],
    ['urn:sallyport:acr:1fa', 'urn:sallyport:acr:2fa', 401],
    ['phr', 'urn:sallyport:acr:2fa', 200],
    [undefined, 'urn:sallyport:acr:1fa', 401],
    ['unheard of', 'urn:sallyport:acr:1fa', 401],
    ['phr', 'unheard of', 401],
    ['unheard of', 'unheard of', 200],
  ])('a sign-in of level %s for one of %s: %s', async (acr, needed, status) => {
    expect(await ask({ ...alice, acr }, { acr: needed })).toMatchObject({ status })
  })

  it('wants a sign-in that is recent enough (RFC 9470)', async () => {
    expect(await ask(alice, { maxAge: 200 })).toMatchObject({ status: 200 })
    for (const authTime of [epoch() - 300, undefined])
      expect(await ask({ ...alice, authTime }, { maxAge: 200 })).toMatchObject({
        status: 401,
        challenge: 'Bearer error="insufficient_user_authentication", max_age="200"',
      })
  })

  it('asks for the scope first: a new sign-in would not help whoever lacks it', async () => {
    expect(await ask(alice, { scopes: ['orders:delete'], acr: 'phr' })).toMatchObject({ status: 403 })
  })
})

describe('can', () => {
  const path = '/access/v1/evaluation'
  const order = { type: 'order', id: '88' }
  beforeEach(() => {
    issuer.asked.length = 0
    issuer.answers.set(path, () => ({ body: { decision: true } }))
  })

  it('asks in the words of AuthZEN 1.0, with its own credential', async () => {
    expect(await guard.can(alice, 'orders:read', order, { ip: '192.0.2.1', audience: 'another' })).toBe(true)
    const asked = issuer.asked.find((one) => one.path === path)
    expect(JSON.parse(asked?.body ?? '')).toEqual({
      subject: { type: 'user', id: 'alice' },
      action: { name: 'orders:read' },
      resource: order,
      context: { ip: '192.0.2.1', audience }, // which API it is about is never the handler's to say
    })
    expect(asked?.headers).toMatchObject({
      'content-type': 'application/json',
      authorization: `Basic ${btoa('orders-api:secret')}`,
    })
  })

  it('a program is asked about as a client', async () => {
    await guard.can({ ...alice, type: 'client', id: 'shop' }, 'orders:read', order)
    expect(JSON.parse(issuer.asked.at(-1)?.body ?? '')).toMatchObject({ subject: { type: 'client', id: 'shop' } })
  })

  it('a no is 403, and 404 where the API hides what exists', async () => {
    issuer.answers.set(path, () => ({ body: { decision: false, context: { reason: 'secret' } } }))
    expect(await guard.can(alice, 'orders:read', order)).toBe(false)
    expect(await outcome(guard.requireCan(alice, 'orders:read', order))).toMatchObject({
      status: 403,
      code: 'access_denied',
    })
    const hiding = guardWith({ hideExistence: true })
    expect(await outcome(hiding.requireCan(alice, 'orders:read', order))).toMatchObject({
      status: 404,
      code: 'not_found',
    })
  })

  it('a credential does nothing that it was not given, whatever its owner may do', async () => {
    expect(await guard.can(alice, 'orders:delete', order)).toBe(false)
    expect(await outcome(guard.requireCan(alice, 'orders:delete', order))).toMatchObject({
      status: 403,
      code: 'insufficient_scope',
    })
    expect(issuer.countOf(path)).toBe(0)
  })

  it.each<[string, { status?: number; body?: unknown }]>([
    ['the server is down', { status: 500 }],
    ['the guard itself may not ask', { status: 403 }],
    ['the answer has no decision', { body: {} }],
    ['the decision is a word', { body: { decision: 'true' } }],
  ])('503, neither yes nor no, when %s', async (_what, reply) => {
    issuer.answers.set(path, () => reply)
    for (const asking of [guard.can(alice, 'orders:read', order), guard.requireCan(alice, 'orders:read', order)])
      expect(await outcome(asking)).toMatchObject({ status: 503, retryAfter: '1' })
  })

  it('401 for nobody', async () => {
    expect(await outcome(guard.can(undefined, 'orders:read', order))).toMatchObject({ status: 401 })
    expect(await outcome(guard.requireCan(undefined, 'orders:delete', order))).toMatchObject({ status: 401 })
  })
})

describe('ownership', () => {
  const row = { id: '88', ownerId: 'alice' as string | null }
  const own = (caller: Caller | undefined, found: typeof row | undefined, by = guard) =>
    outcome(() => by.requireOwner(caller, found, (one) => one.ownerId))

  it('gives the row to its owner, and to nobody else', async () => {
    expect(await own(alice, row)).toMatchObject({ status: 200, id: '88' })
    expect(await own({ ...alice, id: 'bob' }, row)).toMatchObject({ status: 403, code: 'access_denied' })
    expect(await own(alice, undefined)).toMatchObject({ status: 404 })
    expect(await own(undefined, row)).toMatchObject({ status: 401 })
    expect(await own(undefined, undefined)).toMatchObject({ status: 401 })
  })

  it('what belongs to nobody is nobody’s', async () => {
    for (const ownerId of [null, '']) expect(await own(alice, { ...row, ownerId })).toMatchObject({ status: 403 })
    expect(guard.owns({ ...alice, id: '' }, '')).toBe(false)
    expect(guard.owns(alice, undefined)).toBe(false)
    expect(guard.owns(alice, 'alice')).toBe(true)
  })

  it('answers alike for what is hidden and what is missing', async () => {
    const hiding = guardWith({ hideExistence: true })
    expect(await own({ ...alice, id: 'bob' }, row, hiding)).toEqual(await own(alice, undefined, hiding))
  })
})
