// The admin API on policies, on the whole server.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { createApi } from '#src/apis/apis.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { ensureOwnApi } from '#src/bootstrap/own-api.ts'
import { createClient } from '#src/clients/clients.ts'
import { change } from '#test/support/installation.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const api = 'https://policies.example/orders'
const text = 'permit (principal is User, action, resource) when { principal.attributes.department == "sales" };'
let server: TestServer
const keys = new Map<string, string>()

beforeAll(async () => {
  server = await startServer()
  const { prisma } = server.database
  const ownApi = `${server.url}/api`
  await ensureOwnApi(server.database, ownApi, change())
  await createApi(prisma, { identifier: api, name: 'Orders', scopes: { 'orders:read': 'See' } }, change())
  await createClient(prisma, { id: 'robot', type: 'service', apis: { [ownApi]: Object.keys(ownScopes) } }, [], change())
  for (const scope of ['policies:read', 'policies:write']) {
    const key = { name: scope, apis: { [ownApi]: [scope] }, owner: { clientId: 'robot' } }
    keys.set(scope, (await createApiKey(prisma, key, change())).value)
  }
  await server.settle()
})
afterAll(() => server.stop())

async function call(
  method: string,
  path: string,
  body?: unknown,
  scope = method === 'GET' ? 'policies:read' : 'policies:write',
) {
  const response = await fetch(`${server.url}/api/v1/policies${path}`, {
    method,
    headers: {
      'X-API-Key': keys.get(scope) ?? '',
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: await response.json() }
}
const schemaPath = `/schema?api=${encodeURIComponent(api)}`

test('from what policies may speak of to one that is enforced, changed, and gone', async () => {
  expect(await call('GET', schemaPath)).toEqual({ status: 200, body: { api, version: 0, actions: ['orders:read'] } })
  expect((await call('POST', '', { api, name: 'sales', text })).status).toBe(422)
  const declared = { attributes: '{ department: String }', objects: { order: { relations: { owner: 'user' } } } }
  expect(await call('PUT', schemaPath, { version: 0, ...declared })).toEqual({
    status: 200,
    body: { api, version: 1, ...declared },
  })
  expect((await call('PUT', schemaPath, { version: 0, ...declared })).status).toBe(409)

  const made = await call('POST', '', { api, name: 'sales', text, description: 'Sales sees orders' })
  expect(made).toMatchObject({
    status: 201,
    body: { api, name: 'sales', state: 'draft', effect: 'permit', version: 1 },
  })
  const { id } = made.body
  expect((await call('POST', '', { api, name: 'sales', text })).status).toBe(409)
  expect(await call('PUT', `/${id}/state`, { version: 1, state: 'enforced' })).toMatchObject({
    status: 200,
    body: { state: 'enforced', version: 2, text },
  })
  expect(await call('PUT', `/${id}`, { version: 1, text })).toMatchObject({
    status: 409,
    body: { error: 'changed', flaws: [{ field: 'version' }] },
  })
  expect(await call('PUT', `/${id}`, { version: 2, name: 'sales-team' })).toMatchObject({
    status: 200,
    body: { name: 'sales-team', state: 'enforced', version: 3 },
  })
  expect((await call('GET', `?api=${encodeURIComponent(api)}`)).body).toMatchObject({ data: [{ id }], next: null })
  expect((await call('GET', '?api=https://other.example')).body).toEqual({ data: [], next: null })
  expect((await call('GET', `/${id}`)).body).toMatchObject({
    name: 'sales-team',
    versions: [
      { version: 3, name: 'sales-team', changedBy: { kind: 'api_key' } },
      { version: 2, state: 'enforced' },
      { version: 1, state: 'draft' },
    ],
  })
  expect((await call('DELETE', `/${id}`)).status).toBe(400)
  expect((await call('DELETE', `/${id}?version=2`)).status).toBe(409)
  expect(await call('DELETE', `/${id}?version=3`)).toEqual({ status: 200, body: { id, deleted: true } })
  expect((await call('DELETE', `/${id}?version=4`)).status).toBe(404)
  expect((await call('GET', `/${id}`)).body).toMatchObject({
    id,
    state: 'deleted',
    versions: [{ state: 'deleted' }, {}, {}, {}],
  })
})

test('what Cedar does not accept comes back with its place and what would mend it', async () => {
  const wrong = text.replace('department', 'departmnt')
  expect(await call('POST', '', { api, name: 'wrong', text: wrong })).toMatchObject({
    status: 422,
    body: {
      error: 'invalid_input',
      flaws: [
        {
          field: 'text',
          problem: expect.stringMatching(/^at line 1, column 53 /),
          fix: expect.stringMatching(/^Did you mean `department`\? Attributes /),
        },
      ],
    },
  })
})

describe('a trial', () => {
  const drafts = [{ name: 'sales', text }]
  const person = (department: string) => ({
    principal: { kind: 'user', id: department, attributes: { department } },
    action: 'orders:read',
    resource: { type: 'order', id: '88' },
    context: { now: '2026-11-26T10:00:00+01:00', address: '10.0.0.1' },
  })

  test('needs to read only, and changes nothing', async () => {
    const asked = { api, drafts, questions: [person('sales'), person('hr')] }
    const { status, body } = await call('POST', '/try', asked, 'policies:read')
    expect(status).toBe(200)
    expect(body).toMatchObject({
      gains: 1,
      loses: 0,
      results: [{ change: 'gains', after: { policies: ['sales'] } }, { change: 'none' }],
    })
    expect((await call('GET', '')).body.data).toEqual([])
  })

  test.each([
    [
      'a misspelt field of the subject',
      { questions: [{ ...person('sales'), principal: { kind: 'user', id: 'a', group: ['x'] } }] },
    ],
    ['a time that is none', { questions: [{ ...person('sales'), context: { now: 'soon' } }] }],
    ['no draft', { drafts: [] }],
    ['no question', { questions: undefined }],
  ])('with %s is 400', async (_, changed) => {
    const asked = { api, drafts, questions: [person('sales')], ...changed }
    expect((await call('POST', '/try', asked, 'policies:read')).status).toBe(400)
  })

  test('with hostile JSON gets an answer', async () => {
    const hostile = JSON.parse(
      '{"__proto__": {"department": "sales"}, "department": {"__entity": {"type": "Role", "id": "owner"}}, "n": 1e400, "deep": [[[[]]]]}',
    )
    const asked = {
      api,
      drafts,
      questions: [{ ...person('x'), principal: { kind: 'user', id: '"', attributes: hostile } }],
    }
    expect((await call('POST', '/try', asked, 'policies:read')).body).toMatchObject({
      gains: 0,
      results: [{ after: { effect: 'none' } }],
    })
  })
})

test("Sallyport's own API has no policies, unknown APIs and ids are 404, unknown fields 400", async () => {
  for (const of of [`${server.url}/api`, 'https://nobody.example', '', 'x'])
    expect((await call('POST', '', { api: of, name: 'a', text })).status).toBe(404)
  expect((await call('GET', `/schema?api=${encodeURIComponent(`${server.url}/api`)}`)).status).toBe(404)
  expect((await call('GET', '/00000000-0000-4000-8000-000000000000')).status).toBe(404)
  expect((await call('PUT', '/nobody', { version: 1, text })).status).toBe(404)
  expect((await call('POST', '', { api, name: 'a', text, enforced: true })).status).toBe(400)
  expect((await call('GET', '?name=a')).status).toBe(400)
})
