// Policies as rows: what is saved, what is refused, what stays of what was; drafts tried; and how the serving process reads them.
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { checkPolicy, evaluatePolicies } from '#src/access/policies/cedar.ts'
import { policySchemaDocument } from '#src/access/policies/document.ts'
import { applyPolicyFile, readPolicyFile } from '#src/access/policies/file.ts'
import {
  createPolicy,
  deletePolicy,
  describePolicyVersion,
  findPolicy,
  findPolicyByName,
  findPolicySchema,
  listPolicies,
  listPolicyVersions,
  PolicyChanged,
  PolicyNotFound,
  putPolicySchema,
  updatePolicy,
} from '#src/access/policies/policies.ts'
import type { PolicyQuestion } from '#src/access/policies/question.ts'
import { readPolicies } from '#src/access/policies/reads.ts'
import { compilePolicySchema } from '#src/access/policies/schema.ts'
import { tryPolicies } from '#src/access/policies/trial.ts'
import { createApi, deleteApi } from '#src/apis/apis.ts'
import { readConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database } from '#src/db/database.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const later = { ...changeAt('2026-11-23T12:00:00.000Z'), actor: { kind: 'user', id: 'carol' } } as const
const api = 'https://api.example.com/orders'
const sales = 'permit (principal is User, action, resource) when { principal.attributes.department == "sales" };'
const night = 'forbid (principal, action, resource) when { context.hour < 6 };'
let created: TestDatabase
let database: Database
let db: Database['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  database = created.database
  db = database.prisma
  await createApi(
    db,
    { identifier: api, name: 'Orders', scopes: { 'orders:read': 'See', 'orders:write': 'Write' } },
    change,
  )
  await putPolicySchema(
    db,
    api,
    0,
    { attributes: '{ department: String, plan?: String }', objects: { order: { relations: { owner: 'user' } } } },
    change,
  )
})
afterAll(() => created.drop())

const ask = (changed: Partial<PolicyQuestion['principal']> = {}, hour = 10): PolicyQuestion => ({
  principal: { kind: 'user', id: 'alice', attributes: { department: 'sales' }, ...changed },
  action: 'orders:read',
  resource: { type: 'order', id: '88' },
  context: { now: new Date(Date.UTC(2026, 10, 26, hour)) },
})

/** As the serving process would answer now. */
async function answer(question = ask()) {
  const set = (await readPolicies(database)).get(api)
  return set ? evaluatePolicies(set, question) : undefined
}

