// Signing keys and API keys in the console, form by form.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { findApiKey, readApiKey } from '#src/access/api-keys/reads.ts'
import { listSigningKeys } from '#src/keys/signing-keys.ts'
import { type ConsoleHome, headingOf, startConsole } from '#test/support/console.ts'
import { change, orders } from '#test/support/installation.ts'
import type { Page, Person } from '#test/support/person.ts'

let home: ConsoleHome
let owner: Person
let reader: Person

beforeAll(async () => {
  home = await startConsole()
  owner = (await home.enter()).person
  const as = await home.appointWith('reader@example.com', 'reader', { permissions: ['keys:read'] })
  reader = (await home.enter('/admin/keys', { as })).person
  await home.server.database.pool.query('UPDATE api SET accept = accept || $2 WHERE identifier = $1', [
    orders,
    ['api_key'],
  ])
})
afterAll(() => home.stop())

const database = () => home.server.database
const keys = (state: string) =>
  listSigningKeys(database()).then((rows) => rows.filter((row) => row.state === state).map(({ kid }) => kid))
const send = async (person: Person, path: string, fields: Record<string, string | string[]> = {}): Promise<Page> =>
  person.submit(await person.open(path), fields)
const shownIn = ({ text }: Page): string => /<code class="key">([^<]+)</.exec(text)?.[1] ?? ''
const announceLongAgo = () =>
  database().pool.query("UPDATE signing_key SET created_at = created_at - interval '2 hours' WHERE state = 'next'")
const made = (name: string) =>
  createApiKey(
    database().prisma,
    { name, owner: { clientId: 'reports' }, apis: { [orders]: ['orders:read'] } },
    change(),
  )

describe('signing keys', () => {
  test('a key that was announced a moment ago does not sign yet; one that everybody knows does', async () => {
    const current = await keys('current')
    const early = await send(owner, '/admin/keys/rotate')
    expect([early.status, early.text.includes('was announced a moment ago')]).toEqual([409, true])
    expect(await keys('current')).toEqual(current)
    await announceLongAgo()
    const next = await keys('next')
    const done = await send(owner, '/admin/keys/rotate')
    expect([done.status, headingOf(done), done.text.includes('It was replaced.')]).toEqual([200, 'Keys', true])
    expect((await keys('current')).sort()).toEqual(next.sort())
    expect((await keys('retired')).sort()).toEqual(current.sort())
    // What it signed is still verified: it stays published.
    const { keys: published } = (await (await owner.fetch('/oauth/jwks')).json()) as { keys: { kid: string }[] }
    expect(published.map(({ kid }) => kid)).toEqual(expect.arrayContaining(current))
  })

  test('one is withdrawn, one retires; a retired one and one that never was are told apart', async () => {
    const [next = ''] = await keys('next')
    expect((await send(owner, `/admin/keys/retire/${next}`)).status).toBe(200)
    expect(await keys('next')).not.toContain(next)
    await announceLongAgo()
    const [current = ''] = await keys('current')
    expect((await send(owner, `/admin/keys/retire/${current}`)).status).toBe(200)
    expect(await keys('retired')).toContain(current)
    const again = await send(owner, `/admin/keys/retire/${current}`)
    expect([again.status, again.text.includes('is retired already')]).toEqual([409, true])
    expect((await owner.open('/admin/keys/retire/nothing')).status).toBe(404)
  })

  test('whoever may only read changes nothing, and is shown no button', async () => {
    await announceLongAgo()
    const before = await listSigningKeys(database())
    expect((await reader.open('/admin/keys')).text).not.toContain('/admin/keys/rotate')
    expect((await send(reader, '/admin/keys/rotate')).status).toBe(403)
    const [current = ''] = await keys('current')
    expect((await send(reader, `/admin/keys/retire/${current}`)).status).toBe(403)
    expect(await listSigningKeys(database())).toEqual(before)
  })
})

