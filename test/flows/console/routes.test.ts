// Gateway routes in the console, form by form.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { createRoute, findRoute } from '#src/apis/route-editing.ts'
import { listRoutes } from '#src/apis/routes.ts'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'
import { change, orders, stock } from '#test/support/installation.ts'
import type { Page, Person } from '#test/support/person.ts'

const path = '/admin/routes'
const host = 'api.example.com'
let home: ConsoleHome
let owner: Person
let reader: Person

beforeAll(async () => {
  home = await startConsole()
  await createRole(home.server.database.prisma, 'clerk', { permissions: [] }, change())
  owner = (await home.enter()).person
  const as = await home.appointWith('reader@example.com', 'reader', { permissions: ['routes:read'] })
  reader = (await home.enter(path, { as })).person
})
afterAll(() => home.stop())
beforeEach(() => home.server.database.pool.query('TRUNCATE route'))

const prisma = () => home.server.database.prisma
const make = async (at: string, more: object = {}) =>
  (await createRoute(prisma(), { host, method: 'GET', path: at, api: orders, ...more }, {}, change())).id
const stored = async () => (await listRoutes(prisma())).map((route) => route.path)
const send = async (person: Person, at: string, fields: Record<string, string | string[]> = {}): Promise<Page> =>
  person.submit(await person.open(at), fields)
const fields = {
  host,
  method: 'GET',
  path: '/orders/{id}',
  api: orders,
  scopes: 'orders:read',
  relation: '',
  maxAge: '',
}

test('one is made, is listed with what it asks in words, and is changed', async () => {
  const made = await send(owner, `${path}/new`, {
    ...fields,
    roles: ['clerk'],
    relation: 'owner@order:{id}',
    acrValues: ['urn:sallyport:acr:2fa', 'phr'],
    maxAge: '900',
    before: '',
  })
  expect([made.status, headingOf(made), made.text.includes('It was created.')]).toEqual([200, 'Gateway routes', true])
  for (const words of [
    'The relation owner to the order that id names',
    'at most 15 minutes ago',
    'A sign-in by passkey or two factors',
  ])
    expect(made.text.replaceAll(/\s+/g, ' ').replaceAll('{id}', 'id')).toContain(words)
  const [route] = await listRoutes(prisma())
  expect(route).toMatchObject({ scopes: ['orders:read'], roles: ['clerk'], maxAge: 900, anonymous: false })

  const at = `${path}/${route?.id}`
  const changed = await send(owner, at, { ...fields, scopes: 'orders:write orders:read' })
  expect([changed.status, changed.text.includes('Your changes were saved.')]).toEqual([200, true])
  expect(await findRoute(prisma(), route?.id ?? '')).toMatchObject({
    ...{ scopes: ['orders:read', 'orders:write'], roles: [], relation: null, acrValues: [], maxAge: null },
  })
})

test('one is made in front of another', async () => {
  const id = await make('/orders/{id}')
  await send(owner, `${path}/new`, { ...fields, path: '/orders/mine', before: id })
  expect(await stored()).toEqual(['/orders/mine', '/orders/{id}'])
})

test('what is refused is said, and what was typed is still there', async () => {
  for (const wrong of [{ host: 'API' }, { scopes: 'stock:read' }, { maxAge: 'soon' }, { relation: 'owner' }]) {
    const page = await send(owner, `${path}/new`, { ...fields, path: '/kept', ...wrong })
    expect([page.status, page.text.includes('role="alert"'), page.text.includes('value="/kept"')]).toEqual([
      422,
      true,
      true,
    ])
  }
  await make('/kept')
  expect((await send(owner, `${path}/new`, { ...fields, path: '/kept' })).status).toBe(409)
  expect(await stored()).toEqual(['/kept'])
})

test('of two editors the second is told, also who deletes', async () => {
  const id = await make('/orders')
  const pages = await Promise.all(['', '', '/delete'].map((end) => owner.open(`${path}/${id}${end}`)))
  const [first, second, third] = pages as [Page, Page, Page]
  expect((await owner.submit(first, { ...fields, path: '/orders' })).status).toBe(200)
  for (const [page, asked] of [
    [second, { ...fields, path: '/orders', scopes: '' }],
    [third, { decision: 'delete' }],
  ] as const) {
    const told = await owner.submit(page, asked)
    expect([told.status, told.text.includes('somebody changed it since you read it')]).toEqual([409, true])
  }
  expect((await findRoute(prisma(), id)).scopes).toEqual(['orders:read'])
})

test('one is deleted after a question; unknown ones are not found', async () => {
  const id = await make('/orders')
  const page = await send(owner, `${path}/${id}/delete`, { decision: 'delete' })
  expect([page.status, headingOf(page), await stored()]).toEqual([200, 'Gateway routes', []])
  for (const end of ['', '/delete'])
    for (const none of [id, 'nothing']) expect((await owner.open(`${path}/${none}${end}`)).status).toBe(404)
})

