// Relations in the console: browsed, written, deleted and asked about.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { listRelations, writeRelations } from '#src/access/relations/relations.ts'
import { formatRelation } from '#src/access/relations/text.ts'
import { updateApi } from '#src/apis/apis.ts'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'
import { change, orders } from '#test/support/installation.ts'
import type { Page, Person } from '#test/support/person.ts'

const path = '/admin/relations'
let home: ConsoleHome
let owner: Person
let reader: Person

beforeAll(async () => {
  home = await startConsole()
  owner = (await home.enter()).person
  const as = await home.appointWith('reader@example.com', 'reader', { permissions: ['relations:read'] })
  reader = (await home.enter(path, { as })).person
})
afterAll(() => home.stop())
beforeEach(() => home.server.database.pool.query('TRUNCATE relation'))

const write = (...relations: string[]) => writeRelations(home.server.database.prisma, { write: relations }, change())
const stored = async () =>
  (await listRelations(home.server.database, {}, { limit: 1000 })).relations.map(formatRelation)
const send = async (person: Person, at: string, fields: Record<string, string>): Promise<Page> =>
  person.submit(await person.open(at), fields)
const find = async (query: Record<string, string>, person = owner) =>
  person.open(`${path}?${new URLSearchParams(query)}`)
const deletionsIn = ({ text }: Page): string[] =>
  [...text.matchAll(/relations\/delete\?([^"]*)"/g)].map(
    ([, query = '']) => new URLSearchParams(query.replaceAll('&amp;', '&')).get('relation') ?? '',
  )
const check = async (subject: string, relation: string, object: string, person = owner) =>
  person.open(`${path}/check?${new URLSearchParams({ subject, relation, object })}`)

test('they are found by object, by type, by subject and by a person’s address', async () => {
  const alice = `user:${home.alice.id}`
  await write(
    `order:1#owner@${alice}`,
    'order:2#owner@user:2',
    'doc:1#viewer@group:eng#member',
    'order:1#parent@folder:7',
  )
  expect(deletionsIn(await find({})).sort()).toEqual((await stored()).sort())
  expect(deletionsIn(await find({ object: 'order:1' }))).toEqual([`order:1#owner@${alice}`, 'order:1#parent@folder:7'])
  expect(deletionsIn(await find({ object: 'order:1', relation: 'owner' }))).toEqual([`order:1#owner@${alice}`])
  expect(deletionsIn(await find({ object: 'doc' }))).toEqual(['doc:1#viewer@group:eng#member'])
  expect(deletionsIn(await find({ subject: 'group:eng#member' }))).toEqual(['doc:1#viewer@group:eng#member'])
  const byAddress = await find({ subject: 'alice@example.com' })
  expect(deletionsIn(byAddress)).toEqual([`order:1#owner@${alice}`])
  expect(byAddress.text).toMatch(/<bdi>alice@example.com<\/bdi>/i)
  expect((await find({ subject: 'nobody@example.com' })).text).toContain('Nobody here has this address.')
})

test('addresses of people are for those who may see people', async () => {
  await write(`order:1#owner@user:${home.alice.id}`)
  const page = await find({ object: 'order:1' }, reader)
  expect([page.text.includes(home.alice.id), /alice@example/i.test(page.text)]).toEqual([true, false])
})

test('what lies above an object and around a subject stands beside the list', async () => {
  await write(
    'order:1#parent@folder:7',
    'folder:7#parent@folder:1',
    'group:eng#member@user:2',
    'group:all#member@group:eng#member',
  )
  const object = (await find({ object: 'order:1' })).text
  expect(object).toMatch(/The object lies in<\/dt><dd>.*folder:7<.*folder:1</)
  const subject = (await find({ subject: 'user:2' })).text
  expect(subject).toMatch(/The subject is a member of<\/dt><dd>.*group:all#member<.*group:eng#member</)
})

test('a wrong question is answered with what is wrong', async () => {
  for (const query of [
    `object=order:${'x'.repeat(300)}`,
    'relation=owner',
    'subject=Nobody',
    'object=doc&subject=user:1',
  ]) {
    const page = await owner.open(`${path}?${query}`)
    expect([query, page.status, page.text.includes('role="alert"')]).toEqual([query, 422, true])
  }
})

test('a long list goes on where it ended', async () => {
  await write(...Array.from({ length: 150 }, (_, at) => `order:${at + 100}#owner@user:1`))
  const first = await find({ subject: 'user:1' })
  const next = /href="([^"]*after=[^"]*)"/.exec(first.text)?.[1]?.replaceAll('&amp;', '&') ?? ''
  const both = [...deletionsIn(first), ...deletionsIn(await owner.open(next))]
  expect([deletionsIn(first).length, both.length, new Set(both).size]).toEqual([100, 150, 150])
})

test('several are written at once; what is there already stays', async () => {
  await write('order:88#owner@user:42')
  const page = await send(owner, `${path}/write`, {
    relations: 'order:88#owner@user:42\r\n\r\n  order:88#parent@folder:7  \r\n',
  })
  expect([page.status, headingOf(page), page.url.endsWith('object=order%3A88&done=saved')]).toEqual([
    200,
    'Relations',
    true,
  ])
  expect(await stored()).toEqual(['order:88#owner@user:42', 'order:88#parent@folder:7'])
})

test('one wrong line and nothing is written; it is named, and what was typed is still there', async () => {
  const relations = 'order:1#owner@user:1\n\norder:2#owner\norder:3#Owner@user:1'
  const page = await send(owner, `${path}/write`, { relations })
  expect([page.status, await stored()]).toEqual([422, []])
  for (const said of ['<code>line 3</code>', '<code>line 4.relation</code>', 'order:1#owner@user:1\n\norder:2#owner'])
    expect(page.text).toContain(said)
  expect((await send(owner, `${path}/write`, { relations: ' \n' })).status).toBe(422)
})

test('a thousand lines are written, and not one more', async () => {
  const lines = Array.from({ length: 1001 }, (_, at) => `order:${at}#owner@user:7c9e6679-7425-40de-944b-e07fc1f90ae7`)
  const refused = await send(owner, `${path}/write`, { relations: lines.join('\n') })
  expect([refused.status, await stored()]).toEqual([422, []])
  await send(owner, `${path}/write`, { relations: lines.slice(1).join('\n') })
  expect(await stored()).toHaveLength(1000)
})

test('one is deleted after a question, and the record says so', async () => {
  await write('order:88#owner@user:42', 'order:88#viewer@user:42')
  const page = await find({ object: 'order:88' })
  const href = /href="([^"]*relations\/delete[^"]*)"/.exec(page.text)?.[1]?.replaceAll('&amp;', '&') ?? ''
  const asked = await owner.open(href)
  expect(asked.text).toContain('order:88#owner@user:42')
  const done = await owner.submit(asked, { decision: 'delete' })
  expect([done.status, headingOf(done), await stored()]).toEqual([200, 'Relations', ['order:88#viewer@user:42']])
  const last = await home.server.database.prisma.auditEvent.findFirst({ orderBy: { id: 'desc' } })
  expect([last?.event, last?.actorId, last?.detail]).toEqual([
    'relations.changed',
    home.owner.id,
    { written: 0, deleted: 1 },
  ])
  expect((await owner.open(`${path}/delete?relation=nothing`)).status).toBe(404)
})

test('a question is answered with the way, and a no with what was looked at', async () => {
  await write('order:88#parent@folder:7', 'folder:7#viewer@group:eng#member', 'group:eng#member@user:42')
  const yes = (await check('user:42', 'viewer', 'order:88')).text
  const way = [...(/<ol class="trail">([\s\S]*?)<\/ol>/.exec(yes)?.[1] ?? '').matchAll(/<li>([\s\S]*?)<\/li>/g)].map(
    ([, row = '']) => row.replaceAll(/<[^>]*>/g, '').trim(),
  )
  expect(way).toEqual(['order:88 parent folder:7', 'folder:7 viewer group:eng#member', 'group:eng member user:42'])
  const no = (await check('user:42', 'owner', 'order:88')).text
  expect(no).toContain('badge-bad">No')
  expect(no).toMatch(/The subject is a member of<\/dt><dd>.*group:eng#member</)
  expect(no).toMatch(/The object lies in<\/dt><dd>.*folder:7</)
  expect((await check('group:eng#member', 'viewer', 'order:88')).status).toBe(422)
  expect((await check('nobody@example.com', 'viewer', 'order:88')).text).toContain('Nobody here has this address.')
})

test('whoever may only read changes nothing, and is shown no button', async () => {
  await write('order:88#owner@user:42')
  const list = await find({}, reader)
  expect([list.status, list.text.includes(`${path}/write`), deletionsIn(list)]).toEqual([200, false, []])
  for (const end of ['write', 'delete?relation=order:88%23owner@user:42'])
    expect((await reader.open(`${path}/${end}`)).status).toBe(403)
  expect((await check('user:42', 'owner', 'order:88', reader)).text).toContain('badge-good">Yes')
})

test('a person and an API lead here', async () => {
  const link = (await owner.open(`/admin/people/${home.alice.id}`)).text
  expect(link).toContain(`href="${path}?subject=user:${home.alice.id}"`)
  const scopes = { 'orders:read': 'See orders', 'orders:write': 'Create and change orders' }
  await updateApi(
    home.server.database.prisma,
    orders,
    { name: 'Orders', scopes, objects: { order: { owner: ['orders:read'] } } },
    change(),
  )
  const api = (await owner.open(`/admin/apis/${encodeURIComponent(orders)}`)).text
  expect([api.includes(`href="${path}?object=order"`), api.includes('href="/admin/routes?api=')]).toEqual([true, true])
})
