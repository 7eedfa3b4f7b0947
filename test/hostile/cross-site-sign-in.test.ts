// Another site, another browser or another request sends the forms between the request and the code. Login and consent are in
// cross-site.test.ts; here is every other one, and a form that is added to the routers and not to this table fails the first test.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createInvitationRouter } from '#src/interaction/invitation.ts'
import { createInteractionRouter } from '#src/interaction/router.ts'
import type { InteractionDeps } from '#src/interaction/step.ts'
import { invite } from '#src/registration/invitations.ts'
import { createUser, setPassword, updateUser } from '#src/users/users.ts'
import { Authenticator } from '#test/support/authenticator.ts'
import { codeAt, giveTotp } from '#test/support/factors.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { codeIn, deliver, type Mailbox, startMailbox } from '#test/support/mailbox.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let mailbox: Mailbox
let server: TestServer
let j: Journey
let hash: string
const db = () => server.database.prisma
const alice = { identifier: 'alice@example.com', password }
const carol = { identifier: 'carol@example.com', password }
const chosen = 'nine purple walruses paint'

beforeAll(async () => {
  mailbox = await startMailbox()
  const env = { SMTP_URL: mailbox.url, SIGN_UP: 'open', EMAIL_SIGN_IN: 'on', EMAIL_VERIFICATION: 'required' }
  server = await startServer({ env })
  j = await startJourney(server)
  await createRole(db(), 'keeper', { secondFactor: 'required' }, change())
  hash = await hashPassword(password)
  await createUser(db(), { email: carol.identifier, passwordHash: hash }, change())
})
afterAll(async () => {
  await server.stop()
  await mailbox.stop()
})
beforeEach(async () => {
  mailbox.mails.length = 0
  await db().credential.deleteMany({ where: { kind: { not: 'password' } } })
  await db().mail.deleteMany()
  await db().guessLimit.deleteMany()
  await updateUser(db(), j.alice.id, { roles: [] }, change())
  await setPassword(db(), j.alice.id, hash, change())
})

type Form = { person: Person; url: string; csrf: string; fields: Record<string, unknown>; json?: boolean }

const tokenOf = (page: Page) => /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
const atLogin = async (person = new Person(server.url)) => ({
  person,
  page: await person.open((await j.begin({ prompt: 'login' })).address),
})
async function afterPassword(who = alice) {
  const { person, page } = await atLogin()
  return { person, page: await person.submit(page, who) }
}
async function inPlaceOfLogin(step: string) {
  const { person, page } = await atLogin()
  return { person, page: await person.open(page.url.replace('/login', `/${step}`)) }
}
const form = ({ person, page }: { person: Person; page: Page }, fields: Form['fields'], url = page.url): Form => ({
  person,
  url,
  csrf: tokenOf(page),
  fields,
})
async function atTotp() {
  await updateUser(db(), j.alice.id, { roles: ['keeper'] }, change())
  const { person, page } = await afterPassword()
  const app = await person.submit(page, { factor: 'totp' })
  const seed = (/<code class="key">([A-Z2-7 ]+)<\/code>/.exec(app.text)?.[1] ?? '').replaceAll(' ', '')
  return { person, page: app, code: codeAt(seed, new Date()) }
}
/** What the script of the enrolment page sends, and whom. */
async function atPasskey() {
  await updateUser(db(), j.alice.id, { roles: ['keeper'] }, change())
  const { person, page } = await afterPassword()
  const url = page.url.replace('/enrolment', '/passkey')
  const asked = await person.fetch(`${url}/options`, {
    method: 'POST',
    body: JSON.stringify({ csrf: tokenOf(page) }),
    headers: { 'Content-Type': 'application/json', Origin: server.url },
  })
  return { person, page, url, response: new Authenticator(server.url).create(await asked.json()) }
}

