// Writing relations, seeing them row by row, and losing them with whom they name.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import {
  groupsOf,
  holdsRelation,
  listRelations,
  mostWritten,
  type RelationFilter,
  relationsOf,
  searchObjects,
  searchSubjects,
  TooManyRelations,
  writeRelations,
} from '#src/access/relations/relations.ts'
import { formatRelation, InvalidRelation, parseEntity, parseSubject } from '#src/access/relations/text.ts'
import { createClient, deleteClient } from '#src/clients/clients.ts'
import type { Database } from '#src/db/database.ts'
import { purgeDeleted, requestDeletion } from '#src/users/deletion.ts'
import { createUser, deleteUser } from '#src/users/users.ts'
import { clearAudit } from '#test/support/audit.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
let created: TestDatabase
let database: Database

beforeAll(async () => {
  created = await createTestDatabase({ poolSize: 20 })
  database = created.database
})
afterAll(() => created.drop())
beforeEach(async () => {
  await database.pool.query('TRUNCATE relation')
  await clearAudit(database)
})

const write = (...relations: string[]) => writeRelations(database.prisma, { write: relations }, change)
const stored = async () => (await listRelations(database, {}, { limit: 1000 })).relations.map(formatRelation)
const audited = () =>
  database.prisma.auditEvent.findMany({ where: { event: 'relations.changed' }, orderBy: { id: 'asc' } })
const flawsOf = async (input: Parameters<typeof writeRelations>[1]) => {
  const error = await writeRelations(database.prisma, input, change).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(InvalidRelation)
  return (error as InvalidRelation).flaws
}
const fill = (text: string) =>
  database.pool.query(
    `INSERT INTO relation (object_type, object_id, relation, subject_type, subject_relation, subject_id) ${text}`,
  )

