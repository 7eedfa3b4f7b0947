// Somebody tampers with a sign-in under way: other parameters at its restart, another's uid, cookies stolen, forged or flipped.
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hashPassword } from '#src/factors/password.ts'
import { createUser } from '#src/users/users.ts'
import { change, orders, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const alice = { identifier: 'alice@example.com', password }
const bob = { identifier: 'bob@example.com', password }
let server: TestServer
let j: Journey
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  await createUser(
    server.database.prisma,
    { email: bob.identifier, emailVerified: true, name: 'Bob', passwordHash: await hashPassword(password) },
    change(),
  )
})
afterAll(() => server.stop())

const uidOf = (page: Page) => /\/interaction\/([\w-]+)/.exec(page.url)?.[1] ?? ''
const hasCode = (page: Page) => new URL(page.url).searchParams.has('code')

/** At the login page of a new request. */
async function atLogin(parameters: Record<string, string> = {}, person = new Person(server.url)) {
  const { address, verifier } = await j.begin(parameters)
  const page = await person.open(address)
  expect(page.url).toContain('/login')
  return { person, page, uid: uidOf(page), verifier }
}

/** Signed in, and asked for consent. */
async function atConsent(parameters: Record<string, string> = {}) {
  const { person, page, verifier } = await atLogin({ prompt: 'consent', ...parameters })
  const consent = await person.submit(page, alice)
  expect(consent.url).toContain('/consent')
  return { person, page: consent, uid: uidOf(consent), verifier }
}

describe('a restart cannot change what was asked (CVE-2026-7571)', () => {
  const tampered = new URLSearchParams({
    response_type: 'token id_token',
    scope: 'openid orders:write',
    redirect_uri: 'https://evil.example/cb',
    client_id: 'shop-spa',
    code_challenge: createHash('sha256').update('known').digest('base64url'),
    state: 'mine',
    nonce: 'mine',
    prompt: 'none',
    resource: orders,
  })

  test('parameters added at the resume address are nothing', async () => {
    const { person, page, uid } = await atLogin({ scope: 'openid' })
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
    const answer = await person.fetch(page.url, {
      method: 'POST',
      body: new URLSearchParams({ csrf, ...alice }),
      headers: { Origin: server.url },
    })
    const resume = answer.headers.get('location') ?? ''
    expect(new URL(resume, server.url).pathname).toBe(`/oauth/authorize/${uid}`)
    let end = await person.open(`${resume}?${tampered}`)
    if (end.url.includes('/consent')) end = await person.submit(end, { decision: 'allow' })
    const location = new URL(end.url)
    expect(location.origin + location.pathname).toBe(j.callback)
    expect(Object.fromEntries(location.searchParams)).toMatchObject({ state: 'the state', code: expect.any(String) })
    expect(location.hash).toBe('')
  })

  test('nor at the forms', async () => {
    const { person, page, verifier } = await atConsent({ scope: 'openid email' })
    const sent = await person.open(`${page.url}?${tampered}`)
    const end = await person.submit(
      { ...sent, url: `${page.url}?${tampered}` },
      { ...Object.fromEntries(tampered), scope: ['email'], decision: 'allow' },
    )
    const location = new URL(end.url)
    expect(location.origin + location.pathname).toBe(j.callback)
    const { body } = await j.redeem(location.searchParams.get('code') ?? '', verifier)
    expect(body.scope?.split(' ').sort()).toEqual(['email', 'openid'])
  })

  test('the resume address alone, before anybody signed in, gives no code', async () => {
    const { person, uid } = await atLogin()
    for (const path of [`/oauth/authorize/${uid}`, `/oauth/authorize/${uid}?prompt=none`]) {
      const page = await person.open(path)
      expect(hasCode(page)).toBe(false)
    }
  })

  test('the resume address is good once', async () => {
    const { person, page, uid } = await atLogin({ scope: 'openid' })
    await j.walk(person, page.url)
    expect((await person.open(`/oauth/authorize/${uid}`)).status).toBe(400)
    expect((await person.open(`/interaction/${uid}/login`)).status).toBe(410)
  })
})