/** By route: the form as its page shows it, filled in so that it would do something. */
const forms: Record<string, () => Promise<Form>> = {
  '/interaction/:uid/second-factor': async () => {
    const seed = await giveTotp(server, j.alice.id)
    return form(await afterPassword(), { code: codeAt(seed, new Date()) })
  },
  '/interaction/:uid/enrolment': async () => {
    await updateUser(db(), j.alice.id, { roles: ['keeper'] }, change())
    return form(await afterPassword(), { factor: 'totp' })
  },
  '/interaction/:uid/enrolment/totp': async () => {
    const { code, ...at } = await atTotp()
    return form(at, { code })
  },
  '/interaction/:uid/recovery-codes': async () => {
    const { person, page, code } = await atTotp()
    return form({ person, page: await person.submit(page, { code }) }, { decision: 'continue' })
  },
  '/interaction/:uid/signup': async () =>
    form(await inPlaceOfLogin('signup'), { email: 'eve@example.com', name: 'Eve', password: chosen }),
  '/interaction/:uid/recovery': async () => {
    const { person, page } = await inPlaceOfLogin('recovery')
    const waiting = await person.submit(page, { email: alice.identifier })
    await deliver(server)
    const fresh = await person.submit(waiting, { code: codeIn(mailbox.newest('Alice@example.com')) })
    return form({ person, page: fresh }, { password: chosen })
  },
  '/interaction/:uid/verify': async () => {
    const at = await afterPassword(carol)
    await deliver(server)
    return form(at, { code: codeIn(mailbox.newest(carol.identifier)) })
  },
  '/interaction/:uid/email-code': async () => {
    const { person, page } = await inPlaceOfLogin('email-code')
    const waiting = await person.submit(page, { email: alice.identifier })
    await deliver(server)
    return form({ person, page: waiting }, { code: codeIn(mailbox.newest('Alice@example.com')) })
  },
  '/interaction/:uid/passkey/options': async () => {
    const at = await atLogin()
    return { ...form(at, {}, at.page.url.replace('/login', '/passkey/options')), json: true }
  },
  '/interaction/:uid/passkey': async () => {
    const { url, response, ...at } = await atPasskey()
    return { ...form(at, { response }, url), json: true }
  },
  '/invitation/:token': async () => {
    const deps = { secretKeys: server.secretKeys, signUp: 'open' } as const
    await db().invitation.deleteMany()
    await invite(db(), { email: 'guest@example.com' }, change(), deps)
    await deliver(server)
    const person = new Person(server.url)
    const link = /https?:\S+\/invitation\/\S+/.exec(mailbox.newest('guest@example.com').text)?.[0] ?? ''
    return form({ person, page: await person.open(link) }, { name: 'Guest', password: chosen })
  },
}
const elsewhere = ['/interaction/:uid/login', '/interaction/:uid/consent'] // cross-site.test.ts

test('every form of the two routers is in the table', () => {
  const deps = { config: { signUp: 'open', emailVerification: 'required' }, database: {} } as unknown as InteractionDeps
  const posted = [createInteractionRouter(deps), createInvitationRouter(deps)].flatMap(({ stack }) =>
    stack.filter(({ methods }) => methods.includes('POST')).map(({ path }) => path),
  )
  expect(posted.length).toBeGreaterThan(10)
  expect([...Object.keys(forms), ...elsewhere].sort()).toEqual(posted.sort())
})

/** Everything that one of them could have changed. */
async function state(): Promise<string> {
  const rows = await Promise.all([
    db().user.findMany({ orderBy: { id: 'asc' } }),
    db().credential.findMany({ orderBy: { id: 'asc' } }),
    db().session.count(),
    db().mail.count(),
    db().invitation.count(),
    db().passkeyChallenge.count(),
    db().addressProof.findMany({ orderBy: { createdAt: 'asc' } }),
    db().oneTimeCode.findMany({ orderBy: { createdAt: 'asc' } }),
    server.database.pool
      .query('SELECT payload, progress, progress_version, ended_at FROM interaction ORDER BY created_at, id')
      .then((answer) => answer.rows),
  ])
  return JSON.stringify(rows, (_, value) => (typeof value === 'bigint' ? Number(value) : value))
}

type Sent = { csrf?: string | undefined; headers?: Record<string, string>; type?: string; person?: Person }

/** @returns the status. */
async function send({ person, url, csrf, fields, json }: Form, sent: Sent = {}): Promise<number> {
  const all = { ...('csrf' in sent ? (sent.csrf === undefined ? {} : { csrf: sent.csrf }) : { csrf }), ...fields }
  const type = sent.type ?? (json ? 'application/json' : 'application/x-www-form-urlencoded')
  const body = type.includes('urlencoded')
    ? new URLSearchParams(all as Record<string, string>).toString()
    : JSON.stringify(all)
  const headers = { 'Content-Type': type, Origin: server.url, ...sent.headers }
  return (await (sent.person ?? person).fetch(url, { method: 'POST', body, headers })).status
}

describe.each(Object.entries(forms))('%s', (_path, open) => {
  test('without its token, with another’s, or from elsewhere: refused, and nothing changes (CVE-2023-34927, CVE-2017-12159)', async () => {
    const own = await open()
    const other = await atLogin()
    const before = await state()
    for (const csrf of [undefined, '', 'x'.repeat(43), tokenOf(other.page)])
      expect([400, 403], `csrf ${csrf}`).toContain(await send(own, { csrf }))
    for (const headers of [
      { Origin: 'https://evil.example', 'Sec-Fetch-Site': '' },
      { Origin: 'null', 'Sec-Fetch-Site': 'cross-site' },
      { Origin: server.url, 'Sec-Fetch-Site': 'same-site' },
    ])
      expect(await send(own, { headers })).toBe(403)
    for (const type of ['text/plain', 'multipart/form-data; boundary=x', own.json ? 'text/json' : 'application/json'])
      expect(await send(own, { type }), type).toBe(415)
    expect(await state()).toBe(before)
  })

  test('from another browser, its own token included: nothing is found, and nothing changes', async () => {
    const own = await open()
    const { person } = await atLogin()
    const before = await state()
    expect([403, 410]).toContain(await send(own, { person }))
    expect([403, 410]).toContain(await send(own, { person: new Person(server.url) }))
    expect(await state()).toBe(before)
  })

  test('as its page sends it, it does something: the refusals above are not for another reason', async () => {
    const own = await open()
    const before = await state()
    expect([200, 303]).toContain(await send(own))
    expect(await state()).not.toBe(before)
  })
})
