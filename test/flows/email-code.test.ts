// Signing in by a code from a mail, over real HTTP and with a real mail server; the last tests in a real browser.
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createUser, endUserTokens, setUserDisabled } from '#src/users/users.ts'
import { launchBrowser, openPage } from '#test/support/browser.ts'
import { codeAt, giveTotp } from '#test/support/factors.ts'
import { change } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { codeIn, deliver, type Mailbox, startMailbox } from '#test/support/mailbox.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let mailbox: Mailbox
let server: TestServer
let j: Journey
let clock = 0
beforeAll(async () => {
  mailbox = await startMailbox()
  server = await startServer({
    env: { SMTP_URL: mailbox.url, EMAIL_SIGN_IN: 'on' },
    now: () => new Date(Date.now() + clock),
  })
  j = await startJourney(server)
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
  await db().session.deleteMany({ where: { userId: j.alice.id } })
})

const db = () => server.database.prisma
const alice = 'alice@example.com'

async function open(person: Person, parameters: Record<string, string> = {}): Promise<Page> {
  const login = await person.open((await j.begin(parameters)).address)
  return person.open(/formaction="([^"]*)"/.exec(login.text)?.[1] ?? 'there is no button')
}
const begin = async (person: Person, email = alice) => person.submit(await open(person), { email })
async function newestCode(to = 'Alice@example.com'): Promise<string> {
  await deliver(server)
  return codeIn(mailbox.newest(to))
}
const other = (code: string) => String((Number(code) + 1) % 1e8).padStart(8, '0')
const isIn = (page: Page) => page.url.includes('/consent') || page.url.startsWith('https://shop.example')
const sessions = () => db().session.count({ where: { userId: j.alice.id } })

it('address, code, and the application learns that it was one factor, a code (RFC 8176)', async () => {
  const person = new Person(server.url)
  const { address, verifier } = await j.begin()
  const login = await person.open(address)
  const asked = await person.open(/formaction="([^"]*)"/.exec(login.text)?.[1] ?? '')
  expect(asked.text).toMatch(/<input id="email"[^>]*autocomplete="username"/)
  const code = await person.submit(asked, { email: alice })
  expect([code.status, code.url]).toEqual([200, asked.url])
  expect(code.text).toMatch(/<input id="code"[^>]*autocomplete="one-time-code"/)
  let page = await person.submit(code, { code: await newestCode() })
  if (page.url.endsWith('/consent')) page = await person.submit(page, { decision: 'allow' })
  const { body } = await j.redeem(new URL(page.url).searchParams.get('code') ?? '', verifier)
  expect(decodeJwt(body.id_token ?? '')).toMatchObject({
    sub: j.alice.id,
    amr: ['otp'],
    acr: 'urn:sallyport:acr:1fa',
  })
  expect(mailbox.newest('Alice@example.com').subject).toBe('Your sign-in code')
})

describe('the button of the login page', () => {
  /** As a browser sends it: the fields of that form, to the address of the button. */
  async function press(person: Person, fields: Record<string, string>): Promise<Page> {
    const login = await person.open((await j.begin()).address)
    const [, action] = /formaction="([^"]*)"/.exec(login.text) ?? []
    return person.submit({ ...login, text: login.text.replace(/action="[^"]*"/, `action="${action}"`) }, fields)
  }

  it('takes along the address that was typed: the code is on its way', async () => {
    const person = new Person(server.url)
    const page = await press(person, { identifier: ` ${alice} `, password: 'canary of a password manager' })
    expect(page.text).toContain('name="code"')
    expect(isIn(await person.submit(page, { code: await newestCode() }))).toBe(true)
    expect(server.logged.join('')).not.toContain('canary of')
  })

  it('asks for the address when none was typed, without calling it a mistake', async () => {
    const page = await press(new Person(server.url), { identifier: '', password: '' })
    expect([page.status, page.text.includes('name="email"'), page.text.includes('aria-invalid')]).toEqual([
      200,
      true,
      false,
    ])
    expect(await db().mail.count()).toBe(0)
  })
})

it('is the first factor and no other: the second is asked as after a password, and a code does not stand for both', async () => {
  const seed = await giveTotp(server, j.alice.id)
  const person = new Person(server.url)
  const waiting = await begin(person)
  const code = await newestCode()
  const page = await person.submit(waiting, { code })
  expect([page.url.includes('/second-factor'), await sessions()]).toEqual([true, 0])
  // The code again, another code, the first page again: each leads to the question that waits.
  for (const fields of [{ code }, { email: alice }, { code: '' }, {}])
    expect((await person.submit(waiting, fields as Record<string, string>)).url).toContain('/second-factor')
  expect((await person.submit(page, { code })).status).toBe(401)
  expect(await sessions()).toBe(0)
  expect(isIn(await person.submit(page, { code: codeAt(seed, new Date()) }))).toBe(true)
  expect(await db().session.findMany({ where: { userId: j.alice.id } })).toMatchObject([{ amr: ['otp', 'mfa'] }])
  await db().credential.deleteMany({ where: { userId: j.alice.id, kind: 'totp' } })
})

