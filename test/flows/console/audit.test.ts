// The record in the console: found, read, kept as a search, exported.
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { verifyExport } from '#src/audit/export-file.ts'
import { sealAll } from '#src/audit/seal.ts'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'
import { change } from '#test/support/installation.ts'
import type { Page, Person } from '#test/support/person.ts'

let home: ConsoleHome
let owner: Person
let reader: Person
let stranger: Person

beforeAll(async () => {
  home = await startConsole()
  owner = (await home.enter()).person
  const as = await home.appointWith('reader@example.com', 'reader', { permissions: ['audit:read'] })
  reader = (await home.enter('/admin', { as })).person
  const other = await home.appointWith('other@example.com', 'other', { permissions: ['roles:read'] })
  stranger = (await home.enter('/admin', { as: other })).person
  for (const name of ['one', 'two', 'three']) await createRole(prisma(), name, { permissions: [] }, byOwner())
  await sealAll(home.server.database)
})
afterAll(() => home.stop())

const prisma = () => home.server.database.prisma
const byOwner = () => ({ ...change(), actor: { kind: 'user' as const, id: home.owner.id } })
const search = (query: Record<string, string>, person = owner) =>
  person.open(`/admin/audit?${new URLSearchParams(query)}`)
/** What a line of the list says its event was; it may break between the parts of a name. */
const rowsOf = ({ text }: Page) =>
  [...text.matchAll(/events\/\d+">(.+?)<\/a>/g)].map(([, event = '']) => event.replaceAll('<wbr>', ''))
const linkIn = ({ text }: Page, pattern: RegExp) => (pattern.exec(text)?.[1] ?? '').replaceAll('&amp;', '&')

describe('a search', () => {
  test('finds by event, who, and to what', async () => {
    expect(rowsOf(await search({ event: 'role.created', actor: `user:${home.owner.id}` }))).toEqual([
      ...['role.created', 'role.created', 'role.created'],
    ])
    expect(rowsOf(await search({ target: 'role:two' }))).toEqual(['role.created'])
    expect((await search({ event: 'key.retired' })).text).toContain('Nothing matches.')
    expect(rowsOf(await search({ target: 'role:two', to: '2020-01-01' }))).toEqual([])
    expect(rowsOf(await search({ target: 'role:two', outcome: 'failure' }))).toEqual([])
  })

  test('has pages, which keep what was asked for', async () => {
    for (let made = 0; made < 51; made++)
      await prisma().auditEvent.create({
        data: { event: 'login.failed', outcome: 'failure', targetKind: 'role', targetId: 'paged' },
      })
    const first = await search({ target: 'role:paged' })
    expect(rowsOf(first)).toHaveLength(50)
    const second = await owner.open(linkIn(first, /class="button older" href="([^"]+)"/))
    expect(rowsOf(second)).toHaveLength(1)
    expect(second.text).not.toContain('class="button older"')
  })

  test.each([
    ['an event that is none', { event: 'login.faild' }, 'event'],
    ['a time that is none', { from: 'yesterday' }, 'from'],
    ['nobody’s kind', { actor: 'somebody' }, 'actor'],
    ['a cursor that is none', { after: 'xyz' }, 'after'],
  ])('by %s is refused, with its field', async (_what, query, field) => {
    const page = await search(query)
    expect([page.status, page.text.includes(`<code>${field}</code>`)]).toEqual([422, true])
    const [[name = '', value = ''] = []] = Object.entries(query)
    if (name !== 'after') expect(page.text).toContain(`value="${value}"`)
  })

  test('says how far the chain is sealed', async () => {
    const sealed = await prisma().auditSeal.count()
    expect(Number(/<dt>Sealed up to<\/dt><dd>(\d+)/.exec((await search({})).text)?.[1])).toBeGreaterThanOrEqual(sealed)
  })

  test('shows addresses of people only to those who may see people', async () => {
    const query = { event: 'role.created', target: 'role:one' }
    expect((await search(query)).text).toContain('<bdi>owner@example.com</bdi><span class="hint">user')
    const seen = await search(query, reader)
    expect([seen.text.includes(home.owner.id), seen.text.includes('<bdi>owner@example.com')]).toEqual([true, false])
  })

  test('is not for whoever may not read the record', async () => {
    for (const path of ['/admin/audit', '/admin/audit/export', '/admin/audit/events/1'])
      expect((await stranger.open(path)).status, path).toBe(403)
  })
})

describe('one event', () => {
  test('is shown in full, and leads to what else was done to the same', async () => {
    const found = await search({ event: 'role.created', target: 'role:two' })
    const page = await owner.open(linkIn(found, /href="(\/admin\/audit\/events\/\d+)"/))
    expect(page.status).toBe(200)
    expect(page.text).toMatch(/<h1>role\.created/)
    expect(page.text).toMatch(/<dt>Place in the chain<\/dt><dd>\d+/)
    expect(rowsOf(await owner.open(linkIn(page, /href="(\/admin\/audit\?target=role[^"]+)"/)))).toEqual([
      'role.created',
    ])
  })

  test.each(['0', 'nothing', '999999999999'])('%s is not there', async (id) => {
    expect((await owner.open(`/admin/audit/events/${id}`)).status).toBe(404)
  })
})

describe('a search that is kept', () => {
  test('is one’s own: shown, followed and forgotten by nobody else', async () => {
    const kept = await owner.submit(await search({ target: 'role:two', event: 'role.' }), { name: 'Role two' })
    expect([kept.status, rowsOf(kept)]).toEqual([200, ['role.created']])
    const view = await prisma().auditView.findFirstOrThrow({ where: { name: 'Role two' } })
    expect(view).toMatchObject({ userId: home.owner.id, filter: { target: 'role:two', event: 'role.' } })
    const path = `/admin/audit/views/${view.id}/delete`
    const again = await owner.submit(await search({ target: 'role:one' }), { name: 'Role two' })
    expect([again.status, again.text.includes('value="Role two"')]).toEqual([409, true])
    expect((await search({}, reader)).text).not.toContain('Role two')
    expect((await reader.open(path)).status).toBe(404)
    const asked = await owner.open(path)
    expect(headingOf(asked)).toBe('Forget the search Role two')
    const own = await reader.submit(await search({ target: 'role:two' }, reader), { name: 'Mine' })
    const others = { ...own, text: own.text.replace(/(<form method="post" action=")[^"]+/, `$1${path}`) }
    expect((await reader.submit(others, { decision: 'delete' })).status).toBe(404)
    expect(await prisma().auditView.count({ where: { id: view.id } })).toBe(1)
    expect((await owner.submit(asked, { decision: 'delete' })).status).toBe(200)
    expect(await prisma().auditView.count({ where: { id: view.id } })).toBe(0)
  })

  test('needs a name', async () => {
    const refused = await owner.submit(await search({ target: 'role:two' }), { name: '' })
    expect([refused.status, refused.text.includes('name="target" type="text" value="role:two"')]).toEqual([422, true])
  })
})

describe('an export', () => {
  test('proves itself, and is itself recorded', async () => {
    const file = await owner.submit(await owner.open('/admin/audit/export'), { format: 'jsonl', from: '', to: '' })
    expect(file.headers.get('content-disposition')).toMatch(/^attachment; filename="audit-\d+-\d+\.jsonl"$/)
    expect(file.headers.get('cache-control')).toBe('no-store')
    const { keys } = (await (await fetch(`${home.server.url}/oauth/jwks`)).json()) as { keys: object[] }
    const verified = await verifyExport(Readable.from(file.text.trimEnd().split('\n')), { keys })
    expect(verified.findings).toEqual([])
    expect(rowsOf(await search({ event: 'audit.exported', actor: `user:${home.owner.id}` }))).toEqual([
      'audit.exported',
    ])
    const table = await owner.submit(await owner.open('/admin/audit/export'), { format: 'csv', from: '', to: '' })
    expect(table.headers.get('content-type')).toContain('text/csv')
  })

  test('of a time that is none is refused, and what was typed is still there', async () => {
    const fields = { format: 'csv', from: 'yesterday', to: '' }
    const page = await owner.submit(await owner.open('/admin/audit/export'), fields)
    expect([page.status, page.text.includes('value="yesterday"')]).toEqual([422, true])
    expect(page.text).toContain('value="csv" checked')
    const none = await owner.submit(await owner.open('/admin/audit/export'), { ...fields, from: '2099-01-01' })
    expect(none.status).toBe(404)
  })

  test('asks for a fresh sign-in', async () => {
    await home.age(home.owner.id, 400)
    const page = await owner.submit(await owner.open('/admin/audit/export'), { format: 'csv', from: '', to: '' })
    await home.age(home.owner.id, -400)
    expect(headingOf(page)).toBe('Please sign in again')
  })
})