describe('API keys', () => {
  const asked = { name: 'Nightly', scope: [`${orders} orders:read`], days: '30' }

  test('one is made for a client, and its value is shown once, on a page that nothing keeps', async () => {
    const form = await owner.open('/admin/keys/api-keys/new?client=reports')
    expect(form.text).not.toContain('orders:write') // reports is not registered for it
    const page = await owner.submit(form, asked)
    const value = shownIn(page)
    expect([page.status, page.headers.get('cache-control')]).toEqual([200, 'no-store'])
    const found = await findApiKey(database(), value, new Date())
    expect(found).toMatchObject({ name: 'Nightly', clientId: 'reports', apis: { [orders]: ['orders:read'] } })
    for (const path of ['/admin/keys/api-keys', `/admin/keys/api-keys/${found?.id}`]) {
      const shown = await owner.open(path)
      expect([shown.text.includes('Nightly'), shown.text.includes(value)]).toEqual([true, false])
    }
    expect(home.server.logged.join('')).not.toContain(value)
  })

  test('what is refused is said, and what was typed is still there', async () => {
    const page = await send(owner, '/admin/keys/api-keys/new?client=reports', { ...asked, scope: [], name: 'Kept' })
    expect([page.status, page.text.includes('role="alert"'), page.text.includes('value="Kept"')]).toEqual([
      422,
      true,
      true,
    ])
    const more = await send(owner, '/admin/keys/api-keys/new?client=reports', {
      ...asked,
      scope: [`${orders} orders:write`],
    })
    expect([more.status, more.text.includes('which the owner may not use')]).toEqual([422, true])
    const nobody = await owner.open('/admin/keys/api-keys/new?client=nobody')
    expect([nobody.status, nobody.text.includes('is not a client here')]).toEqual([422, true])
  })

  test('a rotation gives a new value and leaves the one before good for the overlap; of two the second is told', async () => {
    const { id, value } = await made('Rotated')
    const path = `/admin/keys/api-keys/${id}/rotate`
    const [first, second] = [await owner.open(path), await owner.open(path)]
    const page = await owner.submit(first, { overlap: '1' })
    expect(page.text).toContain('The value before')
    const now = new Date()
    expect(await findApiKey(database(), shownIn(page), now)).toMatchObject({ id, version: 2 })
    expect(await findApiKey(database(), value, now)).toMatchObject({ id, version: 1 })
    expect(await findApiKey(database(), value, new Date(now.getTime() + 3_700_000))).toBeUndefined()
    const told = await owner.submit(second, { overlap: '0' })
    expect([told.status, told.text.includes('is not the newest any more')]).toEqual([409, true])
  })

  test('one is revoked, and is found by its owner', async () => {
    const { id, value } = await made('Gone')
    const page = await send(owner, `/admin/keys/api-keys/${id}/revoke`)
    expect([page.status, page.text.includes('It was revoked.')]).toEqual([200, true])
    expect(await findApiKey(database(), value, new Date())).toBeUndefined()
    expect((await owner.open('/admin/keys/api-keys?owner=reports')).text).toContain('>Gone<')
    expect((await owner.open('/admin/keys/api-keys?owner=orders-api')).text).not.toContain('>Gone<')
    expect((await owner.open('/admin/keys/api-keys?rotated=never')).text).not.toContain('>Gone<')
    expect((await owner.open(`/admin/keys/api-keys/${id}/rotate`)).status).toBe(404)
    for (const end of ['', '/rotate', '/revoke'])
      expect((await owner.open(`/admin/keys/api-keys/${crypto.randomUUID()}${end}`)).status).toBe(404)
  })

  test('nobody makes or sees a key that may do more here than they; addresses are for those who may see people', async () => {
    const { prisma, pool } = database()
    const own = `${home.server.url}/api`
    await pool.query('UPDATE api SET accept = $2 WHERE identifier = $1', [own, ['oauth', 'api_key']])
    await prisma.clientScope.create({
      data: { clientId: 'reports', apiIdentifier: own, scopeName: 'users:write' },
    })
    const as = await home.appointWith('keeper@example.com', 'keeper', { permissions: ['keys:read', 'keys:write'] })
    const { person } = await home.enter('/admin/keys', { as })
    const beyond = { ...asked, name: 'Beyond', scope: [`${own} users:write`] }
    expect((await send(person, '/admin/keys/api-keys/new?client=reports', beyond)).status).toBe(403)
    const owned = { name: 'Powerful', owner: { clientId: 'reports' }, apis: { [own]: ['users:write'] } }
    const { id } = await createApiKey(prisma, owned, change())
    expect((await send(person, `/admin/keys/api-keys/${id}/rotate`, { overlap: '0' })).status).toBe(403)
    expect((await readApiKey(prisma, id, new Date()))?.values).toHaveLength(1)
    const alices = { name: 'Hers', owner: { userId: home.alice.id }, apis: { [orders]: ['orders:read'] } }
    await createApiKey(prisma, alices, change())
    const list = '/admin/keys/api-keys?owner='
    expect((await owner.open(`${list}alice@example.com`)).text).toContain('>Hers<')
    expect((await person.open(`${list}alice@example.com`)).text).not.toContain('>Hers<')
    const hers = (await person.open(list + home.alice.id)).text
    expect([hers.includes('>Hers<'), hers.includes('alice@example.com')]).toEqual([true, false])
  })

  test('whoever may only read changes nothing', async () => {
    const { id, value } = await made('Read')
    for (const end of ['rotate', 'revoke'])
      expect((await send(reader, `/admin/keys/api-keys/${id}/${end}`, { overlap: '0' })).status).toBe(403)
    expect((await reader.open('/admin/keys/api-keys/new')).status).toBe(403)
    expect(await findApiKey(database(), value, new Date())).toMatchObject({ version: 1 })
  })
})
