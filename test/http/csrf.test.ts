// Every form needs a token of this browser and must come from our own page (ASVS 3.5.1). A refusal changes nothing.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createCsrf } from '#src/http/csrf.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { consentScopes, type Hosted, pendingInteraction, startHosted } from '#test/pages/hosted.ts'
import { createPerson, person } from '#test/pages/screens.ts'
import { Person } from '#test/support/person.ts'

let hosted: Hosted
let userId: string
beforeAll(async () => {
  hosted = await startHosted()
  userId = await createPerson(hosted)
})
afterAll(() => hosted.stop())
beforeEach(() => {
  hosted.pending = pendingInteraction({ ...consentScopes, userId })
  hosted.handedOver.length = 0
})

async function consentForm() {
  const browser = new Person(hosted.origin)
  const page = await browser.open(`/interaction/${hosted.pending?.uid}/consent`)
  const token = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  const cookie = browser.cookies.get('sallyport_csrf')?.value ?? ''
  const post = async (change: { token?: string | null; cookie?: string; headers?: Record<string, string> } = {}) => {
    const body = new URLSearchParams({ decision: 'allow' })
    if (change.token !== null) body.set('csrf', change.token ?? token)
    const headers = { Cookie: `sallyport_csrf=${change.cookie ?? cookie}`, ...change.headers }
    return (await fetch(page.url, { method: 'POST', body, headers, redirect: 'manual' })).status
  }
  return { browser, token, cookie, post }
}

it('accepts the form of its own page', async () => {
  const { post } = await consentForm()
  expect(await post()).toBe(303)
  expect(await post({ headers: { Origin: hosted.origin, 'Sec-Fetch-Site': 'same-origin' } })).toBe(303)
})

describe('refuses with 403, and hands nothing over,', () => {
  it('a form without a token, with an empty one, and with another browser’s', async () => {
    const { post } = await consentForm()
    const stranger = await consentForm()
    expect(await post({ token: null })).toBe(403)
    expect(await post({ token: '' })).toBe(403)
    expect(await post({ token: stranger.token })).toBe(403)
    expect(await post({ cookie: stranger.cookie })).toBe(403)
    expect(await post({ cookie: '' })).toBe(403)
    expect(hosted.handedOver).toEqual([])
  })

  it('a token or a cookie with any one character changed', async () => {
    const { post, token, cookie } = await consentForm()
    const changed = (text: string, at: number) =>
      text.slice(0, at) + (text[at] === 'A' ? 'Q' : 'A') + text.slice(at + 1)
    for (let at = 0; at < cookie.length; at += 3) expect(await post({ cookie: changed(cookie, at) })).toBe(403)
    for (let at = 0; at < token.length; at += 3) expect(await post({ token: changed(token, at) })).toBe(403)
    expect(hosted.handedOver).toEqual([])
  })

  it.each([
    { Origin: 'https://evil.example' },
    { Origin: 'http://localhost' },
    { 'Sec-Fetch-Site': 'cross-site' },
    { 'Sec-Fetch-Site': 'same-site' },
    { 'Sec-Fetch-Site': 'none' },
    { Origin: 'null', 'Sec-Fetch-Site': 'cross-site' },
  ])('a form sent with %o', async (headers) => {
    const { post } = await consentForm()
    expect(await post({ headers: headers as Record<string, string> })).toBe(403)
    expect(hosted.handedOver).toEqual([])
  })
})

describe('at login', () => {
  it('the token changes, so that one planted earlier is good for nothing afterwards (CVE-2017-12159)', async () => {
    const { browser, post, token } = await consentForm()
    hosted.pending = pendingInteraction()
    const login = await browser.open(`/interaction/${hosted.pending.uid}/login`)
    await browser.submit(login, { identifier: person.email, password: person.password })
    hosted.pending = pendingInteraction({ ...consentScopes, userId })
    hosted.handedOver.length = 0
    const cookie = browser.cookies.get('sallyport_csrf')?.value ?? ''
    expect(await post({ cookie, token })).toBe(403)
    expect(hosted.handedOver).toEqual([])
    const fresh = await browser.open(`/interaction/${hosted.pending.uid}/consent`)
    expect(fresh.text).not.toContain(token)
    expect((await browser.submit(fresh, { decision: 'allow' })).status).toBe(200)
  })

  it('a login form that another tab had open still works', async () => {
    const browser = new Person(hosted.origin)
    hosted.pending = pendingInteraction()
    const first = await browser.open(`/interaction/${hosted.pending.uid}/login`)
    const second = await browser.open(`/interaction/${hosted.pending.uid}/login`)
    const credentials = { identifier: person.email, password: person.password }
    await browser.submit(first, credentials)
    await browser.submit(second, credentials)
    expect(hosted.handedOver.map(({ what }) => what)).toEqual(['login', 'login'])
  })
})

it('answers a browser with a page that says what to do', async () => {
  const browser = new Person(hosted.origin)
  const page = await browser.open(`/interaction/${hosted.pending?.uid}/consent`)
  const refused = await browser.submit(page, { decision: 'allow' }, { csrf: null })
  expect(refused.status).toBe(403)
  expect(refused.text).toContain('Please try once more')
})

it('keeps tokens valid over a rotation of SECRET_KEY, until the old key is gone', () => {
  const config = { https: true, issuerUrl: 'https://id.example.com' }
  const [old, young] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
  const jar = new Map<string, string>()
  const ctx = () =>
    ({
      state: {},
      get: () => '',
      cookies: { get: (name: string) => jar.get(name), set: (name: string, value: string) => jar.set(name, value) },
    }) as never
  const token = createCsrf({ config, secretKeys: createSecretKeys([old]) }).token(ctx())
  expect([...jar.keys()]).toEqual(['__Host-sallyport_csrf'])
  const form = { get: () => token }
  const verify = (keys: Buffer[]) => () =>
    createCsrf({ config, secretKeys: createSecretKeys(keys) }).verify(ctx(), form)
  expect(verify([young, old])).not.toThrow()
  expect(verify([young])).toThrow('token does not match')
})
