// A forgotten password, over real HTTP and with a real mail server.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ownerRole } from '#src/access/roles.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createUser, setPassword, setUserDisabled } from '#src/users/users.ts'
import { codeAt, giveTotp } from '#test/support/factors.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { codeIn, deliver, type Mailbox, startMailbox } from '#test/support/mailbox.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let mailbox: Mailbox
let server: TestServer
let j: Journey
let oldHash: string
let clock = 0
beforeAll(async () => {
  mailbox = await startMailbox()
  server = await startServer({ env: { SMTP_URL: mailbox.url }, now: () => new Date(Date.now() + clock) })
  j = await startJourney(server)
  oldHash = await hashPassword(password)
})
afterAll(async () => {
  await server.stop()
  await mailbox.stop()
})
beforeEach(async () => {
  clock = 0
  mailbox.mails.length = 0
  await db().mail.deleteMany()
  await db().guessLimit.deleteMany()
  await setPassword(db(), j.alice.id, oldHash, change())
})

const db = () => server.database.prisma
const alice = 'alice@example.com'
const chosen = 'nine purple walruses paint'

async function open(person: Person, parameters: Record<string, string> = {}): Promise<Page> {
  const login = await person.open((await j.begin(parameters)).address)
  return person.open(/href="([^"]*\/recovery[^"]*)"/.exec(login.text)?.[1] ?? 'there is no link')
}
const begin = async (person: Person, email = alice) => person.submit(await open(person), { email })
async function newestCode(to = 'Alice@example.com'): Promise<string> {
  await deliver(server)
  return codeIn(mailbox.newest(to))
}
/** As far as the page that asks for the new password. */
async function prove(person: Person): Promise<Page> {
  const page = await begin(person)
  return person.submit(page, { code: await newestCode() })
}
const other = (code: string) => String((Number(code) + 1) % 1e8).padStart(8, '0')
const signIn = async (secret: string, email = alice) => {
  const person = new Person(server.url)
  return person.submit(await person.open((await j.begin()).address), { identifier: email, password: secret })
}
const isIn = (page: Page) => page.url.includes('/consent') || page.url.startsWith('https://shop.example')

it('address, code, new password: and the sign-in goes on to the application', async () => {
  const person = new Person(server.url)
  const code = await begin(person)
  expect(code.text).toContain('name="code"')
  expect(code.text).not.toContain('name="password"')
  const fresh = await person.submit(code, { code: await newestCode() })
  expect(fresh.status).toBe(200)
  expect(fresh.text).toMatch(/<input id="password"[^>]*autocomplete="new-password"/)
  expect(isIn(await person.submit(fresh, { password: chosen }))).toBe(true)
  expect(isIn(await signIn(chosen))).toBe(true)
  expect((await signIn(password)).status).toBe(401)
  await deliver(server)
  expect(mailbox.mails.map(({ subject }) => subject)).toContain('Your password was changed')
})

it('ends every session and token that came before (ASVS 7.4.3), and none that comes after', async () => {
  const before = await j.tokensFor({ scope: 'openid offline_access', prompt: 'consent' })
  const person = new Person(server.url)
  await person.submit(await prove(person), { password: chosen })
  expect((await j.refresh(before.refresh)).status).toBe(400)
  expect((await j.introspect(before.access_token)).body).toEqual({ active: false })
  expect((await before.person.open((await j.begin()).address)).url).toContain('/login')
  expect((await person.open((await j.begin()).address)).url).not.toContain('/login')
})

it('works for somebody who is signed in and asked to prove it once more, in the same browser', async () => {
  const { person } = await j.tokensFor()
  const page = await open(person, { prompt: 'login' })
  const code = await person.submit(page, { email: alice })
  const fresh = await person.submit(code, { code: await newestCode() })
  expect(isIn(await person.submit(fresh, { password: chosen }))).toBe(true)
  expect((await person.open((await j.begin()).address)).url).not.toContain('/login')
})