describe('writing', () => {
  test('adds and deletes in one commit, with one row of who did it and how much came of it', async () => {
    expect(await write('order:1#owner@user:1', 'order:2#owner@user:1')).toEqual({ written: 2, deleted: 0 })
    const both = {
      write: ['order:3#owner@user:1', 'order:2#owner@user:1'],
      delete: ['order:1#owner@user:1', 'order:9#owner@user:9'],
    }
    expect(await writeRelations(database.prisma, both, change)).toEqual({ written: 1, deleted: 1 })
    expect(await stored()).toEqual(['order:2#owner@user:1', 'order:3#owner@user:1'])
    expect(await audited()).toMatchObject([
      { outcome: 'success', actorKind: 'system', actorId: 'test', detail: { written: 2, deleted: 0 } },
      { detail: { written: 1, deleted: 1 } },
    ])
  })

  test('twice is once, also within one call', async () => {
    await write('doc:1#viewer@group:eng#member')
    expect(await write('doc:1#viewer@group:eng#member', 'doc:1#viewer@group:eng#member')).toEqual({
      written: 0,
      deleted: 0,
    })
    const gone = { delete: ['doc:1#viewer@group:eng#member', 'doc:1#viewer@group:eng#member'] }
    expect(await writeRelations(database.prisma, gone, change)).toEqual({ written: 0, deleted: 1 })
    expect(await writeRelations(database.prisma, gone, change)).toEqual({ written: 0, deleted: 0 })
    expect(await stored()).toEqual([])
  })

  test('a set is not the one it is a set of', async () => {
    await write('doc:1#viewer@group:eng', 'doc:1#viewer@group:eng#member')
    await writeRelations(database.prisma, { delete: ['doc:1#viewer@group:eng'] }, change)
    expect(await stored()).toEqual(['doc:1#viewer@group:eng#member'])
  })

  test('takes a thousand at once, of the longest names there are', async () => {
    const longest = (n: number) => `${String(n).padStart(4, '0')}${'😀'.repeat(252)}`
    const name = 'r'.repeat(64)
    const all = Array.from(
      { length: mostWritten },
      (_, n) => `${name}:${longest(n)}#${name}@${name}:${longest(n)}#${name}`,
    )
    expect(await write(...all)).toEqual({ written: 1000, deleted: 0 })
    expect(await stored()).toEqual(all)
    expect(await writeRelations(database.prisma, { delete: all }, change)).toEqual({ written: 0, deleted: 1000 })
  })

  test('the same by twenty callers at once is written once', async () => {
    const all = Array.from({ length: 1000 }, (_, n) => `order:${n}#owner@user:${n % 7}`)
    const told = await Promise.all(Array.from({ length: 20 }, (_, n) => write(...(n % 2 ? all : all.toReversed()))))
    expect(told.reduce((sum, { written }) => sum + written, 0)).toBe(1000)
    expect((await stored()).sort()).toEqual(all.sort())
    expect(await audited()).toHaveLength(20)
  })

  test('rows are added in one order, whatever that of the call: two that add the same never wait for each other', async () => {
    const client = await database.pool.connect()
    try {
      const insert = (n: number) =>
        client.query(`INSERT INTO relation VALUES ('order', '${n}', 'owner', '', 'user', '1')`)
      await client.query(`BEGIN; SET LOCAL lock_timeout = '2s'`)
      await insert(2)
      const other = write('order:3#owner@user:1', 'order:2#owner@user:1', 'order:1#owner@user:1')
      const waiting = `SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'`
      for (let looks = 0; looks < 500 && (await database.pool.query(waiting)).rows.length === 0; looks++)
        await new Promise((resolve) => setTimeout(resolve, 10))
      await insert(3) // the other has not come to it
      await client.query('ROLLBACK')
      expect(await other).toEqual({ written: 3, deleted: 0 })
    } finally {
      client.release(true)
    }
  })

  test('callers who undo each other at once all get through, and what is left is what one of them wanted', async () => {
    const [a, b] = ['doc:1#viewer@user:1', 'doc:1#viewer@user:2']
    for (let round = 0; round < 4; round++) {
      await Promise.all(
        Array.from({ length: 20 }, (_, n) =>
          writeRelations(database.prisma, n % 2 ? { write: [a], delete: [b] } : { write: [b], delete: [a] }, change),
        ),
      )
      expect([[a], [b]]).toContainEqual(await stored())
    }
  })

  test('runs in the transaction of its caller, and goes with it', async () => {
    const undone = database.prisma.$transaction(async (tx) => {
      await writeRelations(tx, { write: ['order:1#owner@user:1'] }, change)
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    expect(await stored()).toEqual([])
    expect(await audited()).toEqual([])
  })
})

describe('refuses, and writes nothing of it', () => {
  test('every flaw by its place and with its fix', async () => {
    const flaws = await flawsOf({
      write: [
        'order:1#owner@user:1',
        'order:1',
        { object: { type: 'Order', id: '1' }, relation: 'owner', subject: { type: 'user', id: '' } },
      ],
      delete: ['order:1#Owner@user:1'],
    })
    expect(flaws.map(({ field }) => field)).toEqual([
      'write[1]',
      'write[2].object.type',
      'write[2].subject.id',
      'delete[0].relation',
    ])
    for (const { problem, fix } of flaws) expect([problem.length > 5, /^[A-Z].*\.$/.test(fix)]).toEqual([true, true])
    expect(await stored()).toEqual([])
    expect(await audited()).toEqual([])
  })

  test('the same relation to be written and deleted', async () => {
    const text = 'order:1#owner@user:1'
    expect(await flawsOf({ write: ['order:2#owner@user:1', text], delete: [text] })).toMatchObject([
      { field: 'delete[0]', problem: expect.stringContaining('which write[1] is too') },
    ])
  })

  test('nothing at all, and more than a thousand of both together', async () => {
    expect(await flawsOf({})).toMatchObject([{ problem: 'and delete are both empty' }])
    const many = (from: number, count: number) =>
      Array.from({ length: count }, (_, n) => `order:${from + n}#owner@user:1`)
    expect(await flawsOf({ write: many(0, 600), delete: many(600, 401) })).toMatchObject([
      { field: 'write', problem: expect.stringContaining('1001') },
    ])
    expect(await stored()).toEqual([])
  })

  test('at most twenty flaws are told', async () => {
    expect(await flawsOf({ write: Array.from({ length: 500 }, () => 'x') })).toHaveLength(20)
  })
})

describe('a list', () => {
  const rows = [
    'doc:1#owner@user:1',
    'doc:1#parent@folder:1',
    'doc:1#viewer@group:eng',
    'doc:1#viewer@user:1',
    'doc:1#viewer@group:eng#member',
    'doc:10#viewer@user:1',
    'doc:2#viewer@group:eng#member',
    'doc:2#viewer@user:1',
  ]
  const read = async (filter: { object?: string; relation?: string; subject?: string }, limit: number) => {
    const parsed: RelationFilter = {
      object: filter.object === undefined ? undefined : parseEntity(filter.object, 'object'),
      relation: filter.relation,
      subject: filter.subject === undefined ? undefined : parseSubject(filter.subject, 'subject'),
    }
    const found: string[] = []
    let after: string | undefined
    for (let pages = 0; pages < 20; pages++) {
      const page = await listRelations(database, parsed, { limit, after })
      expect(page.relations.length).toBeLessThanOrEqual(limit)
      found.push(...page.relations.map(formatRelation))
      if (page.next === null) break
      after = page.next
    }
    return found
  }

  test.each([
    [{}, rows],
    [{ object: 'doc:1' }, rows.filter((row) => row.startsWith('doc:1#'))],
    [{ object: 'doc:1', relation: 'viewer' }, rows.filter((row) => row.startsWith('doc:1#viewer'))],
    [{ subject: 'user:1' }, rows.filter((row) => row.endsWith('@user:1'))],
    [{ subject: 'group:eng' }, ['doc:1#viewer@group:eng']],
    [{ subject: 'group:eng#member' }, ['doc:1#viewer@group:eng#member', 'doc:2#viewer@group:eng#member']],
    [{ subject: 'user:1', relation: 'viewer' }, rows.filter((row) => row.endsWith('viewer@user:1'))],
    [{ object: 'doc:1', subject: 'user:1' }, ['doc:1#owner@user:1', 'doc:1#viewer@user:1']],
    [{ object: 'doc:1', relation: 'owner', subject: 'user:1' }, ['doc:1#owner@user:1']],
    [{ object: 'doc:3' }, []],
  ])('%j: what was written, each row once, the same by small pages', async (filter, expected) => {
    await write(...rows)
    const whole = await read(filter, 1000)
    expect(whole.toSorted()).toEqual(expected.toSorted())
    for (const limit of [1, 2, 3]) expect(await read(filter, limit)).toEqual(whole)
  })

  test('goes on in its place while rows come and go', async () => {
    await write(...rows)
    const first = await listRelations(database, {}, { limit: 3 })
    await writeRelations(database.prisma, { delete: first.relations, write: ['doc:0#owner@user:1'] }, change)
    const rest = await listRelations(database, {}, { limit: 100, after: first.next ?? '' })
    expect([...first.relations, ...rest.relations].map(formatRelation).toSorted()).toEqual(rows.toSorted())
  })

  test.each([
    [{}, { limit: 0 }],
    [{}, { limit: 1001 }],
    [{}, { limit: 1.5 }],
    [{}, { limit: 1, after: '' }],
    [{}, { limit: 1, after: 'nonsense' }],
    [{}, { limit: 1, after: Buffer.from('["a"]').toString('base64url') }],
    [{}, { limit: 1, after: Buffer.from('["a","b","c","d","e","f\\u0000"]').toString('base64url') }],
    [{}, { limit: 1, after: Buffer.from('{"length":6}').toString('base64url') }],
    [{ relation: 'owner' }, { limit: 1 }],
  ])('refuses %j %j', async (filter, page) => {
    await expect(listRelations(database, filter, page)).rejects.toThrow(InvalidRelation)
  })
})

describe('a search', () => {
  const search = {
    relations: ['viewer'],
    object: { type: 'doc', id: '1' },
    subject: { type: 'user', id: '1' },
    subjectType: 'user',
    objectType: 'doc',
  }
  test.each([{ limit: 0 }, { limit: 1001 }, { limit: 2, after: 'x' }, { limit: 2, after: '' }])(
    'refuses the page %j',
    async (page) => {
      await expect(searchSubjects(database, search, page)).rejects.toThrow(InvalidRelation)
      await expect(searchObjects(database, search, page)).rejects.toThrow(InvalidRelation)
    },
  )

  test('refuses what cannot be a relation, by its place', async () => {
    const odd = { ...search, relations: ['viewer', 'Not one'] }
    await expect(searchSubjects(database, odd, { limit: 1 })).rejects.toThrow('relations[1]')
    await expect(searchObjects(database, odd, { limit: 1 })).rejects.toThrow('relations[1]')
    expect(await searchObjects(database, { ...search, relations: [] }, { limit: 1 })).toEqual({ ids: [], next: null })
  })

  test('a page has up to a thousand', async () => {
    await fill(`SELECT 'doc', lpad(n::text, 5, '0'), 'viewer', 'user', '', '1' FROM generate_series(1, 2500) n`)
    const first = await searchObjects(database, search, { limit: 1000 })
    expect([first.ids.length, first.ids[0], first.ids.at(-1)]).toEqual([1000, '00001', '01000'])
    const second = await searchObjects(database, search, { limit: 1000, after: first.next ?? '' })
    const third = await searchObjects(database, search, { limit: 1000, after: second.next ?? '' })
    expect([second.ids[0], third.ids.length, third.next]).toEqual(['01001', 500, null])
  })
})

describe('more than one question may cost', () => {
  // A document for which 10,001 groups would have to be looked into.
  const many = (count: number) =>
    fill(`SELECT 'doc', '1', 'viewer', 'group', 'member', lpad(n::text, 6, '0') FROM generate_series(1, ${count}) n
          UNION ALL SELECT 'group', lpad('${count}', 6, '0'), 'member', 'user', '', 'last'
          UNION ALL SELECT 'doc', '1', 'viewer', 'user', '', 'named'`)
  const doc = { type: 'doc', id: '1' }
  const user = (id: string) => ({ type: 'user', id })

  test('9,999 groups are looked into', async () => {
    await many(9_999)
    expect(await holdsRelation(database, user('last'), 'viewer', doc)).toBe(true)
    expect(await holdsRelation(database, user('nobody'), 'viewer', doc)).toBe(false)
    const found = await searchSubjects(
      database,
      { subjectType: 'user', relations: ['viewer'], object: doc },
      { limit: 9 },
    )
    expect(found.ids).toEqual(['last', 'named'])
  })

  test('beyond there is no answer, because a no could become a yes when a group is taken away; others in the batch get theirs', async () => {
    await many(10_001)
    const told = await Promise.allSettled([
      holdsRelation(database, user('nobody'), 'viewer', doc),
      holdsRelation(database, user('named'), 'viewer', doc),
      holdsRelation(database, user('last'), 'member', { type: 'group', id: '010001' }),
      holdsRelation(database, user('nobody'), 'owner', doc),
    ])
    expect(told.map((one) => (one.status === 'fulfilled' ? one.value : one.reason))).toEqual([
      expect.any(TooManyRelations),
      true,
      true,
      false,
    ])
    const search = { subjectType: 'user', relations: ['viewer'], object: doc }
    await expect(searchSubjects(database, search, { limit: 9 })).rejects.toThrow(TooManyRelations)
  })

  test('who owns very many objects is not walked through them on the way to something else', async () => {
    await fill(`SELECT 'order', n::text, 'owner', 'user', '', '1' FROM generate_series(1, 20000) n`)
    await write('line:1#parent@order:1', 'folder:1#owner@user:1', 'doc:1#parent@folder:1')
    const owned = (objectType: string) =>
      searchObjects(database, { objectType, relations: ['owner'], subject: user('1') }, { limit: 3 })
    expect((await owned('doc')).ids).toEqual(['1'])
    expect((await owned('order')).ids).toEqual(['1', '10', '100'])
    await expect(owned('line')).rejects.toThrow(TooManyRelations) // every order may have lines
  })

  test('what is told of an object or a subject says where it is not all', async () => {
    await fill(`SELECT 'doc', '1', 'viewer', 'user', '', n::text FROM generate_series(1, 1001) n`)
    await fill(`SELECT 'group', n::text, 'member', 'user', '', '1' FROM generate_series(1, 1001) n`)
    const object = await relationsOf(database, doc)
    expect([object.relations.length, object.complete]).toEqual([1000, false])
    const subject = await groupsOf(database, user('1'))
    expect(subject.complete).toBe(false)
    await writeRelations(database.prisma, { delete: ['doc:1#viewer@user:1', 'group:1#member@user:1'] }, change)
    expect((await relationsOf(database, doc)).complete).toBe(true)
    expect((await groupsOf(database, user('1'))).groups).toHaveLength(1000)
  })

  test('a large circle of parents is told, but not as all', async () => {
    await fill(`SELECT 'doc', '1', 'parent', 'folder', '', n::text FROM generate_series(0, 199) n
                UNION ALL SELECT 'folder', n::text, 'parent', 'folder', '', ((n + 1) % 200)::text FROM generate_series(0, 199) n`)
    const { parents, relations, complete } = await relationsOf(database, doc)
    expect([parents.length, relations.length, complete]).toEqual([200, 400, false])
  })
})

describe('whoever is deleted takes their relations along', () => {
  const rows = (whom: string) => [
    `order:1#owner@${whom}`,
    `doc:1#viewer@${whom}#friend`,
    `${whom}#manager@user:boss`,
    'order:1#owner@user:other',
    `order:1#owner@robot:${whom.split(':')[1]}`,
  ]

  test('a person, by whichever path', async () => {
    for (const leave of [
      (id: string) => deleteUser(database.prisma, id, change),
      async (id: string) => {
        await requestDeletion(database.prisma, { userId: id, graceDays: 0 }, change)
        expect(await stored()).toHaveLength(5) // they may come back
        await purgeDeleted(database, change)
      },
    ]) {
      const { id } = await createUser(database.prisma, { email: 'leaver@example.com' }, change)
      await database.pool.query('TRUNCATE relation')
      await write(...rows(`user:${id}`))
      await leave(id)
      expect(await stored()).toEqual(['order:1#owner@robot:' + id, 'order:1#owner@user:other'])
    }
  })

  test('a client: who is given its id later owns nothing by it', async () => {
    await createClient(database.prisma, { id: 'shop', type: 'service' }, [], change)
    await write(...rows('client:shop'))
    await deleteClient(database.prisma, 'shop', change)
    expect(await stored()).toEqual(['order:1#owner@robot:shop', 'order:1#owner@user:other'])
  })

  test('a deletion that is undone takes nothing', async () => {
    const { id } = await createUser(database.prisma, { email: 'stays@example.com' }, change)
    await write(...rows(`user:${id}`))
    await database.prisma
      .$transaction(async (tx) => {
        await deleteUser(tx, id, change)
        throw new Error('undone')
      })
      .catch(() => undefined)
    expect(await stored()).toHaveLength(5)
  })
})