describe('a policy', () => {
  test('begins as a draft, counts once it is enforced, and no longer once it is a draft again', async () => {
    const made = await createPolicy(db, { apiIdentifier: api, name: 'sales', text: sales }, change)
    expect(made).toMatchObject({ state: 'draft', version: 1, effect: 'permit' })
    expect(await answer()).toBeUndefined()
    await updatePolicy(db, made.id, 1, { state: 'enforced' }, change)
    expect(await answer()).toEqual({ effect: 'permit', policies: ['sales'], errors: [] })
    await updatePolicy(db, made.id, 2, { state: 'draft' }, change)
    expect(await answer()).toBeUndefined()
    const other = await createPolicy(db, { apiIdentifier: api, name: 'night', text: night, state: 'enforced' }, change)
    expect(await answer()).toEqual({ effect: 'none', policies: [], errors: [] })
    expect(await answer(ask({}, 3))).toMatchObject({ effect: 'forbid', policies: ['night'] })
    await deletePolicy(db, other.id, 1, change)
    await deletePolicy(db, made.id, 3, change)
  })

  test('keeps what it said before: when, by whom, also after it is deleted', async () => {
    const { id } = await createPolicy(db, { apiIdentifier: api, name: 'kept', text: night }, change)
    await updatePolicy(db, id, 1, { text: night.replace('6', '7'), description: 'Nobody works at night' }, later)
    await deletePolicy(db, id, 2, later)
    expect(await findPolicy(db, id)).toBeNull()
    expect((await listPolicyVersions(db, id)).map(describePolicyVersion)).toEqual([
      {
        version: 3,
        name: 'kept',
        description: 'Nobody works at night',
        text: night.replace('6', '7'),
        state: 'deleted',
        changedAt: later.now,
        changedBy: { kind: 'user', id: 'carol' },
      },
      {
        version: 2,
        name: 'kept',
        description: 'Nobody works at night',
        text: night.replace('6', '7'),
        state: 'draft',
        changedAt: later.now,
        changedBy: { kind: 'user', id: 'carol' },
      },
      {
        version: 1,
        name: 'kept',
        description: '',
        text: night,
        state: 'draft',
        changedAt: change.now,
        changedBy: { kind: 'system', id: 'test' },
      },
    ])
    const events = await db.auditEvent.findMany({ where: { targetId: id }, orderBy: { id: 'asc' } })
    expect(events.map(({ event, actorId }) => [event, actorId])).toEqual([
      ['policy.created', 'test'],
      ['policy.updated', 'carol'],
      ['policy.deleted', 'carol'],
    ])
    expect(JSON.stringify(events.map(({ detail }) => detail))).not.toContain('principal')
  })

  test('is changed by whoever saw its last version: of two editors one wins, and the other is told', async () => {
    const { id } = await createPolicy(db, { apiIdentifier: api, name: 'contested', text: night }, change)
    const edits = await Promise.allSettled(
      ['7', '8', '9', '5'].map((hour) => updatePolicy(db, id, 1, { text: night.replace('6', hour) }, change)),
    )
    expect(edits.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const edit of edits) if (edit.status === 'rejected') expect(edit.reason).toBeInstanceOf(PolicyChanged)
    expect(await listPolicyVersions(db, id)).toHaveLength(2)
    await expect(deletePolicy(db, id, 1, change)).rejects.toBeInstanceOf(PolicyChanged)
    await deletePolicy(db, id, 2, change)
  })

  test('every change moves the configuration version, so that no process goes on with the old ones', async () => {
    const versions = [await readConfigurationVersion(database)]
    const note = async () => versions.push(await readConfigurationVersion(database))
    const { id } = await createPolicy(db, { apiIdentifier: api, name: 'moves', text: night }, change)
    await note()
    await updatePolicy(db, id, 1, { state: 'enforced' }, change)
    await note()
    await deletePolicy(db, id, 2, change)
    await note()
    expect(new Set(versions).size).toBe(4)
  })

  test('has a name of its own in its API', async () => {
    const { id } = await createPolicy(db, { apiIdentifier: api, name: 'one', text: night }, change)
    const other = await createPolicy(db, { apiIdentifier: api, name: 'two', text: night }, change)
    await expect(createPolicy(db, { apiIdentifier: api, name: 'one', text: night }, change)).rejects.toMatchObject({
      kind: 'taken',
    })
    await expect(updatePolicy(db, other.id, 1, { name: 'one' }, change)).rejects.toMatchObject({ kind: 'taken' })
    await updatePolicy(db, other.id, 1, { name: 'three' }, change)
    expect(await findPolicyByName(db, api, 'three')).toMatchObject({ id: other.id, version: 2 })
    await deletePolicy(db, id, 1, change)
    await deletePolicy(db, other.id, 2, change)
  })
})

describe('refused, naming the field', () => {
  test.each<[string, Partial<Parameters<typeof createPolicy>[1]>, string]>([
    ['a text that the schema does not bear', { text: sales.replace('department', 'departmnt') }, 'text'],
    ['a text that is none', { text: 'permit' }, 'text'],
    ['a text with a NUL', { text: `${night}\0` }, 'text'],
    ['a name with capitals', { name: 'Sales' }, 'name'],
    ['an empty name', { name: '' }, 'name'],
    ['a name with a NUL', { name: 'a\0' }, 'name'],
    ['an unknown state', { state: 'deleted' }, 'state'],
    ['a description over two lines', { description: 'a\nb' }, 'description'],
    ['an unknown API', { apiIdentifier: 'https://nobody.example' }, 'identifier'],
    ['an impossible API', { apiIdentifier: '\0' }, 'identifier'],
  ])('%s', async (_, input, field) => {
    await expect(
      createPolicy(db, { apiIdentifier: api, name: 'x', text: night, ...input }, change),
    ).rejects.toMatchObject({ field })
    expect(await findPolicyByName(db, api, 'x')).toBeNull()
  })

  test('ids that are none', async () => {
    for (const id of ['', 'x', '\0', randomUUID()]) {
      await expect(updatePolicy(db, id, 1, { state: 'draft' }, change)).rejects.toBeInstanceOf(PolicyNotFound)
      await expect(deletePolicy(db, id, 1, change)).rejects.toBeInstanceOf(PolicyNotFound)
      expect(await listPolicyVersions(db, id)).toEqual([])
    }
    expect(await listPolicies(db, { apiIdentifier: '\0' })).toEqual([])
  })
})

