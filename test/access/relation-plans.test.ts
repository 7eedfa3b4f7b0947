// With very many rows no statement over relations reads a table or an index from one end to the other, however the server came to its plan. The
// statements are caught on their way to the pool.
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  groupsOf,
  holdsRelation,
  listRelations,
  relationsOf,
  searchObjects,
  searchSubjects,
  writeRelations,
} from '#src/access/relations/relations.ts'
import { wayOf } from '#src/access/relations/way.ts'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, hasPostgres15, type TestDatabase } from '#test/support/database.ts'
import { explain, nodesOf, type Statement, wholeTables } from '#test/support/plans.ts'
import { fillRelations, relationsOfUser } from '#test/support/relation-rows.ts'

const servers = ['embedded' as const, ...(hasPostgres15() ? [15 as const] : [])]
const size = 200_000

async function catchStatements(): Promise<Statement[]> {
  const caught: Statement[] = []
  let naming = ''
  const links = [
    { objectType: 'order', relation: 'parent', subjectType: 'folder', subjectRelation: '' },
    { objectType: 'folder', relation: 'owner', subjectType: 'group', subjectRelation: 'member' },
  ]
  const pool = {
    async query(query: string | { text: string; values?: unknown[] }, given: unknown[] = []) {
      const { text, values = given } = typeof query === 'string' ? { text: query } : query
      caught.push({ name: naming, text, values })
      return { rows: [] }
    },
  } as unknown as pg.Pool
  const database = { pool, prisma: { relationLink: { findMany: async () => links } } } as unknown as Database
  const { user, order, folder, group } = relationsOfUser(77)
  const as = async (name: string, ask: () => Promise<unknown>) => {
    naming = name
    await ask()
  }
  await as('held', () =>
    Promise.all([holdsRelation(database, user, 'owner', order), holdsRelation(database, user, 'viewer', folder)]),
  )
  await as('surroundings', () => relationsOf(database, order))
  await as('groups', () => groupsOf(database, user))
  for (const after of [undefined, Buffer.from('["5"]').toString('base64url')]) {
    const page = { limit: 100, after }
    await as('subjects', () =>
      searchSubjects(database, { subjectType: 'user', relations: ['owner', 'viewer'], object: folder }, page),
    )
    await as('objects', () =>
      searchObjects(database, { objectType: 'order', relations: ['owner', 'viewer'], subject: user }, page),
    )
  }
  await as('way', () => wayOf(database, user, 'viewer', order))
  const place = (...cells: string[]) => Buffer.from(JSON.stringify(cells)).toString('base64url')
  const list = (filter: Parameters<typeof listRelations>[1], after?: string) =>
    as('list', () => listRelations(database, filter, { limit: 100, after }))
  await list({}, place('order', '5', 'owner', 'user', '', '5'))
  await list({ object: order })
  await list({ objectType: 'order' })
  await list({ objectType: 'folder' }, place('folder', '5', 'viewer', 'member', 'group', 'outer5'))
  await list({ object: order, relation: 'owner', subject: user })
  await list({ subject: user })
  await list({ subject: user }, place('user', user.id, '', 'owner', 'order', '5'))
  await list({ subject: { ...group, relation: 'member' }, relation: 'owner' })
  return caught
}

describe.each(servers)(`on PostgreSQL %s with ${size} relations`, (server) => {
  let own: TestDatabase
  beforeAll(async () => {
    own = await createTestDatabase({ server })
    const pool = new pg.Pool({ connectionString: own.url }) // without the limits of ours: filling takes longer
    await fillRelations(pool, size)
    await pool.end()
  })
  afterAll(() => own.drop())

  test.each([false, true])('nothing is read as a whole (generic plan: %s)', async (generic) => {
    const statements = await catchStatements()
    expect(new Set(statements.map(({ name }) => name)).size).toBe(7)
    const found: Record<string, string[]> = {}
    for (const statement of statements) {
      const whole = wholeTables(await explain(own.database.pool, statement, { generic }))
      if (whole.length > 0) found[`${statement.name}: ${statement.text}`] = whole
    }
    expect(found).toEqual({})
  })

  test('a page of a list is read in its order; nothing is sorted that is more than a page', async () => {
    const lists = (await catchStatements()).filter(({ name }) => name === 'list')
    expect(lists.length).toBeGreaterThan(4)
    const sorted = []
    for (const statement of lists) {
      const { Plan } = await explain(own.database.pool, statement)
      const sorts = nodesOf(Plan).filter((node) => node['Node Type'].endsWith('Sort'))
      if (sorts.some((node) => node['Plan Rows'] > 100)) sorted.push({ ...statement, Plan })
    }
    expect(sorted).toEqual([])
  })

  test('a plan is made a few times and then kept, however few ask at once', async () => {
    const alone = openDatabase(own.url, { poolSize: 1, onError: () => undefined })
    for (let n = 0; n < 20; n++) {
      const { user, order, folder } = relationsOfUser(n)
      await holdsRelation(alone, user, 'viewer', order)
      await relationsOf(alone, order)
      await groupsOf(alone, user)
      await searchSubjects(alone, { subjectType: 'user', relations: ['viewer'], object: folder }, { limit: 10 })
      await searchObjects(alone, { objectType: 'order', relations: ['owner'], subject: user }, { limit: 10 })
    }
    const { rows } = await alone.pool.query(
      `SELECT name, custom_plans::int AS made FROM pg_prepared_statements WHERE name LIKE 'relation%' AND custom_plans > 5`,
    )
    await closeDatabase(alone)
    expect(rows).toEqual([])
  })

  test('a person or client that leaves is found by their rows', async () => {
    for (const side of ['subject', 'object']) {
      const text = `DELETE FROM relation WHERE ${side}_type = $1 AND ${side}_id = $2::text`
      expect(
        wholeTables(await explain(own.database.pool, { name: '', text, values: ['user', '7'] }, { generic: true })),
      ).toEqual([])
    }
  })

  test('the rows are those the benchmark asks about', async () => {
    const { user, order, folder, stranger } = relationsOfUser(77)
    expect(await holdsRelation(own.database, user, 'owner', order)).toBe(true)
    expect(await holdsRelation(own.database, user, 'viewer', folder)).toBe(true)
    expect(await holdsRelation(own.database, user, 'viewer', order)).toBe(true) // a group within a group, on the parent
    expect(await holdsRelation(own.database, stranger, 'owner', order)).toBe(false)
    expect(await holdsRelation(own.database, stranger, 'viewer', order)).toBe(false)
    const page = await searchObjects(
      own.database,
      { objectType: 'order', relations: ['owner'], subject: user },
      { limit: 5 },
    )
    expect(page.ids).toContain(order.id)
  })
})

test('a table with a few rows is not read as a whole either: such a plan would be kept while it grows', async () => {
  const own = await createTestDatabase()
  const few = Array.from({ length: 60 }, (_, n) => `order:${n}#owner@user:${n}`)
  await writeRelations(own.database.prisma, { write: few }, changeAt())
  const found = []
  for (const statement of await catchStatements())
    found.push(...wholeTables(await explain(own.database.pool, statement, { generic: true })))
  await own.drop()
  expect(found).toEqual([])
})