test('one is moved past the next of its host; of two who move the second is told', async () => {
  const [a, , b] = [await make('/a'), await make('/other', { host: 'other.example.com' }), await make('/b')]
  const page = await owner.open(path)
  expect([page.text.includes(`value="up ${a}"`), page.text.includes(`value="down ${b}"`)]).toEqual([false, false])
  const stale = await owner.open(path)
  const moved = await owner.submit(page, { move: `up ${b}` })
  expect([moved.status, await stored()]).toEqual([200, ['/b', '/a', '/other']])
  const told = await owner.submit(stale, { move: `up ${b}` })
  expect([told.status, told.text.includes('somebody changed it since you read it')]).toEqual([409, true])
  await send(owner, path, { move: `down ${b}` })
  expect(await stored()).toEqual(['/a', '/b', '/other'])
  for (const move of ['', 'sideways', 'up nothing'])
    expect((await send(owner, path, { move })).status).toBeGreaterThan(399)
  expect(await stored()).toEqual(['/a', '/b', '/other'])
})

test('the list is filtered by host and by API, and says what is never reached', async () => {
  await make('/orders/{id}')
  await make('/orders/mine')
  await make('/stock', { host: 'stock.example.com', api: stock })
  const all = await owner.open(path)
  expect(all.text).toContain(`GET ${host}/orders/{id} takes every request first.`)
  const rows = (page: Page) => page.text.match(/<th scope="row">/g)?.length ?? 0
  expect(rows(all)).toBe(3)
  expect(rows(await owner.open(`${path}?host=${host}`))).toBe(2)
  expect(rows(await owner.open(`${path}?api=${encodeURIComponent(stock)}`))).toBe(1)
  expect(rows(await owner.open(`${path}?host=nowhere`))).toBe(0)
})

test('a long list goes on where it ended', async () => {
  await prisma().route.createMany({
    data: Array.from({ length: 101 }, (_, at) => ({
      ...{ id: crypto.randomUUID(), position: at, host, method: 'GET', path: `/${at}`, apiIdentifier: orders },
    })),
  })
  const first = await owner.open(path)
  const next = /href="([^"]*after=[^"]*)"/.exec(first.text)?.[1]?.replaceAll('&amp;', '&') ?? ''
  const second = await owner.open(next)
  expect([first.text.includes('>/99<'), second.text.includes('>/99<')]).toEqual([true, false])
  expect(second.text).toContain('>/100<')
  const wrong = await owner.open(`${path}?after=nothing`)
  expect([wrong.status, wrong.text.includes('role="alert"')]).toEqual([422, true])
})

test('the tester says which route answers, and why none does', async () => {
  const id = await make('/orders/{id}', { scopes: ['orders:read'] })
  const ask = async (address: string, method = 'GET') =>
    (await reader.open(`${path}/test?${new URLSearchParams({ address, method })}`)).text
  const found = await ask(`https://${host}/orders/a%20b`)
  expect([found.includes(`href="${path}/${id}"`), found.includes('<bdi>a b</bdi>')]).toEqual([true, true])
  expect(await ask(`https://${host}/orders/88`, 'DELETE')).toContain('No route names it')
  expect(await ask(`https://${host}/orders/x/../88`)).toContain('two ways')
  expect(await ask(`https://${host}/.sallyport/callback`)).toContain('way back of a sign-in')
  expect(await ask('orders/88')).toContain('with https:// in front')
})

test('whoever may only read changes nothing, and is shown no button', async () => {
  const id = await make('/orders')
  await make('/others')
  const list = await reader.open(path)
  expect([list.status, list.text.includes('name="move"'), list.text.includes(`${path}/new`)]).toEqual([
    200,
    false,
    false,
  ])
  const shown = await reader.open(`${path}/${id}`)
  expect([shown.status, shown.text.includes(`${id}/delete`)]).toEqual([200, false])
  expect((await reader.submit(list, { move: `down ${id}` })).status).toBe(403)
  expect((await reader.submit(shown, fields)).status).toBe(403)
  for (const end of ['new', `${id}/delete`]) expect((await reader.open(`${path}/${end}`)).status).toBe(403)
  expect(await stored()).toEqual(['/orders', '/others'])
})

test('what changes routes asks for a sign-in of the last minutes', async () => {
  const id = await make('/orders')
  await make('/others')
  const page = await owner.open(path)
  await home.age(home.owner.id, 400)
  const asked = await owner.submit(page, { move: `down ${id}` })
  expect([asked.text.includes('/admin/again'), await stored()]).toEqual([true, ['/orders', '/others']])
  await home.age(home.owner.id, -400)
})
