// Creating an account, over real HTTP and with a real mail server: to the code that an application gets.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { invite } from '#src/registration/invitations.ts'
import { setUserDisabled } from '#src/users/users.ts'
import { translator } from '#src/words.ts'
import { change } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { codeIn, deliver, type Mailbox, startMailbox } from '#test/support/mailbox.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let mailbox: Mailbox
let server: TestServer
let j: Journey
beforeAll(async () => {
  mailbox = await startMailbox()
  server = await startServer({ env: { SMTP_URL: mailbox.url, SIGN_UP: 'open' } })
  j = await startJourney(server)
})
afterAll(async () => {
  await server.stop()
  await mailbox.stop()
})
beforeEach(async () => {
  mailbox.mails.length = 0
  await server.database.prisma.mail.deleteMany()
  await server.database.prisma.guessLimit.deleteMany()
})

const chosen = 'nine purple walruses paint'
const db = () => server.database.prisma

/** At the sign-up page of a pending request. */
async function open(person: Person): Promise<Page> {
  const { address } = await j.begin()
  const login = await person.open(address)
  return person.open(/href="([^"]*\/signup)"/.exec(login.text)?.[1] ?? 'there is no link')
}
async function begin(person: Person, email: string, fields: Record<string, string> = {}): Promise<Page> {
  return person.submit(await open(person), { email, password: chosen, name: 'Bob Builder', ...fields })
}
async function codeFor(email: string): Promise<string> {
  await deliver(server)
  return codeIn(mailbox.newest(email))
}
const other = (code: string) => String((Number(code) + 1) % 1e8).padStart(8, '0')

it('from the login page to the application: form, code from the mail, consent, code', async () => {
  const person = new Person(server.url)
  const page = await begin(person, 'bob@example.com')
  expect(page.status).toBe(200)
  expect(page.text).toContain('name="code"')
  expect(page.text).toContain('autocomplete="one-time-code"')
  expect(await db().user.count({ where: { emailKey: 'bob@example.com' } })).toBe(0) // nothing before the code
  const next = await person.submit(page, { code: await codeFor('bob@example.com') })
  expect(next.url).toContain('/consent')
  const done = await person.submit(next, { decision: 'allow', scope: ['profile', 'email'] })
  expect(done.url).toMatch(/^https:\/\/shop\.example\/cb\?.*code=/)
  const user = await db().user.findUniqueOrThrow({
    where: { emailKey: 'bob@example.com' },
    include: { credentials: true },
  })
  expect(user).toMatchObject({ name: 'Bob Builder', emailVerifiedAt: expect.any(Date), locale: 'en' })
  expect(user.credentials).toHaveLength(1)
  expect(mailbox.newest('bob@example.com').subject).toBe('Confirm your email address')

  const again = new Person(server.url)
  const login = await again.open((await j.begin()).address)
  expect((await again.submit(login, { identifier: 'bob@example.com', password: chosen })).url).toContain('shop.example')
})

it('is a sign-in by a code from a mail, and by nothing more', async () => {
  const person = new Person(server.url)
  const page = await begin(person, 'amr@example.com')
  await person.submit(page, { code: await codeFor('amr@example.com') })
  const { id } = await db().user.findUniqueOrThrow({ where: { emailKey: 'amr@example.com' } })
  expect(await db().session.findMany({ where: { userId: id } })).toMatchObject([{ amr: ['otp'] }])
})

