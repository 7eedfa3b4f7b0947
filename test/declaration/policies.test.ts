// Policies in the declarative file, and what they may speak of: checked as the admin API checks them, before anything is written.
import { randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { evaluatePolicies } from '#src/access/policies/cedar.ts'
import { cedarUsage } from '#src/access/policies/cedar-runtime.ts'
import {
  createPolicy,
  findPolicyByName,
  findPolicySchema,
  listPolicies,
  listPolicyVersions,
  putPolicySchema,
  updatePolicy,
} from '#src/access/policies/policies.ts'
import { readPolicies } from '#src/access/policies/reads.ts'
import { createApi } from '#src/apis/apis.ts'
import { readConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database } from '#src/db/database.ts'
import { applyDeclaration } from '#src/declaration/apply.ts'
import { exportDeclaration } from '#src/declaration/export.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { readPolicyTexts } from '#src/declaration/policy-texts.ts'
import type { Refusal } from '#src/refusal.ts'
import { clearAudit } from '#test/support/audit.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const orders = 'https://api.example.com/orders'
const outside = mkdtempSync(join(tmpdir(), 'sallyport-policies-'))
const folder = join(outside, 'config')
let created: TestDatabase
let database: Database
let prisma: Database['prisma']

beforeAll(async () => {
  created = await createTestDatabase()
  database = created.database
  prisma = database.prisma
  mkdirSync(join(folder, 'policies'), { recursive: true })
  writeFileSync(join(folder, 'policies', 'owners.cedar'), owners)
})
afterAll(async () => {
  await created.drop()
  rmSync(outside, { recursive: true })
})
beforeEach(async () => {
  await prisma.api.deleteMany()
  await clearAudit(database)
})

const owners = 'permit (principal, action, resource is order)\nwhen { principal in resource.owner };\n'
const sales = (attribute = 'department') => `permit (principal is User, action, resource)
      when { principal.attributes.${attribute} == "sales" };`
const apis = (attribute = 'department', more = '') => `apis:
  - identifier: ${orders}
    name: Orders
    scopes: { "orders:read": See, "orders:write": Change }
    policySchema:
      attributes: "{ ${attribute}: String }"
      objects: { order: { relations: { owner: user } } }${more}
`
const file = `${apis()}policies:
  - { api: "${orders}", name: owners, file: ./policies/owners.cedar, state: enforced }
  - api: ${orders}
    name: sales
    description: Sales sees every order
    text: |-
      ${sales()}
`

function apply(text: string, options: { dryRun?: boolean; prune?: boolean } = {}) {
  const declaration = parseDeclaration(text)
  const policyTexts = readPolicyTexts(declaration, folder)
  return applyDeclaration(database, declaration, { prune: false, dryRun: false, ...options, ...change, policyTexts })
}
const brief = (changes: Awaited<ReturnType<typeof apply>>) =>
  changes.map(({ action, kind, id }) => `${action} ${kind} ${id}`)
const refusal = (text: string, options = {}) =>
  apply(text, options).then(
    () => [],
    (error: Refusal) => error.flaws,
  )
const policy = (name: string) => findPolicyByName(prisma, orders, name)

describe('applied', () => {
  test('as they are: Cedar is not even loaded', async () => {
    await createApi(prisma, { identifier: orders, name: 'Orders', scopes: { 'orders:read': 'See' } }, change)
    const row = { apiIdentifier: orders, name: 'owners', text: owners, effect: 'permit', scope: {}, state: 'enforced' }
    await prisma.policy.create({ data: { id: randomUUID(), ...row } })
    expect(await apply(`policies: [{ api: "${orders}", name: owners, file: policies/owners.cedar }]\n`)).toEqual([])
    expect(cedarUsage().loaded).toBe(false)
  })

  test('with the API that they are of; the second time nothing changes', async () => {
    expect(brief(await apply(file))).toEqual([
      `create api ${orders}`,
      `create policy ${orders} owners`,
      `create policy ${orders} sales`,
    ])
    expect(await policy('owners')).toMatchObject({ text: owners, state: 'enforced', effect: 'permit', version: 1 })
    expect(await policy('sales')).toMatchObject({ state: 'draft', description: 'Sales sees every order' })
    expect((await findPolicySchema(prisma, orders)).version).toBe(1)
    const [version, rows] = [await readConfigurationVersion(database), await prisma.auditEvent.count()]
    expect(await apply(file)).toEqual([])
    expect(await apply(file, { prune: true })).toEqual([])
    expect([await readConfigurationVersion(database), await prisma.auditEvent.count()]).toEqual([version, rows])
    const set = (await readPolicies(database)).get(orders)
    const question = {
      principal: { kind: 'user', id: 'a' },
      action: 'orders:read',
      resource: { type: 'order', id: '1', relations: { owner: [{ type: 'user', id: 'a' }] } },
      context: { now: change.now },
    } as const
    expect(set && evaluatePolicies(set, question)).toMatchObject({ effect: 'permit', policies: ['owners'] })
  })

  test('an export has every text in itself and the same bytes again, wherever it is applied', async () => {
    await apply(file)
    const exported = await exportDeclaration(prisma)
    expect(parseDeclaration(exported).policies).toEqual([
      { api: orders, name: 'owners', state: 'enforced', text: owners },
      {
        api: orders,
        name: 'sales',
        description: 'Sales sees every order',
        state: 'draft',
        text: (await policy('sales'))?.text,
      },
    ])
    expect(await apply(exported, { prune: true })).toEqual([])
    await prisma.api.deleteMany()
    await apply(exported)
    expect(await exportDeclaration(prisma)).toBe(exported)
    expect(await apply(file, { prune: true })).toEqual([])
  })

  test('a change is a version with its author, and told field by field', async () => {
    await apply(file)
    const changed = file.replace('"sales"', '"support"').replace('name: sales', 'name: sales\n    state: enforced')
    const before = (await policy('sales'))?.text
    expect(await apply(changed)).toEqual([
      {
        action: 'update',
        kind: 'policy',
        id: `${orders} sales`,
        fields: {
          state: { from: 'draft', to: 'enforced' },
          text: { from: before, to: before?.replace('sales', 'support') },
        },
      },
    ])
    const record = await policy('sales')
    const versions = await listPolicyVersions(prisma, record?.id ?? '')
    expect(versions.map(({ version, state, actorKind }) => [version, state, actorKind])).toEqual([
      [2, 'enforced', change.actor.kind],
      [1, 'draft', change.actor.kind],
    ])
  })

  test('a state that is left out stays what it is: an old file switches nothing off', async () => {
    await apply(file)
    const record = await policy('sales')
    await updatePolicy(prisma, record?.id ?? '', 1, { state: 'enforced' }, change)
    expect(await apply(file)).toEqual([])
    expect(brief(await apply(file.replace('name: sales', 'name: sales\n    state: draft')))).toEqual([
      `update policy ${orders} sales`,
    ])
  })

  test('what policies may speak of is left alone where the file says nothing about it', async () => {
    await apply(file)
    const without = file.replace(/ {4}policySchema:\n.*\n.*\n/, '')
    expect(without).not.toContain('policySchema')
    expect(await apply(without)).toEqual([])
    expect((await findPolicySchema(prisma, orders)).declared).toHaveProperty('attributes')
  })

  test('an attribute is renamed in both at once, which neither order would allow', async () => {
    await apply(file)
    const renamed = apis('team') + file.slice(file.indexOf('policies:')).replace('department', 'team')
    expect(await apply(renamed)).toMatchObject([
      { kind: 'api', fields: { policySchema: { from: { attributes: '{ department: String }' } } } },
      { kind: 'policy', id: `${orders} sales`, fields: { text: {} } },
    ])
    expect(await apply(renamed)).toEqual([])
    expect(await findPolicySchema(prisma, orders)).toMatchObject({
      version: 2,
      declared: { attributes: '{ team: String }' },
    })
  })

  test('a dry run says what would change, and changes nothing', async () => {
    const planned = await apply(file, { dryRun: true })
    expect(planned).toHaveLength(3)
    expect([await prisma.policy.count(), await prisma.policySchema.count(), await prisma.auditEvent.count()]).toEqual([
      0, 0, 0,
    ])
    expect(await apply(file)).toEqual(planned)
    const changed = file.replace('"sales"', '"support"')
    expect(await apply(changed, { dryRun: true })).toMatchObject([{ fields: { text: {} } }])
    expect(await apply(file)).toEqual([])
  })
})

describe('removed', () => {
  test('only by prune, only where the section is there, and before their API', async () => {
    await apply(file)
    await createPolicy(prisma, { apiIdentifier: orders, name: 'other', text: owners }, change)
    expect(await apply(file)).toEqual([])
    expect(brief(await apply(file, { prune: true }))).toEqual([`delete policy ${orders} other`])
    expect(await apply(apis(), { prune: true })).toEqual([])
    expect((await listPolicies(prisma)).map(({ name }) => name)).toEqual(['owners', 'sales'])
    const removed = await policy('owners')
    expect(brief(await apply('apis: []\npolicies: []\n', { prune: true }))).toEqual([
      `delete policy ${orders} owners`,
      `delete policy ${orders} sales`,
      `delete api ${orders}`,
    ])
    expect(removed && (await policy('owners'))).toBeNull()
    expect(await apply('policies: []\n')).toEqual([])
  })
})

describe('refused, and nothing is written', () => {
  const wrong = file.replace('attributes.department', 'attributes.departmnt')

  test('what Cedar does not accept: the policy, its line in the file, its place, and what would mend it', async () => {
    for (const options of [{}, { dryRun: true }])
      expect(await refusal(wrong, options)).toEqual([
        {
          field: 'policies[1].text (line 13)',
          problem: expect.stringMatching(/^of sales at line 2, column 8 is not accepted: .*departmnt/),
          fix: expect.stringMatching(/^Did you mean `department`\?/),
        },
      ])
    expect([await prisma.api.count(), await prisma.policy.count(), await prisma.auditEvent.count()]).toEqual([0, 0, 0])
  })

  test('in a file of its own: the same, by its path', async () => {
    writeFileSync(join(folder, 'policies', 'wrong.cedar'), owners.replace('order)', 'ordr)'))
    expect(await refusal(file.replace('owners.cedar', 'wrong.cedar'))).toMatchObject([
      { field: 'policies[0].file (line 9)', problem: expect.stringMatching(/^of owners at line 1, column 40 /) },
    ])
  })

  test('a schema that takes from a policy outside the file what it relies on', async () => {
    await apply(file)
    await createPolicy(prisma, { apiIdentifier: orders, name: 'other', text: sales().replaceAll('sales', 'x') }, change)
    const renamed = apis('team') + file.slice(file.indexOf('policies:')).replace('department', 'team')
    expect(await refusal(renamed)).toMatchObject([
      {
        field: 'apis[0].policySchema (line 6)',
        problem: expect.stringMatching(
          /^does not go with the policy other, which at line 2, column 14 is not accepted/,
        ),
      },
    ])
    expect(brief(await apply(renamed, { prune: true }))).toContain(`delete policy ${orders} other`)
  })

  test.each<[string, string, string]>([
    ['an unknown API', file.replace(`api: ${orders}`, 'api: https://other.example/'), 'policies[1].api (line 10)'],
    ['a name twice', file.replace('name: sales', 'name: owners'), 'policies[1].name (line 11)'],
    ['a name that is none', file.replace('name: sales', 'name: Sales!'), 'policies[1].name (line 11)'],
    ['an unknown state', file.replace('state: enforced', 'state: on'), 'policies[0].state (line 9)'],
    ['a text beside a file', file.replace('state: enforced', 'text: x'), 'policies[0].file (line 9)'],
    ['no text at all', file.replace('file: ./policies/owners.cedar, ', ''), 'policies[0].text (line 9)'],
    ['a path that leads out', file.replace('./policies', '../policies'), 'policies[0].file (line 9)'],
    ['a file that is not there', file.replace('owners.cedar', 'none.cedar'), 'policies[0].file (line 9)'],
    [
      'a schema that Cedar cannot read',
      file.replace('department: String', 'department: Strin'),
      'apis[0].policySchema.attributes (line 6)',
    ],
    [
      'an attribute of the schema that is none',
      file.replace('objects: {', 'object: {'),
      'apis[0].policySchema.object (line 7)',
    ],
  ])('%s', async (_, text, field) => {
    const flaws = await Promise.resolve()
      .then(() => refusal(text))
      .catch((error: Refusal) => error.flaws)
    expect(flaws.map((flaw) => flaw.field)).toEqual([field])
    expect(await prisma.policy.count()).toBe(0)
  })

  test('a link that leads out of the folder, and bytes that are no text', async () => {
    writeFileSync(join(outside, 'secret.cedar'), owners)
    symlinkSync(join(outside, 'secret.cedar'), join(folder, 'policies', 'link.cedar'))
    writeFileSync(join(folder, 'policies', 'bytes.cedar'), Buffer.from([0xff, 0xfe]))
    for (const [name, problem] of [
      ['link.cedar', /leads out/],
      ['bytes.cedar', /UTF-8/],
    ] as const)
      await expect(async () => apply(file.replace('owners.cedar', name))).rejects.toThrow(problem)
  })

  test('a file of policies where none can be read (a request, not a command)', async () => {
    const declaration = parseDeclaration(file)
    await expect(applyDeclaration(database, declaration, { prune: false, dryRun: false, ...change })).rejects.toThrow(
      /policies\[0\].file \(line 9\) is a file, and there are none here/,
    )
  })

  test("Sallyport's own API has no policies", async () => {
    await apply(apis())
    await prisma.api.update({ where: { identifier: orders }, data: { builtIn: true } })
    const section = file.slice(file.indexOf('policies:'))
    expect((await refusal(section)).map(({ field }) => field)).toEqual([
      'policies[0].api (line 2)',
      'policies[1].api (line 3)',
    ])
  })

  test('an API that was declared elsewhere has its policies checked against what it is', async () => {
    await createApi(prisma, { identifier: orders, name: 'Orders', scopes: { 'orders:read': 'See' } }, change)
    const section = file.slice(file.indexOf('policies:'))
    expect((await refusal(section)).map(({ field }) => field)).toEqual([
      'policies[0].file (line 2)',
      'policies[1].text (line 6)',
    ])
    await putPolicySchema(
      prisma,
      orders,
      0,
      { attributes: '{ department: String }', objects: { order: { relations: { owner: 'user' } } } },
      change,
    )
    expect(brief(await apply(section))).toHaveLength(2)
  })
})

test('one apply at a time: several of one file do the work once', async () => {
  const results = await Promise.all([1, 2, 3].map(() => apply(file)))
  expect(results.map((changes) => changes.length).sort()).toEqual([0, 0, 3])
})