it('works for somebody who is signed in and asked to prove it once more', async () => {
  const { person } = await j.tokensFor()
  const waiting = await person.submit(await open(person, { prompt: 'login' }), { email: alice })
  expect(isIn(await person.submit(waiting, { code: await newestCode() }))).toBe(true)
})

describe('an address that nobody has, a disabled person, somebody who never verified theirs', () => {
  const same = (page: Page) =>
    page.text
      .replaceAll(/value="[^"]{43}"/g, '')
      .replaceAll(/[\w.]+@example\.com/g, '@')
      .replaceAll(/interaction\/[\w-]+/g, '')

  it('get the same pages and limits as anybody, and no mail (ASVS 6.3.8)', async () => {
    await createUser(db(), { email: 'off@example.com', emailVerified: true }, change()).then(({ id }) =>
      setUserDisabled(db(), id, true, change()),
    )
    await createUser(db(), { email: 'unverified@example.com' }, change())
    const known = new Person(server.url)
    const knownPage = await begin(known)
    const knownWrong = await known.submit(knownPage, { code: other(await newestCode()) })
    const knownAgain = await known.submit(knownPage, { decision: 'resend' })
    expect([knownPage.status, knownWrong.status, knownAgain.status]).toEqual([200, 422, 200])
    for (const email of ['nobody@example.com', 'off@example.com', 'unverified@example.com']) {
      const person = new Person(server.url)
      const page = await begin(person, email)
      expect([email, page.status, same(page)]).toEqual([email, knownPage.status, same(knownPage)])
      const wrong = await person.submit(page, { code: '12345678' })
      expect([email, wrong.status, same(wrong)]).toEqual([email, knownWrong.status, same(knownWrong)])
      const again = await person.submit(page, { decision: 'resend' })
      expect([email, again.status, same(again)]).toEqual([email, knownAgain.status, same(knownAgain)])
      const statuses: number[] = []
      for (let n = 0; n < 5; n++) statuses.push((await person.submit(page, { code: `8765432${n}` })).status)
      expect(statuses).toEqual([422, 422, 422, 422, 429])
    }
    await deliver(server)
    expect(new Set(mailbox.mails.map(({ to }) => to))).toEqual(new Set(['Alice@example.com']))
  })

  it('leave as many rows as anybody: the same work', async () => {
    const counts = () =>
      Promise.all([db().mail.count(), db().oneTimeCode.count(), db().addressProof.count(), db().auditEvent.count()])
    const added = async (email: string) => {
      const person = new Person(server.url)
      const page = await open(person)
      const before = await counts()
      await person.submit(page, { email })
      return (await counts()).map((count, index) => count - (before[index] ?? 0))
    }
    expect(await added(alice)).toEqual([1, 1, 1, 0])
    expect(await added('nobody2@example.com')).toEqual([1, 1, 1, 0])
  })
})

it('five wrong tries end the code, and the limits on guessing end the trying; the right one is too late (CVE-2025-64102)', async () => {
  const person = new Person(server.url)
  const page = await begin(person)
  const code = await newestCode()
  const statuses: number[] = []
  for (let n = 0; n < 5; n++) statuses.push((await person.submit(page, { code: other(code) })).status)
  expect(statuses).toEqual([422, 422, 422, 422, 422])
  const limited = await person.submit(page, { code })
  expect([limited.status, limited.headers.get('retry-after') !== null]).toEqual([429, true])
  await db().guessLimit.deleteMany()
  const over = await person.submit(page, { code })
  expect([over.status, over.text.includes('This code no longer works')]).toEqual([422, true])
  expect(await sessions()).toBe(0)
  // With a new one it goes on.
  expect(
    isIn(await person.submit(await person.submit(over, { decision: 'resend' }), { code: await newestCode() })),
  ).toBe(true)
})

