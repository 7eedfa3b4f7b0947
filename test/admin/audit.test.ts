// The record of what happened through the admin API: searched, kept as views, exported with its proof.
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { verifyExport } from '#src/audit/export-file.ts'
import { type AdminApi, startAdminApi } from '#test/support/admin-api.ts'
import { change } from '#test/support/installation.ts'

let api: AdminApi
let call: AdminApi['call']
beforeAll(async () => {
  api = await startAdminApi()
  call = api.call
  for (const clientId of ['one', 'two', 'three'])
    await call('POST', '/clients', { body: { clientId, type: 'spa', redirectUris: ['https://app.example/cb'] } })
})
afterAll(() => api.stop())

test('what an administrator did is found by event, actor and target, in pages', async () => {
  const first = await call('GET', '/audit?event=client.created&actor=api_key:none')
  expect(first.body).toEqual({ data: [], next: null })
  const page = await call('GET', '/audit?event=client.&limit=2')
  expect(page.body.data.map(({ target }: { target: object }) => target)).toEqual([
    { kind: 'client', id: 'three' },
    { kind: 'client', id: 'two' },
  ])
  expect(page.body.data[0]).toMatchObject({
    outcome: 'success',
    actor: { kind: 'api_key' },
    requestId: expect.any(String),
  })
  const rest = await call('GET', `/audit?event=client.&after=${page.body.next}`)
  expect(rest.body.data.map(({ target }: { target: { id: string } }) => target.id)).toEqual(['one', 'robot'])
  expect((await call('GET', '/audit?target=client:two')).body.data).toHaveLength(1)
})

test.each([
  ['/audit?evnt=login.failed', 400, 'The parameter evnt is not known here.'],
  ['/audit?event=login.faild', 400, 'which is no event'],
  ['/audit?from=yesterday', 400, 'is not a time'],
  ['/audit?after=xyz', 400, 'is no cursor'],
  ['/audit/export?format=xml', 400, 'format must be one of jsonl, csv.'],
  ['/audit/export?event=login.failed', 400, 'is not known here'],
  ['/audit/export?from=2099-01-01', 404, 'Nothing was recorded in that period.'],
])('%s: %i', async (path, status, said) => {
  const answer = await call('GET', path)
  expect([answer.status, answer.body.detail]).toEqual([status, expect.stringContaining(said)])
})

test('nobody reads it without audit:read', async () => {
  const refused = await call('GET', '/audit', { scopes: ['clients:read'] })
  expect([refused.status, refused.body.error]).toEqual([403, 'insufficient_scope'])
  expect((await call('GET', '/audit/export', { scopes: ['audit:write'] })).status).toBe(403)
})

describe('an export', () => {
  const verify = async (text: string) => {
    const { keys } = (await (await fetch(`${api.server.url}/oauth/jwks`)).json()) as { keys: object[] }
    return verifyExport(Readable.from(text.trimEnd().split('\n')), { keys })
  }

  test('holds by the published keys, names a file, is in no cache, and is recorded itself', async () => {
    const { status, headers, body } = await call('GET', '/audit/export')
    expect([status, headers.get('content-type'), headers.get('cache-control')]).toEqual([
      200,
      'application/jsonl; charset=utf-8',
      'no-store',
    ])
    expect(headers.get('content-disposition')).toMatch(/^attachment; filename="audit-1-\d+\.jsonl"$/)
    const found = await verify(body)
    expect(found).toMatchObject({ ok: true, issuer: api.server.url, signedBy: 'given' })
    expect((await verify(body.replace('client.created', 'client.deleted'))).ok).toBe(false)
    const recorded = await call('GET', '/audit?event=audit.exported')
    expect(recorded.body.data[0]).toMatchObject({ detail: { format: 'jsonl', from: 1, to: found.rows } })
  })

  test('is a table where that is asked for', async () => {
    const { headers, body } = await call('GET', '/audit/export?format=csv')
    expect(headers.get('content-type')).toBe('text/csv; charset=utf-8')
    expect(body.split('\r\n')[0]).toMatch(/^position,hash,id,at,event/)
  })

  test('two are taken at a time, a third is told to come back', async () => {
    // Bodies that nobody reads.
    const path = `${api.server.url}/api/v1/audit/export`
    const { value } = await createApiKey(
      api.server.database.prisma,
      { name: 'slow', apis: { [api.ownApi]: ['audit:read'] }, owner: { clientId: 'robot' } },
      change(),
    )
    await api.server.database.pool.query(
      `INSERT INTO audit_event (event, outcome, detail) SELECT 'user.updated', 'success', jsonb_build_object('text', repeat('x', 4000)) FROM generate_series(1, 4000)`,
    )
    const stop = new AbortController()
    const slow = [1, 2].map(() => fetch(path, { headers: { 'X-API-Key': value }, signal: stop.signal }))
    for (const answer of await Promise.all(slow)) expect(answer.status).toBe(200)
    const third = await call('GET', '/audit/export')
    expect([third.status, third.headers.get('retry-after')]).toEqual([503, '30'])
    stop.abort()
    await expect.poll(async () => (await call('GET', '/audit/export?format=csv')).status).toBe(200)
  })
})

describe('a view', () => {
  const failed = { name: 'Failed sign-ins', filter: { event: 'login.', outcome: 'failure' } }

  test('is kept, listed, used and forgotten; a second of the name is refused', async () => {
    const made = await call('POST', '/audit/views', { body: failed })
    expect([made.status, made.body]).toEqual([
      201,
      { ...failed, id: expect.any(String), createdAt: expect.any(String) },
    ])
    expect((await call('POST', '/audit/views', { body: failed })).status).toBe(409)
    expect((await call('GET', '/audit/views')).body.data).toEqual([made.body])
    expect((await call('GET', `/audit?${new URLSearchParams(made.body.filter)}`)).status).toBe(200)
    const events = (await call('GET', '/audit?event=audit_view.created')).body.data
    expect(events[0].target).toEqual({ kind: 'audit_view', id: made.body.id })
    expect((await call('DELETE', `/audit/views/${made.body.id}`)).body).toEqual({ id: made.body.id, deleted: true })
    expect((await call('DELETE', `/audit/views/${made.body.id}`)).status).toBe(404)
  })

  test.each([
    [{ name: 'x', filter: { event: 'nonsense' } }],
    [{ name: '', filter: {} }],
    [{ name: 'x\u202ey', filter: {} }],
  ])('%j is refused', async (body) => {
    expect((await call('POST', '/audit/views', { body })).status).toBe(422)
  })

  test('belongs to whoever kept it: another neither sees nor forgets it', async () => {
    const { body } = await call('POST', '/audit/views', { body: { name: 'Mine', filter: {} } })
    const other = { clientId: 'other-robot', type: 'service', apis: { [api.ownApi]: ['audit:read'] } }
    const { clientSecret } = (await call('POST', '/clients', { body: other })).body
    await api.server.settle()
    const as = (path: string, method = 'GET') =>
      fetch(`${api.server.url}/api/v1${path}`, {
        method,
        headers: { Authorization: `Basic ${btoa(`other-robot:${clientSecret}`)}` },
      })
    expect(await (await as('/audit/views')).json()).toEqual({ data: [] })
    expect((await as(`/audit/views/${body.id}`, 'DELETE')).status).toBe(404)
  })
})
