// Somebody wants an account that is not theirs, or an account where there should be none, by way of recovery, sign-up, a sign-in by a
// code, and mails.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { hashPassword } from '#src/factors/password.ts'
import { unsealMail } from '#src/mail/outbox.ts'
import { invite } from '#src/registration/invitations.ts'
import { changeEmail, createUser, endUserTokens, setPassword, setUserDisabled } from '#src/users/users.ts'
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
  server = await startServer({
    env: { SMTP_URL: mailbox.url, SIGN_UP: 'open', EMAIL_SIGN_IN: 'on', TRUST_PROXY: '127.0.0.1,::1' },
  })
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

async function open(person: Person, step: 'recovery' | 'signup' | 'email-code'): Promise<Page> {
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

describe('signing in by a code (CVE-2026-18963, CVE-2026-49448)', () => {
  const isIn = (page: Page) => page.url.includes('/consent') || page.url.startsWith('https://shop.example')
  const sessions = () => db().session.count({ where: { userId: j.alice.id } })
  const begun = async (person: Person, email = alice) => person.submit(await open(person, 'email-code'), { email })
  const other = (right: string) => String((Number(right) + 1) % 1e8).padStart(8, '0')
  const rows = async () => ({
    mails: await db().mail.count(),
    codes: await db().oneTimeCode.count(),
    tries: (await db().oneTimeCode.aggregate({ _sum: { tries: true } }))._sum.tries,
    proofs: await db().addressProof.count(),
    guesses: await db().guessLimit.count(),
    records: await db().auditEvent.count(),
  })
  beforeEach(async () => {
    await db().session.deleteMany()
  })

  test.each(forged)('no body leads in before the address was named: %s', async (_what, body, type) => {
    const person = new Person(server.url)
    const answer = await post(person, await open(person, 'email-code'), body, type)
    expect(answer.status).not.toBe(500)
    expect([isIn(answer), person.cookies.has('sallyport_session'), await sessions()]).toEqual([false, false, 0])
  })

  test.each(forged)('nor while the code waits, and the code stays good: %s', async (what, body, type) => {
    const person = new Person(server.url)
    const page = await begun(person)
    const sent = await code()
    const answer = await post(person, page, body, type)
    expect(answer.status).not.toBe(500)
    expect([isIn(answer), person.cookies.has('sallyport_session'), await sessions()]).toEqual([false, false, 0])
    // Two of them ask for something that anybody may: another address, and a new code.
    const good = what === 'somebody’s id' ? await code() : sent
    expect(isIn(await person.submit(page, { code: good }))).toBe(!what.startsWith('a fresh start'))
  })

  test.each([
    ['half a character', 'email=a%ff@example.com', 400],
    ['half a character in the code', 'code=1234567%ff', 400],
    ['a control character', 'code=1234567%00', 400],
    ['a stray percent sign', 'code=1234567%', 400],
    ['the code twice', 'code=12345678&code=12345679', 400],
    ['more than a form may hold', `email=${'a'.repeat(70_000)}@example.com`, 413],
    ['a code of more than a form may hold', `code=${'1'.repeat(70_000)}`, 413],
  ])('%s is refused before any work: no row is written and no try counted', async (_what, body, status) => {
    const person = new Person(server.url)
    const page = await begun(person)
    const before = await rows()
    expect((await post(person, page, body)).status).toBe(status)
    expect(await rows()).toEqual(before)
  })

  test('an address of any length or kind that is none makes no row either', async () => {
    const person = new Person(server.url)
    const page = await open(person, 'email-code')
    const before = await rows()
    for (const email of [
      'a'.repeat(60_000),
      `${'a'.repeat(300)}@example.com`,
      '\u202e@example.com',
      'a\u200b@example.com',
      'a@b',
      '@',
      '😀',
    ])
      expect((await person.submit(page, { email })).status).toBe(422)
    expect(await rows()).toEqual(before)
  })

  test('another request of the same browser, another browser, and the token of another request', async () => {
    const person = new Person(server.url)
    const page = await begun(person)
    const sent = await code()
    const elsewhere = await open(person, 'email-code')
    expect(isIn(await person.submit(elsewhere, { code: sent }))).toBe(false)
    const thief = new Person(server.url)
    const own = await begun(thief, 'mallory@example.com')
    expect((await thief.submit(page, { code: sent })).status).toBe(410)
    expect((await thief.open(page.url)).status).toBe(410)
    expect((await thief.submit(own, { code: sent })).status).toBe(422)
    const foreign = /name="csrf" value="([^"]+)"/.exec(own.text)?.[1] ?? ''
    const forgedToken = await person.submit(page, { code: sent }, { csrf: foreign })
    expect([forgedToken.status, await sessions()]).toEqual([403, 0])
  })

  test('what was proven for another purpose, and the codes of other purposes in the same request', async () => {
    const person = new Person(server.url)
    const recovery = await person.submit(await open(person, 'recovery'), { email: alice })
    const recoveryCode = await code()
    const page = recovery.url.replace('/recovery', '/email-code')
    const asked = await person.open(page)
    expect(asked.text).toContain('name="email"') // the proof that waits for the recovery is none here
    expect(isIn(await person.submit(asked, { code: recoveryCode }))).toBe(false)
    const waiting = await person.submit(asked, { email: alice })
    const ownCode = await code()
    if (recoveryCode !== ownCode) {
      expect((await person.submit(waiting, { code: recoveryCode })).status).toBe(422)
      expect((await person.submit(recovery, { code: ownCode })).status).toBe(422)
    }
    expect(asksForPassword(await person.submit(recovery, { code: recoveryCode }))).toBe(true)
    expect([isIn(await person.open(page)), await sessions()]).toEqual([false, 0])
    expect(isIn(await person.submit(waiting, { code: ownCode }))).toBe(true)
    // Signed in: the recovery that was proven in this request is over, and its page sets nothing.
    expect(asksForPassword(await person.open(recovery.url))).toBe(false)
    expect(asksForPassword(await person.submit(recovery, { password: chosen }))).toBe(false)
    expect(await isOld()).toBe(true)
  })

  test('by GET, HEAD, PUT, PATCH and DELETE nothing moves', async () => {
    const person = new Person(server.url)
    const page = await begun(person)
    const sent = await code()
    for (const method of ['GET', 'HEAD', 'PUT', 'PATCH', 'DELETE'])
      await person.fetch(`${page.url}?code=${sent}&email=mallory@example.com&decision=restart`, { method })
    expect(await sessions()).toBe(0)
    expect(isIn(await person.submit(page, { code: sent }))).toBe(true)
  })

  test('a form that was sent already, in the request and in the next one', async () => {
    const person = new Person(server.url)
    const page = await begun(person)
    const sent = await code()
    expect(isIn(await person.submit(page, { code: sent }))).toBe(true)
    await db().session.deleteMany()
    person.cookies.delete('sallyport_session')
    expect(isIn(await person.submit(page, { code: sent }))).toBe(false)
    const next = await begun(person)
    expect((await person.submit(next, { code: sent })).status).toBe(422)
    expect(await sessions()).toBe(0)
  })

  describe('a mail under way', () => {
    const home = 'Alice@example.com'
    afterEach(async () => {
      if ((await db().user.findUniqueOrThrow({ where: { id: j.alice.id } })).emailKey !== alice)
        await changeEmail(db(), j.alice.id, home, change())
      await setUserDisabled(db(), j.alice.id, false, change())
    })

    test.each([
      ['the address changes', () => changeEmail(db(), j.alice.id, 'alice@elsewhere.example', change())],
      ['the person is disabled', () => setUserDisabled(db(), j.alice.id, true, change())],
      ['their sessions are ended', () => endUserTokens(db(), j.alice.id, change())],
      ['the password is changed', () => setPassword(db(), j.alice.id, hash, change())],
    ])('is worth nothing when meanwhile %s, before it leaves or after', async (_what, happens) => {
      const [one, two] = [new Person(server.url), new Person(server.url)]
      const delivered = await begun(one)
      const first = await code()
      mailbox.mails.length = 0
      const queued = await begun(two)
      await happens()
      const second = await code()
      for (const [person, page, sent] of [
        [one, delivered, first],
        [two, queued, second],
      ] as const) {
        const answer = await person.submit(page, { code: sent })
        expect([answer.status, isIn(answer)]).toEqual([422, false])
        expect((await person.submit(page, { code: sent })).status).toBe(422)
      }
      expect(await sessions()).toBe(0)
    })

    test('nor for whoever has the address afterwards', async () => {
      const person = new Person(server.url)
      const page = await begun(person)
      const sent = await code()
      await changeEmail(db(), j.alice.id, 'alice@elsewhere.example', change())
      const { id } = await createUser(db(), { email: alice, emailVerified: true }, change())
      expect((await person.submit(page, { code: sent })).status).toBe(422)
      expect(await db().session.count()).toBe(0)
      await db().user.delete({ where: { id } })
    })
  })

  test('known, unknown, disabled, unverified: each step has the same answer and leaves the same rows', async () => {
    await createUser(db(), { email: 'off@example.com', emailVerified: true }, change()).then(({ id }) =>
      setUserDisabled(db(), id, true, change()),
    )
    await createUser(db(), { email: 'unverified@example.com' }, change())
    const plain = (text: string) =>
      text
        .replaceAll(/value="[^"]{43}"/g, '')
        .replaceAll(/[\w.]+@example\.com/g, '@')
        .replaceAll(/interaction\/[\w-]+/g, '')
    const walk = async (email: string, wrongCode: () => Promise<string>) => {
      await db().guessLimit.deleteMany()
      const person = new Person(server.url)
      const start = await open(person, 'email-code')
      const seen: unknown[] = []
      let page = start
      let before = await rows()
      const note = async (at: Page) => {
        const after = await rows()
        const added = Object.entries(after).map(([name, count]) => [name, (count ?? 0) - (before[name as never] ?? 0)])
        seen.push([at.status, at.headers.get('retry-after'), plain(at.text), added])
        before = after
        page = at
      }
      await note(await person.submit(start, { email }))
      await note(await person.submit(page, { code: await wrongCode() }))
      await note(await person.submit(page, { code: '' }))
      await note(await person.submit(page, { decision: 'resend' }))
      for (let n = 0; n < 5; n++) await note(await person.submit(page, { code: await wrongCode() }))
      await note(await person.submit(page, { decision: 'restart' }))
      return seen
    }
    const known = await walk(alice, async () => {
      const [row] = await db().mail.findMany({ where: { userId: j.alice.id }, orderBy: { createdAt: 'desc' }, take: 1 })
      const { data } = unsealMail(server.secretKeys, { id: row?.id ?? '', sealed: row?.sealed ?? '' })
      return other((data as { code: string }).code)
    })
    expect(known.map((seen) => (seen as [number])[0])).toEqual([200, 422, 422, 200, 422, 422, 422, 422, 429, 200])
    for (const email of ['nobody@example.com', 'off@example.com', 'unverified@example.com'])
      expect([email, await walk(email, async () => '12345678')]).toEqual([email, known])
    await deliver(server)
    expect(new Set(mailbox.mails.map(({ to }) => to))).toEqual(new Set(['Alice@example.com']))
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