describe('a step out of its place never leads on (CVE-2026-18963, CVE-2026-49448)', () => {
  it('a code from another request, in the same browser or another', async () => {
    const first = new Person(server.url)
    await begin(first)
    const code = await newestCode()
    for (const person of [first, new Person(server.url)]) {
      const elsewhere = await begin(person, 'mallory@example.com')
      expect((await person.submit(elsewhere, { code })).status).toBe(422)
      const untouched = await open(person)
      expect((await person.submit(untouched, { code })).text).toContain('name="email"')
    }
    expect(await sessions()).toBe(0)
  })

  it('a code before the address, an address and a code at once, words that a browser made up', async () => {
    const person = new Person(server.url)
    const page = await open(person)
    for (const fields of [
      { code: '12345678' },
      { code: '' },
      { email: alice, code: '12345678' },
      { proven: 'true', userId: j.alice.id },
      {},
    ]) {
      const answer = await person.submit(page, fields as Record<string, string>)
      expect([answer.status, answer.text.includes('name="email"')]).toEqual([422, true])
    }
    expect((await person.submit(page, { decision: 'allow', email: '' })).status).toBe(422)
    expect(await db().mail.count()).toBe(0)
    const waiting = await person.submit(page, { email: alice })
    expect((await person.submit(waiting, { decision: 'proven' })).status).toBe(400)
    expect((await person.submit(waiting, { code: '' })).status).toBe(422)
    expect((await person.submit(waiting, { code: '1'.repeat(5000) })).status).toBeGreaterThanOrEqual(400)
    expect(await sessions()).toBe(0)
  })

  it('the code of before another address was named, or of before a new one was asked for', async () => {
    const person = new Person(server.url)
    const waiting = await begin(person)
    const first = await newestCode()
    await person.submit(waiting, { decision: 'resend' })
    const second = await newestCode()
    expect((await person.submit(waiting, { code: first })).status).toBe(422)
    const restarted = await person.submit(waiting, { decision: 'restart' })
    expect(restarted.text).toContain('name="email"')
    expect((await person.submit(waiting, { code: second })).status).toBe(422)
    const mallory = await person.submit(restarted, { email: 'mallory@example.com' })
    expect((await person.submit(mallory, { code: second })).status).toBe(422)
    expect(await sessions()).toBe(0)
  })

  it('the right code twice: of 5 at once one signs in, and the page leads nowhere afterwards', async () => {
    const person = new Person(server.url)
    const waiting = await begin(person)
    const code = await newestCode()
    await Promise.all(Array.from({ length: 5 }, () => person.submit(waiting, { code })))
    expect(await db().auditEvent.count({ where: { event: 'login.succeeded', actorId: j.alice.id } })).toBeGreaterThan(0)
    expect(await sessions()).toBeLessThanOrEqual(1)
    expect((await person.submit(waiting, { code })).status).toBe(410)
  })

  it('a code after ten minutes, or after the person’s sessions were ended', async () => {
    const person = new Person(server.url)
    const waiting = await begin(person)
    const code = await newestCode()
    clock = 601_000
    const late = await person.submit(waiting, { code })
    expect([late.status, late.text.includes('name="email"')]).toEqual([422, true])
    const again = await person.submit(late, { email: alice })
    const fresh = await newestCode()
    await endUserTokens(db(), j.alice.id, change())
    expect((await person.submit(again, { code: fresh })).status).toBe(422)
    expect(await sessions()).toBe(0)
  })
})

it('sends four mails in a quarter of an hour, then asks to wait, whoever it is', async () => {
  for (const email of [alice, 'nobody3@example.com']) {
    const statuses: number[] = []
    for (let n = 0; n < 5; n++) statuses.push((await begin(new Person(server.url), email)).status)
    expect([email, statuses]).toEqual([email, [200, 200, 200, 200, 429]])
  }
})

it('leaves neither code nor address in the logs', async () => {
  const person = new Person(server.url)
  const waiting = await begin(person)
  const code = await newestCode()
  await person.submit(waiting, { code: other(code) })
  await person.submit(waiting, { code })
  for (const text of [code, other(code), alice]) expect(server.logged.join('').toLowerCase()).not.toContain(text)
})

it('is off by default: not offered, and its address leads nowhere', async () => {
  const own = await startServer({ env: { SMTP_URL: mailbox.url } })
  try {
    const there = await startJourney(own)
    const person = new Person(own.url)
    const login = await person.open((await there.begin()).address)
    expect(login.text).not.toContain('email-code')
    const address = login.url.replace('/login', '/email-code')
    expect((await person.open(address)).status).toBe(404)
    const posted = await person.submit(
      { ...login, text: login.text.replace(/\baction="[^"]*"/, `action="${address}"`) },
      { email: alice },
    )
    expect([posted.url, posted.status]).toEqual([address, 404])
    expect(await own.database.prisma.mail.count()).toBe(0)
  } finally {
    await own.stop()
  }
})

describe('in Chromium', () => {
  it.each([true, false])('a person signs in by a code, with JavaScript: %s', async (javaScriptEnabled) => {
    const browser = await launchBrowser()
    try {
      const { page, complaints, close } = await openPage(browser, { javaScriptEnabled })
      await page.route('https://shop.example/**', (route) => route.fulfill({ body: 'Shop' }))
      await page.goto(server.url + (await j.begin({ prompt: 'consent' })).address)
      await page.fill('input[name=identifier]', alice)
      await page.click('button[formaction]')
      await page.waitForURL('**/email-code')
      await page.fill('input[name=code]', await newestCode())
      await page.click('button.primary')
      await page.waitForURL('**/consent')
      await page.click('button[name=decision][value=allow]')
      await page.waitForURL('https://shop.example/cb**')
      expect(new URL(page.url()).searchParams.get('code')).toMatch(/^sp_ac_/)
      expect(complaints).toEqual([])
      await close()
    } finally {
      await browser.close()
    }
  })
})