describe('an address that has an account', () => {
  const same = (page: Page) =>
    page.text
      .replaceAll(/value="[^"]{43}"/g, '')
      .replaceAll(/[\w.]+@example\.com/g, '@')
      .replaceAll(/interaction\/[\w-]+/g, '')

  it('gets the same page, and only its owner is told, by mail (ASVS 6.3.8)', async () => {
    const known = await begin(new Person(server.url), 'alice@example.com')
    const unknown = await begin(new Person(server.url), 'nobody@example.com')
    expect([known.status, same(known)]).toEqual([unknown.status, same(unknown)])
    await deliver(server)
    const mail = mailbox.newest('Alice@example.com')
    expect(mail.subject).toBe('You already have an account')
    expect(mail.text).not.toMatch(/\d{4} \d{4}/)
    expect(codeIn(mailbox.newest('nobody@example.com'))).toMatch(/^\d{8}$/)
  })

  it('its owner reads it in their own language, and both kinds of request are on record', async () => {
    await db().user.update({ where: { id: j.alice.id }, data: { locale: 'de' } })
    const asked = () =>
      db().auditEvent.findMany({
        where: { event: 'sign_up.requested' },
        orderBy: { id: 'asc' },
        select: { targetId: true },
      })
    const before = (await asked()).length
    await begin(new Person(server.url), 'alice@example.com')
    await begin(new Person(server.url), 'nobody@example.com')
    await deliver(server)
    expect(mailbox.newest('Alice@example.com').subject).toBe(translator('de').t('mail.exists.subject'))
    expect((await asked()).slice(before)).toEqual([{ targetId: j.alice.id }, { targetId: null }])
    await db().user.update({ where: { id: j.alice.id }, data: { locale: null } })
  })

  it('and no code is ever right for it: no other account, no other password', async () => {
    const before = await db().credential.findMany({ where: { userId: j.alice.id } })
    const person = new Person(server.url)
    let page = await begin(person, 'alice@example.com')
    const statuses: number[] = []
    for (let n = 0; n < 7; n++) {
      page = await person.submit(page, { code: `1234567${n}` })
      statuses.push(page.status)
    }
    expect(statuses).toEqual([422, 422, 422, 422, 422, 429, 429])
    expect(await db().credential.findMany({ where: { userId: j.alice.id } })).toEqual(before)
    expect(await db().user.count({ where: { emailKey: 'alice@example.com' } })).toBe(1)
  })

  it('that was created while the code was on its way is told so to whoever has the code', async () => {
    const [one, two] = [new Person(server.url), new Person(server.url)]
    const first = await begin(one, 'race@example.com')
    const code = await codeFor('race@example.com')
    const second = await begin(two, 'race@example.com')
    await two.submit(second, { code: await codeFor('race@example.com') })
    const late = await one.submit(first, { code })
    expect(late.status).toBe(409)
    expect(late.text).toContain('There is an account with this address by now')
    // It was no guess, and there is nothing left to guess at: the page begins anew.
    expect(await db().guessLimit.count({ where: { factor: 'sign_up_code', failures: { gt: 0 } } })).toBe(0)
    expect((await one.open(late.url)).text).toContain('name="email"')
  })
})

describe('what is refused', () => {
  it.each<[string, Record<string, string>, string, number]>([
    ['no name', { name: ' ' }, 'name', 422],
    ['a name over two lines in the eye of the reader', { name: 'a\u202eb' }, 'name', 422],
    ['no address', { email: '' }, 'email', 422],
    ['half an address', { email: 'bob@' }, 'email', 422],
    ['an address with a second one', { email: 'bob@example.com,eve@example.com' }, 'email', 422],
    ['no password', { password: '' }, 'password', 422],
    ['a short one', { password: 'short' }, 'password', 422],
    ['one that is the address', { password: 'refused@example.com' }, 'password', 422],
    ['one of a thousand characters, before it is hashed', { password: 'ab'.repeat(700) }, 'password', 400],
  ])('%s', async (_what, fields, field, status) => {
    const page = await begin(new Person(server.url), 'refused@example.com', fields)
    expect(page.status).toBe(status)
    expect(page.text).toMatch(new RegExp(`<input id="${field}"[^>]*aria-invalid="true"`))
    expect(page.text).toMatch(new RegExp(`<input id="${field}"[^>]*autofocus`))
    expect(page.text).not.toContain(chosen)
    expect(await db().mail.count()).toBe(0)
  })

  it('an empty post, and a code before anything was asked', async () => {
    const person = new Person(server.url)
    const page = await open(person)
    for (const fields of [{}, { code: '12345678' }, { decision: 'resend' }]) {
      const answer = await person.submit(page, fields as Record<string, string>)
      expect(answer.status).toBe(422)
      expect(answer.text).toContain('name="email"')
    }
    expect(await db().mail.count()).toBe(0)
  })
})

