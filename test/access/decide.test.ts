// The second door as a whole: what no sequence of changes may bring about, whoever makes them in whatever order.
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Credential, decideAction, decideRequirements, type Subject } from '#src/access/decide.ts'
import { createPolicy, deletePolicy } from '#src/access/policies/policies.ts'
import { readPolicies } from '#src/access/policies/reads.ts'
import { writeRelations } from '#src/access/relations/relations.ts'
import { formatRelation, parseRelation } from '#src/access/relations/text.ts'
import { createRole, updateRole } from '#src/access/roles.ts'
import { readApis } from '#src/apis/api-reads.ts'
import { type ApiRecord, createApi } from '#src/apis/apis.ts'
import { createUser, updateUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const identifier = 'https://api.example.com/orders'
const actions = ['read', 'write', 'refund'] as const
let own: TestDatabase
let db: TestDatabase['database']['prisma']
let api: ApiRecord
let alice: string

beforeAll(async () => {
  own = await createTestDatabase()
  db = own.database.prisma
  const scopes = { read: 'Read', write: 'Write', refund: { description: 'Refund', byRole: true } }
  const objects = { order: { owner: ['read', 'write'], viewer: ['read'] } }
  await createApi(db, { identifier, name: 'Orders', scopes, objects }, change)
  api = (await readApis(own.database))[0] as ApiRecord
  for (const role of ['a', 'b']) await createRole(db, role, {}, change)
  alice = (await createUser(db, { email: 'a@example.com' }, change)).id
})
afterAll(() => own.drop())
beforeEach(clear)

async function clear() {
  for (const role of ['a', 'b']) await updateRole(db, role, { permissions: [] }, change)
  await updateUser(db, alice, { roles: [] }, change)
  await db.relation.deleteMany()
  await db.policy.deleteMany()
}

async function deps() {
  const policies = await readPolicies(own.database)
  return { database: own.database, now: () => change.now, policiesOf: (id: string) => policies.get(id) }
}
const shown = (scopes: readonly string[]): Credential => ({
  method: 'oauth',
  clientId: 'shop',
  scopes: new Set(scopes),
  acrValues: ['urn:sallyport:acr:1fa'],
  amr: ['pwd'],
  authenticatedAt: change.now,
  expiresAt: undefined,
})
const ask = async (action: string, id: string, scopes?: readonly string[]) => {
  const subject: Subject = { kind: 'user', id: alice, ...(scopes && { credential: shown(scopes) }) }
  const question = { api, action, object: { type: 'order', id, properties: {} }, context: {} }
  return decideAction(await deps(), subject, question)
}

// A model of what may be: every grant that was given and not taken away.
type Held = {
  roles: Set<string>
  permissions: Record<string, Set<string>>
  relations: Set<string>
  policies: Map<string, { effect: 'permit' | 'forbid'; action: string }>
}
const anyAction = fc.constantFrom(...actions)
const anyRole = fc.constantFrom('a', 'b')
const anyId = fc.constantFrom('1', '2')
const step = fc.oneof(
  fc.record({ do: fc.constant('role' as const), role: anyRole, on: fc.boolean() }),
  fc.record({ do: fc.constant('permission' as const), role: anyRole, action: anyAction, on: fc.boolean() }),
  fc.record({
    do: fc.constant('relation' as const),
    relation: fc.constantFrom('owner', 'viewer'),
    id: anyId,
    by: fc.boolean(),
    on: fc.boolean(),
  }),
  fc.record({
    do: fc.constant('policy' as const),
    effect: fc.constantFrom('permit' as const, 'forbid' as const),
    action: anyAction,
    on: fc.boolean(),
  }),
)

async function take(held: Held, one: typeof step extends fc.Arbitrary<infer T> ? T : never): Promise<void> {
  const set = <T>(of: Set<T>, value: T, on: boolean) => (on ? of.add(value) : of.delete(value))
  if (one.do === 'role') {
    set(held.roles, one.role, one.on)
    await updateUser(db, alice, { roles: [...held.roles] }, change)
  } else if (one.do === 'permission') {
    const permissions = held.permissions[one.role] ?? new Set()
    set(permissions, one.action, one.on)
    await updateRole(db, one.role, { permissions: [...permissions] }, change)
  } else if (one.do === 'relation') {
    const text = `order:${one.id}#${one.relation}@${one.by ? 'group:g#member' : `user:${alice}`}`
    set(held.relations, text, one.on)
    await writeRelations(db, one.on ? { write: [text], delete: [] } : { write: [], delete: [text] }, change)
  } else {
    const name = `${one.effect}-${one.action}`
    if (one.on && !held.policies.has(name)) {
      const text = `${one.effect} (principal, action == Action::"${one.action}", resource);`
      await createPolicy(db, { apiIdentifier: identifier, name, text, state: 'enforced' }, change)
      held.policies.set(name, one)
    } else if (!one.on && held.policies.delete(name)) {
      const row = await db.policy.findFirstOrThrow({ where: { apiIdentifier: identifier, name } })
      await deletePolicy(db, row.id, row.version, change)
    }
  }
}

function expected({ roles, permissions, relations, policies }: Held, action: string, id: string): boolean {
  const is = (effect: string) =>
    [...policies.values()].some((policy) => policy.effect === effect && policy.action === action)
  if (is('forbid')) return false
  const byRole = [...roles].some((role) => permissions[role]?.has(action))
  const enough = action === 'read' ? ['owner', 'viewer'] : action === 'write' ? ['owner'] : []
  const related = enough.some((relation) => relations.has(`order:${id}#${relation}@user:${alice}`))
  return byRole || related || is('permit')
}

test('after any sequence of changes: exactly what is granted and not forbidden, with the scope where one is shown; twice the same', async () => {
  let yes = 0
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 12 }),
      fc.subarray([...actions]),
      async (steps, scopes) => {
        await clear()
        const held: Held = {
          roles: new Set(),
          permissions: { a: new Set(), b: new Set() },
          relations: new Set(),
          policies: new Map(),
        }
        for (const one of steps) await take(held, one)
        for (const action of actions)
          for (const id of ['1', '2']) {
            const may = expected(held, action, id)
            const [first, second] = [await ask(action, id), await ask(action, id)]
            expect([action, id, first.allowed]).toEqual([action, id, may])
            expect(second).toEqual(first)
            const byToken = await ask(action, id, scopes)
            const carried = [...held.roles].some((role) => held.permissions[role]?.has(action))
            expect(byToken.allowed).toBe(may && scopes.includes(action) && (action !== 'refund' || carried))
            if (may) yes++
          }
      },
    ),
    { numRuns: 40 },
  )
  expect(yes).toBeGreaterThan(20) // a property that met no yes would have shown nothing
}, 60_000)

