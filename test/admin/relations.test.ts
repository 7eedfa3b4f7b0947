// The admin API on relations, on the whole server: who may see and change them, in which forms, and what is refused.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import type { Relation } from '#src/access/relations/relations.ts'
import { formatRelation } from '#src/access/relations/text.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { ensureOwnApi } from '#src/bootstrap/own-api.ts'
import { createClient } from '#src/clients/clients.ts'
import { clearAudit } from '#test/support/audit.ts'
import { change } from '#test/support/installation.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let prisma: TestServer['database']['prisma']
const keys = new Map<string, string>()

beforeAll(async () => {
  server = await startServer()
  prisma = server.database.prisma
  const ownApi = `${server.url}/api`
  await ensureOwnApi(server.database, ownApi, change())
  await createClient(prisma, { id: 'robot', type: 'service', apis: { [ownApi]: Object.keys(ownScopes) } }, [], change())
  for (const scope of ['relations:read', 'relations:write', 'users:write']) {
    const key = { name: scope, apis: { [ownApi]: [scope] }, owner: { clientId: 'robot' } }
    keys.set(scope, (await createApiKey(prisma, key, change())).value)
  }
  await server.settle()
})
afterAll(() => server.stop())
beforeEach(async () => {
  await server.database.pool.query('TRUNCATE relation')
  await clearAudit(server.database)
})

