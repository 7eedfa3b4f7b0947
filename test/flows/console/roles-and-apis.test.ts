// Roles, the permission tester and APIs in the console, form by form.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createRole, findRole } from '#src/access/roles.ts'
import { describeApi, findApi } from '#src/apis/apis.ts'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'
import { change, orders } from '#test/support/installation.ts'
import type { Page, Person } from '#test/support/person.ts'

let home: ConsoleHome
let owner: Person
let reader: Person

beforeAll(async () => {
  home = await startConsole()
  owner = (await home.enter()).person
  const as = await home.appointWith('reader@example.com', 'reader', { permissions: ['roles:read', 'apis:read'] })
  reader = (await home.enter('/admin', { as })).person
})
afterAll(() => home.stop())

const prisma = () => home.server.database.prisma
const send = async (person: Person, path: string, fields: Record<string, string | string[]>): Promise<Page> =>
  person.submit(await person.open(path), fields)
const permissionsOf = async (name: string) =>
  (await findRole(prisma(), name))?.permissions.map(({ permission }) => permission).sort()
const ordersPath = `/admin/apis/${encodeURIComponent(orders)}`

describe('roles', () => {
  const fields = { description: '', secondFactor: 'optional', api: '' }

  test('of many, a page shows the first, and where the others are', async () => {
    const names = Array.from({ length: 30 }, (_, n) => `a-role-${String(n).padStart(2, '0')}`)
    await prisma().role.createMany({ data: names.map((name) => ({ name })) })
    const first = await reader.open('/admin/roles')
    const shown = (page: Page) => names.filter((name) => page.text.includes(`href="/admin/roles/${name}"`))
    expect(shown(first)).toEqual(names.slice(0, 25))
    const next = /href="([^"]*after=[^"]*)"/.exec(first.text)?.[1]?.replaceAll('&amp;', '&') ?? ''
    const second = await reader.open(next)
    expect(shown(second)).toEqual(names.slice(25))
    expect(second.text).toContain('href="/admin/roles/reader"')
    expect(second.text).not.toContain('rel="next"')
    await prisma().role.deleteMany({ where: { name: { in: names } } })
  })

  test('one is created, changed and deleted, and counts with the next decision', async () => {
    const made = await send(owner, '/admin/roles/new', { ...fields, name: 'buyer', permissions: ['orders:read'] })
    expect([made.status, headingOf(made)]).toEqual([200, 'buyer'])
    await prisma().userRole.create({ data: { userId: home.alice.id, roleName: 'buyer' } })
    const ask = (action: string) =>
      owner.open(`/admin/roles/test?${new URLSearchParams({ subject: 'alice@example.com', api: orders, action })}`)
    expect((await ask('orders:write')).text).toContain('badge-bad">No')
    await send(owner, '/admin/roles/buyer', { ...fields, permissions: ['orders:read', 'orders:write'] })
    expect(await permissionsOf('buyer')).toEqual(['orders:read', 'orders:write'])
    expect((await ask('orders:write')).text).toContain('badge-good">Yes')
    const asked = await owner.open('/admin/roles/buyer/delete')
    expect(asked.text).toMatch(/<dt>People<\/dt><dd>1</)
    expect(headingOf(await owner.submit(asked, { decision: 'delete' }))).toBe('Roles')
    expect(await findRole(prisma(), 'buyer')).toBeNull()
    const no = await ask('orders:write')
    expect(no.text).toContain('badge-bad">No')
    expect(no.text).toContain('What would help')
  })

  test('of two editors the second is told', async () => {
    await createRole(prisma(), 'shared', { permissions: ['orders:read'] }, change())
    const [first, second] = [await owner.open('/admin/roles/shared'), await owner.open('/admin/roles/shared')]
    expect((await owner.submit(first, { ...fields, permissions: ['stock:read'] })).status).toBe(200)
    const told = await owner.submit(second, { ...fields, permissions: [] })
    expect([told.status, told.text.includes('somebody changed it since you read it')]).toEqual([409, true])
    expect(await permissionsOf('shared')).toEqual(['stock:read'])
  })

  test('what is refused is said, and what was typed is still there', async () => {
    const page = await send(owner, '/admin/roles/new', { ...fields, name: 'Bad Name', description: 'Kept text' })
    expect([page.status, page.text.includes('role="alert"'), page.text.includes('value="Kept text"')]).toEqual([
      422,
      true,
      true,
    ])
    expect((await send(owner, '/admin/roles/new', { ...fields, name: 'reader' })).status).toBe(409)
  })

  test('nobody makes or changes a role that permits more than they may', async () => {
    const as = await home.appointWith('keeper@example.com', 'keeper', { permissions: ['roles:read', 'roles:write'] })
    const { person } = await home.enter('/admin/roles', { as })
    for (const permissions of [['users:write'], ['roles:read', 'audit:read']])
      expect((await send(person, '/admin/roles/new', { ...fields, name: 'more', permissions })).status).toBe(403)
    expect(await findRole(prisma(), 'more')).toBeNull()
    expect((await send(person, '/admin/roles/owner', { ...fields, permissions: [] })).status).toBe(403)
    expect((await send(person, '/admin/roles/owner/delete', { decision: 'delete' })).status).toBe(403)
    const less = await send(person, '/admin/roles/new', {
      ...fields,
      name: 'less',
      permissions: ['roles:read', 'orders:read'],
    })
    expect(less.status).toBe(200)
  })

  test('whoever may only read changes nothing; nobody unknown is asked about', async () => {
    expect((await send(reader, '/admin/roles/reader', { ...fields, permissions: ['users:write'] })).status).toBe(403)
    expect((await reader.open('/admin/roles/new')).status).toBe(403)
    expect(await permissionsOf('reader')).toEqual(['apis:read', 'roles:read'])
    expect((await owner.open('/admin/roles/nothing')).status).toBe(404)
    const nobody = await owner.open('/admin/roles/test?subject=nobody&action=orders:read')
    expect(nobody.text).toContain('Nobody and no client here is called so.')
  })
})