test('taking something away, whatever it is, never turns a no into a yes', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 10 }), async (steps) => {
      await clear()
      const held: Held = {
        roles: new Set(),
        permissions: { a: new Set(), b: new Set() },
        relations: new Set(),
        policies: new Map(),
      }
      for (const one of steps) await take(held, { ...one, on: true })
      const before = await answers()
      for (const one of steps) {
        if (one.do === 'policy' && one.effect === 'forbid') continue // that takes a prohibition away
        await take(held, { ...one, on: false })
        const after = await answers()
        for (const [question, allowed] of after) expect(allowed && !before.get(question), question).toBe(false)
      }
    }),
    { numRuns: 25 },
  )
}, 60_000)

async function answers(): Promise<Map<string, boolean>> {
  const all = actions.flatMap((action) => ['1', '2'].map((id) => [action, id] as const))
  return new Map(
    await Promise.all(all.map(async ([action, id]) => [`${action} ${id}`, (await ask(action, id)).allowed] as const)),
  )
}

describe('requirements', () => {
  const decide = async (needed: object, scopes: readonly string[] = ['read']) =>
    decideRequirements(
      await deps(),
      { kind: 'user', id: alice, credential: shown(scopes) },
      { api, scopes: [], ...needed },
    )

  test('each that is named must hold, told in the order of the gates', async () => {
    const object = { type: 'order', id: randomUUID() }
    const relation = parseRelation(`order:${object.id}#owner@user:${alice}`)
    const needed = {
      scopes: ['read'],
      roles: ['a'],
      relation: { relation: 'owner', object },
      acrValues: ['phr'],
      maxAge: 60,
    }
    expect(await decide(needed, [])).toMatchObject({ gate: 'scope', reason: 'insufficient_scope', needs: ['read'] })
    expect(await decide(needed)).toMatchObject({ gate: 'role', reason: 'lacks_role', needs: ['a'] })
    await updateUser(db, alice, { roles: ['a'] }, change)
    expect(await decide(needed)).toMatchObject({ gate: 'relation', reason: 'ownership', needs: ['owner'] })
    await writeRelations(db, { write: [formatRelation(relation)], delete: [] }, change)
    expect(await decide(needed)).toMatchObject({ gate: 'step_up', reason: 'weak_login', needs: ['phr'] })
    expect(await decide({ ...needed, acrValues: [] })).toMatchObject({ allowed: true })
    expect(await decide({ ...needed, acrValues: [], maxAge: -1 })).toMatchObject({
      gate: 'step_up',
      reason: 'old_login',
    })
  })

  test('a scope that the token has and its owner no longer does is told as that', async () => {
    expect(await decide({ scopes: ['refund'] }, ['refund'])).toMatchObject({
      reason: 'scope_not_held',
      needs: ['refund'],
    })
  })
})
