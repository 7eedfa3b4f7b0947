// What only the server can judge: opaque tokens, API keys, service clients by Basic (RFC 7662).
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { createGuard, type GuardOptions } from '#src/guard/guard.ts'
import { audience, epoch, outcome, requestWith, startIssuer } from './issuer.ts'

const issuer = await startIssuer()
const troubles: Error[] = []
const client = { clientId: 'orders api', clientSecret: 'a secret: with + and %' }
let at = 0
const guardWith = (options: Partial<GuardOptions> = {}) =>
  createGuard({
    issuer: issuer.url,
    audience,
    introspection: client,
    onTrouble: (trouble) => troubles.push(trouble),
    now: () => Date.now() + at,
    ...options,
  })
afterAll(() => issuer.stop())

const path = '/oauth/introspect'
let answer: Record<string, unknown>
const good = () => ({
  active: true,
  sub: 'alice',
  client_id: 'shop',
  scope: 'orders:read',
  aud: audience,
  exp: epoch() + 60,
})
beforeEach(() => {
  at = 0
  troubles.length = 0
  issuer.asked.length = 0
  answer = good()
  issuer.answers.set(path, () => ({ body: answer }))
})

const call = (headers: Record<string, string>, by = guardWith()) => outcome(by.authenticate(requestWith(headers)))
const bearer = { authorization: 'Bearer opaque' }
const lastAsked = () => issuer.asked.findLast((one) => one.path === path)

it('asks with its own credential and takes what the server says', async () => {
  answer = { ...good(), acr: 'phr', auth_time: 7, auth_method: 'oauth' }
  expect(await call(bearer)).toMatchObject({
    status: 200,
    type: 'user',
    id: 'alice',
    clientId: 'shop',
    scopes: ['orders:read'],
    acr: 'phr',
    authTime: 7,
    authMethod: 'oauth',
  })
  const asked = lastAsked()
  expect(new URLSearchParams(asked?.body).get('token')).toBe('opaque')
  const [id, secret] = atob(asked?.headers.authorization?.slice('Basic '.length) ?? '').split(':')
  const decoded = [id, secret].map((part) => new URLSearchParams(`x=${part}`).get('x'))
  expect(decoded).toEqual([client.clientId, client.clientSecret]) // RFC 6749 2.3.1
})

it.each<[string, Record<string, string>, string, string]>([
  ['an API key in X-API-Key', { 'x-api-key': 'sp_key_abc' }, 'api_key', 'sp_key_abc'],
  ['an API key as bearer', { authorization: 'Bearer sp_key_abc' }, 'api_key', 'sp_key_abc'],
  ['a service client by Basic', { authorization: `Basic ${btoa('reports:secret')}` }, 'basic', btoa('reports:secret')],
])('%s', async (_what, headers, authMethod, token) => {
  answer = { ...good(), auth_method: authMethod }
  expect(await call(headers)).toMatchObject({ status: 200, id: 'alice', authMethod })
  expect(Object.fromEntries(new URLSearchParams(lastAsked()?.body))).toEqual({ token, token_type_hint: authMethod })
})

it('a key of a client is a client', async () => {
  answer = { ...good(), sub: undefined, auth_method: 'api_key' }
  expect(await call({ 'x-api-key': 'sp_key_abc' })).toMatchObject({ type: 'client', id: 'shop' })
})

it.each<[string, Record<string, unknown>]>([
  ['inactive', { active: false }],
  ['active in another type', { active: 'true' }],
  ['for another API', { aud: 'https://api.example.com/invoices' }],
  ['for no API', { aud: undefined }],
  ['expired', { exp: 1 }],
  ['with an expiry that is no number', { exp: 'never' }],
  ['of another kind than was sent', { auth_method: 'api_key' }],
  ['a gateway session, sent as a token', { auth_method: 'session' }],
  ['in nobody’s name', { sub: undefined, client_id: undefined }],
  ['bound to a key, sent as bearer', { cnf: { jkt: 'x' } }],
])('401 invalid_token: %s', async (_what, change) => {
  answer = { ...good(), ...change }
  expect(await call(bearer)).toMatchObject({
    status: 401,
    code: 'invalid_token',
    challenge: 'Bearer error="invalid_token"',
  })
})

