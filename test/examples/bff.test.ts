// examples/bff in a real browser over TLS: the page works, and there is no token in it to be stolen.
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClient } from '#src/clients/clients.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createUser, endUserTokens } from '#src/users/users.ts'
import { launchBrowser, openPage, type WatchedPage } from '#test/support/browser.ts'
import { change, password } from '#test/support/installation.ts'
import { freePort } from '#test/support/processes.ts'
import { startServer, type TestServer } from '#test/support/server.ts'
import { startTlsFront, type TlsFront } from '#test/support/tls.ts'
import { close, listen } from '../guard/apps.ts'
import { createOrdersApi, ordersApi } from './orders.ts'
import { type Program, startProgram } from './program.ts'

let server: TestServer
let orders: Program
let app: Program
let front: TlsFront
let browser: Browser
let alice: string
let url: string
/** In front of the orders API: what arrived there, and how often it is to refuse. */
const arrived: { authorization: string | undefined; cookie: string | undefined }[] = []
let refusals = 0
const between = createServer(async (incoming, outgoing) => {
  const { authorization, cookie } = incoming.headers
  arrived.push({ authorization, cookie })
  if (refusals > 0) {
    refusals--
    outgoing.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end('{}')
    return
  }
  const headers: Record<string, string> = authorization === undefined ? {} : { authorization }
  const answer = await fetch(`${orders.url}${incoming.url}`, { method: incoming.method ?? 'GET', headers })
  outgoing.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text())
})

beforeAll(async () => {
  ;[server, front, browser] = await Promise.all([startServer(), startTlsFront(), launchBrowser()])
  await createOrdersApi(server)
  url = `https://localhost:${front.port}`
  const secret = randomBytes(32).toString('base64url')
  const { prisma } = server.database
  await createClient(
    prisma,
    {
      id: 'shop-web',
      name: 'Shop',
      type: 'web',
      redirectUris: [`${url}/callback`],
      postLogoutRedirectUris: [`${url}/`],
      scopes: ['openid', 'profile'],
      apis: { [ordersApi]: ['orders:read', 'orders:write'] },
    },
    [{ value: secret }],
    change(),
  )
  const passwordHash = await hashPassword(password)
  const person = { email: 'alice@example.com', emailVerified: true, name: 'Alice Liddell', passwordHash }
  alice = (await createUser(prisma, person, change())).id
  await server.settle()
  const [port, apiPort] = [await freePort(), await listen(between)]
  front.forwardTo(port)
  const env = { ISSUER_URL: server.url, API_IDENTIFIER: ordersApi }
  ;[orders, app] = await Promise.all([
    startProgram('examples/resource-server/server.ts', { ...env, PORT: '0' }),
    startProgram('examples/bff/server.ts', {
      ...env,
      PORT: String(port),
      BASE_URL: url,
      API_URL: `http://localhost:${apiPort}`,
      CLIENT_SECRET: secret,
    }),
  ])
}, 90_000)
afterAll(async () => {
  await browser?.close()
  await Promise.all([app?.stop(), orders?.stop(), front?.close(), close(between)])
  await server?.stop()
})

async function signIn(): Promise<WatchedPage> {
  const watched = await openPage(browser, { ignoreHTTPSErrors: true })
  const { page } = watched
  await page.goto(url)
  await page.getByRole('link', { name: 'Sign in' }).click()
  await page.locator('[name=identifier]').fill('alice@example.com')
  await page.locator('[name=password]').fill(password)
  await page.locator('[name=password]').press('Enter')
  await page.locator('[name=decision][value=allow], #who:text("Signed in as")').first().waitFor()
  if (page.url().startsWith(server.url)) await page.locator('[name=decision][value=allow]').click()
  await page.getByText('Signed in as Alice Liddell').waitFor()
  return watched
}

