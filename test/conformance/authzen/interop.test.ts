// The interop scenarios of the AuthZEN working group, each with the directory, roles, relations and policies that an operator of this server would
// write for it: the todo application (roles, and owners of todos) and the search demo (records of departments). People are known by their `sub`.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { createPolicy, putPolicySchema } from '#src/access/policies/policies.ts'
import { writeRelations } from '#src/access/relations/relations.ts'
import { createRole } from '#src/access/roles.ts'
import { createApi } from '#src/apis/apis.ts'
import { ensureOwnApi } from '#src/bootstrap/own-api.ts'
import { createClient } from '#src/clients/clients.ts'
import { createUser, updateUser } from '#src/users/users.ts'
import { change } from '#test/support/installation.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const staff = [
  ['alice', 'manager', 'Sales'],
  ['bob', 'employee', 'Legal'],
  ['carol', 'contractor', 'Legal'],
  ['dan', 'manager', 'Finance'],
  ['erin', 'employee', 'Finance'],
  ['felix', 'contractor', 'Accounting'],
] as const
const [legal, accounting, sales, finance] = ['Legal', 'Accounting', 'Sales', 'Finance'] as const
/** 101 and on: department; the owners take turns. */
const departments = [
  ...[legal, legal, legal, accounting, legal, accounting, sales, legal, accounting, sales],
  ...[accounting, legal, sales, accounting, finance, legal, legal, accounting, legal, accounting],
]
const recordTable = departments.map(
  (department, index) => [String(101 + index), department, staff[index % staff.length]?.[0] ?? ''] as const,
)
const actionsOfRecords = ['view', 'edit', 'delete'] as const

/** The rules of the scenario, in their own words: own records; those of the department to see; managers see all and edit their department's. */
function mayInTable(name: string, action: string, id: string): boolean {
  const [, role, own] = staff.find(([who]) => who === name) ?? []
  const [, department, owner] = recordTable.find(([known]) => known === id) ?? []
  if (owner === name) return true
  if (action === 'view') return role === 'manager' || department === own
  return action === 'edit' && role === 'manager' && department === own
}

const todos = 'https://todo.example'
const records = 'https://records.example'
const shelves = 'https://shelves.example'
let server: TestServer
let key: string
const ids = new Map<string, string>()
const idOf = (name: string) => ids.get(name) ?? ''
const nameOf = (id: string) => [...ids].find(([, known]) => known === id)?.[0]

const post = async (path: string, body: unknown) => {
  const response = await fetch(`${server.url}/access/v1/${path}`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', 'X-API-Key': key },
    body: JSON.stringify(body),
  })
  expect(response.status).toBe(200)
  return response.json()
}

beforeAll(async () => {
  server = await startServer()
  const { prisma } = server.database
  const ownApi = `${server.url}/api`
  await ensureOwnApi(server.database, ownApi, change())
  await createClient(prisma, { id: 'backend', type: 'service', apis: { [ownApi]: ['access:evaluate'] } }, [], change())
  const made = { name: 'backend', apis: { [ownApi]: ['access:evaluate'] }, owner: { clientId: 'backend' } }
  key = (await createApiKey(prisma, made, change())).value
  const person = async (name: string, email: string, roles: string[], attributes: Record<string, unknown>) =>
    ids.set(name, (await createUser(prisma, { email, roles, attributes }, change())).id)
  const policy = (api: string, name: string, text: string) =>
    createPolicy(prisma, { apiIdentifier: api, name, text, state: 'enforced' }, change())

  // -- todo
  const named = (...names: string[]) => Object.fromEntries(names.map((name) => [name, name]))
  const actions = ['can_read_user', 'can_read_todos', 'can_create_todo', 'can_update_todo', 'can_delete_todo']
  await createApi(
    prisma,
    {
      identifier: todos,
      name: 'Todo',
      scopes: named(...actions),
      objects: { todo: { owner: ['can_update_todo', 'can_delete_todo'] } },
    },
    change(),
  )
  const viewer = ['can_read_user', 'can_read_todos']
  await createRole(prisma, 'viewer', { permissions: viewer, api: todos }, change())
  await createRole(prisma, 'editor', { permissions: [...viewer, 'can_create_todo'], api: todos }, change())
  await createRole(
    prisma,
    'admin',
    { permissions: [...viewer, 'can_create_todo', 'can_delete_todo'], api: todos },
    change(),
  )
  await createRole(
    prisma,
    'evil-genius',
    { permissions: [...viewer, 'can_create_todo', 'can_update_todo'], api: todos },
    change(),
  )
  await person('rick', 'rick@the-citadel.com', ['admin', 'evil-genius'], { email: 'rick@the-citadel.com' })
  await person('morty', 'morty@the-citadel.com', ['editor'], { email: 'morty@the-citadel.com' })
  await person('summer', 'summer@the-smiths.com', ['editor'], { email: 'summer@the-smiths.com' })
  await person('beth', 'beth@the-smiths.com', ['viewer'], { email: 'beth@the-smiths.com' })
  await person('jerry', 'jerry@the-smiths.com', ['viewer'], { email: 'jerry@the-smiths.com' })
  const schema = { attributes: '{ email?: String }', objects: { todo: { properties: '{ ownerID?: String }' } } }
  await putPolicySchema(prisma, todos, 0, schema, change())
  await policy(
    todos,
    'editors-own-todos',
    `permit (principal is User in Role::"editor", action in [Action::"can_update_todo", Action::"can_delete_todo"], resource is todo)
     when { principal.attributes has email && resource.properties has ownerID && resource.properties.ownerID == principal.attributes.email };`,
  )

  // -- filters
  await createApi(
    prisma,
    {
      identifier: shelves,
      name: 'Shelves',
      scopes: named('shelf:read', 'shelf:burn'),
      objects: { shelf: { owner: ['shelf:read'] } },
    },
    change(),
  )
  await createRole(prisma, 'librarian', { permissions: ['shelf:read'] }, change())
  await updateUser(prisma, idOf('rick'), { roles: ['admin', 'evil-genius', 'librarian'] }, change())

  // -- search
  const scopes = named('view', 'edit', 'delete')
  const objects = { record: { owner: ['view', 'edit', 'delete'], department: ['view'] } }
  await createApi(prisma, { identifier: records, name: 'Records', scopes, objects }, change())
  await createRole(prisma, 'manager', { permissions: ['view'], api: records }, change())
  for (const [name, role, department] of staff)
    await person(name, `${name}@example.com`, role === 'manager' ? ['manager'] : [], { department })
  const write = staff.map(([name, , department]) => `group:${department}#member@user:${idOf(name)}`)
  for (const [id, department, owner] of recordTable)
    write.push(`record:${id}#owner@user:${idOf(owner)}`, `record:${id}#department@group:${department}#member`)
  await writeRelations(prisma, { write, delete: [] }, change())
  await server.settle()
  await policy(
    records,
    'managers-edit-their-department',
    `permit (principal is User in Role::"manager", action == Action::"edit", resource is record) when { principal in resource.department };`,
  )
  await server.settle()
})
afterAll(() => server.stop())