describe('the policy schema of an API', () => {
  test('cannot change under policies that rely on it, and says which', async () => {
    const { id } = await createPolicy(db, { apiIdentifier: api, name: 'relies', text: sales }, change)
    const { version, declared } = await findPolicySchema(db, api)
    await expect(putPolicySchema(db, api, version, { attributes: '{ plan: String }' }, change)).rejects.toMatchObject({
      kind: 'invalid',
      flaws: [{ field: 'policies.relies', problem: expect.stringMatching(/department/) }],
    })
    await expect(putPolicySchema(db, api, version + 1, declared, change)).rejects.toBeInstanceOf(PolicyChanged)
    expect((await findPolicySchema(db, api)).version).toBe(version)
    await deletePolicy(db, id, 1, change)
  })

  test('and a policy that came while it was being checked is checked as well', async () => {
    const { version } = await findPolicySchema(db, api)
    const outcomes = await Promise.allSettled([
      putPolicySchema(db, api, version, { attributes: '{ plan?: String }' }, change),
      createPolicy(db, { apiIdentifier: api, name: 'racing', text: sales }, change),
    ])
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const racing = await findPolicyByName(db, api, 'racing')
    if (racing) await deletePolicy(db, racing.id, 1, change)
    const declared = {
      attributes: '{ department: String, plan?: String }',
      objects: { order: { relations: { owner: 'user' } } },
    }
    await putPolicySchema(db, api, (await findPolicySchema(db, api)).version, declared, change)
  })

  test('is refused field by field', async () => {
    const { version } = await findPolicySchema(db, api)
    await expect(
      putPolicySchema(db, api, version, { attributes: '{ a: Strin }', context: '}' }, change),
    ).rejects.toMatchObject({ flaws: [{ field: 'attributes' }, { field: 'context' }] })
  })

  test('goes with its API, and so does everything about policies', async () => {
    const other = 'https://gone.example'
    await createApi(db, { identifier: other, name: 'Gone', scopes: { 'gone:read': 'x' } }, change)
    await putPolicySchema(db, other, 0, { attributes: '{}' }, change)
    const { id } = await createPolicy(db, { apiIdentifier: other, name: 'a', text: night, state: 'enforced' }, change)
    expect([...(await readPolicies(database)).keys()]).toContain(other)
    await deleteApi(db, other, change)
    expect([...(await readPolicies(database)).keys()]).not.toContain(other)
    expect(await listPolicyVersions(db, id)).toEqual([])
  })
})

describe('a trial says who would gain or lose what', () => {
  test('a draft is added, takes the place of its name, or takes it away; what is enforced stays', async () => {
    const { id } = await createPolicy(db, { apiIdentifier: api, name: 'sales', text: sales, state: 'enforced' }, change)
    const hr = ask({ id: 'bob', attributes: { department: 'hr' } })
    const questions = [ask(), hr, ask({}, 3), { ...ask({}, 3), granted: true }]
    const changes = async (drafts: Parameters<typeof tryPolicies>[2]) => {
      const { results, gains, loses } = await tryPolicies(database, api, drafts, questions)
      return [...results.map((result) => result.change), gains, loses]
    }
    expect(await changes([{ name: 'night', text: night }])).toEqual(['none', 'none', 'loses', 'loses', 0, 2])
    expect(await changes([{ name: 'sales', text: sales.replace('sales', 'hr') }])).toEqual([
      'loses',
      'gains',
      'loses',
      'none',
      1,
      2,
    ])
    expect(await changes([{ name: 'sales' }])).toEqual(['loses', 'none', 'loses', 'none', 0, 2])
    expect(await changes([{ name: 'more', text: 'permit (principal, action, resource);' }])).toEqual([
      'none',
      'gains',
      'none',
      'none',
      1,
      0,
    ])
    const [first] = (await tryPolicies(database, api, [{ name: 'night', text: night }], [ask({}, 3)])).results
    expect(first).toEqual({
      before: { effect: 'permit', policies: ['sales'], errors: [] },
      after: { effect: 'forbid', policies: ['night'], errors: [] },
      change: 'loses',
    })
    expect(await answer(ask({}, 3))).toMatchObject({ effect: 'permit' })
    await deletePolicy(db, id, 1, change)
  })

  test('drafts that do not hold up are refused, all of them named', async () => {
    await expect(
      tryPolicies(database, api, [{ name: 'a', text: 'permit' }, { name: 'nobody' }], [ask()]),
    ).rejects.toMatchObject({ flaws: [{ field: 'drafts[0].text' }, { field: 'drafts[1].name' }] })
    await expect(tryPolicies(database, 'https://nobody.example', [], [])).rejects.toMatchObject({ kind: 'missing' })
  })
})

