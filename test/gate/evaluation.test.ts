// AuthZEN over real HTTP: who may ask, what a role answers, how many questions travel together, and what a receipt tells to whom.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { writeRelations } from '#src/access/relations/relations.ts'
import { createRole, updateRole } from '#src/access/roles.ts'
import { updateApi } from '#src/apis/apis.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { ensureOwnApi } from '#src/bootstrap/own-api.ts'
import { createClient } from '#src/clients/clients.ts'
import { createUser, setUserDisabled, updateUser } from '#src/users/users.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let prisma: TestServer['database']['prisma']
let j: Journey
let alice: string
let ownApi: string
let key: string
let weakKey: string

beforeAll(async () => {
  server = await startServer()
  prisma = server.database.prisma
  j = await startJourney(server)
  ownApi = `${server.url}/api`
  await ensureOwnApi(server.database, ownApi, change())
  await updateApi(
    prisma,
    orders,
    {
      name: 'Orders',
      accept: ['oauth', 'api_key', 'basic'],
      introspectionClients: ['orders-api'],
      scopes: {
        'orders:read': 'See orders',
        'orders:write': 'Change orders',
        'orders:delete': { description: 'Delete orders', byRole: true },
      },
      objects: { order: { owner: ['orders:read', 'orders:write'] } },
    },
    change(),
  )
  await createClient(prisma, { id: 'pdp', type: 'service', apis: { [ownApi]: Object.keys(ownScopes) } }, [], change())
  const give = async (...scopes: string[]) =>
    (await createApiKey(prisma, { name: 'k', apis: { [ownApi]: scopes }, owner: { clientId: 'pdp' } }, change())).value
  key = await give('access:evaluate')
  weakKey = await give('clients:read')
  await createRole(prisma, 'order-admin', { permissions: ['orders:read', 'orders:delete'] }, change())
  alice = (await createUser(prisma, { email: 'al@example.com', roles: ['order-admin'] }, change())).id
  await server.settle()
})
afterAll(() => server.stop())

const post = async (path: string, body: unknown, headers: Record<string, string> = { 'X-API-Key': key }) => {
  const response = await fetch(server.url + path, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Accept: 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: response.status, headers: response.headers, body: await response.json() }
}
const question = (action = 'orders:read', id = alice, type = 'user') => ({
  subject: { type, id },
  action: { name: action },
  resource: { type: 'order', id: '88' },
})
const ask = (body: unknown) => post('/access/v1/evaluation', body)
const why = async (id: string, headers: Record<string, string>) => {
  const response = await fetch(`${server.url}/d/${id}`, { headers: { Accept: 'application/json', ...headers } })
  return { status: response.status, body: await response.json() }
}
const basic = (id: string, secret: string) => ({
  Authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
})

describe('the two doors are about whoever asks', () => {
  test.each([
    ['nobody', {}, 401, null],
    ['a wrong key', { 'X-API-Key': 'sp_key_wrong' }, 401, 'invalid_token'],
    ['two credentials', { 'X-API-Key': 'a', Authorization: 'Bearer b' }, 400, null],
  ])('%s', async (_, headers, status, error) => {
    const answer = await post('/access/v1/evaluation', question(), headers as Record<string, string>)
    expect(answer.status).toBe(status)
    expect(answer.headers.get('x-decision-id')).toMatch(/^[0-9a-f-]{36}$/)
    if (status === 401)
      expect(answer.headers.get('www-authenticate')).toBe(
        `Bearer realm="${ownApi}"${error ? `, error="${error}"` : ''}`,
      )
  })

  test('without the scope: 403 that names it', async () => {
    const answer = await post('/access/v1/evaluation', question(), { 'X-API-Key': weakKey })
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([
      403,
      `Bearer realm="${ownApi}", error="insufficient_scope", scope="access:evaluate"`,
    ])
  })

  test('before the body: a stranger learns nothing about its form', async () => {
    expect((await post('/access/v1/evaluation', 'not JSON', {})).status).toBe(401)
  })
})

