// Decisions of the last days, made again: who would gain, who would lose, and of whom it cannot be said.
import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createPolicy, findPolicyByName, putPolicySchema } from '#src/access/policies/policies.ts'
import { draftOf, replayPolicies } from '#src/access/policies/replay.ts'
import { writeRelations } from '#src/access/relations/relations.ts'
import { createRole } from '#src/access/roles.ts'
import { createApi } from '#src/apis/apis.ts'
import type { Database, Prisma } from '#src/db/database.ts'
import { createUser, deleteUser, updateUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt('2026-11-26T12:00:00.000Z')
const api = 'https://api.example.com/orders'
const sales = 'permit (principal is User, action, resource) when { principal.attributes.department == "sales" };'
const night = 'forbid (principal, action, resource) when { context.hour < 6 };'
const cheap =
  'permit (principal, action, resource) when { context.properties has amount && context.properties.amount < 100 };'
let created: TestDatabase
let database: Database
let db: Database['prisma']
let sam: string
let rita: string
let olga: string

beforeAll(async () => {
  created = await createTestDatabase()
  database = created.database
  db = database.prisma
  const scopes = { 'orders:read': 'See', 'orders:write': 'Write' }
  await createApi(
    db,
    { identifier: api, name: 'Orders', scopes, objects: { order: { owner: ['orders:read'] } } },
    change,
  )
  const declared = { attributes: '{ department: String }', context: '{ amount?: Long, why?: String }' }
  await putPolicySchema(db, api, 0, declared, change)
  await createRole(db, 'clerk', { permissions: ['orders:read'] }, change)
  const person = async (name: string, more: object = {}) =>
    (await createUser(db, { email: `${name}@example.com`, ...more }, change)).id
  sam = await person('sam', { attributes: { department: 'sales' } })
  rita = await person('rita', { roles: ['clerk'], attributes: { department: 'support' } })
  olga = await person('olga')
  await writeRelations(db, { write: [`order:88#owner@user:${olga}`], delete: [] }, change)
})
afterAll(() => created.drop())
beforeEach(async () => {
  await db.decisionReceipt.deleteMany()
  await db.policy.deleteMany()
})

/** A refusal for want of a policy, asked by AuthZEN, unless it says otherwise. @returns its id. */
async function receipt(more: Partial<Prisma.DecisionReceiptCreateManyInput> = {}): Promise<string> {
  const id = randomUUID()
  const data = {
    ...{ id, at: new Date('2026-11-25T12:00:00.000Z'), expiresAt: new Date('2026-12-03'), api, facts: {} },
    ...{ endpoint: 'POST /access/v1/evaluation', allowed: false, gate: 'policy', reason: 'no_policy_permits' },
    ...{ subjectKind: 'user', subjectId: sam, action: 'orders:read', objectType: 'order', objectId: '7' },
    ...more,
  }
  await db.decisionReceipt.createMany({ data: [data] })
  return id
}
const yes = { allowed: true, gate: null, reason: 'permitted' }
const since = new Date('2026-11-20')
const replay = (text: string | undefined, page: { after?: string; limit?: number } = {}, name = 'draft') =>
  replayPolicies(database, api, [{ name, text }], { since, limit: 100, ...page })
const count = ({ gains, loses, unchanged, undecided }: Awaited<ReturnType<typeof replay>>) => ({
  gains: gains.length,
  loses: loses.length,
  unchanged,
  undecided: undecided.length,
})

describe('a draft', () => {
  test('that permits: who gains, with the gate of today and what would be', async () => {
    const [first, second] = [await receipt(), await receipt({ subjectId: rita, ...yes })]
    const result = await replay(sales)
    expect(result).toEqual({
      looked: { permitted: 1, refused: 1, withoutPolicies: 0 },
      ...{ unchanged: 1, changedSince: 0, loses: [], undecided: [], next: null },
      gains: [
        {
          ...{ id: first, at: new Date('2026-11-25T12:00:00.000Z'), action: 'orders:read' },
          ...{ subject: { type: 'user', id: sam }, object: { type: 'order', id: '7' } },
          before: { allowed: false, gate: 'relation', reason: 'ownership', policies: [] },
          after: { allowed: true, gate: null, reason: 'permitted', policies: ['draft'] },
        },
      ],
    })
    expect(second).not.toBe(first)
  })

  test('that forbids: whoever has it by role, relation or policy loses it, at the hour that it was then', async () => {
    await createPolicy(db, { apiIdentifier: api, name: 'sales', text: sales, state: 'enforced' }, change)
    const at = new Date('2026-11-25T03:00:00.000Z')
    await receipt({ subjectId: rita, ...yes, at })
    await receipt({ subjectId: olga, objectId: '88', ...yes, at })
    await receipt({ subjectId: sam, ...yes, at })
    await receipt({ subjectId: rita, ...yes })
    const result = await replay(night)
    expect(count(result)).toEqual({ gains: 0, loses: 3, unchanged: 1, undecided: 0 })
    expect(new Set(result.loses.map(({ subject }) => subject.id))).toEqual(new Set([rita, olga, sam]))
    for (const { after } of result.loses)
      expect(after).toEqual({ allowed: false, gate: 'policy', reason: 'forbidden_by_policy', policies: ['draft'] })
  })

  test('sees what the caller said then, and the sign-in of then', async () => {
    await receipt({ facts: { context: { amount: 99 } } })
    await receipt({ facts: { context: { amount: 100 } } })
    expect(count(await replay(cheap))).toMatchObject({ gains: 1, unchanged: 1 })
    await db.decisionReceipt.deleteMany()
    const by = { method: 'oauth', clientId: 'shop', subjectId: rita, ...yes }
    await receipt({ ...by, facts: { acr: 'phr', amr: ['hwk'], authAge: 60 } })
    await receipt({ ...by, facts: { acr: 'low', amr: ['pwd'], authAge: 60 } })
    await receipt({ ...by, facts: { acr: 'phr', amr: ['hwk'], authAge: 4000 } })
    const strong =
      'forbid (principal, action, resource) unless { context has acr && context.acr == "phr" && context.amr.contains("hwk") && context has auth_age && context.auth_age <= 3600 && context has credential && context.credential == "oauth" };'
    expect(count(await replay(strong))).toMatchObject({ loses: 2, unchanged: 1 })
  })

  test('takes the place of the enforced one of its name; without a text that one is taken away', async () => {
    await createPolicy(db, { apiIdentifier: api, name: 'sales', text: sales, state: 'enforced' }, change)
    await receipt({ ...yes, policies: ['sales'] })
    expect(count(await replay(undefined, {}, 'sales'))).toMatchObject({ loses: 1 })
    expect(count(await replay(sales.replace('"sales"', '"support"'), {}, 'sales'))).toMatchObject({ loses: 1 })
    expect(count(await replay(sales, {}, 'sales'))).toMatchObject({ loses: 0, unchanged: 1 })
    const policy = async () => (await findPolicyByName(db, api, 'sales')) ?? expect.fail()
    expect(draftOf(await policy(), undefined)).toEqual({ name: 'sales' })
    expect(draftOf({ ...(await policy()), state: 'draft' }, undefined)).toEqual({
      ...{ name: 'sales', text: sales, field: 'text' },
    })
    expect(draftOf(await policy(), night)).toMatchObject({ name: 'sales', text: night })
  })

  test('that does not hold up is refused before anything is read; nothing is written', async () => {
    await expect(replay('permit (principal, action, resource) when { context.nope };')).rejects.toThrow(/nope/)
    const id = await receipt()
    const before = await db.decisionReceipt.findMany()
    await replay(sales)
    expect(await db.decisionReceipt.findMany()).toEqual(before)
    expect([before.map((row) => row.id), await db.policy.count()]).toEqual([[id], 0])
  })
})

describe('what is not the draft’s', () => {
  test('what has changed since is counted, and is no gain and no loss', async () => {
    await receipt({ subjectId: olga, objectId: '9', ...yes })
    await receipt({ subjectId: rita })
    expect(await replay(night)).toMatchObject({ changedSince: 2, unchanged: 2, gains: [], loses: [] })
    await updateUser(db, rita, { roles: [] }, change)
    expect(await replay(night)).toMatchObject({ changedSince: 1, unchanged: 2 })
    await updateUser(db, rita, { roles: ['clerk'] }, change)
  })

  test('what stopped before the policies, routes of gateways and our own endpoints are counted, not decided', async () => {
    const permitAll = 'permit (principal, action, resource);'
    await receipt({ gate: 'scope', reason: 'insufficient_scope', method: 'oauth', facts: undefined })
    await receipt({ endpoint: 'GET /authz/forward', gate: 'relation', reason: 'ownership', facts: undefined })
    await receipt({ endpoint: 'GET /api/v1/users', objectType: null, objectId: null, gate: 'role', facts: undefined })
    await receipt({ api: 'https://other.example' })
    await receipt({ at: new Date('2026-11-19') })
    const result = await replay(permitAll)
    expect(result.looked).toEqual({ permitted: 0, refused: 3, withoutPolicies: 3 })
    expect(count(result)).toEqual({ gains: 0, loses: 0, unchanged: 0, undecided: 0 })
    await receipt({ endpoint: 'POST /access/v1/evaluations' })
    expect(count(await replay(permitAll))).toMatchObject({ gains: 1 })
  })

  test('a credential’s scope does not make up for a role that has gone', async () => {
    await db.scope.update({
      where: { apiIdentifier_name: { apiIdentifier: api, name: 'orders:write' } },
      data: { byRole: true },
    })
    await receipt({ action: 'orders:write', method: 'oauth' })
    expect(await replay(sales)).toMatchObject({ gains: [], unchanged: 1 })
    await receipt({ action: 'orders:write' })
    expect(count(await replay(sales))).toMatchObject({ gains: 1 })
  })
})

test('what cannot be decided again says why', async () => {
  const gone = (await createUser(db, { email: 'gone@example.com' }, change)).id
  await deleteUser(db, gone, change)
  await receipt({ facts: undefined })
  await receipt({ facts: { left: ['context.why', 'context.other'] } })
  await receipt({ subjectId: gone, method: 'oauth' })
  await receipt({ action: 'orders:burn' })
  await receipt({ facts: { left: ['context.other'] } })
  const { undecided, gains } = await replay(sales)
  expect(undecided.map(({ why, names }) => [why, ...names]).toSorted()).toEqual([
    ['action_gone'],
    ['not_kept', 'context.why'],
    ['older'],
    ['subject_gone'],
  ])
  expect(gains).toHaveLength(1)
})

test('whoever is known elsewhere, or was only named, is asked about all the same', async () => {
  await receipt({ subjectId: 'ext-7', facts: { context: { amount: 5 } } })
  await receipt({ subjectKind: 'robot', subjectId: '7', facts: { context: { amount: 5 } } })
  expect(count(await replay(cheap))).toEqual({ gains: 1, loses: 0, unchanged: 1, undecided: 0 })
})

test('pages: each receipt once, newest first, those of one millisecond too; a place that is none is refused', async () => {
  const ids = new Set<string>()
  for (let n = 0; n < 7; n++) ids.add(await receipt({ at: new Date(Date.UTC(2026, 10, 25, 10, 0, 0, n >> 2)) }))
  const seen: string[] = []
  let after: string | undefined
  do {
    const page = await replay(sales, { limit: 3, ...(after === undefined ? {} : { after }) })
    expect(page.looked.refused).toBeLessThanOrEqual(3)
    seen.push(...page.gains.map(({ id }) => id))
    after = page.next ?? undefined
  } while (after !== undefined)
  expect([seen.length, new Set(seen)]).toEqual([7, ids])
  await expect(replay(sales, { after: '1.x' })).rejects.toThrow(/next of a page before/)
})