const call = async (path: string, scope: string, init: RequestInit = {}) => {
  const response = await fetch(`${server.url}/api/v1${path}`, {
    ...init,
    headers: { 'X-API-Key': keys.get(scope) ?? '', ...init.headers },
  })
  return { status: response.status, headers: response.headers, body: await response.json() }
}
const post = (body: unknown, scope = 'relations:write', path = '/relations') =>
  call(path, scope, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
const list = (query = '') => call(`/relations${query}`, 'relations:read')
const stored = async () => ((await list('?limit=1000')).body.data as Relation[]).map(formatRelation)
const escaped = encodeURIComponent

test('seeing and changing each need their own scope', async () => {
  for (const scope of keys.keys()) {
    expect((await call('/relations', scope)).status === 403).toBe(scope !== 'relations:read')
    expect((await post({ write: ['order:1#owner@user:1'] }, scope)).status === 403).toBe(scope !== 'relations:write')
  }
  expect((await fetch(`${server.url}/api/v1/relations`)).status).toBe(401)
})

test('writes and deletes in bulk, as text or in parts, and says what came of it; the record says who did it', async () => {
  const parts = {
    object: { type: 'doc', id: '1' },
    relation: 'viewer',
    subject: { type: 'group', id: 'eng', relation: 'member' },
  }
  const first = await post({ write: ['order:88#owner@user:42', parts, 'order:88#parent@folder:7'] })
  expect([first.status, first.body]).toEqual([200, { written: 3, deleted: 0 }])
  const second = await post({
    write: ['order:88#owner@user:42', 'order:89#owner@user:42'],
    delete: [parts, 'order:1#owner@user:1'],
  })
  expect(second.body).toEqual({ written: 1, deleted: 1 })
  expect(await stored()).toEqual(['order:88#owner@user:42', 'order:88#parent@folder:7', 'order:89#owner@user:42'])
  expect(
    await prisma.auditEvent.findMany({ where: { event: 'relations.changed' }, orderBy: { id: 'asc' } }),
  ).toMatchObject([
    { actorKind: 'api_key', detail: { written: 3, deleted: 0 }, requestId: expect.any(String) },
    { actorKind: 'api_key', detail: { written: 1, deleted: 1 } },
  ])
})

test('takes a thousand with long ids in one request', async () => {
  const all = Array.from({ length: 1000 }, (_, n) => `order:${'x'.repeat(200)}${n}#owner@user:${'y'.repeat(200)}${n}`)
  expect((await post({ write: all })).body).toEqual({ written: 1000, deleted: 0 })
  expect((await post({ write: Array.from({ length: 1000 }, () => 'x'.repeat(1100)) })).status).toBe(413)
})

describe('a list', () => {
  beforeEach(async () => {
    await post({
      write: [
        'doc:1#owner@user:1',
        'doc:1#viewer@group:eng#member',
        'doc:1#viewer@user:1',
        'doc:2#viewer@user:1',
        'doc:a b#viewer@user:é',
      ],
    })
  })

  test.each([
    ['?object=doc:1', ['doc:1#owner@user:1', 'doc:1#viewer@user:1', 'doc:1#viewer@group:eng#member']],
    ['?object=doc:1&relation=owner', ['doc:1#owner@user:1']],
    ['?subject=user:1', ['doc:1#owner@user:1', 'doc:1#viewer@user:1', 'doc:2#viewer@user:1']],
    [`?subject=${escaped('group:eng#member')}`, ['doc:1#viewer@group:eng#member']],
    [`?object=${escaped('doc:a b')}&subject=${escaped('user:é')}`, ['doc:a b#viewer@user:é']],
    ['?object=doc:3', []],
  ])('%s, whole and by single rows', async (query, expected) => {
    const whole = (await list(query)).body
    expect(whole.data.map(formatRelation)).toEqual(expected)
    expect(whole.next).toBeNull()
    const seen: string[] = []
    for (let after: string | null = '', pages = 0; after !== null && pages < 9; pages++) {
      const page: { data: Relation[]; next: string | null } = (
        await list(`${query}&limit=1${after ? `&after=${escaped(after)}` : ''}`)
      ).body
      seen.push(...page.data.map(formatRelation))
      after = page.next
    }
    expect(seen).toEqual(expected)
  })

  test('an entry has the form in which it may be written or deleted', async () => {
    const { data } = (await list()).body
    expect((await post({ delete: data })).body).toEqual({ written: 0, deleted: 5 })
  })

  test.each([
    ['?object=doc', 422, 'object.id'],
    ['?object=', 422, 'object.type'],
    ['?object=doc:1&object=doc:2', 400, 'repeated'],
    ['?subject=Group:eng', 422, 'subject.type'],
    [`?subject=${escaped('group:eng#')}`, 422, 'subject.relation'],
    ['?relation=owner', 422, 'needs an object or a subject'],
    ['?object=doc:1&relation=', 422, 'relation'],
    ['?objects=doc:1', 400, 'not known'],
    ['?limit=0', 400, '1 to 1000'],
    ['?limit=1001', 400, '1 to 1000'],
    ['?after=x', 422, 'not a place in this list'],
  ])('refuses %s: %i', async (query, status, says) => {
    const { status: told, body } = await list(query)
    expect([told, body.detail]).toEqual([status, expect.stringContaining(says)])
  })
})

describe('refuses, and changes nothing', () => {
  test.each([
    ['nothing', {}, 422, 'both empty'],
    ['empty lists', { write: [], delete: [] }, 422, 'both empty'],
    ['what is no JSON', '{', 400, 'not JSON'],
    ['a misspelt field', { writes: ['a:1#b@c:1'] }, 400, 'writes'],
    ['one that is not in a list', { write: 'a:1#b@c:1' }, 400, 'write'],
    ['a number', { write: [1] }, 400, 'write.0'],
    [
      'a part too many',
      { write: [{ object: { type: 'a', id: '1' }, relation: 'b', subject: { type: 'c', id: '1' }, more: 1 }] },
      400,
      'write.0',
    ],
    ['a flaw, by its place', { write: ['a:1#b@c:1', 'a:1#b'], delete: ['A:1#b@c:1'] }, 422, 'write[1]'],
    ['one that is in both', { write: ['a:1#b@c:1'], delete: ['a:1#b@c:1'] }, 422, 'delete[0]'],
    ['1,001', { write: Array.from({ length: 1001 }, (_, n) => `a:${n}#b@c:1`) }, 422, '1001'],
  ])('%s', async (_what, body, status, says) => {
    const answer = await post(body)
    expect([answer.status, answer.body.detail]).toEqual([status, expect.stringContaining(says)])
    expect(await stored()).toEqual([])
    expect(await prisma.auditEvent.count({ where: { event: 'relations.changed' } })).toBe(0)
  })

  test('what stands in the address, which ends in logs', async () => {
    expect((await post({ write: ['a:1#b@c:1'] }, undefined, '/relations?write=a')).status).toBe(400)
  })
})

describe('a question', () => {
  const check = (query: string, scope = 'relations:read') => call(`/relations/check?${query}`, scope)

  test('is answered with the relations that it comes by', async () => {
    const write = ['order:88#parent@folder:7', 'folder:7#viewer@group:eng#member', 'group:eng#member@user:42']
    await post({ write })
    const yes = await check('object=order:88&relation=viewer&subject=user:42')
    expect([yes.status, yes.body.holds, yes.body.way.map(formatRelation)]).toEqual([200, true, write])
    expect((await check('object=order:88&relation=owner&subject=user:42')).body).toEqual({ holds: false, way: [] })
  })

  test.each([
    ['object=order:88&relation=Owner&subject=user:42', 422],
    ['object=order&relation=owner&subject=user:42', 422],
    ['object=order:88&relation=owner', 400],
  ])('%s is refused', async (query, status) => {
    expect((await check(query)).status).toBe(status)
  })

  test('needs the scope to see them', async () => {
    expect((await check('object=order:88&relation=owner&subject=user:42', 'relations:write')).status).toBe(403)
  })
})

test('the objects of a type are a list of their own', async () => {
  await post({ write: ['order:1#owner@user:1', 'doc:1#owner@user:1', 'order:2#owner@user:1'] })
  const { body } = await list('?objectType=order&limit=1')
  expect(body.data.map(formatRelation)).toEqual(['order:1#owner@user:1'])
  expect((await list(`?objectType=order&after=${body.next}`)).body.data.map(formatRelation)).toEqual([
    'order:2#owner@user:1',
  ])
  for (const query of ['objectType=Order', 'objectType=order&subject=user:1', 'objectType=order&object=order:1'])
    expect((await list(`?${query}`)).status, query).toBe(422)
})
