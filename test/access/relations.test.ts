// Relations on a real PostgreSQL, held against a model of a few lines.
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  type EntityRef,
  groupsOf,
  holdsRelation,
  type Relation,
  relationsOf,
  searchObjects,
  searchSubjects,
  writeRelations,
} from '#src/access/relations/relations.ts'
import { mostSteps } from '#src/access/relations/statements.ts'
import { formatEntity, formatRelation, parseEntity, parseRelation } from '#src/access/relations/text.ts'
import type { Database } from '#src/db/database.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
let created: TestDatabase
let database: Database

beforeAll(async () => {
  created = await createTestDatabase()
  database = created.database
})
afterAll(() => created.drop())
beforeEach(() => database.pool.query('TRUNCATE relation'))

const entity = (text: string) => parseEntity(text, 'test')
const write = (...relations: string[]) => writeRelations(database.prisma, { write: relations }, change)
const remove = (...relations: string[]) => writeRelations(database.prisma, { delete: relations }, change)
const holds = (subject: string, relation: string, object: string) =>
  holdsRelation(database, entity(subject), relation, entity(object))

describe('the text of a relation', () => {
  test.each([
    'order:88#owner@user:42',
    'doc:1#viewer@group:eng#member',
    'order:88#parent@folder:7',
    'file:/home/a b.txt#reader@user:alice@example.com',
    'a:b:c#d@e:f:g@h',
  ])('%s is read and printed', (text) => {
    expect(formatRelation(parseRelation(text))).toBe(text)
  })

  test('says what its parts are', () => {
    expect(parseRelation('doc:1#viewer@group:eng#member')).toEqual({
      object: { type: 'doc', id: '1' },
      relation: 'viewer',
      subject: { type: 'group', id: 'eng', relation: 'member' },
    })
    expect(parseRelation('a:b@c#d@e:f:g@h')).toEqual({
      object: { type: 'a', id: 'b@c' },
      relation: 'd',
      subject: { type: 'e', id: 'f:g@h' },
    })
  })

  const printable = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((id) => {
    try {
      return entity(`x:${id}`).id === id
    } catch {
      return false
    }
  })
  const word = fc.stringMatching(/^[a-z][a-z0-9_]{0,63}$/)
  test('printing and reading again gives the same, whatever the ids', () => {
    fc.assert(
      fc.property(
        fc.tuple(word, printable),
        word,
        fc.tuple(word, printable),
        fc.option(word, { nil: undefined }),
        (object, relation, subject, set) => {
          fc.pre(!(relation === 'parent' && set !== undefined) && subject[1] !== '*')
          const whole: Relation = {
            object: { type: object[0], id: object[1] },
            relation,
            subject: { type: subject[0], id: subject[1], ...(set === undefined ? {} : { relation: set }) },
          }
          expect(parseRelation(formatRelation(whole))).toEqual(whole)
        },
      ),
    )
  })

  test.each([
    ['', 'is not a relation'],
    ['order:88', 'is not a relation'],
    ['order:88#owner', 'is not a relation'],
    ['order:88@user:42', 'is not a relation'],
    ['order:88#owner@user:42#member#more', 'is not a relation'],
    ['order#owner@user:42', 'relation.object.id'],
    ['order:#owner@user:42', 'relation.object.id'],
    [':88#owner@user:42', 'relation.object.type'],
    ['Order:88#owner@user:42', 'relation.object.type'],
    [`${'o'.repeat(65)}:88#owner@user:42`, 'relation.object.type'],
    ['order:88#@user:42', 'relation.relation'],
    ['order:88#Owner@user:42', 'relation.relation'],
    ['order:88#owner@user:', 'relation.subject.id'],
    ['order:88#owner@user:*', 'stands for nobody'],
    ['order:88#owner@user: 42', 'relation.subject.id'],
    ['order:88#owner@user:42 ', 'relation.subject.id'],
    ['order:88#owner@user:4\u00a02', 'relation.subject.id'],
    ['order:88#owner@user:4\u00002', 'relation.subject.id'],
    ['order:88#owner@user:4\ud8002', 'relation.subject.id'],
    ['order:88#owner@user:4\u202e2', 'relation.subject.id'],
    [`order:88#owner@user:${'4'.repeat(257)}`, 'relation.subject.id'],
    ['order:88#owner@group:eng#', 'relation.subject.relation'],
    ['order:88#owner@group:eng#...', 'relation.subject.relation'],
    ['order:88#parent@group:eng#member', 'a parent is one object'],
  ])('%j is refused: %s', (text, problem) => {
    expect(() => parseRelation(text)).toThrow(problem)
    expect(() => parseRelation(text)).toThrow(/\. [A-Z].*\.$/) // and the fix
  })
})