it('counts for a code from a mail and nothing more: a second factor is not skipped (ASVS 6.4.3)', async () => {
  const seed = await giveTotp(server, j.alice.id)
  const person = new Person(server.url)
  await db().session.deleteMany({ where: { userId: j.alice.id } })
  const page = await person.submit(await prove(person), { password: chosen })
  expect(page.url).toContain('/second-factor')
  expect(await db().session.count({ where: { userId: j.alice.id } })).toBe(0)
  // Nor by beginning once more in the same request.
  expect((await person.open(page.url.replace('/second-factor', '/recovery'))).url).toContain('/second-factor')
  expect(isIn(await person.submit(page, { code: codeAt(seed, new Date()) }))).toBe(true)
  expect(await db().session.findMany({ where: { userId: j.alice.id } })).toMatchObject([{ amr: ['otp', 'mfa'] }])
  await db().credential.deleteMany({ where: { userId: j.alice.id, kind: 'totp' } })
})

describe('an address that nobody has, a disabled person, an owner whose address was never verified', () => {
  const same = (page: Page) =>
    page.text
      .replaceAll(/value="[^"]{43}"/g, '')
      .replaceAll(/[\w.]+@example\.com/g, '@')
      .replaceAll(/interaction\/[\w-]+/g, '')

  it('get the same pages as anybody, no mail, and never a password (ASVS 6.3.8, CVE-2023-39522)', async () => {
    const passwordHash = oldHash
    await createUser(db(), { email: 'off@example.com', emailVerified: true, passwordHash }, change()).then(({ id }) =>
      setUserDisabled(db(), id, true, change()),
    )
    await db().role.create({ data: { name: ownerRole } })
    await createUser(db(), { email: 'owner@example.com', roles: [ownerRole], passwordHash }, change())
    const known = new Person(server.url)
    const knownPage = await begin(known)
    const knownWrong = await known.submit(knownPage, { code: other(await newestCode()) })
    for (const email of ['nobody@example.com', 'off@example.com', 'owner@example.com']) {
      const person = new Person(server.url)
      const page = await begin(person, email)
      expect([email, page.status, same(page)]).toEqual([email, knownPage.status, same(knownPage)])
      const wrong = await person.submit(page, { code: '12345678' })
      expect([email, wrong.status, same(wrong)]).toEqual([email, knownWrong.status, same(knownWrong)])
      const statuses: number[] = []
      for (let n = 0; n < 5; n++) statuses.push((await person.submit(page, { code: `8765432${n}` })).status)
      expect(statuses).toEqual([422, 422, 422, 422, 429])
    }
    await deliver(server)
    expect(mailbox.mails.map(({ to }) => to)).toEqual(['Alice@example.com'])
  })

  it('leave as many rows as anybody: the same work', async () => {
    const counts = async () => [
      await db().mail.count(),
      await db().oneTimeCode.count(),
      await db().addressProof.count(),
      await db().auditEvent.count(),
    ]
    const added = async (email: string) => {
      const person = new Person(server.url)
      const page = await open(person)
      const before = await counts()
      await person.submit(page, { email })
      return (await counts()).map((count, index) => count - (before[index] ?? 0))
    }
    expect(await added(alice)).toEqual([1, 1, 1, 1])
    expect(await added('nobody2@example.com')).toEqual([1, 1, 1, 1])
  })
})

