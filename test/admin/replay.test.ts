// A draft against real decisions: asked over AuthZEN, decided, kept, and made again over the admin API.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { createPolicy, putPolicySchema } from '#src/access/policies/policies.ts'
import { createRole } from '#src/access/roles.ts'
import { createApi } from '#src/apis/apis.ts'
import { createClient } from '#src/clients/clients.ts'
import { createUser } from '#src/users/users.ts'
import { type AdminApi, startAdminApi } from '#test/support/admin-api.ts'
import { change } from '#test/support/installation.ts'

const orders = 'https://replay.example/orders'
let api: AdminApi
let prisma: AdminApi['server']['database']['prisma']
let key: string
let worker: string
let rita: string

beforeAll(async () => {
  api = await startAdminApi({ env: { DECISION_RECEIPTS_PERMITTED: '1' } })
  prisma = api.server.database.prisma
  const scopes = { 'replay:read': 'See', 'replay:pay': 'Pay' }
  await createApi(prisma, { identifier: orders, name: 'Orders', scopes, accept: ['oauth', 'api_key'] }, change())
  const declared = {
    context: '{ amount?: Long, note?: String }',
    objects: { order: { properties: '{ open?: Bool }' } },
  }
  await putPolicySchema(prisma, orders, 0, declared, change())
  await createRole(prisma, 'payer', { permissions: ['replay:pay'] }, change())
  rita = (await createUser(prisma, { email: 'rita@example.com', roles: ['payer'] }, change())).id
  await createClient(prisma, { id: 'worker', type: 'service', apis: { [orders]: ['replay:pay'] } }, [], change())
  const give = async (owner: string, apis: Record<string, string[]>) =>
    (await createApiKey(prisma, { name: 'k', apis, owner: { clientId: owner } }, change())).value
  key = await give('robot', { [api.ownApi]: ['access:evaluate'] })
  worker = await give('worker', { [orders]: ['replay:pay'] })
  await api.server.settle()
})
afterAll(() => api.stop())
beforeEach(() => prisma.policy.deleteMany())

type Asked = { subject?: { type: string; id: string }; context?: object; properties?: object; action?: string }

async function ask({
  subject = { type: 'user', id: rita },
  context = {},
  properties = {},
  action = 'replay:pay',
}: Asked) {
  const response = await fetch(`${api.server.url}/access/v1/evaluation`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-API-Key': key },
    body: JSON.stringify({
      subject,
      action: { name: action },
      resource: { type: 'order', id: '88', properties },
      context,
    }),
  })
  const body = await response.json()
  // A yes does not name its receipt.
  const { id } = await prisma.decisionReceipt.findFirstOrThrow({ where: { api: orders }, orderBy: { at: 'desc' } })
  return { id, body }
}
const receiptOf = (id: string) => prisma.decisionReceipt.findUniqueOrThrow({ where: { id } })
const draft = async (text: string, state = 'draft') =>
  (await createPolicy(prisma, { apiIdentifier: orders, name: 'limit', text, state }, change())).id
const replay = (id: string, body: object = {}, scopes?: string[]) =>
  api.call('POST', `/policies/${id}/replay`, { body, ...(scopes && { scopes }) })

const limit =
  'forbid (principal, action == Action::"replay:pay", resource) when { context.properties has amount && context.properties.amount > 100 };'

