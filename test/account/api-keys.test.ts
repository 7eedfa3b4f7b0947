// Keys for the programs of a person: made, shown once, rotated, revoked, by forms alone.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { findApiKey } from '#src/access/api-keys/reads.ts'
import { createRole, updateRole } from '#src/access/roles.ts'
import { updateApi } from '#src/apis/apis.ts'
import { unsealMail } from '#src/mail/outbox.ts'
import { updateUser } from '#src/users/users.ts'
import { type AccountHome, age, headingOf, startAccount, tokenOf } from '#test/support/account.ts'
import { change, orders } from '#test/support/installation.ts'
import type { Page, Person } from '#test/support/person.ts'

const path = '/account/api-keys'
const day = 86_400_000
let home: AccountHome
let person: Person
let prisma: AccountHome['server']['database']['prisma']

beforeAll(async () => {
  home = await startAccount({ env: { API_KEY_MOST_DAYS: '180' } })
  prisma = home.server.database.prisma
  await updateApi(
    prisma,
    orders,
    {
      name: 'Orders',
      accept: ['oauth', 'api_key'],
      scopes: {
        'orders:read': { description: 'See orders', byRole: true },
        'orders:write': { description: 'Create and change orders', byRole: true },
      },
    },
    change(),
  )
  await createRole(prisma, 'buyer', { permissions: ['orders:read', 'stock:read'] }, change())
  await updateUser(prisma, home.alice.id, { roles: ['buyer'] }, change())
})
afterAll(() => home.stop())
beforeEach(async () => {
  person = (await home.enter()).person
  await prisma.apiKey.deleteMany()
  await prisma.mail.deleteMany()
})

const scope = (name: string, api = orders) => `${api} ${name}`
const valueIn = (page: Page) => /<code class="key">(sp_key_\w+)<\/code>/.exec(page.text)?.[1] ?? ''
const find = (value: string) => findApiKey(home.server.database, value, new Date())
const keys = () => prisma.apiKey.findMany({ include: { values: { orderBy: { version: 'asc' } } } })
const create = async (fields: Record<string, string | string[]> = {}, by = person) =>
  by.submit(await by.open(`${path}/new`), {
    name: 'Laptop',
    scope: scope('orders:read'),
    days: '30',
    decision: 'create',
    ...fields,
  })

describe('making one', () => {
  test('shows its value once; it is listed by name, and told by mail and in the record', async () => {
    const page = await create()
    expect([page.status, headingOf(page), page.headers.get('cache-control')]).toEqual([
      200,
      'Your new API key',
      'no-store',
    ])
    const value = valueIn(page)
    expect(await find(value)).toMatchObject({
      name: 'Laptop',
      userId: home.alice.id,
      apis: { [orders]: ['orders:read'] },
    })
    const [key] = await keys()
    expect(Math.round(((key?.values[0]?.expiresAt?.getTime() ?? 0) - Date.now()) / day)).toBe(30)
    const [list, shown] = [await person.open(path), await person.open(`${path}/${key?.id}`)]
    expect(list.text).toContain('Laptop')
    expect(shown.text).toContain('See orders')
    for (const later of [list, shown]) expect(later.text).not.toContain(value.slice(12))
    const [mail] = await prisma.mail.findMany()
    expect(unsealMail(home.server.secretKeys, { id: mail?.id ?? '', sealed: mail?.sealed ?? '' })).toMatchObject({
      to: 'Alice@Example.com',
      data: { what: 'apiKeyCreated' },
    })
    expect((await person.open('/account/activity')).text).toContain('API key created')
  })

  test('offers what the person may do, at APIs that take keys, for no longer than the operator allows', async () => {
    const page = await person.open(`${path}/new`)
    const offered = [...page.text.matchAll(/name="scope" value="([^"]*)"/g)].map(([, value]) => value)
    expect(offered).toEqual([scope('orders:read')]) // not orders:write, which no role of hers has; not stock, which takes no keys
    expect([...page.text.matchAll(/<option value="(\d+)"/g)].map(([, days]) => days)).toEqual(['7', '30', '90', '180'])
    const bob = await home.enter(`${path}/new`, { as: 'bob@example.com' })
    expect(bob.page.text).not.toContain('name="scope"')
    expect(bob.page.text).toContain('There is nothing here that a key of yours could be used for.')
  })

  test.each<[string, Record<string, string | string[]>]>([
    ['no name', { name: ' ' }],
    ['a name that plays with the reader', { name: 'a\u202eb' }],
    ['nothing chosen', { scope: [] }],
    ['a scope that the person lacks', { scope: [scope('orders:read'), scope('orders:write')] }],
    ['an API that is none', { scope: scope('orders:read', 'https://nobody.example') }],
    ['no API', { scope: 'orders:read' }],
    ['longer than allowed', { days: '365' }],
    ['no time at all', { days: '0' }],
  ])('refuses %s, and keeps what was typed', async (_, fields) => {
    const page = await create({ name: 'Kept', ...fields })
    expect(page.status).toBe(422)
    if (!('name' in fields)) expect(page.text).toContain('value="Kept"')
    expect(await keys()).toEqual([])
    expect(await prisma.mail.count()).toBe(0)
  })

  test('asks for a sign-in of the last minutes, before it shows and before it does anything (ASVS 7.5.1)', async () => {
    const form = await person.open(`${path}/new`)
    await age(home, home.alice.id, 301)
    expect((await person.open(`${path}/new`)).url).toContain('/login')
    const answer = await person.submit(form, { name: 'x', scope: scope('orders:read'), decision: 'create' })
    expect(answer.url).toContain('/login')
    expect(await keys()).toEqual([])
  })
})