describe('todo', () => {
  const allowed: Record<string, Record<string, boolean>> = {
    rick: { own_update: true, other_update: true, own_delete: true, other_delete: true, create: true },
    morty: { own_update: true, other_update: false, own_delete: true, other_delete: false, create: true },
    summer: { own_update: true, other_update: false, own_delete: true, other_delete: false, create: true },
    beth: { own_update: false, other_update: false, own_delete: false, other_delete: false, create: false },
    jerry: { own_update: false, other_update: false, own_delete: false, other_delete: false, create: false },
  }
  const mail = (name: string) =>
    ['rick', 'morty'].includes(name) ? `${name}@the-citadel.com` : `${name}@the-smiths.com`
  const ask = (name: string, action: string, resource: object) => ({
    subject: { type: 'user', id: idOf(name) },
    action: { name: action },
    resource,
  })
  const todo = (owner: string) => ({
    type: 'todo',
    id: '7240d0db-8ff0-41ec-98b2-34a096273b9f',
    properties: { ownerID: mail(owner) },
  })

  test.each(Object.entries(allowed))(
    '%s: every decision of the table, one by one and boxcarred',
    async (name, table) => {
      const other = name === 'rick' ? 'morty' : 'rick'
      const questions: [object, boolean][] = [
        [ask(name, 'can_read_user', { type: 'user', id: 'beth@the-smiths.com' }), true],
        [ask(name, 'can_read_todos', { type: 'todo', id: 'todo-1' }), true],
        [ask(name, 'can_create_todo', { type: 'todo', id: 'todo-1' }), table.create ?? false],
        [ask(name, 'can_update_todo', todo(name)), table.own_update ?? false],
        [ask(name, 'can_update_todo', todo(other)), table.other_update ?? false],
        [ask(name, 'can_delete_todo', todo(name)), table.own_delete ?? false],
        [ask(name, 'can_delete_todo', todo(other)), table.other_delete ?? false],
      ]
      const decisions = []
      for (const [question] of questions) decisions.push((await post('evaluation', question)).decision)
      expect(decisions).toEqual(questions.map(([, expected]) => expected))
      const { evaluations } = await post('evaluations', { evaluations: questions.map(([question]) => question) })
      expect(evaluations.map(({ decision }: { decision: boolean }) => decision)).toEqual(decisions)
    },
  )
})