describe('the code', () => {
  it('that is missing or wrong is asked again; the right one still works', async () => {
    const person = new Person(server.url)
    const page = await begin(person, 'carol@example.com')
    const code = await codeFor('carol@example.com')
    const empty = await person.submit(page, { code: ' ' })
    expect([empty.status, empty.text.includes('Enter the code from the mail')]).toEqual([422, true])
    const wrong = await person.submit(empty, { code: other(code) })
    expect([wrong.status, wrong.text.includes('This code is not right')]).toEqual([422, true])
    expect((await person.submit(wrong, { code: ` ${code.slice(0, 4)}-${code.slice(4)} ` })).url).toContain('/consent')
  })

  it('that was replaced by a newer one does not', async () => {
    const person = new Person(server.url)
    const page = await begin(person, 'dave@example.com')
    const first = await codeFor('dave@example.com')
    const resent = await person.submit(page, { decision: 'resend' })
    expect(resent.text).toContain('A new mail is on its way')
    const second = await codeFor('dave@example.com')
    if (first !== second) expect((await person.submit(resent, { code: first })).status).toBe(422)
    expect((await person.submit(resent, { code: second })).url).toContain('/consent')
  })

  it('is void once another address was typed', async () => {
    const person = new Person(server.url)
    const page = await begin(person, 'erin@example.com')
    const code = await codeFor('erin@example.com')
    const again = await person.submit(page, { decision: 'restart' })
    expect(again.text).toContain('value="erin@example.com"')
    const second = await person.submit(again, { email: 'frank@example.com', password: chosen, name: 'Frank' })
    expect((await person.submit(second, { code })).status).toBe(422)
    expect(await db().user.count({ where: { emailKey: { in: ['erin@example.com', 'frank@example.com'] } } })).toBe(0)
  })

  it('works once: the page it was typed on leads nowhere afterwards', async () => {
    const person = new Person(server.url)
    const page = await begin(person, 'grace@example.com')
    const code = await codeFor('grace@example.com')
    await person.submit(page, { code })
    const repeat = await person.submit(page, { code })
    expect(repeat.status).toBe(410)
    expect(await db().user.count({ where: { emailKey: 'grace@example.com' } })).toBe(1)
  })

  it('works in the request it was asked in and in no other', async () => {
    const [one, two] = [new Person(server.url), new Person(server.url)]
    await begin(one, 'heidi@example.com')
    const code = await codeFor('heidi@example.com')
    const page = await begin(two, 'ivan@example.com')
    expect((await two.submit(page, { code })).status).toBe(422)
    const empty = await open(new Person(server.url))
    expect((await two.submit(empty, { code })).status).toBe(410) // another browser's request
  })
})

it('does not flood a mailbox: the fifth mail in a quarter of an hour is refused, for known and unknown alike', async () => {
  for (const email of ['alice@example.com', 'judy@example.com']) {
    const person = new Person(server.url)
    let page = await begin(person, email)
    for (let n = 0; n < 3; n++) page = await person.submit(page, { decision: 'resend' })
    expect(page.status).toBe(200)
    const refused = await person.submit(page, { decision: 'resend' })
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '900'])
    expect((await begin(new Person(server.url), email)).status).toBe(429)
    await db().mail.deleteMany()
  }
})

it('leaves neither code nor password nor address in the logs, and neither in clear in the database', async () => {
  const person = new Person(server.url)
  const secret = 'canary walrus paints nine'
  const page = await person.submit(await open(person), {
    email: 'canary@example.com',
    password: secret,
    name: 'Canary',
  })
  const rows = JSON.stringify([
    await db().addressProof.findMany(),
    await db().mail.findMany(),
    await db().oneTimeCode.findMany(),
  ])
  expect(rows.toLowerCase()).not.toContain('canary')
  const code = await codeFor('canary@example.com')
  await person.submit(page, { code: other(code) })
  await person.submit(page, { code })
  for (const text of [secret, 'canary@example.com', code]) expect(server.logged.join('')).not.toContain(text)
  const audits = await db().auditEvent.findMany({ where: { event: { in: ['sign_up.requested', 'login.failed'] } } })
  expect(audits.length).toBeGreaterThan(1)
  expect(JSON.stringify(audits.map(({ detail }) => detail))).not.toContain('canary')
})