describe('APIs', () => {
  const fields = { format: 'jwt', seconds: '600', accept: ['oauth'], clients: '', objects: '' }
  const rows = (...scopes: [string, string][]) => ({
    scopeName: [...scopes.map(([name]) => name), ''],
    scopeText: [...scopes.map(([, text]) => text), ''],
  })

  test('one is protected, changed and deleted', async () => {
    const identifier = 'https://api.example.com/parcels'
    const made = await send(owner, '/admin/apis/new', {
      ...fields,
      identifier,
      name: 'Parcels',
      ...rows(['parcels:read', 'See parcels'], ['parcels:send', 'Send parcels']),
      scopeByRole: ['1'],
      clients: 'orders-api\nstock-api',
      objects: 'parcel sender: parcels:read parcels:send\n\nparcel receiver: parcels:read',
    })
    expect([made.status, headingOf(made)]).toEqual([200, 'Parcels'])
    const described = async () => describeApi((await findApi(prisma(), identifier)) as never)
    expect(await described()).toMatchObject({
      accessTokenTtlSeconds: 600,
      introspectionClients: ['orders-api', 'stock-api'],
      scopes: { 'parcels:read': 'See parcels', 'parcels:send': { description: 'Send parcels', byRole: true } },
      objects: { parcel: { receiver: ['parcels:read'], sender: ['parcels:read', 'parcels:send'] } },
    })
    const before = await described()
    // The form as it was shown, sent as it is, changes nothing.
    const shown = await owner.open(`/admin/apis/${encodeURIComponent(identifier)}`)
    expect(shown.text).toContain('parcel sender: parcels:read parcels:send')
    await owner.submit(shown, {
      ...fields,
      name: 'Parcels',
      ...rows(['parcels:read', 'See parcels'], ['parcels:send', 'Send parcels']),
      scopeByRole: ['1'],
      clients: 'orders-api\nstock-api',
      objects: 'parcel receiver: parcels:read\nparcel sender: parcels:read parcels:send',
    })
    expect({ ...(await described()), updatedAt: 0 }).toEqual({ ...before, updatedAt: 0 })
    const gone = await send(owner, `/admin/apis/${encodeURIComponent(identifier)}/delete`, { decision: 'delete' })
    expect([gone.status, headingOf(gone)]).toEqual([200, 'APIs'])
    expect(await findApi(prisma(), identifier)).toBeNull()
  })

  test.each([
    ['an identifier that is no address', { identifier: 'parcels' }, 'identifier'],
    ['a lifetime of a week', { seconds: '604800' }, 'accessTokenTtlSeconds'],
    ['a lifetime that is no number', { seconds: 'long' }, 'accessTokenTtlSeconds'],
    ['a line that says nothing', { objects: 'order owner' }, 'objects'],
    ['a scope that is there twice', { scopeName: ['a', 'a'], scopeText: ['A', 'A'] }, 'scopes'],
    ['a client that is none', { clients: 'nobody' }, 'introspectionClients'],
  ])('%s is refused, with its field', async (_what, wrong, field) => {
    const page = await send(owner, '/admin/apis/new', {
      ...fields,
      identifier: 'https://api.example.com/wrong',
      name: 'Kept name',
      ...rows(),
      ...wrong,
    })
    expect([page.status, page.text.includes('value="Kept name"')]).toEqual([422, true])
    expect(page.text).toMatch(new RegExp(`<code>${field}`))
    expect(await findApi(prisma(), 'https://api.example.com/wrong')).toBeNull()
  })

  test('what depends on one is shown before it goes; Sallyport’s own stays as it is', async () => {
    expect((await owner.open(`${ordersPath}/delete`)).text).toMatch(/<dt>Applications<\/dt><dd>3</)
    const own = `/admin/apis/${encodeURIComponent(`${home.server.url}/api`)}`
    expect((await owner.open(own)).text).not.toContain('type="submit"')
    expect((await send(owner, own, { ...fields, name: 'Mine' })).status).toBe(404)
    expect((await send(owner, `${own}/delete`, { decision: 'delete' })).status).toBe(404)
  })

  test('whoever may only read changes nothing', async () => {
    expect((await send(reader, ordersPath, { ...fields, name: 'Taken over' })).status).toBe(403)
    expect((await send(reader, `${ordersPath}/delete`, { decision: 'delete' })).status).toBe(403)
    expect(await findApi(prisma(), orders)).toMatchObject({ name: 'Orders' })
    expect((await owner.open('/admin/apis/nothing')).status).toBe(404)
  })
})