describe('somebody whose address was never verified', () => {
  it('starts clean: what was left in the account before is gone (CVE-2026-53516)', async () => {
    const trap = await createUser(db(), { email: 'victim@example.com', name: 'V', passwordHash: oldHash }, change())
    await db().credential.create({
      data: { id: crypto.randomUUID(), userId: trap.id, kind: 'passkey', secret: 'of the one who laid the trap' },
    })
    await db().consent.create({ data: { userId: trap.id, clientId: 'shop-web', scopes: ['openid'] } })
    const person = new Person(server.url)
    const page = await begin(person, 'victim@example.com')
    const fresh = await person.submit(page, { code: await newestCode('victim@example.com') })
    expect(isIn(await person.submit(fresh, { password: chosen }))).toBe(true)
    const user = await db().user.findUniqueOrThrow({
      where: { id: trap.id },
      include: { credentials: true, consents: true },
    })
    expect(user.emailVerifiedAt).toBeTruthy()
    expect(user.credentials.map(({ kind }) => kind)).toEqual(['password'])
    expect((await signIn(password, 'victim@example.com')).status).toBe(401)
    expect((await db().consent.findMany({ where: { userId: trap.id } })).length).toBeLessThan(2)
  })

  it('keeps other ways in when the address was verified', async () => {
    await db().credential.create({
      data: { id: crypto.randomUUID(), userId: j.alice.id, kind: 'kept', secret: 'x' },
    })
    const person = new Person(server.url)
    await person.submit(await prove(person), { password: chosen })
    expect(await db().credential.count({ where: { userId: j.alice.id, kind: 'kept' } })).toBe(1)
  })
})

describe('the new password', () => {
  it.each([
    ['', 422, 'Enter your password'],
    ['short', 422, 'Use at least 15 characters'],
    ['alice@example.com', 422, 'little more than your name'],
    ['a'.repeat(1500), 400, 'Use at most 256 characters'],
  ])('is held to the rules (%#), and what was proven stays proven', async (secret, status, words) => {
    const person = new Person(server.url)
    const fresh = await prove(person)
    const refused = await person.submit(fresh, { password: secret })
    expect([refused.status, refused.text.includes(words)]).toEqual([status, true])
    expect(refused.text).toMatch(/<input id="password"[^>]*aria-invalid="true"/)
    expect(isIn(await person.submit(refused, { password: chosen }))).toBe(true)
  })

  it('is set once: of 5 that are sent at once one counts, and the page leads nowhere afterwards', async () => {
    const person = new Person(server.url)
    const fresh = await prove(person)
    const before = await db().auditEvent.count({ where: { event: 'user.password_changed' } })
    await Promise.all(Array.from({ length: 5 }, (_, n) => person.submit(fresh, { password: `${chosen} ${n}` })))
    expect((await db().auditEvent.count({ where: { event: 'user.password_changed' } })) - before).toBe(1)
    expect((await person.submit(fresh, { password: 'another purple walrus' })).status).toBe(410)
  })

  it('comes within ten minutes of the code, and the code within ten of its mail', async () => {
    const person = new Person(server.url)
    const page = await begin(person)
    const code = await newestCode()
    clock = 601_000
    const late = await person.submit(page, { code })
    expect(late.text).toContain('name="email"')
    const again = await person.submit(late, { email: alice })
    const fresh = await person.submit(again, { code: await newestCode() })
    clock += 601_000
    const tooLate = await person.submit(fresh, { password: chosen })
    expect(tooLate.text).toContain('name="email"')
    expect((await signIn(password)).url).toMatch(/consent|shop/)
  })
})

it('leaves neither code nor password nor address in the logs', async () => {
  const person = new Person(server.url)
  const page = await begin(person)
  const code = await newestCode()
  const fresh = await person.submit(page, { code })
  await person.submit(fresh, { password: 'canary walrus paints nine' })
  for (const text of [code, 'canary walrus', alice]) expect(server.logged.join('').toLowerCase()).not.toContain(text)
})

it('goes to the mail server that is down, and is delivered once it is back', async () => {
  const { port } = mailbox
  await mailbox.stop()
  const person = new Person(server.url)
  const page = await begin(person)
  expect(page.status).toBe(200)
  await deliver(server)
  mailbox = await startMailbox({ port })
  await db().mail.updateMany({ where: { nextAttemptAt: { not: null } }, data: { nextAttemptAt: new Date() } })
  expect((await person.submit(page, { code: await newestCode() })).text).toContain('name="password"')
})
