// EMAIL_VERIFICATION=required: somebody whose address is not verified has to show that it is theirs before they are in.
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { hashPassword } from '#src/factors/password.ts'
import { createUser, endUserTokens, setUserDisabled } from '#src/users/users.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { codeIn, deliver, type Mailbox, startMailbox } from '#test/support/mailbox.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let mailbox: Mailbox
let server: TestServer
let j: Journey
let hash: string
beforeAll(async () => {
  mailbox = await startMailbox()
  server = await startServer({ env: { SMTP_URL: mailbox.url, EMAIL_VERIFICATION: 'required' } })
  j = await startJourney(server)
  hash = await hashPassword(password)
})
afterAll(async () => {
  await server.stop()
  await mailbox.stop()
})
let n = 0
let email = ''
let userId = ''
beforeEach(async () => {
  mailbox.mails.length = 0
  await db().mail.deleteMany()
  email = `unverified${++n}@example.com`
  userId = (await createUser(db(), { email, name: 'U', passwordHash: hash }, change())).id
})
const db = () => server.database.prisma

async function signIn(person: Person, identifier = email): Promise<Page> {
  return person.submit(await person.open((await j.begin()).address), { identifier, password })
}
async function code(): Promise<string> {
  await deliver(server)
  return codeIn(mailbox.newest(email))
}
const sessions = () => db().session.count({ where: { userId } })

it('the right password leads to the code, the code to the application, and the address is verified for good', async () => {
  const person = new Person(server.url)
  const page = await signIn(person)
  expect(page.url).toMatch(/\/verify$/)
  expect(await sessions()).toBe(0)
  expect((await person.submit(page, { code: await code() })).url).toContain('/consent')
  expect((await db().user.findUniqueOrThrow({ where: { id: userId } })).emailVerifiedAt).toBeTruthy()
  expect((await signIn(new Person(server.url))).url).toContain('/consent')
})

it('somebody whose address is verified is not asked', async () => {
  expect((await signIn(new Person(server.url), 'alice@example.com')).url).toContain('/consent')
})

it('without the password there is nothing to verify: the page leads back, and a code is taken nowhere', async () => {
  const person = new Person(server.url)
  const login = await person.open((await j.begin()).address)
  const address = login.url.replace('/login', '/verify')
  expect((await person.open(address)).url).toMatch(/\/login$/)
  const csrf = /name="csrf" value="([^"]+)"/.exec(login.text)?.[1] ?? ''
  for (const fields of [{ code: '12345678' }, { decision: 'resend' }, {}] as Record<string, string>[]) {
    const body = new URLSearchParams({ csrf, ...fields })
    expect((await person.open(address, { method: 'POST', body })).url).toMatch(/\/login$/)
  }
  expect(await db().mail.count()).toBe(0)
})

it('asked again, wrong, new, somebody else', async () => {
  const person = new Person(server.url)
  let page = await signIn(person)
  const first = await code()
  expect((await person.submit(page, { code: '' })).status).toBe(422)
  expect((await person.submit(page, { code: first === '12345678' ? '12345679' : '12345678' })).status).toBe(422)
  page = await person.submit(page, { decision: 'resend' })
  expect(page.text).toContain('A new mail is on its way')
  const second = await code()
  if (first !== second) expect((await person.submit(page, { code: first })).status).toBe(422)
  expect((await person.submit(page, { decision: 'x' })).status).toBe(400)
  const login = await person.submit(page, { decision: 'restart' })
  expect(login.url).toMatch(/\/login$/)
  expect((await person.submit(page, { code: second })).url).toMatch(/\/login$/)
  expect(await sessions()).toBe(0)
})

it('what ends the sessions of the person ends this too', async () => {
  for (const end of [
    () => endUserTokens(db(), userId, change()),
    () => setUserDisabled(db(), userId, true, change()),
  ]) {
    const person = new Person(server.url)
    const page = await signIn(person)
    const sent = await code()
    await end()
    // Asked for a new one the page says what it always says; no code is mailed for a sign-in that is over.
    const mails = await db().mail.count()
    expect((await person.submit(page, { decision: 'resend' })).status).toBe(200)
    expect(await db().mail.count()).toBe(mails)
    expect((await person.submit(page, { code: sent })).status).toBe(422)
    expect(await sessions()).toBe(0)
  }
  expect((await db().user.findUniqueOrThrow({ where: { id: userId } })).emailVerifiedAt).toBeNull()
})

it('too many mails: a page says so, and nobody is in', async () => {
  const pages: Page[] = []
  for (let time = 0; time < 5; time++) pages.push(await signIn(new Person(server.url)))
  expect(pages.map(({ status }) => status)).toEqual([200, 200, 200, 200, 429])
  expect(pages.at(-1)?.headers.get('retry-after')).toBe('900')
})
