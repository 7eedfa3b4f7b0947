// The first page: everybody sees of it what their roles permit, and no more.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ownerRole } from '#src/access/roles.ts'
import { countSignIns } from '#src/audit/sign-ins.ts'
import { deleteClient, updateClient } from '#src/clients/clients.ts'
import { applyDeclaration } from '#src/declaration/apply.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { type ConsoleHome, startConsole } from '#test/support/console.ts'
import { change } from '#test/support/installation.ts'
import type { Page, Person } from '#test/support/person.ts'

let home: ConsoleHome
let owner: Person

beforeAll(async () => {
  home = await startConsole()
  owner = (await home.enter()).person
})
afterAll(() => home.stop())

const rowsOf = ({ text }: Page): [string, number, number][] =>
  [...text.matchAll(/<time datetime="([^"]+)">.*?<data value="(\d+)">.*?<data value="(\d+)">/g)].map(
    ([, at = '', good, bad]) => [at, Number(good), Number(bad)],
  )
const happened = (event: string, at: Date, times = 1) =>
  home.server.database.pool.query(
    `INSERT INTO audit_event (at, event, outcome) SELECT $1, $2, 'x' FROM generate_series(1, $3::int)`,
    [at, event, times],
  )
const hoursAgo = (hours: number) => new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000 - hours * 3_600_000)

test('sign-ins and failures stand in their hour, wrong codes among the failures; what is older does not count', async () => {
  const before = rowsOf(await owner.open('/admin?range=weeks')).reduce((sum, [, good]) => sum + good, 0)
  await happened('login.succeeded', hoursAgo(3), 5)
  await happened('login.failed', hoursAgo(3), 2)
  await happened('factor.failed', hoursAgo(3), 1)
  await happened('login.succeeded', hoursAgo(24), 7)
  await happened('client.created', hoursAgo(2), 9)
  const rows = rowsOf(await owner.open('/admin'))
  expect(rows).toHaveLength(24)
  // Whoever looks has signed in this hour.
  expect(rows.slice(0, -2).filter(([, good, bad]) => good + bad > 0)).toEqual([[hoursAgo(3).toISOString(), 5, 3]])
  const days = rowsOf(await owner.open('/admin?range=weeks'))
  expect(days).toHaveLength(14)
  expect(days.reduce((sum, [, good]) => sum + good, 0)).toBe(before + 12)
})

test('of an hour with more than is counted the number is worked out, and said to be', async () => {
  const from = hoursAgo(1)
  await home.server.database.pool.query(
    `INSERT INTO audit_event (at, event, outcome) SELECT $1::timestamptz + make_interval(secs => n * 0.5), 'login.failed', 'failure'
     FROM generate_series(0, 7199) n`,
    [from],
  )
  const { database } = home.server
  const hour = { until: hoursAgo(0), steps: 1, seconds: 3600 }
  const [step] = await countSignIns(database, { ...hour, now: new Date() })
  expect(step).toMatchObject({ from, succeeded: 0, estimated: true })
  expect(Math.abs((step?.failed ?? 0) - 7200)).toBeLessThan(20)
  // While half of it is still to come, only what has been counts.
  const [half] = await countSignIns(database, { ...hour, now: new Date(from.getTime() + 1_800_000) })
  expect(Math.abs((half?.failed ?? 0) - 3600)).toBeLessThan(20)
  const page = await owner.open('/admin')
  expect([page.text.includes('≈ <data'), page.text.includes('are estimates')]).toEqual([true, true])
})

test.each([
  ['audit:read', ['Sign-ins']],
  ['users:read', ['Signed in']],
  ['tokens:read', ['Access tokens']],
  ['keys:read', ['Age of the signing key']],
  ['settings:read', ['Mails waiting', 'Clearing up is behind by']],
])('whoever holds %s alone sees %j', async (scope, expected) => {
  const name = scope.replace(':', '-')
  const as = await home.appointWith(`${name}@example.com`, name, { permissions: [scope] })
  const { page } = await home.enter('/admin', { as })
  const all = [
    'Sign-ins',
    'Signed in',
    'Access tokens',
    'Age of the signing key',
    'Mails waiting',
    'Clearing up is behind by',
  ]
  const main = page.text.slice(page.text.indexOf('<main'))
  expect(all.filter((part) => new RegExp(`<(h2|dt)>(<a [^>]*>)?${part}<`).test(main))).toEqual(expected)
  expect(page.text.includes('data-chart')).toBe(scope === 'audit:read')
})

test('what differs from the file that was applied is told by kind, name and fields to whoever may see the checkup', async () => {
  const { database } = home.server
  const declared = (name: string) =>
    `clients: [{ clientId: declared, type: spa, name: ${name}, redirectUris: [https://d.example/] }, { clientId: leaves, type: spa, redirectUris: [https://d.example/] }]`
  const apply = (name: string) =>
    applyDeclaration(database, parseDeclaration(declared(name)), {
      ...{ ...change(), prune: false, dryRun: false, file: 'sallyport.yaml' },
    })
  await apply('Declared')
  expect((await owner.open('/admin')).text).not.toContain('sallyport.yaml')
  await updateClient(
    database.prisma,
    'declared',
    { type: 'spa', name: 'B', redirectUris: ['https://e.example/'] },
    change(),
  )
  await deleteClient(database.prisma, 'leaves', change())
  const { text } = await owner.open('/admin')
  expect(text).toContain('<h2>2 things differ from sallyport.yaml</h2>')
  expect(text).toMatch(/Application <code>declared<\/code><\/span><span class="hint">name, redirectUris</)
  expect(text).toMatch(/Application <code>leaves<\/code><\/span><span class="hint">is gone</)
  const as = await home.appointWith('clerk@example.com', 'clerk', { permissions: ['clients:read'] })
  expect((await home.enter('/admin', { as })).page.text).not.toContain('sallyport.yaml')
  await apply('Declared')
  expect((await owner.open('/admin')).text).not.toContain('sallyport.yaml')
})

test('the first steps are there for whoever can take them, as long as they are to be taken', async () => {
  const titles = ['Add your first application', 'Add a second owner', 'Connect a mail server']
  const shown = async () => {
    const { text } = await owner.open('/admin')
    return titles.filter((title) => text.includes(title))
  }
  expect(await shown()).toEqual(['Add a second owner', 'Connect a mail server'])
  const { prisma } = home.server.database
  for (const { id } of await prisma.client.findMany()) await deleteClient(prisma, id, change())
  expect(await shown()).toEqual(titles)
  await home.appoint('second@example.com', 'Second Owner', [ownerRole])
  expect(await shown()).toEqual(['Add your first application', 'Connect a mail server'])
})