describe('a relation is held', () => {
  test('by whoever is named, and by nobody else, for nothing else', async () => {
    await write('order:88#owner@user:42')
    expect(await holds('user:42', 'owner', 'order:88')).toBe(true)
    expect(await holds('user:42', 'owner', 'order:89')).toBe(false)
    expect(await holds('user:42', 'viewer', 'order:88')).toBe(false)
    expect(await holds('user:43', 'owner', 'order:88')).toBe(false)
    expect(await holds('client:42', 'owner', 'order:88')).toBe(false)
    expect(await holds('order:88', 'owner', 'user:42')).toBe(false)
  })

  test('by the members of a group, and of a group within; not by the group, not by those who only lead it', async () => {
    await write('doc:1#viewer@group:all#member', 'group:all#member@group:eng#member', 'group:eng#member@user:42')
    await write('group:all#lead@user:43')
    expect(await holds('user:42', 'viewer', 'doc:1')).toBe(true)
    expect(await holds('user:42', 'member', 'group:all')).toBe(true)
    expect(await holds('user:43', 'viewer', 'doc:1')).toBe(false)
    expect(await holds('group:eng', 'viewer', 'doc:1')).toBe(false)
    await remove('group:all#member@group:eng#member')
    expect(await holds('user:42', 'viewer', 'doc:1')).toBe(false)
  })

  test('on what lies in something on which it is held, never the other way', async () => {
    await write(
      'order:88#parent@folder:7',
      'folder:7#parent@folder:1',
      'folder:1#owner@user:42',
      'order:88#owner@user:1',
    )
    expect(await holds('user:42', 'owner', 'order:88')).toBe(true)
    expect(await holds('user:42', 'owner', 'folder:7')).toBe(true)
    expect(await holds('user:42', 'viewer', 'order:88')).toBe(false)
    expect(await holds('user:1', 'owner', 'folder:7')).toBe(false)
  })

  test.each([
    ['groups', (n: number) => `group:${n}#member@group:${n + 1}#member`, 'member', 'group'],
    ['parents', (n: number) => `folder:${n}#parent@folder:${n + 1}`, 'owner', 'folder'],
  ])(`through ${mostSteps} ${'%s'} and no more`, async (_what, link, relation, type) => {
    for (let n = 0; n <= mostSteps; n++) await write(link(n))
    await write(`${type}:${mostSteps}#${relation}@user:42`, `${type}:${mostSteps + 1}#${relation}@user:43`)
    expect(await holds('user:42', relation, `${type}:0`)).toBe(true)
    expect(await holds('user:43', relation, `${type}:0`)).toBe(false)
    expect(await holds('user:43', relation, `${type}:1`)).toBe(true)
    const groupsOf42 = (await groupsOf(database, entity('user:42'))).groups
    expect(groupsOf42).toHaveLength(type === 'group' ? mostSteps + 1 : 0)
    expect((await relationsOf(database, entity(`${type}:0`))).parents).toHaveLength(type === 'folder' ? mostSteps : 0)
    const search = { subjectType: 'user', relations: [relation], object: entity(`${type}:0`) }
    expect((await searchSubjects(database, search, { limit: 10 })).ids).toEqual(['42'])
    for (const [user, first] of [
      ['42', 0],
      ['43', 1],
    ] as const) {
      const objects = { objectType: type, relations: [relation], subject: entity(`user:${user}`) }
      expect((await searchObjects(database, objects, { limit: 20 })).ids[0]).toBe(String(first))
    }
  })

  test('circles end', async () => {
    await write('group:a#member@group:b#member', 'group:b#member@group:a#member', 'folder:1#parent@folder:1')
    await write('folder:1#parent@folder:2', 'folder:2#parent@folder:1', 'folder:1#viewer@group:a#member')
    expect(await holds('user:42', 'viewer', 'folder:2')).toBe(false)
    await write('group:b#member@user:42')
    expect(await holds('user:42', 'viewer', 'folder:2')).toBe(true)
    expect((await relationsOf(database, entity('folder:2'))).parents.map(formatEntity)).toEqual(['folder:1'])
    expect((await groupsOf(database, entity('user:42'))).groups.map(formatEntity)).toEqual(['group:a', 'group:b'])
  })

  test('by nobody, where the question names what cannot be; the database is not asked', async () => {
    const silent = {} as Database
    const good = entity('user:1')
    const bad = [
      { type: 'User', id: '1' },
      { type: 'user', id: '' },
      { type: 'user', id: 'a\0' },
      { type: 'user', id: '\ud800' },
      { type: 'user', id: 'a#b' },
    ]
    for (const ref of bad) {
      expect(await holdsRelation(silent, ref, 'owner', good)).toBe(false)
      expect(await holdsRelation(silent, good, 'owner', ref)).toBe(false)
      expect(await groupsOf(silent, ref)).toEqual({ groups: [], complete: true })
      expect(await relationsOf(silent, ref)).toEqual({ relations: [], parents: [], complete: true })
      const nobody = { ids: [], next: null }
      const search = { relations: ['owner'], object: ref, subject: ref }
      expect(await searchSubjects(silent, { ...search, subjectType: 'user' }, { limit: 1 })).toEqual(nobody)
      expect(await searchObjects(silent, { ...search, objectType: 'doc' }, { limit: 1 })).toEqual(nobody)
      expect(await searchSubjects(silent, { ...search, object: good, subjectType: 'User' }, { limit: 1 })).toEqual(
        nobody,
      )
      expect(await searchObjects(silent, { ...search, subject: good, objectType: '' }, { limit: 1 })).toEqual(nobody)
    }
    for (const relation of ['', 'Owner', "o'r", 'a\0'])
      expect(await holdsRelation(silent, good, relation, good)).toBe(false)
  })

  test('ids are compared as they are: no pattern, no case, no quoting', async () => {
    const odd = [
      '%',
      '_',
      "'",
      '"',
      '\\',
      '{a,b}',
      'NULL',
      '$1',
      '\u00e9',
      'e\u0301',
      'A',
      'a',
      '[]',
      '漢字',
      '👩',
      '"]',
    ]
    await write(...odd.map((id) => `doc:${id}#viewer@user:${id}`))
    for (const one of odd)
      for (const other of odd)
        expect(await holds(`user:${one}`, 'viewer', `doc:${other}`), `${one} ${other}`).toBe(one === other)
  })
})

