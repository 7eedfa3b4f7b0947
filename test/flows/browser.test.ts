// The main journey in a real Chromium, over TLS, with the cookies and policies of production.
import { createHash, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createClient } from '#src/clients/clients.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createUser } from '#src/users/users.ts'
import { launchBrowser, openPage } from '#test/support/browser.ts'
import { change, furnish, orders, password } from '#test/support/installation.ts'
import { postForm } from '#test/support/journey.ts'
import { checkout } from '#test/support/processes.ts'
import { startServer, type TestServer } from '#test/support/server.ts'
import { startTlsFront, type TlsFront } from '#test/support/tls.ts'

let front: TlsFront
let server: TestServer
let home: Awaited<ReturnType<typeof furnish>>
let browser: Browser
let shopSite: Server
let shopFront: TlsFront

beforeAll(async () => {
  front = await startTlsFront()
  server = await startServer({ issuer: () => `https://localhost:${front.port}`, env: { TRUST_PROXY: '127.0.0.1,::1' } })
  front.forwardTo(server.port)
  home = await furnish(server)
  // The application's site: a name of its own, behind TLS like the issuer.
  shopSite = createServer((_incoming, outgoing) =>
    outgoing.setHeader('Content-Type', 'text/html').end('<!doctype html><title>Shop</title>'),
  )
  await new Promise<void>((resolve) => shopSite.listen(0, 'localhost', resolve))
  shopFront = await startTlsFront()
  shopFront.forwardTo((shopSite.address() as AddressInfo).port)
  browser = await launchBrowser({ args: [`--host-resolver-rules=MAP shop.example localhost:${shopFront.port}`] })
})
afterAll(async () => {
  await browser?.close()
  await server?.stop()
  await front?.close()
  await shopFront?.close()
  shopSite?.close()
})

async function shop(options: { javaScriptEnabled?: boolean } = {}) {
  return openPage(browser, { ignoreHTTPSErrors: true, ...options })
}

function request(parameters: Record<string, string> = {}) {
  const verifier = randomBytes(32).toString('base64url')
  const query = new URLSearchParams({
    client_id: 'shop-web',
    redirect_uri: home.callback,
    response_type: 'code',
    scope: 'openid email',
    state: 's',
    nonce: 'n',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...parameters,
  })
  return { address: `${server.url}/oauth/authorize?${query}`, verifier }
}

async function signIn(page: Page): Promise<void> {
  await page.fill('input[name=identifier]', 'alice@example.com')
  await page.fill('input[name=password]', password)
  await page.click('button[type=submit]:not([name=decision])')
}

async function codeAt(page: Page): Promise<string> {
  await page.waitForURL('https://shop.example/cb**')
  const params = new URL(page.url()).searchParams
  expect(params.get('iss')).toBe(server.url)
  return params.get('code') ?? ''
}

/** Straight to the server, under the issuer's name. */
const token = (fields: Record<string, string>, headers: Record<string, string>) =>
  postForm(
    new URL(`http://localhost:${server.port}/oauth/token`),
    new URL(server.url).host,
    headers,
    new URLSearchParams(fields).toString(),
  )

const redeem = (code: string, verifier: string) =>
  token(
    { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: home.callback },
    { Authorization: `Basic ${Buffer.from(`shop-web:${home.secret}`).toString('base64')}` },
  )

describe.each([true, false])('with JavaScript: %s', (javaScriptEnabled) => {
  test('a person signs in, agrees, returns to the application, and signs out', async () => {
    const { page, complaints, close } = await shop({ javaScriptEnabled })
    await page.goto(request({ prompt: 'consent' }).address)
    await signIn(page)
    await page.waitForURL('**/consent')
    expect(await page.textContent('body')).toContain('Alice@Example.com')
    await page.click('button[name=decision][value=allow]')
    expect(await codeAt(page)).toMatch(/^sp_ac_/)

    await page.goto(`${server.url}/oauth/logout`)
    await page.click('button[name=decision][value=logout]')
    await page.waitForURL('**/oauth/logout/success**')
    await page.goto(request().address)
    await page.waitForSelector('input[name=password]')
    expect(complaints).toEqual([])
    await close()
  })
})

test('cookies carry the prefixes that a neighbour cannot forge, and no address reaches a script', async () => {
  const { page, close } = await shop()
  await page.goto(request().address)
  await signIn(page)
  await page.waitForURL(/consent|shop\.example/)
  const cookies = await page.context().cookies()
  for (const cookie of cookies) {
    expect(cookie, cookie.name).toMatchObject({ secure: true, httpOnly: true })
    expect(['Lax', 'Strict']).toContain(cookie.sameSite)
    expect(cookie.name).toMatch(cookie.path === '/' ? /^__Host-/ : /^__Secure-/)
    expect(cookie.name.length + cookie.value.length).toBeLessThan(4096)
  }
  expect(cookies.map(({ name }) => name)).toContain('__Host-sallyport_session')
  const response = await page.goto(`${server.url}/oauth/logout`)
  expect(response?.headers()['strict-transport-security']).toMatch(/max-age=31536000; includeSubDomains/)
  await close()
})

