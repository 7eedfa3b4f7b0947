// Somebody wants an account that is not theirs, or an account where there should be none, by way of recovery, sign-up and mails.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { hashPassword } from '#src/factors/password.ts'
import { invite } from '#src/registration/invitations.ts'
import { setPassword } from '#src/users/users.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { codeIn, deliver, type Mailbox, startMailbox } from '#test/support/mailbox.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let mailbox: Mailbox
let server: TestServer
let j: Journey
let hash: string
const alice = 'alice@example.com'
const chosen = 'nine purple walruses paint'
const db = () => server.database.prisma

beforeAll(async () => {
  mailbox = await startMailbox()
  server = await startServer({ env: { SMTP_URL: mailbox.url, SIGN_UP: 'open', TRUST_PROXY: '127.0.0.1,::1' } })
  j = await startJourney(server)
  hash = await hashPassword(password)
})
afterAll(async () => {
  await server.stop()
  await mailbox.stop()
})
beforeEach(async () => {
  mailbox.mails.length = 0
  await db().mail.deleteMany()
  await db().guessLimit.deleteMany()
  await setPassword(db(), j.alice.id, hash, change())
})

async function open(person: Person, step: 'recovery' | 'signup'): Promise<Page> {
  const login = await person.open((await j.begin()).address)
  return person.open(login.url.replace('/login', `/${step}`))
}
async function code(to = 'Alice@example.com'): Promise<string> {
  await deliver(server)
  return codeIn(mailbox.newest(to))
}
const isOld = async () =>
  (await db().credential.findFirstOrThrow({ where: { userId: j.alice.id, kind: 'password' } })).secret === hash
const asksForPassword = (page: Page) => page.text.includes('autocomplete="new-password"')
/** Past the page and its one form: any body, the right token. */
async function post(person: Person, page: Page, body: string, type = 'application/x-www-form-urlencoded') {
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  const text = type.includes('urlencoded') ? `csrf=${encodeURIComponent(csrf)}&${body}` : body
  return person.open(page.url, { method: 'POST', body: text, headers: { 'Content-Type': type, Origin: server.url } })
}

const forged: [string, string, string?][] = [
  ['nothing', ''],
  ['a password', `password=${chosen}`],
  ['a password twice', `password=${chosen}&password=${chosen}`],
  ['a password and an empty code', `password=${chosen}&code=`],
  ['a password and no code at all', `password=${chosen}&code`],
  ['a password and a code of zeros', `password=${chosen}&code=00000000`],
  ['a code as a list', `password=${chosen}&code[]=1&code[$ne]=x`],
  ['a code twice', 'code=00000000&code=11111111'],
  ['everything at once', `email=${alice}&code=00000000&password=${chosen}`],
  ['a step it names itself', `password=${chosen}&step=password&state=proven&proven=true`],
  ['somebody’s id', `password=${chosen}&userId=1&user=${alice}&email=${alice}`],
  ['a decision that there is not', `password=${chosen}&decision=proven`],
  ['a fresh start together with a password', `password=${chosen}&decision=restart`],
  ['JSON', JSON.stringify({ password: chosen, code: null }), 'application/json'],
  ['JSON in plain text', JSON.stringify({ password: chosen }), 'text/plain'],
  [
    'multipart',
    '--x\r\nContent-Disposition: form-data; name="password"\r\n\r\nx\r\n--x--',
    'multipart/form-data; boundary=x',
  ],
  ['half a character', `password=${chosen}%ff`],
  ['a control character', `password=${chosen}%00`],
  ['a megabyte', `password=${'a'.repeat(1_000_000)}`],
]