describe('a file of policies', () => {
  const file = `// What the shop agreed on.
@id("night")
@description("Nobody works at night")
${night}

@id("sales") ${sales}
`

  test('is applied as a whole, changes what differs and nothing else', async () => {
    const apply = (text: string, enforce = false) =>
      applyPolicyFile(database, api, readPolicyFile(text), { enforce }, change)
    expect((await apply(file)).map(({ name, done, state }) => [name, done, state])).toEqual([
      ['night', 'created', 'draft'],
      ['sales', 'created', 'draft'],
    ])
    expect((await apply(file)).map(({ done }) => done)).toEqual(['unchanged', 'unchanged'])
    expect(
      (await apply(file.replace('< 6', '< 7'), true)).map(({ done, state, version }) => [done, state, version]),
    ).toEqual([
      ['updated', 'enforced', 2],
      ['updated', 'enforced', 2],
    ])
    expect(await answer(ask({}, 6))).toMatchObject({ effect: 'forbid', policies: ['night'] })
    await expect(apply(file.replace('department', 'departmnt').replace('< 6', '< 8'))).rejects.toMatchObject({
      kind: 'invalid',
    })
    expect(await findPolicyByName(db, api, 'night')).toMatchObject({ version: 2, description: 'Nobody works at night' })
  })

  test.each([
    ['a policy without a name', night],
    ['a name twice', `@id("a") ${night} @id("a") ${sales}`],
    ['a syntax error', `@id("a") ${night} permit (`],
    ['a template', '@id("a") permit (principal == ?principal, action, resource);'],
    ['more than Cedar can read', `@id("a") permit (principal, action, resource) when { ${'('.repeat(5000)} };`],
  ])('with %s is refused', (_, text) => {
    expect(() => readPolicyFile(text)).toThrow(expect.objectContaining({ kind: 'invalid' }))
  })
})

test('what docs/policies.md shows is accepted as it stands', () => {
  const page = readFileSync(new URL('../../docs/policies.md', import.meta.url), 'utf8')
  const shown = (file: string) => new RegExp(`cat > ${file} <<'?END'?\n([^]*?)\nEND\n`).exec(page)?.[1] ?? ''
  const declared = policySchemaDocument.parse(JSON.parse(shown('schema.json')))
  const compiled = compilePolicySchema({
    actions: ['orders:read', 'orders:write', 'orders:delete'],
    objects: {},
    declared,
  })
  if ('flaws' in compiled) throw new Error(JSON.stringify(compiled.flaws))
  const policies = readPolicyFile(shown('orders.cedar'))
  expect(policies.length).toBeGreaterThan(3)
  for (const { name, text } of policies) expect(checkPolicy(text, compiled.schema), name).toHaveProperty('effect')
})

test('lists come in pages, by API and name', async () => {
  const whole = (await listPolicies(db)).map(({ name }) => name)
  const [first, ...rest] = await listPolicies(db, { limit: 1 })
  expect(rest).toEqual([])
  expect((await listPolicies(db, { after: first?.id })).map(({ name }) => name)).toEqual(whole.slice(1))
  expect(whole).toEqual(['night', 'sales'])
})
