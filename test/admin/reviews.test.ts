// Access reviews through the admin API: begun, judged, exported, and proven by the audit record.
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type AdminApi, startAdminApi } from '#test/support/admin-api.ts'

let api: AdminApi
let call: AdminApi['call']
let person = ''
const review = ['reviews:read', 'reviews:write']
beforeAll(async () => {
  api = await startAdminApi()
  call = api.call
  await call('POST', '/roles', { body: { name: 'helper', permissions: ['users:read', 'mails:read'] } })
  await call('POST', '/roles', { body: { name: 'reader', permissions: ['users:read'] } })
  person = (await call('POST', '/users', { body: { email: 'ann@example.com', roles: ['helper', 'reader'] } })).body.id
})
afterAll(() => api.stop())

const begin = async () => (await call('POST', '/access-reviews', { body: { name: 'Spring' } })).body.id
const linesOf = async (id: string, query = '') => (await call('GET', `/access-reviews/${id}/lines${query}`)).body.data
const lineOf = async (id: string, target: string) => {
  for (const line of await linesOf(id)) if (line.target.id === target) return line.line
  return expect.fail(`no line ${target}`)
}

test('is begun, read, judged line by line, and what is revoked is gone', async () => {
  const made = await call('POST', '/access-reviews', { body: { name: 'Spring' } })
  expect(made).toMatchObject({ status: 201, body: { name: 'Spring', approved: 0, revoked: 0, completedAt: null } })
  const { id, lines } = made.body
  expect((await call('GET', '/access-reviews?limit=1')).body.data).toEqual([made.body])
  const [first] = await linesOf(id, '?limit=1')
  expect(first).toMatchObject({
    line: 1,
    subject: { kind: 'user', id: person, name: 'ann@example.com' },
    decision: null,
  })
  const page = await call('GET', `/access-reviews/${id}/lines?limit=1`)
  expect((await linesOf(id, `?limit=200&after=${page.body.next}`)).length).toBe(lines - 1)
  expect(await linesOf(id, `?subject=user:${person}&administrator=true&kind=person_role`)).toHaveLength(2)

  const number = await lineOf(id, 'helper')
  const path = `/access-reviews/${id}/lines/${number}`
  const revoked = await call('POST', path, { body: { decision: 'revoke', note: 'Moved on' } })
  expect(revoked).toMatchObject({
    status: 200,
    body: { line: number, decision: 'revoke', effect: 'done', note: 'Moved on', decidedBy: { kind: 'api_key' } },
  })
  expect((await call('GET', `/users/${person}`)).body.roles).toEqual(['reader'])
  expect((await call('POST', path, { body: { decision: 'approve' } })).status).toBe(409)
  expect(await linesOf(id, '?decision=revoke')).toEqual([revoked.body])
  expect((await call('GET', `/access-reviews/${id}`)).body).toMatchObject({ revoked: 1, open: lines - 1 })
  // One request, one commit: the two audit rows share it.
  const events = (await call('GET', `/audit?target=access_review:${id}&event=access_review.decided`)).body.data
  const same = (await call('GET', `/audit?request=${events[0].requestId}`)).body.data
  expect(same.map(({ event }: { event: string }) => event)).toEqual(['access_review.decided', 'user.updated'])
})

test('a decision that is sent again with its Idempotency-Key is made once', async () => {
  const id = await begin()
  const options = { body: { decision: 'approve' }, headers: { 'Idempotency-Key': 'decide-once-1' } }
  const [first, again] = [
    await call('POST', `/access-reviews/${id}/lines/1`, options),
    await call('POST', `/access-reviews/${id}/lines/1`, options),
  ]
  expect([again.status, again.body]).toEqual([200, first.body])
  expect((await call('GET', `/access-reviews/${id}`)).body.approved).toBe(1)
})