describe('another’s sign-in', () => {
  test('its uid opens nothing in a browser that has a sign-in of its own', async () => {
    const victim = await atConsent()
    const thief = await atLogin()
    for (const step of ['', '/login', '/consent', '/login?account=other'])
      expect((await thief.person.open(`/interaction/${victim.uid}${step}`)).status, step).toBe(410)
    const body = new URLSearchParams({ csrf: /name="csrf" value="([^"]+)"/.exec(thief.page.text)?.[1] ?? '', ...alice })
    const posted = await thief.person.open(`/interaction/${victim.uid}/login`, { method: 'POST', body })
    expect(posted.status).toBe(410)
    expect(hasCode(posted)).toBe(false)
    expect((await thief.person.open(`/oauth/authorize/${victim.uid}`)).status).toBe(400)
    // Not a browser: it sends its own, soundly signed cookies to the victim's address.
    const liar = new Person(server.url)
    for (const [key, cookie] of thief.person.cookies) {
      const move = (text: string) => text.replace(thief.uid, victim.uid)
      liar.cookies.set(move(key), { value: cookie.value, path: move(cookie.path) })
    }
    expect([...liar.cookies.values()].some(({ path }) => path.endsWith(victim.uid))).toBe(true)
    for (const step of ['', '/login', '/consent']) {
      const page = await liar.open(`/interaction/${victim.uid}${step}`)
      expect([page.status, page.text.includes('Alice')], step).toEqual([410, false])
    }
    expect(hasCode(await victim.person.submit(victim.page, { decision: 'allow' }))).toBe(true)
  })

  test('a planted uid does not sign the victim in as the attacker: the cookie is the browser’s own (CVE-2026-7507)', async () => {
    const attacker = await atLogin()
    const victim = new Person(server.url)
    expect((await victim.open(attacker.page.url)).status).toBe(410)
    expect(victim.cookies.has('sallyport_session')).toBe(false)
  })

  test('every cookie of it without its signature, or with another’s, is refused', async () => {
    const victim = await atConsent()
    const thief = await atLogin()
    const values = [...victim.person.cookies].filter(
      ([key]) => !key.includes('.sig') && (key.endsWith(victim.uid) || key === 'sallyport_session'),
    )
    expect(values.map(([key]) => key.split(' ')[0]).sort()).toEqual([
      'sallyport_interaction',
      'sallyport_resume',
      'sallyport_session',
    ])
    for (const signature of [undefined, '', 'A'.repeat(43), 'foreign'] as const) {
      const browser = new Person(server.url)
      for (const [key, cookie] of values) {
        browser.cookies.set(key, cookie)
        const [name = '', ...path] = key.split(' ')
        const ownSignature = [...thief.person.cookies].find(([other]) => other.startsWith(`${name}.sig`))?.[1].value
        const value = signature === 'foreign' ? ownSignature : signature
        if (value !== undefined) browser.cookies.set([`${name}.sig`, ...path].join(' '), { ...cookie, value })
      }
      expect((await browser.open(victim.page.url)).status, String(signature)).toBe(410)
      expect((await browser.open(`/oauth/authorize/${victim.uid}`)).status, String(signature)).toBe(400)
      expect((await browser.open((await j.begin({ prompt: 'none' })).address)).url).toContain('error=login_required')
    }
  })

  test('with every character of every cookie flipped, one at a time, nothing opens (CVE-2026-119128)', async () => {
    const { person, page, uid } = await atConsent()
    const names = [...person.cookies.keys()].filter((key) => key.endsWith(uid) || key.startsWith('sallyport_session'))
    expect(names.length).toBe(6)
    let tries = 0
    for (const key of names.filter((name) => /interaction|session/.test(name))) {
      const cookie = person.cookies.get(key) ?? { value: '', path: '/' }
      for (let at = 0; at < cookie.value.length; at++) {
        const browser = new Person(server.url)
        for (const [other, value] of person.cookies) browser.cookies.set(other, value)
        // The last character of base64url may hold bits that no decoder reads; a whole other one cannot be the same text.
        const flipped = cookie.value[at] === 'A' ? 'z' : 'A'
        browser.cookies.set(key, { ...cookie, value: cookie.value.slice(0, at) + flipped + cookie.value.slice(at + 1) })
        const opened = await browser.open(
          key.includes('session') ? (await j.begin({ prompt: 'none' })).address : page.url,
        )
        if (key.includes('session')) expect(opened.url, `${key} ${at}`).toContain('error=login_required')
        else expect(opened.status, `${key} ${at}`).toBe(410)
        tries++
      }
    }
    expect(tries).toBeGreaterThan(100)
    expect((await person.open(page.url)).status, 'untouched, it opens').toBe(200)
  })

  test('a resume cookie with any character changed resumes nothing', async () => {
    const { person, uid } = await atConsent()
    for (const key of [...person.cookies.keys()].filter((name) => name.includes('resume') && name.endsWith(uid))) {
      const cookie = person.cookies.get(key) ?? { value: '', path: '/' }
      for (let at = 0; at < cookie.value.length; at += 3) {
        const browser = new Person(server.url)
        for (const [other, value] of person.cookies) browser.cookies.set(other, value)
        const flipped = cookie.value[at] === 'A' ? 'z' : 'A'
        browser.cookies.set(key, { ...cookie, value: cookie.value.slice(0, at) + flipped + cookie.value.slice(at + 1) })
        expect((await browser.open(`/oauth/authorize/${uid}`)).status, `${key} ${at}`).toBe(400)
      }
    }
  })

  test('a cookie of one kind is none of another', async () => {
    const { person } = await atConsent()
    const value = (name: string) => [...person.cookies].find(([key]) => key.split(' ')[0] === name)?.[1].value ?? ''
    const browser = new Person(server.url)
    browser.cookies.set('sallyport_session', { value: value('sallyport_interaction'), path: '/' })
    browser.cookies.set('sallyport_session.sig', { value: value('sallyport_interaction.sig'), path: '/' })
    expect((await browser.open((await j.begin({ prompt: 'none' })).address)).url).toContain('error=login_required')
  })
})

