// Sessions and tokens in the console: found by a value, drawn as a family, ended at any node, counted to zero.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'
import { orders } from '#test/support/installation.ts'
import type { Page, Person } from '#test/support/person.ts'

let home: ConsoleHome
let owner: Person

beforeAll(async () => {
  home = await startConsole()
  owner = (await home.enter()).person
})
afterAll(() => home.stop())

const issue = () =>
  home.tokensFor({ scope: 'openid offline_access orders:read', resource: orders, prompt: 'consent' }, undefined, {
    resource: orders,
  })
const lookUp = async (person: Person, token: string): Promise<Page> => {
  const page = await person.open('/admin/tokens')
  return person.submit(page, { token })
}
const isActive = async (token = '') => (await home.introspect(token, 'orders-api')).body.active
const countsOf = ({ text }: Page): Record<string, number> =>
  Object.fromEntries(
    [...text.matchAll(/<dt>([^<]+)<\/dt><dd>(\d+)<\/dd>/g)].map(([, name, count]) => [name, Number(count)]),
  )
const endingOf = ({ text }: Page, kind: string) =>
  (new RegExp(`href="(/admin/tokens/revoke\\?kind=${kind}&amp;[^"]+)"`).exec(text)?.[1] ?? '').replaceAll('&amp;', '&')

test('a token is found by its value, which is in no address, page or log', async () => {
  const { access_token: token = '', refresh } = await issue()
  for (const value of [token, refresh]) {
    const page = await lookUp(owner, value)
    expect([page.status, headingOf(page)]).toEqual([200, 'Family of a token'])
    expect(page.url).toMatch(/\/admin\/tokens\/families\/[\w-]{22,43}$/)
    expect(page.url + page.text).not.toContain(value)
    expect(page.text).toContain('asked about')
    expect(home.server.logged.join('')).not.toContain(value)
  }
  const unknown = await lookUp(owner, 'x'.repeat(43))
  expect([unknown.status, unknown.text.includes('No such token was issued here')]).toEqual([422, true])
  expect((await owner.open(`/admin/tokens/families/${'x'.repeat(43)}`)).status).toBe(404)
})

test('a grant is ended from the tree: counted, confirmed, counted to zero; its tokens are refused', async () => {
  const { access_token: token = '', refresh } = await issue()
  const other = await issue()
  const tree = await lookUp(owner, token)
  const asked = await owner.open(endingOf(tree, 'grant'))
  expect(countsOf(asked)).toMatchObject({ Grants: 1, 'Access tokens': 1, 'Refresh tokens': 1 })
  expect(await isActive(token)).toBe(true) // asking changes nothing
  const done = await owner.submit(asked, {})
  expect([done.status, done.text.includes('It was revoked.')]).toEqual([200, true])
  expect(Object.values(countsOf(done))).toEqual([0, 0, 0, 0, 0])
  expect(await isActive(token)).toBe(false)
  expect((await home.refresh(refresh)).status).toBe(400)
  expect(await isActive(other.access_token)).toBe(true)
  expect(endingOf(await lookUp(owner, token), 'grant')).toBe('')
})

test.each([
  ['session', (tree: Page) => endingOf(tree, 'session')],
  ['token', (tree: Page) => endingOf(tree, 'token')],
  ['user', () => `/admin/tokens/revoke?kind=user&id=${home.alice.id}`],
  ['client', () => '/admin/tokens/revoke?kind=client&id=shop-web'],
  ['api', () => `/admin/tokens/revoke?kind=api&id=${encodeURIComponent(orders)}`],
])('everything of a %s ends', async (_kind, address) => {
  const { access_token: token = '' } = await issue()
  const asked = await owner.open(address(await lookUp(owner, token)))
  expect(Object.values(countsOf(asked)).some((count) => count > 0)).toBe(true)
  const done = await owner.submit(asked, {})
  expect(Object.values(countsOf(done))).toEqual([0, 0, 0, 0, 0])
  if (_kind !== 'token') expect(await isActive(token)).toBe(false)
})

test('whoever may only read sees no way to end anything, and is refused', async () => {
  const reader = await home.appointWith('reader@example.com', 'reader', { permissions: ['tokens:read'] })
  const { person } = await home.enter('/admin/tokens', { as: reader })
  const { access_token: token = '' } = await issue()
  const tree = await lookUp(person, token)
  expect(tree.status).toBe(200)
  expect(tree.text).not.toContain('/admin/tokens/revoke')
  const ending = endingOf(await lookUp(owner, token), 'grant')
  const asked = await person.open(ending)
  expect(asked.text).not.toContain('End it now')
  const [kind = '', id = ''] = [...new URL(ending, home.server.url).searchParams.values()]
  const page = await person.submit(await person.open('/admin/tokens'), { kind, id })
  expect(page.status).toBe(422) // the form of the page it was on; the other one:
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  const refused = await person.open('/admin/tokens/revoke', {
    method: 'POST',
    body: new URLSearchParams({ csrf, kind, id }),
    headers: { Origin: home.server.url },
  })
  expect(refused.status).toBe(403)
  expect(await isActive(token)).toBe(true)
})

test('what an address says wrongly is a 400 or a 404', async () => {
  for (const [query, status] of [
    ['', 400],
    ['kind=nothing', 400],
    ['kind=grant&id=nothing', 404],
    ['kind=user&id=nothing', 404],
    ['kind=client&id=nothing', 404],
    ['kind=session&id=', 404],
  ] as const)
    expect((await owner.open(`/admin/tokens/revoke?${query}`)).status, query).toBe(status)
})

test('everything until now: the administrator, too, signs in again', async () => {
  const { access_token: token = '' } = await issue()
  const done = await owner.submit(await owner.open('/admin/tokens/revoke?kind=everything'), {})
  expect([done.status, done.text.includes('It was revoked.')]).toEqual([200, true])
  expect(await isActive(token)).toBe(false)
  expect((await owner.open('/admin/tokens')).url).toContain('/login')
})
