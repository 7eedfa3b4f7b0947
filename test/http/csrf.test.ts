// Every form needs a token of this browser and must come from our own page (ASVS 3.5.1). A refusal changes nothing.
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import Koa from 'koa'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createCsrf } from '#src/http/csrf.ts'
import { readForm } from '#src/http/form.ts'
import type { HttpError } from '#src/http/http-error.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { type Hosted, pendingInteraction, startHosted } from '#test/pages/hosted.ts'
import { createPerson, person } from '#test/pages/screens.ts'
import { Person } from '#test/support/person.ts'

let hosted: Hosted
let server: Server
let origin: string
let accepted = 0
beforeAll(async () => {
  hosted = await startHosted()
  await createPerson(hosted)
  // A page of our own with one form, and a button that signs in.
  const app = new Koa()
  server = createServer().listen(0, 'localhost')
  await once(server, 'listening')
  origin = `http://localhost:${(server.address() as AddressInfo).port}`
  const csrf = createCsrf({
    config: { https: false, issuerUrl: origin },
    secretKeys: createSecretKeys([Buffer.alloc(32, 7)]),
  })
  app.use(async (ctx) => {
    const options = { beforeLogin: ctx.path === '/login' }
    try {
      if (ctx.method === 'POST') csrf.verify(ctx, await readForm(ctx), options)
    } catch (error) {
      ctx.status = (error as HttpError).status
      return
    }
    if (ctx.method === 'POST') accepted += 1
    if (ctx.method === 'POST' && ctx.path === '/login') csrf.rotate(ctx)
    ctx.type = 'html'
    ctx.body = `<form method="post"><input type="hidden" name="csrf" value="${csrf.token(ctx)}"></form>`
  })
  server.on('request', app.callback())
})
afterAll(async () => {
  server.close()
  await hosted.stop()
})
beforeEach(() => {
  accepted = 0
  hosted.pending = pendingInteraction()
  hosted.handedOver.length = 0
})

async function ownForm(path = '/form') {
  const browser = new Person(origin)
  const page = await browser.open(path)
  const token = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  const cookie = browser.cookies.get('sallyport_csrf')?.value ?? ''
  const post = async (change: { token?: string | null; cookie?: string; headers?: Record<string, string> } = {}) => {
    const body = new URLSearchParams()
    if (change.token !== null) body.set('csrf', change.token ?? token)
    const headers = { Cookie: `sallyport_csrf=${change.cookie ?? cookie}`, ...change.headers }
    return (await fetch(page.url, { method: 'POST', body, headers, redirect: 'manual' })).status
  }
  return { browser, page, token, cookie, post }
}

it('accepts the form of its own page', async () => {
  const { post } = await ownForm()
  expect(await post()).toBe(200)
  expect(await post({ headers: { Origin: origin, 'Sec-Fetch-Site': 'same-origin' } })).toBe(200)
})

describe('refuses with 403, and hands nothing over,', () => {
  it('a form without a token, with an empty one, and with another browser’s', async () => {
    const { post } = await ownForm()
    const stranger = await ownForm()
    expect(await post({ token: null })).toBe(403)
    expect(await post({ token: '' })).toBe(403)
    expect(await post({ token: stranger.token })).toBe(403)
    expect(await post({ cookie: stranger.cookie })).toBe(403)
    expect(await post({ cookie: '' })).toBe(403)
    expect(accepted).toBe(0)
  })

  it('a token or a cookie with any one character changed', async () => {
    const { post, token, cookie } = await ownForm()
    const changed = (text: string, at: number) =>
      text.slice(0, at) + (text[at] === 'A' ? 'Q' : 'A') + text.slice(at + 1)
    for (let at = 0; at < cookie.length; at += 3) expect(await post({ cookie: changed(cookie, at) })).toBe(403)
    for (let at = 0; at < token.length; at += 3) expect(await post({ token: changed(token, at) })).toBe(403)
    expect(accepted).toBe(0)
  })

  it.each([
    { Origin: 'https://evil.example' },
    { Origin: 'http://localhost' },
    { 'Sec-Fetch-Site': 'cross-site' },
    { 'Sec-Fetch-Site': 'same-site' },
    { 'Sec-Fetch-Site': 'none' },
    { Origin: 'null', 'Sec-Fetch-Site': 'cross-site' },
  ])('a form sent with %o', async (headers) => {
    const { post } = await ownForm()
    expect(await post({ headers: headers as Record<string, string> })).toBe(403)
    expect(accepted).toBe(0)
  })
})

describe('at login', () => {
  it('the token changes, so that one planted earlier is good for nothing afterwards (CVE-2017-12159)', async () => {
    const { browser, post, token } = await ownForm()
    expect((await browser.submit(await browser.open('/login'), {})).status).toBe(200)
    accepted = 0
    const cookie = browser.cookies.get('sallyport_csrf')?.value ?? ''
    expect(await post({ cookie, token })).toBe(403)
    expect(accepted).toBe(0)
    const fresh = await browser.open('/form')
    expect(fresh.text).not.toContain(token)
    expect((await browser.submit(fresh, {})).status).toBe(200)
  })

  it('a login form that another tab had open still works', async () => {
    const browser = new Person(origin)
    const [first, second] = [await browser.open('/login'), await browser.open('/login')]
    expect((await browser.submit(first, {})).status).toBe(200)
    expect((await browser.submit(second, {})).status).toBe(200)
  })
})

describe('the form of a pending request', () => {
  const login = (browser: Person) => browser.open(`/interaction/${hosted.pending?.uid}/login`)
  const credentials = { identifier: person.email, password: person.password }

  it('is bound to that request, so that two tabs that open at once both work', async () => {
    const browser = new Person(hosted.origin)
    const pages = await Promise.all([login(browser), login(browser)])
    for (const page of pages) await browser.submit(page, credentials)
    expect(hosted.handedOver.map(({ what }) => what)).toEqual(['login', 'login'])
  })

  it.each([
    ['none', null],
    ['an empty one', ''],
    ['a wrong one', 'A'.repeat(43)],
  ])('is refused with %s for a token', async (_name, csrf) => {
    const browser = new Person(hosted.origin)
    const refused = await browser.submit(await login(browser), credentials, { csrf })
    expect(refused.status).toBe(403)
    expect(hosted.handedOver).toEqual([])
  })

  it('is refused with the token of another request', async () => {
    const browser = new Person(hosted.origin)
    const stolen = /name="csrf" value="([^"]+)"/.exec((await login(browser)).text)?.[1] ?? ''
    hosted.pending = { ...pendingInteraction(), uid: 'another-request' }
    expect((await browser.submit(await login(browser), credentials, { csrf: stolen })).status).toBe(403)
    expect(hosted.handedOver).toEqual([])
  })
})

it('answers a browser with a page that says what to do', async () => {
  const browser = new Person(hosted.origin)
  const page = await browser.open(`/interaction/${hosted.pending?.uid}/login`)
  const refused = await browser.submit(page, {}, { csrf: null })
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