describe('no body sent to recovery leads to a new password without the code (CVE-2026-18963, CVE-2026-49448)', () => {
  test.each(forged)('before it began: %s', async (_what, body, type) => {
    const person = new Person(server.url)
    const answer = await post(person, await open(person, 'recovery'), body, type)
    expect(answer.status).not.toBe(500)
    expect([asksForPassword(answer), await isOld()]).toEqual([false, true])
    expect(asksForPassword(await person.open(answer.url.split('?')[0] ?? ''))).toBe(false)
  })

  test.each(forged)('while the code waits: %s', async (_what, body, type) => {
    const person = new Person(server.url)
    const page = await person.submit(await open(person, 'recovery'), { email: alice })
    const answer = await post(person, page, body, type)
    expect(answer.status).not.toBe(500)
    expect([asksForPassword(answer), await isOld()]).toEqual([false, true])
    expect(asksForPassword(await person.open(page.url))).toBe(false)
  })

  test('the page of an earlier recovery, its token and its code are worth nothing in another request', async () => {
    const person = new Person(server.url)
    const page = await person.submit(await open(person, 'recovery'), { email: alice })
    const fresh = await person.submit(page, { code: await code() })
    expect(asksForPassword(fresh)).toBe(true)
    const second = await open(person, 'recovery') // the browser's cookie now names another request
    const token = /name="csrf" value="([^"]+)"/.exec(fresh.text)?.[1] ?? ''
    expect((await person.submit(second, { password: chosen }, { csrf: token })).status).toBe(403)
    expect(asksForPassword(await person.submit(second, { password: chosen }))).toBe(false)
    expect(await isOld()).toBe(true)
  })

  test('another browser that knows the address of the page finds nothing', async () => {
    const person = new Person(server.url)
    const page = await person.submit(await open(person, 'recovery'), { email: alice })
    const fresh = await person.submit(page, { code: await code() })
    for (const thief of [new Person(server.url), new Person(server.url)]) {
      if (thief.cookies.size === 0) await open(thief, 'recovery')
      expect((await thief.open(fresh.url)).status).toBe(410)
      expect((await thief.submit(fresh, { password: chosen })).status).toBe(410)
    }
    expect(await isOld()).toBe(true)
  })

  test('going back to another address forgets what was proven', async () => {
    const person = new Person(server.url)
    const first = await open(person, 'recovery')
    const page = await person.submit(first, { email: 'mallory@example.com' })
    await person.submit(page, { code: '12345678' })
    // mallory's own account, proven; then alice's name in the same request
    await db().user.create({
      data: {
        id: crypto.randomUUID(),
        email: 'mallory@example.com',
        emailKey: 'mallory@example.com',
        emailVerifiedAt: new Date(),
      },
    })
    const again = await person.submit(first, { email: 'mallory@example.com' })
    const fresh = await person.submit(again, { code: await code('mallory@example.com') })
    expect(asksForPassword(fresh)).toBe(true)
    const alices = await person.submit(first, { email: alice })
    expect(asksForPassword(alices)).toBe(false)
    expect(asksForPassword(await person.submit(fresh, { password: chosen }))).toBe(false)
    expect(await isOld()).toBe(true)
  })

  test('by GET, HEAD, PUT, PATCH and DELETE nothing moves', async () => {
    const person = new Person(server.url)
    const page = await person.submit(await open(person, 'recovery'), { email: alice })
    const sent = await code()
    for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE'])
      await person.fetch(`${page.url}?code=${sent}&password=${encodeURIComponent(chosen)}`, { method })
    expect(asksForPassword(await person.open(page.url))).toBe(false)
    expect(asksForPassword(await person.submit(page, { code: sent }))).toBe(true)
  })
})