test('two tabs at once both return with a code that works', async () => {
  const { page: one, complaints, close } = await shop()
  const two = await one.context().newPage()
  const requests = [request({ state: 'one' }), request({ state: 'two' })]
  await Promise.all([one.goto(requests[0]?.address ?? ''), two.goto(requests[1]?.address ?? '')])
  await Promise.all([one, two].map(signIn))
  const codes = await Promise.all(
    [one, two].map(async (page) => {
      await page.waitForURL(/consent|shop\.example/)
      if (page.url().includes('consent')) await page.click('button[name=decision][value=allow]')
      return codeAt(page)
    }),
  )
  expect(new URL(one.url()).searchParams.get('state')).toBe('one')
  expect(new URL(two.url()).searchParams.get('state')).toBe('two')
  for (const [index, code] of codes.entries()) {
    const answer = await redeem(code, requests[index]?.verifier ?? '')
    expect([answer.status, JSON.parse(answer.text)]).toEqual([
      200,
      expect.objectContaining({ id_token: expect.any(String) }),
    ])
  }
  expect(complaints).toEqual([])
  await close()
})

test('signing in as somebody else in the same browser ends the first person’s session, and no token crosses (CVE-2025-12390)', async () => {
  const { page, complaints, close } = await shop()
  await page.goto(request({ prompt: 'consent' }).address)
  await signIn(page)
  await page.click('button[name=decision][value=allow]')
  await codeAt(page) // the next address must not overtake this one
  const first = request()
  await page.goto(first.address)
  const code = await codeAt(page)
  await page.goto(request({ prompt: 'login consent' }).address)
  const bob = await createUser(
    server.database.prisma,
    { email: 'bob@example.com', passwordHash: await hashPassword(password) },
    change(),
  )
  await page.fill('input[name=identifier]', 'bob@example.com')
  await page.fill('input[name=password]', password)
  await page.click('button[type=submit]:not([name=decision])')
  await page.waitForURL('**/consent')
  expect(await page.textContent('body')).toContain('bob@example.com')
  expect(await page.textContent('body')).not.toContain('Alice')
  const { status } = await redeem(code, first.verifier)
  expect(status).toBe(400) // bound to a session that is over
  expect(bob.id).not.toBe(home.alice.id)
  expect(complaints).toEqual([])
  await close()
})

describe('oidc-client-ts', () => {
  let spa: Server
  beforeAll(async () => {
    const script = readFileSync(join(checkout, 'node_modules/oidc-client-ts/dist/browser/oidc-client-ts.min.js'))
    spa = createServer((incoming, outgoing) => {
      if (incoming.url === '/oidc.js') outgoing.setHeader('Content-Type', 'text/javascript').end(script)
      else
        outgoing
          .setHeader('Content-Type', 'text/html')
          .end('<!doctype html><script src="/oidc.js"></script><p id="out"></p>')
    })
    await new Promise<void>((resolve) => spa.listen(0, 'localhost', resolve))
  })
  afterAll(() => new Promise((resolve) => spa.close(resolve)))

  test('a browser app signs a person in, reads userinfo across origins, and refreshes', async () => {
    const origin = `http://localhost:${(spa.address() as AddressInfo).port}`
    await createClient(
      server.database.prisma,
      {
        id: 'browser-app',
        name: 'Browser app',
        type: 'spa',
        redirectUris: [`${origin}/cb`],
        scopes: ['openid', 'profile', 'email'],
        apis: { [orders]: ['orders:read'] },
      },
      [],
      change(),
    )
    await server.app.providers.refresh()
    const { page, complaints, close } = await shop()
    const manager = `new oidc.UserManager(${JSON.stringify({ authority: server.url, client_id: 'browser-app', redirect_uri: `${origin}/cb`, scope: 'openid profile email', loadUserInfo: true })})`
    await page.goto(origin)
    await page.evaluate(`void ${manager}.signinRedirect()`)
    await page.waitForSelector('input[name=password]')
    await signIn(page)
    await page.waitForURL('**/consent')
    await page.click('button[name=decision][value=allow]')
    await page.waitForURL(`${origin}/cb**`)
    const user = await page.evaluate(`${manager}.signinCallback().then((user) => user.profile)`)
    expect(user).toMatchObject({ sub: home.alice.id, email: 'Alice@Example.com', iss: server.url })
    const renewed = await page.evaluate(
      `${manager}.signinSilent().then((user) => [user.access_token.slice(0, 6), user.refresh_token.slice(0, 6)])`,
    )
    expect(renewed).toEqual(['sp_at_', 'sp_rt_'])
    expect(complaints).toEqual([])
    await close()
  })

  test('an origin that is not the client’s may not call the token endpoint', async () => {
    const answer = await token(
      { grant_type: 'refresh_token', client_id: 'shop-spa', refresh_token: 'x' },
      { Origin: 'https://evil.example' },
    )
    expect(answer.status).toBe(400)
    expect(answer.headers.get('access-control-allow-origin')).toBeNull()
  })
})