test('who would lose by it, from what the callers really said; nothing they said beside it is kept', async () => {
  const said = { amount: 500, note: 'Bearer 5ecret', phone: '+41 44 000', audience: orders }
  const much = await ask({ context: said, properties: { open: true, secret: 'x' } })
  const little = await ask({ context: { amount: 5 } })
  const refused = await ask({ context: { amount: 500 }, action: 'replay:read' })
  expect([much.body, little.body, refused.body.decision]).toEqual([{ decision: true }, { decision: true }, false])
  const { facts } = await receiptOf(much.id)
  expect(facts).toEqual({
    context: { amount: 500 },
    properties: { open: true },
    left: ['properties.secret', 'context.note', 'context.phone'],
  })

  const id = await draft(limit)
  const { status, body } = await replay(id)
  expect(status).toBe(200)
  expect(body).toMatchObject({
    permittedShare: 1,
    looked: { permitted: 2, refused: 1, withoutPolicies: 0 },
    ...{ unchanged: 2, changedSince: 0, gains: [], loses: [], next: null },
    undecided: [{ id: much.id, why: 'not_kept', names: ['context.note'] }],
  })

  const again = await ask({ context: { amount: 500, phone: '+41 44 000' } })
  expect((await replay(id)).body.loses).toEqual([
    {
      ...{ id: again.id, at: expect.any(String), action: 'replay:pay', object: { type: 'order', id: '88' } },
      subject: { type: 'user', id: rita },
      before: { allowed: true, gate: null, reason: 'permitted', policies: [] },
      after: { allowed: false, gate: 'policy', reason: 'forbidden_by_policy', policies: ['limit'] },
    },
  ])
})

test('an enforced one is tried as taken away, or with another text; a page at a time', async () => {
  await prisma.decisionReceipt.deleteMany()
  const id = await draft(limit, 'enforced')
  await api.server.settle()
  for (const amount of [50, 500, 5000]) await ask({ context: { amount } })
  expect((await replay(id)).body).toMatchObject({ looked: { permitted: 1, refused: 2 }, unchanged: 1, loses: [] })
  expect((await replay(id)).body.gains).toHaveLength(2)
  const other = limit.replace('100', '1000')
  const first = (await replay(id, { text: other, limit: 2 })).body
  expect([first.gains.length, first.unchanged]).toEqual([1, 1])
  const second = (await replay(id, { text: other, limit: 2, after: first.next })).body
  expect([second.gains.length, second.unchanged, second.next]).toEqual([0, 1, null])
})

test('a credential that was shown is judged as it was: by what it was, under the scope that it had', async () => {
  await prisma.decisionReceipt.deleteMany()
  const asked = await ask({ subject: { type: 'api_key', id: worker }, context: { amount: 5 } })
  expect(asked.body).toEqual({ decision: true })
  const stored = await receiptOf(asked.id)
  expect(stored).toMatchObject({ method: 'api_key', subjectKind: 'client', facts: { context: { amount: 5 } } })
  expect(JSON.stringify(stored)).not.toContain(worker)
  const short = await ask({ subject: { type: 'api_key', id: worker }, action: 'replay:read' })
  expect(await receiptOf(short.id)).toMatchObject({ gate: 'scope', facts: null })
  const id = await draft(
    'forbid (principal, action, resource) when { context has credential && context.credential == "api_key" };',
  )
  expect((await replay(id)).body).toMatchObject({
    looked: { permitted: 1, refused: 1, withoutPolicies: 1 },
    loses: [{ id: asked.id, subject: { type: 'client', id: 'worker' } }],
  })
})

test('it tells of receipts, so it is for whoever may read both; what is wrong is named', async () => {
  const id = await draft(limit)
  expect((await replay(id, {}, ['policies:read'])).status).toBe(403)
  expect((await replay(id, {}, ['audit:read'])).status).toBe(403)
  expect((await replay(id, {}, ['policies:read', 'audit:read'])).status).toBe(200)
  expect((await replay('00000000-0000-4000-8000-000000000000')).status).toBe(404)
  expect(
    (await replay(id, { text: 'permit (principal, action, resource) when { context.nope };' })).body,
  ).toMatchObject({
    status: 422,
    flaws: [{ field: 'text' }, { field: 'text' }],
  })
  for (const wrong of [{ days: 31 }, { days: 0 }, { limit: 1001 }, { texts: limit }])
    expect((await replay(id, wrong)).status, JSON.stringify(wrong)).toBe(400)
  expect((await replay(id, { after: 'x' })).body).toMatchObject({ status: 422, flaws: [{ field: 'after' }] })
})