describe('SIGN_UP', () => {
  async function loginPage(
    env: Record<string, string>,
    check: (page: Page, person: Person, other: TestServer) => Promise<void>,
  ) {
    const second = await startServer({
      share: server,
      env: { SMTP_URL: mailbox.url, ...env },
      issuer: (port) => `http://localhost:${port}`,
    })
    try {
      const person = new Person(second.url)
      await check(await person.open((await j.begin()).address), person, second)
    } finally {
      await second.app.stop()
      await second.stop()
    }
  }

  it('off: no link, no page, no invitation', () =>
    loginPage({ SIGN_UP: 'off' }, async (page, person) => {
      expect(page.text).not.toContain('/signup')
      expect(page.text).toContain('/recovery')
      expect((await person.open(page.url.replace('/login', '/signup'))).status).toBe(404)
      const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
      const body = new URLSearchParams({ csrf, email: 'x@example.com', password: chosen, name: 'X' })
      const post = await person.open(page.url.replace('/login', '/signup'), { method: 'POST', body })
      expect(post.status).toBe(404)
      expect((await person.open('/invitation/abc')).status).toBe(404)
      await expect(
        invite(db(), { email: 'x@example.com' }, change(), { secretKeys: server.secretKeys, signUp: 'off' }),
      ).rejects.toThrow('SIGN_UP is off')
    }))

  it('invitation: no link, and a page that says so', () =>
    loginPage({ SIGN_UP: 'invitation' }, async (page, person) => {
      expect(page.text).not.toContain('/signup')
      const closed = await person.open(page.url.replace('/login', '/signup'))
      expect([closed.status, closed.text.includes('By invitation only')]).toEqual([403, true])
      expect(closed.text).not.toContain('<form')
    }))

  it('open, without a mail server in production: the page says that mail is not set up, and so does the log', () =>
    loginPage(
      {
        SIGN_UP: 'open',
        SMTP_URL: '',
        NODE_ENV: 'production',
        SECRET_KEY: Buffer.from('0123456789abcdefghijklmnopqrstuv').toString('base64url'),
      },
      async (page, person, second) => {
        for (const step of ['/signup', '/recovery']) {
          const off = await person.open(page.url.replace('/login', step))
          expect([off.status, off.text.includes('Mail is not set up yet')]).toEqual([503, true])
        }
        expect(second.logged.join('')).toContain('mail.not_set_up')
      },
    ))
})