describe('one evaluation', () => {
  test('yes to whom a role permits it', async () => {
    expect(await ask(question())).toMatchObject({ status: 200, body: { decision: true } })
    expect((await ask(question('orders:delete'))).body).toEqual({ decision: true })
  })

  test('no with the id of a receipt to everybody else, and nothing more', async () => {
    for (const asked of [
      question('orders:write'),
      question('orders:read', '00000000-0000-4000-8000-000000000000'),
      question('orders:read', 'somebody', 'robot'),
      question('orders:read', "x' OR 1=1 --"),
      question('no:such:action'),
    ]) {
      const { status, body, headers } = await ask(asked)
      expect([status, body]).toEqual([
        200,
        { decision: false, context: { id: expect.stringMatching(/^[0-9a-f-]{36}$/) } },
      ])
      expect(headers.get('cache-control')).toBe('no-store')
    }
  })

  test('whoever owns it, directly, by a group or by its folder; and nobody else, told as ownership', async () => {
    const bob = (await createUser(prisma, { email: 'bob@example.com' }, change())).id
    const reads = (id: string) => ({ ...question('orders:read', bob), resource: { type: 'order', id } })
    expect((await ask(reads('89'))).body.decision).toBe(false)
    const write = [`order:88#owner@user:${bob}`, 'order:90#owner@group:sales#member', 'order:91#parent@folder:7']
    await writeRelations(prisma, { write, delete: [] }, change())
    await writeRelations(
      prisma,
      { write: [`group:sales#member@user:${bob}`, `folder:7#owner@user:${bob}`], delete: [] },
      change(),
    )
    for (const id of ['88', '90', '91']) expect((await ask(reads(id))).body, id).toEqual({ decision: true })
    expect((await ask({ ...reads('88'), action: { name: 'orders:delete' } })).body.decision).toBe(false)
    const { body } = await ask(reads('89'))
    const receipt = await prisma.decisionReceipt.findUniqueOrThrow({ where: { id: body.context.id } })
    expect(receipt).toMatchObject({ gate: 'relation', reason: 'ownership', needs: ['owner'], objectId: '89' })
    await writeRelations(prisma, { write: [], delete: [`order:88#owner@user:${bob}`] }, change())
    expect((await ask(reads('88'))).body.decision).toBe(false)
  })

  test('a client may do what it is registered for', async () => {
    expect((await ask(question('orders:read', 'reports', 'client'))).body).toEqual({ decision: true })
    expect((await ask(question('orders:write', 'reports', 'client'))).body.decision).toBe(false)
  })

  test('a role that is taken away counts no more in the next decision', async () => {
    await updateRole(prisma, 'order-admin', { permissions: ['orders:delete'] }, change())
    expect((await ask(question())).body.decision).toBe(false)
    await updateRole(prisma, 'order-admin', { permissions: ['orders:read', 'orders:delete'] }, change())
    expect((await ask(question())).body.decision).toBe(true)
    await updateUser(prisma, alice, { roles: [] }, change())
    expect((await ask(question())).body.decision).toBe(false)
    await updateUser(prisma, alice, { roles: ['order-admin'] }, change())
    await setUserDisabled(prisma, alice, true, change())
    expect((await ask(question())).body.decision).toBe(false)
    await setUserDisabled(prisma, alice, false, change())
    expect((await ask(question())).body.decision).toBe(true)
  })

  test('a token as the subject: its scopes bound what its owner may do', async () => {
    await updateUser(prisma, j.alice.id, { roles: ['order-admin'] }, change())
    const { access_token } = await j.tokensFor({ scope: 'openid orders:read', resource: orders }, undefined, {
      resource: orders,
    })
    const asked = (action: string, value = access_token) => ask(question(action, value, 'access_token'))
    expect((await asked('orders:read')).body).toEqual({ decision: true })
    const { body } = await asked('orders:delete')
    expect(body.decision).toBe(false)
    expect((await why(body.context.id, { 'X-API-Key': key })).status).toBe(404)
    const receipt = await why(body.context.id, basic('shop-web', j.secret))
    expect(receipt.status).toBe(401) // a web client's secret stands for nobody
    const stored = await prisma.decisionReceipt.findUniqueOrThrow({ where: { id: body.context.id } })
    expect(stored).toMatchObject({ gate: 'scope', reason: 'insufficient_scope', clientId: 'shop-web', method: 'oauth' })
    expect(JSON.stringify(stored)).not.toContain(access_token)
    expect((await asked('orders:read', `${access_token.slice(0, -3)}AAA`)).body.decision).toBe(false)
    await updateUser(prisma, j.alice.id, { roles: [] }, change())
    expect((await asked('orders:read')).body.decision).toBe(false) // the scope is there, nothing grants it
  })

  test.each([
    ['no subject', { action: { name: 'a' }, resource: { type: 't', id: '1' } }, '"subject" is missing'],
    [
      'an id that is no text',
      { ...question(), resource: { type: 'order', id: 88 } },
      '"resource.id" has the wrong form',
    ],
    ['an empty name', { ...question(), action: { name: '' } }, '"action.name" has the wrong form'],
    ['a control character', question('orders:read', 'a\u0000b', 'client'), '"subject.id" has the wrong form'],
    ['half a character', question('orders:read', '\ud800'), '"subject.id" has the wrong form'],
    ['a list', [], 'must be a JSON object'],
    ['not JSON', '{', 'not JSON'],
  ])('%s: 400 that names it', async (_, body, words) => {
    const answer = await ask(body)
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_request'])
    expect(answer.body.error_description).toContain(words)
  })

  test('what is not known in it is passed over', async () => {
    expect((await ask({ ...question(), more: 1, subject: { type: 'user', id: alice, extra: true } })).body).toEqual({
      decision: true,
    })
  })

  test('an API is named by context.audience, and no other is asked', async () => {
    const { body } = await ask({ ...question(), context: { audience: 'https://elsewhere.example' } })
    expect(body.decision).toBe(false)
    expect((await ask({ ...question(), context: { audience: orders } })).body).toEqual({ decision: true })
  })

  test("the caller's X-Request-ID comes back", async () => {
    const { headers } = await post('/access/v1/evaluation', question(), { 'X-API-Key': key, 'X-Request-ID': 'abc-1' })
    expect(headers.get('x-request-id')).toBe('abc-1')
  })
})

