// Settings that change while the server runs. One process stores them, the other one is looked at: it has nothing but its own poll to go by.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { changeSettings, type SettingPatch } from '#src/settings/settings.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { type Mailbox, startMailbox } from '#test/support/mailbox.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let mailbox: Mailbox
let first: TestServer
let second: TestServer
let j: Journey
beforeAll(async () => {
  mailbox = await startMailbox()
  const env = { SMTP_URL: mailbox.url }
  first = await startServer({ env: { ...env, EMAIL_SIGN_IN: 'off' } })
  j = await startJourney(first)
  second = await startServer({ env, share: first, issuer: (port) => `http://localhost:${port}` })
})
afterAll(async () => {
  await second.stop()
  await first.stop()
  await mailbox.stop()
})
beforeEach(async () => {
  const { prisma } = first.database
  const names = (await prisma.setting.findMany()).map(({ name }) => [name, null] as const)
  await store(Object.fromEntries(names))
})

const inForce = (server: TestServer) => Object.fromEntries(server.app.providers.current().snapshot.settings)

/** At the first; waits until the second knows by itself. */
async function store(patch: SettingPatch): Promise<void> {
  const { database, config } = first
  const stored = await changeSettings(database.prisma, { ...config, fromEnvironment: {} }, patch, change())
  for (const server of [first, second])
    await expect.poll(() => inForce(server), { timeout: 10_000 }).toEqual(Object.fromEntries(stored))
}

/** The sign-in page of a pending request, at the second. */
async function signIn(person = new Person(second.url)) {
  const { address } = await j.begin()
  return person.open(address)
}
const offersSignUp = async () => /href="[^"]*\/signup"/.test((await signIn()).text)
const sheetOf = ({ text }: { text: string }) => /href="(\/assets\/theme\.[\w-]{12}\.css)"/.exec(text)?.[1]

test('sign-up opens and closes', async () => {
  expect(await offersSignUp()).toBe(false)
  await store({ SIGN_UP: 'open' })
  const person = new Person(second.url)
  const address = /href="([^"]*\/signup)"/.exec((await signIn(person)).text)?.[1] ?? 'there is no link'
  expect((await person.open(address)).status).toBe(200)
  await store({ SIGN_UP: null })
  expect(await offersSignUp()).toBe(false)
  expect((await person.open(address)).status).toBe(404)
})

test('invitations work while there are some, and lead nowhere otherwise', async () => {
  const open = () => new Person(second.url).open('/invitation/abc')
  expect((await open()).status).toBe(404)
  await store({ SIGN_UP: 'invitation' })
  expect((await open()).status).toBe(410)
  await store({ SIGN_UP: 'off' })
  expect((await open()).status).toBe(404)
})

test('an address has to be verified from now on, and no longer', async () => {
  await first.database.prisma.user.update({ where: { id: j.alice.id }, data: { emailVerifiedAt: null } })
  const enter = async () => {
    const person = new Person(second.url)
    return (await person.submit(await signIn(person), { identifier: 'alice@example.com', password })).url
  }
  expect(await enter()).not.toContain('/verify')
  await store({ EMAIL_VERIFICATION: 'required' })
  expect(await enter()).toContain('/verify')
  await store({ EMAIL_VERIFICATION: 'optional' })
  expect(await enter()).not.toContain('/verify')
})

test('a session that was good is over when sessions live shorter', async () => {
  const { pool } = first.database
  const person = new Person(second.url)
  await person.submit(await person.open('/account'), { identifier: 'alice@example.com', password })
  const age = (seconds: number) =>
    pool.query('UPDATE session SET last_used_at = last_used_at - make_interval(secs => $1)', [seconds])
  await age(1_000)
  expect((await person.open('/account')).url).toBe(`${second.url}/account`)
  await store({ SESSION_IDLE_TTL_SECONDS: 600 })
  await age(1_000)
  expect((await person.open('/account')).url).toContain('/login')
})

describe('the sheet of the operator', () => {
  test('is on every page without a restart, changes, and goes', async () => {
    expect(sheetOf(await signIn())).toBeUndefined()
    await store({ THEME_CSS: ':root { --accent: #7a1fa2 }' })
    const one = sheetOf(await signIn()) ?? ''
    expect(await (await fetch(second.url + one)).text()).toBe(':root { --accent: #7a1fa2 }')
    await store({ THEME_CSS: ':root { --accent: #0f766e }' })
    const two = sheetOf(await signIn()) ?? ''
    expect(two).not.toBe(one)
    // A page that was made a moment ago asks for the one before.
    const before = await fetch(second.url + one)
    expect([before.status, await before.text()]).toEqual([200, ':root { --accent: #7a1fa2 }'])
    await store({ THEME_CSS: null })
    expect(sheetOf(await signIn())).toBeUndefined()
  })

  test('of a process that is ahead is answered with the one in force, which nobody keeps', async () => {
    const unknown = `${second.url}/assets/theme.${'A'.repeat(12)}.css`
    expect((await fetch(unknown)).status).toBe(404)
    await store({ THEME_CSS: 'a{}' })
    const answer = await fetch(unknown)
    expect([answer.status, answer.headers.get('cache-control'), await answer.text()]).toEqual([200, 'no-store', 'a{}'])
    expect((await fetch(unknown.replace('theme', 'theme-dark'))).status).toBe(200)
    expect((await fetch(unknown.replace('theme', 'sallyport'))).status).toBe(404)
  })
})

test('limits of programs are the new ones at the next request', async () => {
  const headers = { Authorization: j.basic('orders-api') }
  const ask = () =>
    fetch(`${second.url}/oauth/introspect`, { method: 'POST', headers, body: new URLSearchParams({ token: 'x' }) })
  expect((await ask()).status).toBe(200)
  await store({ RATE_LIMIT_INTROSPECTION_PER_MINUTE: 1 })
  expect((await ask()).status).toBe(200)
  expect((await ask()).status).toBe(429)
  await store({ RATE_LIMIT_INTROSPECTION_PER_MINUTE: 0 })
  expect((await ask()).status).toBe(200)
})

test('what the environment of one process says is in force in that one, and it says so in its log', async () => {
  expect(first.logged.join('')).not.toContain('settings.not_in_force')
  await store({ EMAIL_SIGN_IN: 'on' })
  const offers = async (server: TestServer) => {
    const person = new Person(server.url)
    return /formaction="[^"]*email-code"/.test((await person.open((await j.begin()).address)).text)
  }
  expect([await offers(first), await offers(second)]).toEqual([false, true])
  expect(first.logged.filter((line) => line.includes('"settings.not_in_force"'))).toHaveLength(1)
  expect(second.logged.join('')).not.toContain('settings.not_in_force')
})

test('a value that this version cannot use does not count, and nothing breaks', async () => {
  const row = (name: string, value: string) => ({ name, value, updatedAt: new Date() })
  const { prisma } = first.database
  await prisma.setting.createMany({ data: [row('SIGN_UP', 'whoever'), row('SOMETHING_NEW', '1')] })
  await store({ SESSION_TTL_SECONDS: 4000 })
  expect(await offersSignUp()).toBe(false)
  expect(second.logged.join('')).toContain('"settings":["SIGN_UP"]')
  await prisma.setting.deleteMany()
})