describe('an invitation', () => {
  const ask = { secretKeys: undefined as never, signUp: 'invitation' as const }
  const inviteTo = async (email: string, more: { roles?: string[]; days?: number } = {}) => {
    const made = await invite(db(), { email, ...more }, change(), { ...ask, secretKeys: server.secretKeys })
    await deliver(server)
    const link = /https?:\/\/\S+/.exec(mailbox.newest(email).text)?.[0] ?? ''
    return { ...made, link }
  }
  const accept = { name: 'Iris', password: chosen }

  it('is a link to this server, works once, for its address, and proves it (CVE-2022-46145)', async () => {
    const { link } = await inviteTo('iris@example.com')
    expect(link.startsWith(`${server.url}/invitation/`)).toBe(true)
    const person = new Person(server.url)
    const page = await person.open(link)
    expect(page.text).toContain('iris@example.com')
    const done = await person.submit(page, { ...accept, email: 'mallory@example.com', username: 'mallory@example.com' })
    expect([done.status, done.text.includes('Your account is ready')]).toEqual([200, true])
    const user = await db().user.findUniqueOrThrow({ where: { emailKey: 'iris@example.com' } })
    expect(user.emailVerifiedAt).toBeTruthy()
    expect(await db().user.count({ where: { emailKey: 'mallory@example.com' } })).toBe(0)
    for (const again of [await new Person(server.url).open(link), await person.submit(page, accept)])
      expect(again.status).toBe(410)
    const login = await person.open((await j.begin()).address)
    const signedIn = await person.submit(login, { identifier: 'iris@example.com', password: chosen })
    expect(signedIn.url).toContain('/consent')
  })

  it('that is merely opened, by a scanner or by HEAD, stays good', async () => {
    const { link } = await inviteTo('scan@example.com')
    for (let n = 0; n < 3; n++) expect((await new Person(server.url).open(link)).status).toBe(200)
    await fetch(link, { method: 'HEAD' })
    expect(await db().user.count({ where: { emailKey: 'scan@example.com' } })).toBe(0)
    const person = new Person(server.url)
    expect((await person.submit(await person.open(link), accept)).status).toBe(200)
  })

  it('of 10 that use one at once, one gets the account', async () => {
    const { link } = await inviteTo('many@example.com')
    const pages = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const person = new Person(server.url)
        return person.submit(await person.open(link), accept)
      }),
    )
    expect(pages.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(await db().user.count({ where: { emailKey: 'many@example.com' } })).toBe(1)
  })

  it('expires, is replaced by a newer one, and cannot be guessed or taken from the database', async () => {
    const { link: first } = await inviteTo('late@example.com')
    const { link: second } = await inviteTo('late@example.com')
    expect((await new Person(server.url).open(first)).status).toBe(410)
    const row = await db().invitation.findUniqueOrThrow({ where: { emailKey: 'late@example.com' } })
    for (const token of [row.id, Buffer.from(row.tokenHash).toString('base64url'), 'x', '%00', '__proto__'])
      expect([400, 410]).toContain((await new Person(server.url).open(`/invitation/${token}`)).status)
    await db().invitation.update({ where: { id: row.id }, data: { expiresAt: new Date(Date.now() - 1000) } })
    expect((await new Person(server.url).open(second)).status).toBe(410)
    expect(server.logged.join('')).not.toContain(second.split('/').at(-1))
  })

  it('is refused without a form of ours, with a bad name or password, and stays good', async () => {
    const { link } = await inviteTo('form@example.com')
    const person = new Person(server.url)
    const page = await person.open(link)
    expect((await person.submit(page, accept, { csrf: 'x' })).status).toBe(403)
    expect((await person.submit(page, accept, { csrf: null })).status).toBe(403)
    expect((await person.submit(page, { ...accept, name: '' })).status).toBe(422)
    for (const password of ['short', 'form@example.com', 'Form@Example.com 2026'])
      expect((await person.submit(page, { ...accept, password })).status, password).toBe(422)
    expect((await person.submit(page, {})).status).toBe(422)
    expect((await person.submit(page, accept)).status).toBe(200)
  })

  it('is not sent to somebody who has an account, and not accepted once they have', async () => {
    await expect(inviteTo('alice@example.com')).rejects.toThrow('belongs to somebody already')
    const { link } = await inviteTo('both@example.com')
    const person = new Person(server.url)
    const signUp = await begin(person, 'both@example.com')
    await person.submit(signUp, { code: await codeFor('both@example.com') })
    const late = await person.submit(await person.open(link), accept)
    expect(late.status).toBe(409)
  })

  it('gives the roles that the operator named, and no role that is not there', async () => {
    await db().role.create({ data: { name: 'order-admin' } })
    const { link } = await inviteTo('role@example.com', { roles: ['order-admin'] })
    const person = new Person(server.url)
    await person.submit(await person.open(link), accept)
    const user = await db().user.findUniqueOrThrow({
      where: { emailKey: 'role@example.com' },
      include: { roles: true },
    })
    expect(user.roles.map(({ roleName }) => roleName)).toEqual(['order-admin'])
    await expect(inviteTo('role2@example.com', { roles: ['nothing'] })).rejects.toThrow('not a role here')
    await expect(inviteTo('days@example.com', { days: 31 })).rejects.toThrow('from 1 to 30')
  })
})

it('somebody who was switched off is not let in by signing up again', async () => {
  await setUserDisabled(db(), j.alice.id, true, change())
  const person = new Person(server.url)
  const page = await begin(person, 'alice@example.com')
  expect((await person.submit(page, { code: '12345678' })).status).toBe(422)
  await setUserDisabled(db(), j.alice.id, false, change())
})