it('401: a token that is sent as a key, so that nobody asks for its proof', async () => {
  for (const kind of ['oauth', undefined]) {
    answer = { ...good(), cnf: { jkt: 'x' }, auth_method: kind }
    const sent: Record<string, string>[] = [{ 'x-api-key': 'opaque' }, { authorization: `Basic ${btoa('opaque:x')}` }]
    for (const headers of sent) expect(await call(headers)).toMatchObject({ status: 401, code: 'invalid_token' })
  }
})

it('takes only what it was told to take', async () => {
  const tokensOnly = guardWith({ accept: ['oauth'] })
  expect(await call({ 'x-api-key': 'sp_key_abc' }, tokensOnly)).toMatchObject({ status: 401, code: 'unauthorized' })
  expect(await call({ authorization: 'Bearer sp_key_abc' }, tokensOnly)).toMatchObject({
    status: 401,
    code: 'invalid_token',
  })
  const keysOnly = guardWith({ accept: ['api_key'] })
  expect(await call(bearer, keysOnly)).toMatchObject({ status: 401, code: 'unauthorized' })
  expect(issuer.countOf(path)).toBe(0)
})

it('JWTs are checked here, unless the server is to be asked about them as well', async () => {
  const headers = { authorization: `Bearer ${await issuer.sign({ sub: 'bob' })}` }
  expect(await call(headers)).toMatchObject({ id: 'bob' })
  expect(issuer.countOf(path)).toBe(0)
  expect(await call(headers, guardWith({ introspection: { ...client, jwts: true } }))).toMatchObject({ id: 'alice' })
  expect(issuer.countOf(path)).toBe(1)
})

it.each<[string, { status?: number; body?: unknown; headers?: Record<string, string> }]>([
  ['its own secret is refused', { status: 401, body: { error: 'invalid_client' } }],
  ['it asks too often', { status: 429 }],
  ['the server is down', { status: 500 }],
  ['the server sends it elsewhere', { status: 302, headers: { location: '/elsewhere' } }],
  ['the answer is no object', { body: [] }],
])('503 with Retry-After, and never 401, when %s', async (_what, reply) => {
  issuer.answers.set(path, () => reply)
  issuer.answers.set('/elsewhere', () => ({ body: good() }))
  expect(await call(bearer)).toMatchObject({ status: 503, code: 'temporarily_unavailable', retryAfter: '1' })
  expect(troubles).toHaveLength(1)
})

it('503 when the server does not answer in time', async () => {
  const slow = guardWith({
    fetch: (url, init) =>
      String(url).endsWith(path)
        ? new Promise((_resolve, reject) => init?.signal?.addEventListener('abort', () => reject(init.signal?.reason)))
        : fetch(url, init),
    timeoutSeconds: 0.2,
  })
  expect(await call(bearer, slow)).toMatchObject({ status: 503 })
})

describe('the memory of answers', () => {
  it('is off unless asked for', async () => {
    const guard = guardWith()
    await call(bearer, guard)
    await call(bearer, guard)
    expect(issuer.countOf(path)).toBe(2)
  })

  it('repeats a yes for the seconds it was given, never beyond the expiry, and never a no', async () => {
    const guard = guardWith({ introspection: { ...client, cacheSeconds: 30 } })
    const times = async () => {
      const { status } = await call(bearer, guard)
      return [status, issuer.countOf(path)]
    }
    expect(await times()).toEqual([200, 1])
    answer = { active: false }
    expect(await times()).toEqual([200, 1])
    at = 31_000
    expect(await times()).toEqual([401, 2])
    expect(await times()).toEqual([401, 3])
    answer = { ...good(), exp: epoch() + 31 + 5 }
    expect(await times()).toEqual([200, 4])
    answer = { active: false }
    at = 31_000 + 6_000
    expect(await times()).toEqual([401, 5])
  })

  it('does not take a key for a token of the same letters', async () => {
    const guard = guardWith({ introspection: { ...client, cacheSeconds: 30 } })
    expect(await call(bearer, guard)).toMatchObject({ status: 200 })
    answer = { ...good(), auth_method: 'api_key' }
    expect(await call({ 'x-api-key': 'opaque' }, guard)).toMatchObject({ status: 200, authMethod: 'api_key' })
    expect(issuer.countOf(path)).toBe(2)
  })
})
