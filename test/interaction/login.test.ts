// The login screen over real HTTP and a real database; what the protocol does with the answer is tested in test/flows.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { setUserDisabled } from '#src/users/users.ts'
import { consentScopes, type Hosted, pendingInteraction, startHosted } from '#test/pages/hosted.ts'
import { createPerson, person } from '#test/pages/screens.ts'
import { clearAudit } from '#test/support/audit.ts'
import { type Page, Person } from '#test/support/person.ts'

let hosted: Hosted
let userId: string
let browser: Person
beforeAll(async () => {
  hosted = await startHosted()
  userId = await createPerson(hosted)
})
afterAll(() => hosted.stop())
beforeEach(async () => {
  hosted.pending = pendingInteraction()
  hosted.handedOver.length = 0
  hosted.now = new Date()
  browser = new Person(hosted.origin)
  await clearAudit(hosted.database)
  await hosted.database.prisma.guessLimit.deleteMany()
})

const open = (step = 'login') => browser.open(`/interaction/${hosted.pending?.uid}/${step}`)
const audits = () => hosted.database.prisma.auditEvent.findMany({ orderBy: { id: 'asc' } })
const credentials = { identifier: person.email, password: person.password }

/** What one factor is worth. */
const passwordLogin = () => ({
  userId,
  amr: ['pwd'],
  acr: 'urn:sallyport:acr:1fa',
  at: Math.floor(hosted.now.getTime() / 1000),
})

it('hands over who signed in and how, and sends the browser on with 303 (RFC 9700 4.12)', async () => {
  const page = await browser.submit(await open(), credentials) // Person asserts the 303
  expect(page.url).toBe(`${hosted.origin}/resumed`)
  expect(hosted.handedOver).toEqual([{ what: 'login', with: passwordLogin() }])
  expect(await audits()).toMatchObject([
    { event: 'login.succeeded', outcome: 'success', actorKind: 'user', actorId: userId, clientId: 'shop-web' },
  ])
})

it('takes an address with other capitals and spaces around it', async () => {
  await browser.submit(await open(), { ...credentials, identifier: `  ${person.email.toUpperCase()} ` })
  expect(hosted.handedOver).toHaveLength(1)
})

describe('an unknown address, a wrong password and a disabled person', () => {
  const withoutToken = (page: Page) =>
    page.text.replace(/value="[^"]{43}"/, '').replaceAll(/[a-z.]+@example\.com/g, '@')

  it('get the same page, and what was typed is neither recorded nor logged', async () => {
    const wrong = await browser.submit(await open(), { ...credentials, password: 'canary-password-1' })
    const unknown = await browser.submit(await open(), { ...credentials, identifier: 'canary@example.com' })
    await setUserDisabled(hosted.database.prisma, userId, true, { now: new Date(), actor: { kind: 'system' } })
    const disabled = await browser.submit(await open(), credentials)
    await setUserDisabled(hosted.database.prisma, userId, false, { now: new Date(), actor: { kind: 'system' } })

    for (const page of [wrong, unknown, disabled]) {
      expect(page.status).toBe(401)
      expect(page.headers.get('www-authenticate')).toBe('Form realm="Sallyport"')
      expect(withoutToken(page)).toBe(withoutToken(wrong))
    }
    expect(hosted.handedOver).toEqual([])
    const failed = (await audits()).filter(({ event }) => event === 'login.failed')
    expect(failed).toHaveLength(3)
    for (const row of failed)
      expect(row).toMatchObject({ outcome: 'failure', actorId: null, detail: { reason: 'wrong_credentials' } })
    expect(
      JSON.stringify(await audits(), (_key, value) => (typeof value === 'bigint' ? String(value) : value)),
    ).not.toContain('canary')
    expect(hosted.lines.join('')).not.toContain('canary')
  })
})

it('keeps the address, never the password, and moves to the field that is wrong', async () => {
  const page = await browser.submit(await open(), { ...credentials, password: 'canary-password-2' })
  expect(page.text).toContain(`value="${person.email}"`)
  expect(page.text).not.toContain('canary-password-2')
  const field = /<input id="password"[^>]*>/.exec(page.text)?.[0] ?? ''
  expect(field).toContain('autofocus')
  expect(field).toContain('aria-invalid="true"')
  expect(field).toContain('aria-describedby="password-error"')
  expect(page.text).toContain('id="password-error"')
})

it('asks for the next step when only the address was sent', async () => {
  const page = await open()
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  const next = await browser.open(page.url, {
    method: 'POST',
    body: new URLSearchParams({ csrf, identifier: person.email }),
  })
  expect(next.status).toBe(200)
  expect(next.text).toMatch(/<input id="password"[^>]*autofocus/)
  await browser.submit(next, credentials)
  expect(hosted.handedOver).toHaveLength(1)
})