describe('steps cannot be skipped, repeated or sent empty (CVE-2026-18963, CVE-2026-49448)', () => {
  test('consent before login', async () => {
    const { person, page, uid } = await atLogin({ prompt: 'consent' })
    const skipped = await person.submit(
      { ...page, url: `${server.url}/interaction/${uid}/consent`, text: page.text.replace(/action="[^"]*"/, '') },
      { decision: 'allow' },
    )
    expect(skipped.url).toContain('/login')
    expect(person.cookies.has('sallyport_session')).toBe(false)
  })

  test.each<[string, Record<string, string | string[]>]>([
    ['nothing', {}],
    ['no password', { identifier: 'alice@example.com' }],
    ['an empty password', { identifier: 'alice@example.com', password: '' }],
    ['blanks', { identifier: ' ', password: ' ' }],
    ['two passwords, one right', { identifier: 'alice@example.com', password: [password, 'x'] }],
    ['two people', { identifier: ['alice@example.com', 'bob@example.com'], password }],
    ['a list', { 'identifier[]': 'alice@example.com', 'password[]': password }],
    ['a consent decision', { decision: 'allow' }],
    ['somebody’s id', { userId: '1', accountId: '1', sub: '1' }],
  ])('login with %s', async (_name, fields) => {
    const { person, page } = await atLogin()
    const next = await person.submit(page, fields)
    expect(hasCode(next)).toBe(false)
    expect(person.cookies.has('sallyport_session')).toBe(false)
  })

  test('a finished form sent again gives no second code', async () => {
    const { person, page } = await atConsent()
    expect(hasCode(await person.submit(page, { decision: 'allow' }))).toBe(true)
    const again = await person.submit(page, { decision: 'allow' })
    expect([again.status, hasCode(again)]).toEqual([410, false])
  })
})

test('of two answers at one moment one gives a code', async () => {
  const { person, page } = await atConsent()
  const copies = Array.from({ length: 6 }, () => {
    const browser = new Person(server.url)
    for (const [key, value] of person.cookies) browser.cookies.set(key, value)
    return browser.submit(page, { decision: 'allow' })
  })
  const pages = await Promise.all(copies)
  expect(pages.filter(({ status }) => status >= 500)).toEqual([])
  expect(pages.filter(hasCode)).toHaveLength(1)
})

describe('one browser, two people (CVE-2025-12390)', () => {
  test('the second person’s tokens are the second person’s, and the first session is over', async () => {
    const first = await j.codeFor({ scope: 'openid' })
    const before = (await j.redeem(first.code, first.verifier)).body
    const { address, verifier } = await j.begin({ scope: 'openid', prompt: 'login' })
    const oldSession = first.person.cookies.get('sallyport_session')?.value
    let page = await first.person.submit(await first.person.open(address), bob)
    for (let hop = 0; hop < 4 && page.url.startsWith(server.url); hop++) {
      if (page.url.includes('/login')) page = await first.person.submit(page, bob)
      else if (page.url.includes('/consent')) page = await first.person.submit(page, { decision: 'allow' })
      else page = await first.person.submit(page, {}) // the account switch asks for a click where there is no script
    }
    const { body } = await j.redeem(new URL(page.url).searchParams.get('code') ?? '', verifier)
    const sub = JSON.parse(Buffer.from(body.id_token?.split('.')[1] ?? '', 'base64url').toString()).sub
    expect(sub).not.toBe(j.alice.id)
    const info = (await (await j.userinfo(body.access_token)).json()) as { sub: string }
    expect(info.sub).toBe(sub)
    expect(first.person.cookies.get('sallyport_session')?.value).not.toBe(oldSession)
    expect((await j.refresh(before.refresh_token ?? '')).body.error).toBe('invalid_grant')
  })
})