describe('a code is of its kind', () => {
  test('the code of a sign-up is none for a recovery in the same request, nor the other way round', async () => {
    const person = new Person(server.url)
    const signUp = await open(person, 'signup')
    const signUpCode = await person.submit(signUp, { email: 'nora@example.com', name: 'Nora', password: chosen })
    const recovery = await person.open(signUp.url.replace('/signup', '/recovery'))
    const recoveryCode = await person.submit(recovery, { email: alice })
    const [one, two] = [await code('nora@example.com'), await code()]
    if (one !== two) {
      expect((await person.submit(recoveryCode, { code: one })).status).toBe(422)
      expect((await person.submit(signUpCode, { code: two })).status).toBe(422)
    }
    expect(asksForPassword(await person.submit(recoveryCode, { code: two }))).toBe(true)
  })

  test('200 wrong ones at once are evaluated five times, over two browsers as well (CVE-2025-64102)', async () => {
    const people = [new Person(server.url), new Person(server.url)]
    const pages = await Promise.all(
      people.map(async (person) => person.submit(await open(person, 'recovery'), { email: alice })),
    )
    const answers = await Promise.all(
      Array.from({ length: 200 }, (_, n) =>
        people[n % 2]?.submit(pages[n % 2] as Page, { code: String(10_000_000 + n) }),
      ),
    )
    const statuses = answers.map((answer) => answer?.status)
    expect(statuses.filter((status) => status === 422).length).toBeLessThanOrEqual(5)
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(195)
    expect(await isOld()).toBe(true)
  })
})

describe('what a mail links to (GHSA-2wmj-46rj-qm2w)', () => {
  test('is the issuer, whatever a request says of hosts, also through a listed proxy', async () => {
    const evil = {
      'X-Forwarded-Host': 'evil.example',
      'X-Forwarded-Proto': 'https',
      'X-Forwarded-Server': 'evil.example',
      'X-Original-Host': 'evil.example',
      'X-Host': 'evil.example',
      Forwarded: 'host=evil.example;proto=https',
      Referer: 'https://evil.example/',
    }
    const person = new Person(server.url)
    const page = await open(person, 'recovery')
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
    await person.fetch(page.url, {
      method: 'POST',
      headers: evil,
      body: new URLSearchParams({ csrf, email: alice }),
    })
    await invite(db(), { email: 'link@example.com' }, change(), { secretKeys: server.secretKeys, signUp: 'open' })
    await deliver(server)
    expect(mailbox.mails).toHaveLength(2)
    for (const mail of mailbox.mails) {
      const all = `${mail.subject} ${mail.text} ${mail.html} ${[...mail.headers].join(' ')}`
      expect(all).not.toContain('evil')
      for (const [address] of all.matchAll(/https?:\/\/[^\s"<]+/g))
        expect(address.startsWith(`${server.url}/`)).toBe(true)
    }
  })

  test('no name, address or language that somebody typed gets into the words or headers of a mail to somebody else', async () => {
    const person = new Person(server.url)
    const name = 'Win https://evil.example now <b>evil</b>'
    await person.submit(await open(person, 'signup'), { email: alice, name, password: chosen })
    await person.submit(await open(person, 'signup'), { email: 'other@example.com', name, password: chosen })
    for (const email of [
      'a@example.com\r\nBcc: evil@example.com',
      'a@example.com%0d%0aBcc: evil@example.com',
      '"evil" <a@example.com>',
      'a@example.com, evil@example.com',
      'a@example.com;evil@example.com',
    ]) {
      const answer = await person.submit(await open(person, 'recovery'), { email })
      expect([400, 422]).toContain(answer.status)
    }
    await deliver(server)
    expect(mailbox.mails).toHaveLength(2)
    for (const { subject, text, html, headers } of mailbox.mails)
      expect(`${subject}${text}${html}${[...headers].join()}`).not.toContain('evil')
  })
})

test('nothing is sent, and no account made, for a request without the token of its page', async () => {
  const person = new Person(server.url)
  for (const step of ['recovery', 'signup'] as const) {
    const page = await open(person, step)
    const fields = { email: alice, name: 'A', password: chosen }
    expect((await person.submit(page, fields, { csrf: null })).status).toBe(403)
    expect((await person.submit(page, fields, { csrf: 'x'.repeat(43) })).status).toBe(403)
  }
  expect(await db().mail.count()).toBe(0)
})