it.each([
  [{ identifier: '', password: 'x' }, 'identifier'],
  [{ identifier: '   ', password: 'x' }, 'identifier'],
  [{ identifier: 'a@example.com', password: '' }, 'password'],
])('names the field that is missing (%o)', async (fields, missing) => {
  const page = await browser.submit(await open(), fields)
  expect(page.status).toBe(422)
  expect(page.text).toMatch(new RegExp(`<input id="${missing}"[^>]*aria-invalid="true"`))
  expect(page.text).toMatch(new RegExp(`<input id="${missing}"[^>]*autofocus`))
  expect(await audits()).toEqual([])
})

it.each([
  ['a password beyond 256 characters', { password: 'a'.repeat(257) }, 'password'],
  ['a megabyte, nearly', { password: 'ä'.repeat(10_000) }, 'password'],
  ['an address beyond 320', { identifier: `${'a'.repeat(320)}@example.com` }, 'identifier'],
])('refuses %s with 400, unseen: nothing is hashed or counted (ASVS 6.2.9)', async (_what, fields, field) => {
  const page = await browser.submit(await open(), { ...credentials, ...fields })
  expect(page.status).toBe(400)
  expect(page.text).toMatch(new RegExp(`<input id="${field}"[^>]*aria-invalid="true"`))
  expect(await audits()).toEqual([])
  expect(await hosted.database.prisma.guessLimit.count()).toBe(0)
})

it.each([
  ['NUL', 'password=a%00b'],
  ['a lone surrogate', 'password=%ED%A0%80'],
  ['bytes that are no UTF-8', 'password=%ff'],
])('refuses %s with 400 before anything is done', async (_what, field) => {
  const page = await open()
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  const answer = await browser.open(page.url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    body: `csrf=${csrf}&identifier=${encodeURIComponent(person.email)}&${field}`,
  })
  expect(answer.status).toBe(400)
  expect(await audits()).toEqual([])
})

describe('somebody who has guessed too often', () => {
  const wrong = (identifier = person.email, from = browser) =>
    from
      .open(`/interaction/${hosted.pending?.uid}/login`)
      .then((page) => from.submit(page, { identifier, password: 'no' }))
  const text = (page: Page) => page.text.replace(/value="[^"]{43}"/, '').replaceAll(/[a-z.]+@example\.com/g, '@')

  it('gets 429, when to come back, and not a word about whether there is such a person', async () => {
    for (let n = 0; n < 5; n++) expect((await wrong()).status).toBe(401)
    const known = await wrong()
    for (let n = 0; n < 5; n++) expect((await wrong('nobody@example.com')).status).toBe(401)
    const unknown = await wrong('nobody@example.com')
    for (const page of [known, unknown]) {
      expect(page.status).toBe(429)
      expect(Number(page.headers.get('retry-after'))).toBe(15 * 60)
      expect(page.text).toContain('Try again in 15 minutes.')
      expect(text(page)).toBe(text(known))
    }
    const page = await browser.submit(await open(), credentials)
    expect(page.status, 'the right password is not looked at').toBe(429)
    expect(hosted.handedOver).toEqual([])
  })

  it('fills no table: the limit is recorded when it closes, tries that are refused are not', async () => {
    for (let n = 0; n < 20; n++) await wrong()
    const events = (await audits()).map(({ event, detail }) => ({ event, detail }))
    expect(events.filter(({ event }) => event === 'login.failed')).toHaveLength(5)
    expect(events.filter(({ event }) => event === 'login.limited')).toEqual([
      { event: 'login.limited', detail: { factor: 'password', limit: 'account', seconds: 900 } },
    ])
    expect(events).toHaveLength(6)
    expect(hosted.lines.join('')).toContain('"event":"guess.refused"')
  })

  it('may go on when the time has come, and is told hours in its own language', async () => {
    for (let n = 0; n < 9; n++) {
      expect((await wrong()).status).toBe(401)
      const refused = await wrong()
      if (refused.status === 429)
        hosted.now = new Date(hosted.now.getTime() + Number(refused.headers.get('retry-after')) * 1000)
    }
    hosted.now = new Date(hosted.now.getTime() + 1)
    expect((await wrong()).status).toBe(401)
    hosted.pending = pendingInteraction({ uiLocales: ['fr'] })
    expect((await wrong()).text).toContain('Trop de tentatives. Réessayez dans 4 heures.')
    hosted.pending = pendingInteraction({ uiLocales: ['de'] })
    expect((await wrong()).text).toContain('Versuchen Sie es in 4 Stunden noch einmal.')
  })

  it('does not keep out the browser in which the person signed in before (GHSA-cq42-vhv7-xr7p)', async () => {
    const victim = new Person(hosted.origin)
    const atLogin = () => victim.open(`/interaction/${hosted.pending?.uid}/login`)
    await victim.submit(await atLogin(), credentials)
    expect(hosted.handedOver).toHaveLength(1)
    for (let n = 0; n < 6; n++) await wrong()
    expect((await browser.submit(await open(), credentials)).status).toBe(429)
    await victim.submit(await atLogin(), credentials)
    expect(hosted.handedOver).toHaveLength(2)
    // What it proves it proves for one person.
    for (let n = 0; n < 5; n++) expect((await wrong('nobody@example.com', victim)).status).toBe(401)
    expect((await wrong('nobody@example.com', victim)).status).toBe(429)
  })
})