describe('several at once', () => {
  const actions = (...names: string[]) => names.map((name) => ({ action: { name } }))
  const several = async (semantic: string | undefined, ...names: string[]) => {
    const { body } = await post('/access/v1/evaluations', {
      ...question(),
      evaluations: actions(...names),
      ...(semantic && { options: { evaluations_semantic: semantic } }),
    })
    return body.evaluations.map((one: { decision: boolean }) => one.decision)
  }
  test('defaults hold unless an entry says otherwise, and answers come in the order of the questions', async () => {
    expect(await several(undefined, 'orders:read', 'orders:write', 'orders:delete')).toEqual([true, false, true])
  })
  test('deny_on_first_deny ends with the first no', async () => {
    expect(await several('deny_on_first_deny', 'orders:read', 'orders:write', 'orders:delete')).toEqual([true, false])
  })
  test('permit_on_first_permit ends with the first yes', async () => {
    expect(await several('permit_on_first_permit', 'orders:write', 'orders:read', 'orders:delete')).toEqual([
      false,
      true,
    ])
  })
  test('without a list it is one evaluation', async () => {
    expect((await post('/access/v1/evaluations', question())).body).toEqual({ decision: true })
    expect((await post('/access/v1/evaluations', { ...question(), evaluations: [] })).body).toEqual({ decision: true })
  })
  test('an entry that lacks something is closed by itself', async () => {
    const { subject, action } = question()
    const { body } = await post('/access/v1/evaluations', {
      subject,
      action,
      evaluations: [{}, { resource: { type: 'order', id: '1' } }],
    })
    expect(body.evaluations).toEqual([
      { decision: false, context: { error: { status: 400, message: expect.any(String) } } },
      { decision: true },
    ])
  })
  test('an unknown semantic, and more than 200 of them: 400', async () => {
    expect(
      (await post('/access/v1/evaluations', { evaluations: [{}], options: { evaluations_semantic: 'x' } })).status,
    ).toBe(400)
    expect((await post('/access/v1/evaluations', { evaluations: Array(201).fill({}) })).status).toBe(400)
  })
})