// The model: places are `type:id#relation`, and each row leads from one to others.
const model = {
  holds(rows: readonly Relation[], subject: EntityRef, relation: string, object: EntityRef): boolean {
    let places = new Set([`${formatEntity(object)}#${relation}`])
    const seen = new Set<string>()
    for (let steps = 0; steps <= mostSteps; steps++) {
      const next = new Set<string>()
      for (const place of places) {
        if (seen.has(place)) continue
        seen.add(place)
        const [at = '', asked = ''] = place.split('#')
        for (const row of rows.filter((one) => formatEntity(one.object) === at)) {
          const who = formatEntity(row.subject)
          const set = row.subject.relation
          if (row.relation === asked && set === undefined && who === formatEntity(subject)) return true
          if (row.relation === asked && set !== undefined) next.add(`${who}#${set}`)
          if (row.relation === 'parent') next.add(`${who}#${asked}`)
        }
      }
      places = next
    }
    return false
  },
}

const users = ['user:1', 'user:2', 'user:3'].map(entity)
const groups = ['group:a', 'group:b', 'group:c', 'group:d'].map(entity)
const folders = ['folder:1', 'folder:2', 'folder:3'].map(entity)
const docs = ['doc:1', 'doc:2', 'doc:3'].map(entity)
const everything = [...users, ...groups, ...folders, ...docs]
const names = ['member', 'lead', 'viewer', 'owner']
const one = <T>(...values: T[]) => fc.constantFrom(...values)
const relationOf = (
  object: fc.Arbitrary<EntityRef>,
  relation: fc.Arbitrary<string>,
  subject: fc.Arbitrary<Relation['subject']>,
) => fc.record({ object, relation, subject })
const aSet = fc.record({
  type: fc.constant('group'),
  id: one('a', 'b', 'c', 'd'),
  relation: one('member', 'member', 'lead'),
})
const aRelation: fc.Arbitrary<Relation> = fc.oneof(
  relationOf(one(...groups), one('member', 'lead'), fc.oneof(one(...users), aSet)),
  relationOf(one(...docs, ...folders), one('viewer', 'owner'), fc.oneof(one(...users), aSet)),
  relationOf(one(...docs), fc.constant('parent'), one(...folders)),
  relationOf(one(...folders, ...groups), fc.constant('parent'), one(...folders, ...groups)),
  // and what nobody would write
  relationOf(one(...everything), one(...names, 'parent'), one(...everything)),
  relationOf(
    one(...everything),
    one(...names),
    fc.record({ type: one('folder', 'doc', 'user'), id: one('1', '2'), relation: one(...names, 'parent') }),
  ),
)
const aGraph = fc.uniqueArray(aRelation, { maxLength: 40, selector: formatRelation })

async function fill(rows: readonly Relation[]) {
  await database.pool.query('TRUNCATE relation')
  if (rows.length > 0) await writeRelations(database.prisma, { write: rows }, change)
}