describe('search', () => {
  const byId = (list: { id: string }[]) => list.map(({ id }) => id)
  const subjects = async (action: string, id: string, page = {}) =>
    post('search/subject', {
      subject: { type: 'user' },
      action: { name: action },
      resource: { type: 'record', id },
      page,
    })
  const search = async (name: string, action: string) =>
    byId(
      (
        await post('search/resource', {
          subject: { type: 'user', id: idOf(name) || name },
          action: { name: action },
          resource: { type: 'record' },
        })
      ).results,
    )

  test.each(recordTable.map(([id]) => id))('who may do what to record %s', async (id) => {
    const found = []
    for (const action of actionsOfRecords)
      found.push((await subjects(action, id)).results.map((one: { id: string }) => nameOf(one.id)).sort())
    const expected = actionsOfRecords.map((action) =>
      staff.map(([name]) => name).filter((name) => mayInTable(name, action, id)),
    )
    expect(found).toEqual(expected)
  })

  test.each(staff.map(([name]) => name))('what %s may do to which records, and to one of them', async (name) => {
    for (const action of actionsOfRecords)
      expect([action, await search(name, action)]).toEqual([
        action,
        recordTable.map(([id]) => id).filter((id) => mayInTable(name, action, id)),
      ])
    for (const [id] of recordTable) {
      const { results } = await post('search/action', {
        subject: { type: 'user', id: idOf(name) },
        resource: { type: 'record', id },
        context: { audience: records },
      })
      const may = [...actionsOfRecords].sort().filter((action) => mayInTable(name, action, id))
      expect(results).toEqual(may.map((one) => ({ name: one })))
    }
  })

  test('figures of the working group: what some of them find', async () => {
    expect(await search('alice', 'view')).toHaveLength(20)
    expect(await search('alice', 'edit')).toEqual(['101', '107', '110', '113', '119'])
    expect(await search('dan', 'edit')).toEqual(['104', '110', '115', '116'])
    expect(await search('felix', 'view')).toEqual(['104', '106', '109', '111', '112', '114', '118', '120'])
    expect(await search('erin', 'view')).toEqual(['105', '111', '115', '117'])
    expect((await subjects('edit', '115')).results.map((one: { id: string }) => nameOf(one.id)).sort()).toEqual([
      'carol',
      'dan',
    ])
  })

  test('page by page the same, each once; what is not known is an empty answer', async () => {
    const found: string[] = []
    for (let token = '', first = true; first || token !== ''; first = false) {
      const answer = await subjects('view', '105', { limit: 1, ...(token && { token }) })
      expect(answer.results.length).toBeLessThanOrEqual(1)
      found.push(...answer.results.map((one: { id: string }) => nameOf(one.id)))
      token = answer.page.next_token
    }
    expect(found.sort()).toEqual(['alice', 'bob', 'carol', 'dan', 'erin'])
    // A role is for every object, also for one that nobody has heard of; so managers are found, and nobody else.
    expect((await subjects('view', '999')).results.map((one: { id: string }) => nameOf(one.id)).sort()).toEqual([
      'alice',
      'dan',
    ])
    expect((await subjects('print', '101')).results).toEqual([])
    expect(await search('nobody', 'view')).toEqual([])
  })

  test('what a search finds an evaluation permits, and nothing else', async () => {
    for (const name of ['alice', 'bob', 'carol', 'dan', 'erin', 'felix'])
      for (const action of ['view', 'edit', 'delete']) {
        const subject = { type: 'user', id: idOf(name) }
        const { results } = await post('search/resource', {
          subject,
          action: { name: action },
          resource: { type: 'record' },
        })
        const found = results.map(({ id }: { id: string }) => id)
        const all = recordTable.map(([id]) => id)
        const evaluations = all.map((id) => ({ resource: { type: 'record', id } }))
        const answer = await post('evaluations', { subject, action: { name: action }, evaluations })
        const may = all.filter((_, index) => answer.evaluations[index].decision)
        expect([name, action, found]).toEqual([name, action, may])
      }
  })

  test('an API that scopes its own query asks for the filter', async () => {
    const ask = (name: string, action: string, api = shelves) =>
      post('search/resource', {
        subject: { type: 'user', id: idOf(name) },
        action: { name: action },
        resource: { type: 'shelf' },
        context: { audience: api },
        options: { as: 'filter' },
      })
    expect(await ask('alice', 'shelf:read')).toEqual({
      filter: {
        relations: ['owner'],
        subjects: [
          { type: 'user', id: idOf('alice') },
          { type: 'group', id: 'Sales' },
        ],
      },
    })
    expect(await ask('rick', 'shelf:read')).toEqual({ filter: { all: true } })
    expect(await ask('alice', 'shelf:burn')).toEqual({ filter: { none: true } })
    expect(await ask('dan', 'edit', records)).toEqual({ filter: null }) // its policies have to be asked
  })

  test('a page token that is of no page: 400', async () => {
    const response = await fetch(`${server.url}/access/v1/search/subject`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'X-API-Key': key },
      body: JSON.stringify({
        subject: { type: 'user' },
        action: { name: 'view' },
        resource: { type: 'record', id: '101' },
        page: { token: 'eA' },
      }),
    })
    expect(response.status).toBe(400)
  })
})
