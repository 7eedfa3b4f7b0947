// By which rows somebody stands so to an object: there is a way exactly where the answer is yes, and each of its rows is there.
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { holdsRelation, listRelations, writeRelations } from '#src/access/relations/relations.ts'
import { formatEntity, formatRelation, parseEntity } from '#src/access/relations/text.ts'
import { wayOf } from '#src/access/relations/way.ts'
import type { Database } from '#src/db/database.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

let created: TestDatabase
let database: Database

beforeAll(async () => {
  created = await createTestDatabase()
  database = created.database
})
afterAll(() => created.drop())
beforeEach(() => database.pool.query('TRUNCATE relation'))

const write = (...relations: string[]) => writeRelations(database.prisma, { write: relations }, changeAt())
const way = async (subject: string, relation: string, object: string) =>
  (await wayOf(database, parseEntity(subject, 's'), relation, parseEntity(object, 'o')))?.map(formatRelation)

test('by name, by a group of groups, by a parent', async () => {
  await write(
    'order:88#owner@user:1',
    'order:88#parent@folder:7',
    'folder:7#viewer@group:all#member',
    'group:all#member@group:eng#member',
    'group:eng#member@user:2',
  )
  expect(await way('user:1', 'owner', 'order:88')).toEqual(['order:88#owner@user:1'])
  expect(await way('user:2', 'viewer', 'order:88')).toEqual([
    'order:88#parent@folder:7',
    'folder:7#viewer@group:all#member',
    'group:all#member@group:eng#member',
    'group:eng#member@user:2',
  ])
  expect(await way('user:2', 'owner', 'order:88')).toBeUndefined()
  expect(await way('user:1', 'viewer', 'order:88')).toBeUndefined()
})

test('of two ways the shorter one; a circle ends', async () => {
  await write('doc:1#viewer@group:a#member', 'group:a#member@group:b#member', 'group:b#member@group:a#member')
  expect(await way('user:1', 'viewer', 'doc:1')).toBeUndefined()
  await write('group:b#member@user:1', 'doc:1#viewer@user:1')
  expect(await way('user:1', 'viewer', 'doc:1')).toEqual(['doc:1#viewer@user:1'])
})

test('there is a way where the answer is yes, from the object to the subject, of rows that were written', async () => {
  const place = fc.constantFrom('a:1', 'a:2', 'b:1', 'b:2')
  const relation = fc.constantFrom('member', 'viewer')
  const row = fc.oneof(
    fc.tuple(place, relation, place, relation).map(([o, r, s, set]) => `${o}#${r}@${s}#${set}`),
    fc.tuple(place, place).map(([o, s]) => `${o}#parent@${s}`),
    fc.tuple(place, relation, fc.constantFrom('user:1', 'user:2')).map(([o, r, s]) => `${o}#${r}@${s}`),
  )
  let yes = 0
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 12 }), place, relation, async (rows, object, asked) => {
      await database.pool.query('TRUNCATE relation')
      await write(...rows)
      const [subject, at] = [parseEntity('user:1', 's'), parseEntity(object, 'o')]
      const holds = await holdsRelation(database, subject, asked, at)
      const found = await wayOf(database, subject, asked, at)
      expect(found !== undefined).toBe(holds)
      if (!found) return
      yes++
      const there = (await listRelations(database, {}, { limit: 100 })).relations.map(formatRelation)
      for (const one of found) expect(there).toContain(formatRelation(one))
      for (const [index, one] of found.entries()) {
        expect(formatEntity(one.object)).toBe(
          index === 0 ? object : formatEntity(found[index - 1]?.subject ?? one.object),
        )
      }
      expect(formatEntity(found.at(-1)?.subject ?? at)).toBe('user:1')
    }),
    { numRuns: 60 },
  )
  expect(yes).toBeGreaterThan(0)
})

test('what cannot be a subject, a relation or an object has no way', async () => {
  for (const [subject, relation, object] of [
    [{ type: 'User', id: '1' }, 'owner', { type: 'order', id: '1' }],
    [{ type: 'user', id: '1' }, 'Owner', { type: 'order', id: '1' }],
    [{ type: 'user', id: '1' }, 'owner', { type: 'order', id: '#' }],
  ] as const)
    expect(await wayOf(database, subject, relation, object)).toBeUndefined()
})