async function allPages(
  read: (page: { after?: string; limit: number }) => Promise<{ ids: string[]; next: string | null }>,
) {
  const ids: string[] = []
  for (let after: string | null | undefined, pages = 0; after !== null && pages < 20; pages++) {
    const page = await read({ limit: 2, ...(after === undefined ? {} : { after }) })
    expect(page.ids.length).toBeLessThanOrEqual(2)
    ids.push(...page.ids)
    after = page.next
  }
  return ids
}

describe('whatever is written', () => {
  test('every question is answered as by the model', async () => {
    await fc.assert(
      fc.asyncProperty(aGraph, async (rows) => {
        await fill(rows)
        const questions = users
          .concat(groups[0] ?? [], folders[0] ?? [])
          .flatMap((subject) =>
            everything.flatMap((object) => [...names, 'parent'].map((relation) => ({ subject, relation, object }))),
          )
        const told = await Promise.all(questions.map((q) => holdsRelation(database, q.subject, q.relation, q.object)))
        const expected = questions.map((q) => model.holds(rows, q.subject, q.relation, q.object))
        expect(told).toEqual(expected)
      }),
      { numRuns: 60 },
    )
  }, 60_000)

  test('searches find exactly those for whom, and for which, the answer is yes; page by page, each once, in order', async () => {
    await fc.assert(
      fc.asyncProperty(aGraph, fc.subarray([...names, 'parent'], { minLength: 1 }), async (rows, relations) => {
        await fill(rows)
        const holdsAny = (subject: EntityRef, object: EntityRef) =>
          relations.some((relation) => model.holds(rows, subject, relation, object))
        for (const object of [docs[0], folders[1], groups[2]] as EntityRef[])
          for (const kind of [users, groups, folders]) {
            const subjectType = kind[0]?.type ?? ''
            const found = await allPages((page) => searchSubjects(database, { subjectType, relations, object }, page))
            expect(found).toEqual(kind.filter((subject) => holdsAny(subject, object)).map(({ id }) => id))
          }
        for (const subject of [users[0], users[1], groups[0]] as EntityRef[])
          for (const kind of [docs, folders, groups, users]) {
            const objectType = kind[0]?.type ?? ''
            const found = await allPages((page) => searchObjects(database, { objectType, relations, subject }, page))
            expect(found).toEqual(kind.filter((object) => holdsAny(subject, object)).map(({ id }) => id))
          }
      }),
      { numRuns: 40 },
    )
  }, 60_000)

  test('taking a relation away opens nothing', async () => {
    await fc.assert(
      fc.asyncProperty(aGraph, fc.nat(), async (rows, which) => {
        fc.pre(rows.length > 0)
        await fill(rows)
        const questions = users.flatMap((subject) =>
          everything.flatMap((object) => names.map((relation) => ({ subject, relation, object }))),
        )
        const ask = () => Promise.all(questions.map((q) => holdsRelation(database, q.subject, q.relation, q.object)))
        const before = await ask()
        await writeRelations(database.prisma, { delete: rows.slice(which % rows.length).slice(0, 1) }, change)
        const after = await ask()
        expect(after.filter((answer, index) => answer && !before[index])).toEqual([])
      }),
      { numRuns: 40 },
    )
  }, 60_000)

  test('what is told of an object and of a subject is what was written about it', async () => {
    await fc.assert(
      fc.asyncProperty(aGraph, async (rows) => {
        await fill(rows)
        const above = (object: EntityRef) => {
          const reached = new Set<string>()
          for (let level = [formatEntity(object)], steps = 0; steps < mostSteps; steps++) {
            level = rows
              .filter((row) => row.relation === 'parent' && level.includes(formatEntity(row.object)))
              .map((row) => formatEntity(row.subject))
            for (const place of level) reached.add(place)
          }
          reached.delete(formatEntity(object))
          return reached
        }
        for (const object of everything) {
          const { relations, parents, complete } = await relationsOf(database, object)
          const expected = new Set([formatEntity(object), ...above(object)])
          expect(complete).toBe(true)
          expect(parents.map(formatEntity).sort()).toEqual([...above(object)].sort())
          expect(relations.map(formatRelation).sort()).toEqual(
            rows
              .filter((row) => expected.has(formatEntity(row.object)))
              .map(formatRelation)
              .sort(),
          )
        }
        const bySetsOnly = rows.filter(
          (row) => row.relation === 'member' && (row.subject.relation ?? 'member') === 'member',
        )
        for (const subject of users)
          expect((await groupsOf(database, subject)).groups).toEqual(
            [...everything]
              .sort((a, b) => (formatEntity(a) < formatEntity(b) ? -1 : 1))
              .filter((object) => model.holds(bySetsOnly, subject, 'member', object)),
          )
      }),
      { numRuns: 40 },
    )
  }, 60_000)
})
