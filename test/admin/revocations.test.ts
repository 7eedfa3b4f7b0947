// The admin API on tokens and revocations, on the whole server: who may follow, look and end, and what is refused.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { ensureOwnApi } from '#src/bootstrap/own-api.ts'
import { createClient } from '#src/clients/clients.ts'
import { rowIdOfValue, rowIdText } from '#src/tokens/row-ids.ts'
import { endUserTokens } from '#src/users/users.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let prisma: TestServer['database']['prisma']
let j: Journey
const keys = new Map<string, string>()

beforeAll(async () => {
  server = await startServer()
  prisma = server.database.prisma
  j = await startJourney(server)
  const ownApi = `${server.url}/api`
  await ensureOwnApi(server.database, ownApi, change())
  await createClient(prisma, { id: 'robot', type: 'service', apis: { [ownApi]: Object.keys(ownScopes) } }, [], change())
  for (const scope of ['revocations:read', 'tokens:read', 'tokens:write']) {
    const key = { name: scope, apis: { [ownApi]: [scope] }, owner: { clientId: 'robot' } }
    keys.set(scope, (await createApiKey(prisma, key, change())).value)
  }
  await server.settle()
})
afterAll(() => server.stop())

const call = async (path: string, scope: string, init: RequestInit = {}) => {
  const response = await fetch(`${server.url}/api/v1${path}`, {
    ...init,
    headers: { 'X-API-Key': keys.get(scope) ?? '', ...init.headers },
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text), text }
}
const post = (path: string, scope: string, body: unknown) =>
  call(path, scope, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
const end = (body: unknown) => post('/revocations', 'tokens:write', body)
const idOf = (value: string) => rowIdText(rowIdOfValue(value))

describe('each route needs its own scope', () => {
  test.each([
    ['GET', '/revocations', 'revocations:read'],
    ['POST', '/revocations', 'tokens:write'],
    ['GET', '/tokens/x', 'tokens:read'],
    ['POST', '/tokens/lookup', 'tokens:read'],
  ])('%s %s: %s', async (method, path, scope) => {
    for (const held of keys.keys()) {
      const { status } = await call(path, held, { method })
      expect(status === 403, `${held}: ${status}`).toBe(held !== scope)
    }
  })
})

describe('GET /revocations', () => {
  let from = ''
  const next = async (after: string) =>
    (await call(`/revocations?after=${encodeURIComponent(after)}`, 'revocations:read')).body
  beforeEach(async () => {
    const page = (await call('/revocations', 'revocations:read')).body
    from = page.next
  })

  test('always says where to go on, from an empty feed too, and tells of a revocation once', async () => {
    expect(from).toMatch(/^[0-9a-z.]+$/)
    expect(await next(from)).toEqual({ data: [], next: from })
    const at = Math.floor(Date.now() / 1000)
    await endUserTokens(prisma, j.alice.id, change())
    const page = await next(from)
    expect(page.data).toEqual([
      { kind: 'user', target: j.alice.id, issuedBefore: expect.any(Number), at: expect.stringMatching(/Z$/) },
    ])
    expect(page.data[0].issuedBefore).toBeGreaterThanOrEqual(at)
    expect(page.next).not.toBe(from)
    expect((await next(page.next)).data).toEqual([])
  })

  test('with ETag: nothing new costs no body, something new does', async () => {
    const path = `/revocations?after=${from}`
    const first = await call(path, 'revocations:read')
    const again = { headers: { 'If-None-Match': first.headers.get('etag') ?? '' } }
    const same = await call(path, 'revocations:read', again)
    expect([first.status, same.status, same.text]).toEqual([200, 304, ''])
    await endUserTokens(prisma, j.alice.id, change())
    const news = await call(path, 'revocations:read', again)
    expect([news.status, news.body.data.length]).toEqual([200, 1])
  })

  test('a JWT is named by its jti, its grant by the claim grant_id', async () => {
    const held = await j.tokensFor({ scope: 'openid orders:read', resource: orders }, undefined, { resource: orders })
    const claims = JSON.parse(Buffer.from(held.access_token.split('.')[1] ?? '', 'base64url').toString())
    await end({ target: { token: held.access_token } })
    await end({ target: { grant: claims.grant_id } })
    const entries = (await next(from)).data
    expect(entries).toMatchObject([
      { kind: 'token', target: claims.jti },
      { kind: 'grant', target: claims.grant_id },
    ])
    for (const { issuedBefore } of entries) expect(claims.iat).toBeLessThanOrEqual(issuedBefore)
  })

  test.each(['after=x', 'after=', 'after=5:6:', 'limit=0', 'limit=1001', 'limit=1&limit=1', 'before=x'])(
    '%s is 400',
    async (query) => {
      const { status, body } = await call(`/revocations?${query}`, 'revocations:read')
      expect([status, body.error]).toEqual([400, 'invalid_request'])
      expect(body.detail).toContain(query.split('=')[0])
    },
  )
})

describe('POST /revocations', () => {
  test('dry run, confirm, count to zero; the record says who', async () => {
    const held = await j.tokensFor()
    const target = { token: idOf(held.access_token) }
    expect(await end({ target, dryRun: true })).toMatchObject({
      status: 200,
      body: { dryRun: true, counts: { accessTokens: 1 } },
    })
    expect((await j.userinfo(held.access_token)).status).toBe(200)
    expect((await end({ target })).body).toEqual({ dryRun: false, revoked: true })
    expect((await j.userinfo(held.access_token)).status).toBe(401)
    expect((await end({ target, dryRun: true })).body.counts).toEqual({
      accessTokens: 0,
      refreshTokens: 0,
      codes: 0,
      grants: 0,
      sessions: 0,
      apiKeys: 0,
      more: false,
    })
    expect(await prisma.auditEvent.findMany({ where: { targetId: target.token } })).toMatchObject([
      { event: 'token.revoked', actorKind: 'api_key', address: expect.any(String), requestId: expect.any(String) },
    ])
  })

  test('API keys are counted with the tokens of their owner, and end with them', async () => {
    const owner = { clientId: 'reports' }
    await createApiKey(prisma, { name: 'k', apis: { [orders]: ['orders:read'] }, owner }, change())
    const target = { client: 'reports' }
    expect(await end({ target, dryRun: true })).toMatchObject({ status: 200, body: { counts: { apiKeys: 1 } } })
    expect((await end({ target })).status).toBe(200)
    expect(await end({ target, dryRun: true })).toMatchObject({ status: 200, body: { counts: { apiKeys: 0 } } })
  })

  test('every kind of target is understood', async () => {
    const held = await j.tokensFor()
    const grant = (
      await prisma.token.findUniqueOrThrow({ where: { id: new Uint8Array(rowIdOfValue(held.access_token)) } })
    ).grantId
    const session = (await prisma.grant.findUniqueOrThrow({ where: { id: grant ?? '' } })).sessionUid
    for (const target of [
      { token: held.access_token },
      { grant },
      { session },
      { consent: { user: j.alice.id, client: 'shop-web' } },
      { user: j.alice.id },
      { client: 'reports' },
      { api: orders },
      { before: '2026-01-01T00:00:00+01:00' },
      { before: 'now' },
    ]) {
      const answers = [await end({ target, dryRun: true }), await end({ target })]
      expect(
        answers.map(({ status, text }) => (status === 200 ? 200 : text)),
        JSON.stringify(target),
      ).toEqual([200, 200])
    }
  })

  test.each<[unknown, string]>([
    [{ target: { grant: 'x' }, dryrun: true }, 'dryrun'],
    [{ target: { grant: 'x', Dry: true } }, 'target.Dry'],
    [{ target: { consent: { user: 'x', client: 'y', z: 1 } } }, 'target.consent.z'],
    ['{"target":{"grant":"x"},"__proto__":{"dryRun":true}}', '__proto__'],
    [{ target: {} }, 'target'],
    [{ target: { grant: 'x', user: 'y' } }, 'target'],
    [{}, 'target'],
    [{ target: { grant: 5 } }, 'target.grant'],
    [{ target: { grant: 'x' }, dryRun: 'true' }, 'dryRun'],
    [{ target: { before: '2026-01-01T00:00:00' } }, 'target.before'],
    [{ target: { before: 'yesterday' } }, 'target.before'],
    [{ target: { consent: 'x' } }, 'target.consent'],
    [[], 'JSON object'],
    ['null', 'JSON object'],
    ['{', 'not JSON'],
    ['', 'not JSON'],
  ])('%j is 400 and names the field', async (body, name) => {
    const answer = await end(body)
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
    expect(answer.body.detail).toContain(name)
  })

  test('another type, a form, too much: 415 and 413', async () => {
    const send = (headers: Record<string, string>, body: string) =>
      call('/revocations', 'tokens:write', { method: 'POST', headers, body })
    expect((await send({ 'Content-Type': 'text/plain' }, '{}')).status).toBe(415)
    expect((await send({ 'Content-Type': 'application/x-www-form-urlencoded' }, 'a=b')).status).toBe(415)
    expect((await send({ 'Content-Type': 'application/json' }, `"${'x'.repeat(70_000)}"`)).status).toBe(413)
  })

  test('what does not exist is 404, a moment in the future 422', async () => {
    for (const target of [
      { grant: 'x' },
      { session: 'x' },
      { user: 'x' },
      { client: 'x' },
      { api: 'x' },
      { token: 'x' },
    ])
      expect((await end({ target })).status, JSON.stringify(target)).toBe(404)
    expect((await end({ target: { before: '2999-01-01T00:00:00Z' } })).status).toBe(422)
  })
})

describe('a token and its family', () => {
  // Everything before now was ended above, and tokens know their second only: what is issued within the same one is over too.
  beforeAll(() => new Promise((resolve) => setTimeout(resolve, 1_001 - (Date.now() % 1_000))))

  test('by id in the address, by value in the body; the answer holds no value', async () => {
    const held = await j.tokensFor({ scope: 'openid offline_access', prompt: 'consent' })
    const byValue = await post('/tokens/lookup', 'tokens:read', { token: held.refresh })
    const byId = await call(`/tokens/${idOf(held.refresh)}`, 'tokens:read')
    expect(byId).toMatchObject({ status: 200, body: byValue.body })
    expect(byId.body).toMatchObject({
      asked: idOf(held.refresh),
      session: { userId: j.alice.id },
      grant: { clientId: 'shop-web' },
      tokens: [
        { kind: 'authorization_code', state: 'used' },
        { kind: 'access_token' },
        { kind: 'refresh_token', generation: 1 },
      ],
    })
    for (const value of [held.refresh, held.access_token]) expect(byId.text).not.toContain(value)
  })

  test('404 for an unknown one, a value in the address, an id of something else', async () => {
    const held = await j.tokensFor()
    for (const id of ['x', held.access_token, rowIdText(Buffer.alloc(32)), rowIdText(Buffer.alloc(16)), 'a%20b'])
      expect((await call(`/tokens/${id}`, 'tokens:read')).status, id).toBe(404)
    const unknown = await post('/tokens/lookup', 'tokens:read', { token: 'sp_at_somebody-elses-secret' })
    expect([unknown.status, unknown.text.includes('secret')]).toEqual([404, false])
    expect((await post('/tokens/lookup', 'tokens:read', { token: idOf(held.access_token) })).status).toBe(404)
    expect((await post('/tokens/lookup', 'tokens:read', {})).body.detail).toContain('"token" is missing')
  })
})

test('an installation from before the scope existed has it after the next start', async () => {
  const ownApi = `${server.url}/api`
  await prisma.scope.deleteMany({ where: { apiIdentifier: ownApi, name: 'revocations:read' } })
  await ensureOwnApi(server.database, ownApi, change())
  expect(await prisma.scope.count({ where: { apiIdentifier: ownApi, name: 'revocations:read' } })).toBe(1)
})