describe('a person at the page', () => {
  it('signs in, orders, comes back, and signs out; no token ever reaches the browser', async () => {
    const watched = await signIn()
    const { page, complaints } = watched
    const seen: Promise<string>[] = []
    page.on('response', (response) => seen.push(response.text().catch(() => '')))
    await page.getByRole('button', { name: 'Order a compass' }).click()
    await page.locator('#orders li').first().waitFor()
    await page.reload()
    await page.locator('#orders li').first().waitFor()

    const tokens = arrived.map(({ authorization }) => authorization?.slice('Bearer '.length) ?? '')
    expect(tokens.every((token) => token.split('.').length === 3)).toBe(true)
    const bodies = (await Promise.all(seen)).join('\n')
    expect(bodies).toContain('a compass') // what was looked at is what was answered
    for (const token of tokens) expect(bodies).not.toContain(token)
    expect(bodies).not.toMatch(/eyJ[\w-]+\./) // no other JWT either
    expect(await page.evaluate('document.cookie')).toBe('')
    expect(await page.evaluate('localStorage.length + sessionStorage.length')).toBe(0)
    const cookies = await page.context().cookies(url)
    expect(cookies.filter(({ name }) => !name.startsWith('sallyport'))).toMatchObject([
      { name: '__Host-session', httpOnly: true, secure: true, sameSite: 'Strict', path: '/' },
    ])
    expect(arrived.every(({ cookie }) => cookie === undefined)).toBe(true)

    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.locator('[name=decision][value=logout]').click()
    await page.getByText('You are not signed in').waitFor()
    expect(complaints).toEqual([])
    await watched.close()
  })

  it('an access token that is over is renewed once, and the person notices nothing', async () => {
    const watched = await signIn()
    const { page } = watched
    await page.getByRole('button', { name: 'Order a compass' }).click()
    await page.locator('#orders li').first().waitFor()
    const before = new Set(arrived.map(({ authorization }) => authorization))
    refusals = 1
    await page.reload()
    await page.locator('#orders li').first().waitFor()
    expect(refusals).toBe(0)
    expect(before.has(arrived.at(-1)?.authorization)).toBe(false)
    await watched.close()
  })

  it('a session whose refresh token is over offers to sign in, and does not go in circles', async () => {
    const watched = await signIn()
    const { page } = watched
    await endUserTokens(server.database.prisma, alice, change())
    await server.settle()
    refusals = 1
    const before = arrived.length
    await page.reload()
    await page.getByText('You are not signed in').waitFor()
    expect(arrived.length - before).toBe(1)
    expect((await page.context().cookies(url)).some(({ name }) => name === '__Host-session')).toBe(true)
    expect(await statusOf(watched, 'GET', '/me', { 'x-requested-by': 'orders-app' })).toBe(401)
    await watched.close()
  })
})

/** With the cookie of the page and headers of one's choice, as no browser would send them. */
async function statusOf(watched: WatchedPage, method: string, path: string, headers: Record<string, string>) {
  const response = await watched.page.context().request.fetch(url + path, { method, headers, maxRedirects: 0 })
  return response.status()
}

describe('somebody else’s page', () => {
  it('cannot act with the cookie: without the header, or from another site, everything is 403', async () => {
    const watched = await signIn()
    const own = { 'x-requested-by': 'orders-app' }
    expect(await statusOf(watched, 'GET', '/api/orders', own)).toBe(200)
    const before = arrived.length
    for (const headers of [
      {},
      { 'x-requested-by': 'another-app' },
      { ...own, 'sec-fetch-site': 'cross-site' },
      { ...own, 'sec-fetch-site': 'same-site' },
    ] as Record<string, string>[])
      for (const [
        method,
        path,
      ] of [['POST', '/api/orders'], ['GET', '/api/orders'], ['GET', '/me'], ['POST', '/logout']] as const) // biome-ignore format: one line
        expect(await statusOf(watched, method, path, headers), `${method} ${path} ${JSON.stringify(headers)}`).toBe(403)
    expect(arrived.length).toBe(before)
    // Nor does a real one get through: its form posts, the browser keeps the Strict cookie back, and there is no header.
    const attacker = await watched.page.context().newPage()
    await attacker.route('https://evil.example/', (route) =>
      route.fulfill({
        contentType: 'text/html',
        body: `<form method="post" action="${url}/api/orders"><button>win</button></form>`,
      }),
    )
    await attacker.goto('https://evil.example/')
    const [response] = await Promise.all([
      attacker.waitForResponse(`${url}/api/orders`),
      attacker.getByRole('button').click(),
    ])
    expect(response.status()).toBe(403)
    expect(arrived.length).toBe(before)
    await watched.close()
  })

  it('gets no way to anything but the paths of the list', async () => {
    const watched = await signIn()
    const own = { 'x-requested-by': 'orders-app' }
    const before = arrived.length
    for (const path of ['/api/', '/api/admin', '/api/orders/1/refund', '/api/orders%2F..%2Fadmin', '/api//orders'])
      expect(await statusOf(watched, 'GET', path, own), path).toBe(404)
    expect(await statusOf(watched, 'PUT', '/api/orders', own)).toBe(404)
    expect(arrived.length).toBe(before)
    await watched.close()
  })

  it('cannot plant a sign-in that this browser did not begin (RFC 9700 4.7)', async () => {
    const watched = await openPage(browser, { ignoreHTTPSErrors: true })
    const path = `/callback?code=stolen&state=guessed&iss=${encodeURIComponent(server.url)}`
    expect(await statusOf(watched, 'GET', path, {})).toBe(400)
    expect(await watched.page.context().cookies(url)).toEqual([])
    await watched.close()
  })
})