it('cancelling denies the request without a login', async () => {
  await browser.submit(await open(), { decision: 'deny' })
  expect(hosted.handedOver).toEqual([{ what: 'deny' }])
  expect((await browser.submit(await open(), { decision: 'allow' })).status).toBe(400)
  expect(hosted.handedOver).toHaveLength(1)
})

it('fills in the login_hint, escaped', async () => {
  hosted.pending = pendingInteraction({ loginHint: '"><script>alert(1)</script>@example.com' })
  const page = await open()
  expect(page.text).toContain('value="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;@example.com"')
})

it('speaks the language the application asked for, until the person chooses another', async () => {
  hosted.pending = pendingInteraction({ uiLocales: ['xx', 'fr-CA'] })
  const french = await open()
  expect(french.text).toContain('<html lang="fr" dir="ltr">')
  expect(french.headers.get('content-language')).toBe('fr')
  expect((await browser.open(`${new URL(french.url).pathname}?lang=de`)).text).toContain('<html lang="de"')
  expect((await open()).text).toContain('Anmelden')
  expect((await browser.open(`${new URL(french.url).pathname}?lang=../x`)).text).toContain('<html lang="de"')
})

describe('an interaction', () => {
  it('that is gone, foreign or malformed is answered with a page that sends the person back to the application', async () => {
    for (const uid of ['gone', 'b7Qm2xK9tR4wZ1cV6nLpF', '%3Cscript%3E', '..%2f..', '__proto__'])
      for (const path of [`/interaction/${uid}`, `/interaction/${uid}/login`, `/interaction/${uid}/consent`]) {
        const page = await browser.open(path)
        expect([path, page.status]).toEqual([path, 410])
        expect(page.text).toContain('Go back to the application and start again')
        expect(page.text).not.toContain('<script>')
      }
    expect((await browser.open('/interaction')).status).toBe(404)
    expect((await browser.open('/interaction/a/b')).status).toBe(404)
  })

  it('leads to the step that waits, from its own address and from the other step', async () => {
    expect((await browser.open(`/interaction/${hosted.pending?.uid}`)).url).toMatch(/\/login$/)
    expect((await open('consent')).url).toMatch(/\/login$/)
    hosted.pending = pendingInteraction({ ...consentScopes, userId })
    expect((await browser.open(`/interaction/${hosted.pending.uid}`)).url).toMatch(/\/consent$/)
    expect((await open('login')).url).toMatch(/\/consent$/)
  })

  it('takes no answer for a step that does not wait', async () => {
    const login = await open()
    hosted.pending = pendingInteraction({ ...consentScopes, userId })
    expect((await browser.submit(login, credentials)).url).toMatch(/\/consent$/)
    expect(hosted.handedOver).toEqual([])
  })

  it('lets somebody else sign in from the consent page', async () => {
    hosted.pending = pendingInteraction({ ...consentScopes, userId })
    const consent = await open('consent')
    const other = /href="([^"]*account=other)"/.exec(consent.text)?.[1] ?? ''
    const login = await browser.open(other)
    expect(login.text).toContain('name="password"')
    const german = await browser.open(
      /href="([^"]*lang=de)"/.exec(login.text)?.[1]?.replace('&amp;', '&').replace(/^/, new URL(login.url).pathname) ??
        '',
    )
    expect(german.text).toContain('Anmelden')
    await browser.submit(german, credentials)
    expect(hosted.handedOver).toEqual([{ what: 'login', with: passwordLogin() }])
  })

  it.each(['PUT', 'DELETE', 'PATCH'])('does not take %s: 405 and the list of what it takes', async (method) => {
    const response = await fetch(`${hosted.origin}/interaction/${hosted.pending?.uid}/login`, { method })
    expect([response.status, response.headers.get('allow')]).toEqual([405, 'HEAD, GET, POST'])
  })
})

it('offers no code by mail where there is no mail, and says so to whoever asks for one', async () => {
  expect((await open()).text).toMatch(/<button [^>]*formaction="[^"]*\/email-code"[^>]*formnovalidate/)
  const own = await startHosted({ config: { mail: 'none' } })
  try {
    own.pending = pendingInteraction()
    const visitor = new Person(own.origin)
    expect((await visitor.open(`/interaction/${own.pending.uid}/login`)).text).not.toContain('email-code')
    expect((await visitor.open(`/interaction/${own.pending.uid}/email-code`)).status).toBe(503)
  } finally {
    await own.stop()
  }
})