describe('a receipt', () => {
  test('is there for every refusal of /oauth, /api and /access under its X-Decision-Id', async () => {
    const refusals = [
      await post('/access/v1/evaluation', question(), {}),
      await post('/access/v1/evaluation', question(), { 'X-API-Key': weakKey }),
      await post('/access/v1/evaluation', '{'),
      await j.post('/oauth/token', { grant_type: 'client_credentials', scope: 'nope' }, { as: 'reports' }),
      await post('/oauth/introspect', '{}', basic('orders-api', 'wrong')),
    ]
    for (const { status, headers } of refusals) {
      expect([400, 401, 403]).toContain(status)
      const id = headers.get('x-decision-id') ?? ''
      expect(await prisma.decisionReceipt.count({ where: { id } })).toBe(1)
    }
  })

  test('is read by an operator and by the client it is about; by nobody else', async () => {
    const refused = await j.post('/oauth/token', { grant_type: 'client_credentials', scope: 'nope' }, { as: 'reports' })
    const id = refused.headers.get('x-decision-id') ?? ''
    await createRole(prisma, 'auditor', { permissions: ['audit:read'] }, change())
    const auditor = await createApiKey(
      prisma,
      { name: 'k', apis: { [ownApi]: ['audit:read'] }, owner: { clientId: 'pdp' } },
      change(),
    )
    expect(await why(id, { 'X-API-Key': auditor.value })).toMatchObject({
      status: 200,
      body: { id, endpoint: 'POST /oauth/token', allowed: false, clientId: 'reports' },
    })
    expect((await why(id, basic('reports', j.secret))).body).toMatchObject({ id, clientId: 'reports' })
    expect((await why(id, basic('stock-api', j.secret))).status).toBe(404)
    expect((await why(id, { 'X-API-Key': key })).status).toBe(404)
    expect((await why(id, {})).status).toBe(401)
    expect((await why('00000000-0000-4000-8000-000000000000', { 'X-API-Key': auditor.value })).status).toBe(404)
    expect((await why('x', { 'X-API-Key': auditor.value })).status).toBe(404)
  })

  test('of strangers there are so many and no more, and not for long', async () => {
    const refused = () => prisma.decisionReceipt.count({ where: { clientId: null, subjectId: null } })
    const before = await refused()
    for (let n = 0; n < 15; n++)
      await Promise.all(Array.from({ length: 20 }, () => post('/access/v1/evaluation', question(), {})))
    expect((await refused()) - before).toBeLessThanOrEqual(150)
    expect((await refused()) - before).toBeGreaterThan(20)
    const kept = await prisma.decisionReceipt.findFirstOrThrow({ where: { reason: 'none' } })
    expect(kept.expiresAt.getTime() - kept.at.getTime()).toBeLessThan(3_700_000)
    const known = await post('/access/v1/evaluation', question(), { 'X-API-Key': weakKey })
    const id = known.headers.get('x-decision-id') ?? ''
    expect(await prisma.decisionReceipt.count({ where: { id } })).toBe(1)
  })

  test('a browser without a session is sent to sign in, and comes back to it', async () => {
    const response = await fetch(`${server.url}/d/00000000-0000-4000-8000-000000000000`, {
      headers: { Accept: 'text/html' },
      redirect: 'manual',
    })
    expect(response.status).toBe(303)
    expect(response.headers.get('location')).toMatch(/^\/oauth\/authorize\?/)
  })
})

test('the metadata document names what answers', async () => {
  const response = await fetch(`${server.url}/.well-known/authzen-configuration`)
  const document = await response.json()
  expect(document.policy_decision_point).toBe(server.url)
  for (const [name, address] of Object.entries(document))
    if (name.endsWith('_endpoint')) {
      const { pathname, origin } = new URL(String(address))
      expect(origin).toBe(server.url)
      expect((await post(pathname, '{}', {})).status, name).toBe(401)
    }
})
