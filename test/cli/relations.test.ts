// sallyport relations, as a script sees it.
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { clearAudit } from '#test/support/audit.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())
beforeEach(async () => {
  await db.database.pool.query('TRUNCATE relation')
  await clearAudit(db.database)
})

async function relations(args: string[], input = '') {
  const child = spawn(process.execPath, ['src/sallyport.mjs', 'relations', ...args], {
    env: { PATH: process.env.PATH, DATABASE_URL: db.url, LOG_LEVEL: 'error' },
  })
  child.stdin.end(input)
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { code, out, err }
}
const json = async (args: string[], input?: string) => {
  const { code, out, err } = await relations([...args, '--json'], input)
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out)
}

test('writes, lists, checks and deletes', async () => {
  const rows = ['doc:1#viewer@group:eng#member', 'group:eng#member@user:42', 'order:88#owner@user:42']
  expect(await json(['write', ...rows])).toEqual({ written: 3 })
  expect(await relations(['write', ...rows])).toEqual({ code: 0, out: 'Wrote 0; the others were there.\n', err: '' })
  expect(await json(['list'])).toEqual({ data: rows, next: null })
  expect((await relations(['list', '--subject', 'user:42'])).out).toBe(`${rows[1]}\n${rows[2]}\n`)
  expect(await json(['list', '--object', 'doc:1', '--relation', 'viewer'])).toEqual({ data: [rows[0]], next: null })
  const first = await json(['list', '--limit', '2'])
  expect(await json(['list', '--limit', '2', '--after', first.next])).toEqual({ data: [rows[2]], next: null })

  expect(await json(['check', 'doc:1#viewer@user:42'])).toEqual({ relation: 'doc:1#viewer@user:42', holds: true })
  expect(await json(['delete', 'group:eng#member@user:42', 'order:1#owner@user:1'])).toEqual({ deleted: 1 })
  expect(await relations(['check', 'doc:1#viewer@user:42'])).toEqual({ code: 1, out: 'No.\n', err: '' })
  const no = await relations(['check', 'doc:1#viewer@user:42', '--json'])
  expect([no.code, JSON.parse(no.out)]).toEqual([1, { relation: 'doc:1#viewer@user:42', holds: false }])
  const audited = await db.database.prisma.auditEvent.findMany({ orderBy: { id: 'asc' } })
  expect(audited.map(({ event, actorKind, detail }) => [event, actorKind, detail])).toEqual([
    ['relations.changed', 'cli', { written: 3, deleted: 0 }],
    ['relations.changed', 'cli', { written: 0, deleted: 0 }],
    ['relations.changed', 'cli', { written: 0, deleted: 1 }],
  ])
})

test('takes a file of any length from standard input, a thousand at a time', async () => {
  const lines = Array.from({ length: 2500 }, (_, n) => `order:${n}#owner@user:${n % 9}`)
  expect(await json(['write', '-'], `${lines.join('\r\n')}\n\n`)).toEqual({ written: 2500 })
  expect(await db.database.prisma.auditEvent.count()).toBe(3)
  expect(await json(['delete', '-'], lines.join('\n'))).toEqual({ deleted: 2500 })
  expect(await json(['list'])).toEqual({ data: [], next: null })
})

describe('refuses, and writes nothing', () => {
  test.each([
    ['a flaw, by its line', ['write', '-'], 'order:1#owner@user:1\n\norder:2#owner\n', 'line 3'],
    ['a flaw, by its place', ['write', 'order:1#owner@user:1', 'order:2'], '', 'argument 2'],
    ['both ways at once', ['write', '-', 'order:1#owner@user:1'], 'order:2#owner@user:1\n', 'not both'],
    ['nothing', ['delete', '-'], '\n', 'no relation on standard input'],
    ['a question about a set', ['check', 'doc:1#viewer@group:eng#member'], '', 'not about a set'],
    ['a question that is none', ['check', 'doc:1'], '', 'is not a relation'],
    ['a list of one name of everything', ['list', '--relation', 'owner'], '', 'needs an object or a subject'],
    ['half an object', ['list', '--object', 'order'], '', '--object.id'],
    ['too long a list', ['list', '--limit', '1001'], '', '1 to 1000'],
  ])('%s', async (_what, args, input, says) => {
    const { code, out, err } = await relations(args, input)
    expect([code, out, err]).toEqual([1, '', expect.stringContaining(says)])
    expect(await db.database.prisma.relation.count()).toBe(0)
  })

  test('wrong usage ends with 2', async () => {
    expect((await relations(['write'])).code).toBe(2)
    expect((await relations(['check', 'a:1#b@c:1', 'a:1#b@c:1'])).code).toBe(2)
  })
})