test('who may judge cannot thereby change people, clients and keys: revoking needs what its own page needs', async () => {
  await call('PATCH', `/users/${person}`, { body: { roles: ['helper', 'reader'] }, headers: { 'If-Match': '*' } })
  await call('PATCH', '/roles/helper', {
    body: { permissions: ['users:read', 'settings:write'] },
    headers: { 'If-Match': '*' },
  })
  const id = await begin()
  const line = await lineOf(id, 'reader')
  const decide = (number: number, scopes: string[], decision = 'revoke') =>
    call('POST', `/access-reviews/${id}/lines/${number}`, { body: { decision }, scopes })
  const lacking = (answer: { status: number; headers: Headers }) => [
    answer.status,
    /scope="([^"]+)"/.exec(answer.headers.get('www-authenticate') ?? '')?.[1],
  ]
  expect(lacking(await decide(line, ['reviews:read']))).toEqual([403, 'reviews:write'])
  expect(lacking(await decide(line, review))).toEqual([403, 'users:write'])
  // The person may do more than the caller.
  expect(lacking(await decide(line, [...review, 'users:write']))).toEqual([403, 'users:read'])
  expect(lacking(await decide(line, [...review, 'users:write', 'users:read']))).toEqual([403, 'settings:write'])
  expect((await call('GET', `/users/${person}`)).body.roles).toEqual(['helper', 'reader'])
  const api_key = (await linesOf(id, '?kind=api_key'))[0].line
  expect(lacking(await decide(api_key, review))).toEqual([403, 'keys:write'])
  expect(lacking(await decide(await lineOf(id, api.ownApi), review))).toEqual([403, 'clients:write'])
  expect(await linesOf(id, '?decision=revoke')).toEqual([])
  expect((await decide(line, review, 'approve')).status).toBe(200)
  expect((await call('GET', `/access-reviews/${id}`, { scopes: ['users:read'] })).status).toBe(403)
})

test.each([
  ['GET', '/access-reviews/none', undefined, 404],
  ['GET', '/access-reviews/00000000-0000-4000-8000-000000000000/lines', undefined, 404],
  ['GET', '/access-reviews/ID/lines?kind=role', undefined, 400],
  ['GET', '/access-reviews/ID/lines?subject=ann', undefined, 400],
  ['GET', '/access-reviews/ID/lines?after=x', undefined, 400],
  ['GET', '/access-reviews/ID/lines?decision=later', undefined, 400],
  ['POST', '/access-reviews/ID/lines/0', { decision: 'approve' }, 400],
  ['POST', '/access-reviews/ID/lines/99999', { decision: 'approve' }, 404],
  ['POST', '/access-reviews/ID/lines/1', { decision: 'maybe' }, 400],
  ['POST', '/access-reviews', { name: '' }, 422],
  ['POST', '/access-reviews', { name: 'x', lines: 3 }, 400],
  ['GET', '/access-reviews/00000000-0000-4000-8000-000000000000/export', undefined, 404],
])('%s %s %j: %i', async (method, path, body, status) => {
  const id = path.includes('ID') ? await begin() : ''
  expect((await call(method, path.replace('ID', id), body ? { body } : {})).status).toBe(status)
})

test('an export is proven by the audit record: the digest that it ends with stands in the chain', async () => {
  const id = await begin()
  const { headers, body } = await call('GET', `/access-reviews/${id}/export`)
  expect([headers.get('content-type'), headers.get('cache-control')]).toEqual([
    'application/jsonl; charset=utf-8',
    'no-store',
  ])
  const digest = createHash('sha256')
    .update(body.slice(0, body.lastIndexOf('{"end"')))
    .digest('hex')
  const record = (await call('GET', '/audit/export')).body
    .trimEnd()
    .split('\n')
    .map((line: string) => JSON.parse(line))
  const found = record.filter(({ event }: { event?: { event: string } }) => event?.event === 'access_review.exported')
  expect(found).toMatchObject([{ event: { target: { kind: 'access_review', id }, detail: { digest } } }])
})