describe('one that is there', () => {
  const made = async () => {
    const value = valueIn(await create())
    const [key] = await keys()
    return { value, id: key?.id ?? '' }
  }

  test('is rotated: a new value at once, the one before for as long as was chosen', async () => {
    const { value, id } = await made()
    const form = await person.open(`${path}/${id}/rotate`)
    const page = await person.submit(form, { overlap: '1', decision: 'rotate' })
    expect(headingOf(page)).toBe('The new value of your API key')
    expect(page.text).toContain('The value before: valid until')
    const next = valueIn(page)
    for (const each of [value, next]) expect(await find(each)).toMatchObject({ id })
    const [key] = await keys()
    expect(Math.round(((key?.values[0]?.expiresAt?.getTime() ?? 0) - Date.now()) / 60_000)).toBe(60)

    const again = await person.submit(form, { overlap: '0', decision: 'rotate' }) // the form of before
    expect([again.url, valueIn(again)]).toEqual([`${home.server.url}${path}/${id}`, ''])
    expect((await keys())[0]?.values).toHaveLength(2)
    await person.submit(await person.open(`${path}/${id}/rotate`), { overlap: '0', decision: 'rotate' })
    for (const each of [value, next]) expect(await find(each)).toBeUndefined()
  })

  test('is rotated after a fresh sign-in only, and revoked without one', async () => {
    const { value, id } = await made()
    const form = await person.open(`${path}/${id}/rotate`)
    await age(home, home.alice.id, 301)
    expect((await person.submit(form, { overlap: '1', decision: 'rotate' })).url).toContain('/login')
    expect((await keys())[0]?.values).toHaveLength(1)
    const page = await person.submit(await person.open(`${path}/${id}`), { decision: 'revoke' })
    expect([page.url, page.text.includes('The API key was revoked.')]).toEqual([
      `${home.server.url}${path}?done=apiKey`,
      true,
    ])
    expect(await find(value)).toBeUndefined()
    const shown = await person.open(`${path}/${id}`)
    expect(shown.text).toContain('Revoked')
    expect(shown.text).not.toContain('<form method="post" action="/account/api-keys')
  })

  test('can do less when the person can', async () => {
    const { value } = await made()
    await updateRole(prisma, 'buyer', { permissions: [] }, change())
    try {
      expect((await find(value))?.apis).toEqual({ [orders]: [] })
    } finally {
      await updateRole(prisma, 'buyer', { permissions: ['orders:read', 'stock:read'] }, change())
    }
  })

  test('of somebody else, or of a client, is 404 to look at, to rotate and to revoke', async () => {
    const { value, id } = await made()
    const ofClient = await createApiKey(
      prisma,
      { name: 'nightly', apis: { [orders]: ['orders:read'] }, owner: { clientId: 'reports' } },
      change(),
    )
    const bob = (await home.enter('/account', { as: 'bob@example.com' })).person
    const csrf = tokenOf(await bob.open('/account/profile'))
    for (const key of [id, ofClient.id, 'x', '00000000-0000-4000-8000-000000000000'])
      for (const [where, decision] of [
        ['', 'revoke'],
        ['/rotate', 'rotate'],
      ]) {
        const address = `${path}/${key}${where}`
        expect((await bob.open(address)).status, address).toBe(404)
        const body = new URLSearchParams({ csrf, decision: decision ?? '', version: '1' })
        const answer = await bob.fetch(address, { method: 'POST', body, headers: { Origin: home.server.url } })
        expect(answer.status, address).toBe(404)
      }
    for (const each of [value, ofClient.value]) expect(await find(each)).toMatchObject({ version: 1 })
  })
})

test.each([
  ['de', 'Ihr neuer API-Schlüssel'],
  ['fr', 'Votre nouvelle clé d’API'],
])('in %s', async (locale, heading) => {
  await prisma.user.update({ where: { id: home.alice.id }, data: { locale } })
  try {
    expect(headingOf(await create())).toBe(heading)
  } finally {
    await prisma.user.update({ where: { id: home.alice.id }, data: { locale: null } })
  }
})
