// Browsers in which somebody is not asked for the second step: looking at them, forgetting them, and what they never open.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { rememberDevice } from '#src/factors/remembered-device.ts'
import { createUser, deleteUser } from '#src/users/users.ts'
import { type AccountHome, headingOf, startAccount, tokenOf } from '#test/support/account.ts'
import { codeAt, giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { change } from '#test/support/installation.ts'
import { type Page, Person } from '#test/support/person.ts'

const path = '/account/security/browsers'
let home: AccountHome
let seed: string
let codes: string[]

beforeAll(async () => {
  home = await startAccount()
})
afterAll(() => home.stop())
beforeEach(async () => {
  const { prisma } = home.server.database
  await prisma.credential.deleteMany({ where: { kind: { not: 'password' } } })
  await prisma.guessLimit.deleteMany()
  await prisma.rememberedDevice.deleteMany()
  seed = await giveTotp(home.server, home.alice.id)
  codes = await giveRecoveryCodes(home.server, home.alice.id)
})

const firefox = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0'
const rows = () => home.server.database.prisma.rememberedDevice.findMany({ orderBy: { createdAt: 'asc' } })

/** @returns a browser that holds nothing but that it is remembered. */
async function remembered(agent?: string): Promise<Person> {
  const { person, page } = await home.enter()
  expect(page.text).toContain('name="remember"')
  await person.submit(page, { code: codes.shift() ?? '', remember: 'yes' })
  if (agent)
    await home.server.database.pool.query(
      `UPDATE remembered_device SET user_agent = $1, address = '203.0.113.7' WHERE user_agent <> $1 AND created_at = (SELECT max(created_at) FROM remembered_device)`,
      [agent],
    )
  const fresh = new Person(home.server.url)
  fresh.cookies.set('sallyport_remembered', {
    value: person.cookies.get('sallyport_remembered')?.value ?? '',
    path: '/',
  })
  return fresh
}
/** One of the buttons of the list: each is a form of its own. */
async function press(person: Person, fields: Record<string, string>): Promise<Page> {
  const csrf = fields.csrf ?? tokenOf(await person.open(path))
  const body = new URLSearchParams({ ...fields, csrf })
  return person.open(path, { method: 'POST', body, headers: { Origin: home.server.url } })
}
const names = (page: Page) =>
  [...page.text.matchAll(/class="name" id="browser-[^"]*">([^<]*)/g)].map(([, name]) => name)

test('they are listed, with this one marked; one is forgotten, then all; each is recorded', async () => {
  const first = await remembered(firefox)
  const second = await remembered()
  const { page } = await home.enter('/account/security', { person: second })
  expect(page.text).toContain('2 browsers')
  const list = await second.open(path)
  expect(headingOf(list)).toBe('Browsers without a code')
  expect(names(list).sort()).toEqual(['Unknown device', 'Firefox on Windows'].sort())
  expect(list.text.match(/This browser/g)).toHaveLength(1)
  expect(list.text).toContain('203.0.113.7')

  const [, own] = await rows()
  const id = Buffer.from(own?.id ?? []).toString('base64url')
  const done = await press(second, { decision: 'forget', id })
  expect(done.text).toContain('Forgotten.')
  expect(names(done)).toEqual(['Firefox on Windows'])
  expect((await home.enter('/account', { person: first })).page.url).toBe(`${home.server.url}/account`)

  const none = await press(second, { decision: 'forget-all' })
  expect(none.text).toContain('There are none.')
  expect(await rows()).toEqual([])
  const again = new Person(home.server.url)
  again.cookies.set('sallyport_remembered', first.cookies.get('sallyport_remembered') ?? { value: '', path: '/' })
  expect((await home.enter('/account', { person: again })).page.url).toMatch(/second-factor$/)
  const events = await home.server.database.prisma.auditEvent.findMany({
    where: { event: 'device.forgotten', actorId: home.alice.id, targetId: home.alice.id },
    orderBy: { id: 'asc' },
  })
  expect(events.map(({ detail }) => detail)).toEqual([{ devices: 1 }, { devices: 1 }])
  expect((await second.open('/account/activity')).text).toContain('Browser without a code forgotten')
})

test('nobody forgets another’s', async () => {
  await remembered()
  const [row] = await rows()
  const { person, page } = await home.enter(path, { as: 'bob@example.com' })
  expect(names(page)).toEqual([])
  const csrf = tokenOf(await person.open('/account/profile'))
  const tries: Record<string, string>[] = [
    { decision: 'forget', id: Buffer.from(row?.id ?? []).toString('base64url') },
    { decision: 'forget', id: '' },
    { decision: 'forget', id: 'x' },
    { decision: 'forget-all' },
  ]
  for (const fields of tries) await press(person, { csrf, ...fields })
  expect(await rows()).toHaveLength(1)
})

describe('what is sensitive asks for the second factor nevertheless', () => {
  test('right after a sign-in that a remembered browser made easy', async () => {
    const person = await remembered()
    const { page } = await home.enter('/account', { person })
    expect(page.url).toBe(`${home.server.url}/account`)
    for (const sensitive of ['/account/security/password', '/account/security/totp', '/account/data'])
      expect((await person.open(sensitive)).url, sensitive).toContain('/login')
    const asked = await home.signIn(person, await person.open('/account/security/password'))
    expect(asked.url).toMatch(/second-factor$/)
    expect(asked.text).not.toContain('name="remember"')
    const inside = await person.submit(asked, { code: codeAt(seed, new Date()) })
    expect(new URL(inside.url).pathname).toBe('/account/security/password')
  })

  test('also without the cookie that made it easy, and on a form', async () => {
    const person = await remembered()
    await home.enter('/account', { person })
    person.cookies.delete('sallyport_remembered')
    const csrf = tokenOf(await person.open('/account/profile'))
    expect((await person.open('/account/security/password')).url).toContain('/login')
    const posted = await person.fetch('/account/data', {
      method: 'POST',
      body: new URLSearchParams({ csrf, decision: 'download' }),
      headers: { Origin: home.server.url },
    })
    expect([posted.status, posted.headers.get('location')]).toEqual([303, expect.stringMatching(/prompt=login/)])
  })

  test('the first time of all, and without the password twice', async () => {
    const person = await remembered()
    const { page } = await home.enter('/account/security/password', { person })
    expect(page.url).toMatch(/second-factor$/)
    const inside = await person.submit(page, { code: codeAt(seed, new Date()) })
    expect(new URL(inside.url).pathname).toBe('/account/security/password')
  })
})

test('a session goes on without a code as long as the browser is remembered, and is asked for one as soon as it is not', async () => {
  const person = await remembered()
  await home.tokensFor({}, person)
  const silent = async () => {
    const answer = await person.fetch((await home.begin({ prompt: 'none' })).address)
    return new URL(answer.headers.get('location') ?? '').searchParams.get('error')
  }
  expect(await silent()).toBeNull()
  await home.server.database.prisma.rememberedDevice.deleteMany()
  expect(await silent()).toBe('login_required')
})

test('the download has them, without what would open anything', async () => {
  const person = await remembered(firefox)
  const value = person.cookies.get('sallyport_remembered')?.value ?? 'none'
  const [row] = await rows()
  const { page } = await home.enter('/account/data', { person })
  const inside = await person.submit(page, { code: codeAt(seed, new Date()) })
  const answer = await person.submit(inside, { decision: 'download' })
  expect(JSON.parse(answer.text).rememberedBrowsers).toEqual([
    {
      createdAt: row?.createdAt.toISOString(),
      lastUsedAt: null,
      expiresAt: row?.expiresAt.toISOString(),
      address: '203.0.113.7',
      userAgent: firefox,
    },
  ])
  expect(answer.text).not.toContain(value)
  expect(answer.text).not.toContain(Buffer.from(row?.id ?? []).toString('base64url'))
})

test('who is removed leaves none behind', async () => {
  const { prisma } = home.server.database
  const { id } = await createUser(prisma, { email: 'carol@example.com' }, change())
  await rememberDevice(prisma, { userId: id, days: 30, values: [] }, change())
  expect(await rows()).toHaveLength(1)
  await deleteUser(prisma, id, change())
  expect(await rows()).toEqual([])
})
