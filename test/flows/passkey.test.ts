// Passkeys in a real Chromium with a virtual authenticator: set up during sign-in, then used without a name, from the field's own
// suggestion, and as a second factor.
import { createHash, randomBytes } from 'node:crypto'
import { decodeJwt } from 'jose'
import type { Browser, CDPSession, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { updateUser } from '#src/users/users.ts'
import { launchBrowser, openPage, type WatchedPage } from '#test/support/browser.ts'
import { codeAt, giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
let browser: Browser
let watched: WatchedPage
let page: Page
let device: Awaited<ReturnType<typeof addAuthenticator>>

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  await createRole(server.database.prisma, 'keeper', { secondFactor: 'required' }, change())
  await updateUser(server.database.prisma, j.alice.id, { roles: ['keeper'] }, change())
  browser = await launchBrowser()
})
afterAll(async () => {
  await browser?.close()
  await server?.stop()
})
beforeEach(async () => {
  await server.database.prisma.credential.deleteMany({ where: { kind: { not: 'password' } } })
  watched = await openPage(browser, { locale: 'en-GB' })
  page = watched.page
  await page.route('https://shop.example/**', (route) => route.fulfill({ body: '<!doctype html><title>Shop</title>' }))
  device = await addAuthenticator(page)
})
afterEach(async () => {
  expect(watched.complaints).toEqual([])
  await watched.close()
})

/** A phone or laptop with a fingerprint reader that its owner touches when it is asked to. */
async function addAuthenticator(on: Page) {
  const cdp: CDPSession = await on.context().newCDPSession(on)
  await cdp.send('WebAuthn.enable', { enableUI: false })
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
  return {
    touches: (enabled: boolean) => cdp.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled }),
    recognises: (isUserVerified: boolean) => cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified }),
  }
}

function request(parameters: Record<string, string>) {
  const verifier = randomBytes(32).toString('base64url')
  const query = new URLSearchParams({
    client_id: 'shop-web',
    redirect_uri: j.callback,
    response_type: 'code',
    scope: 'openid',
    state: 's',
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    ...parameters,
  })
  return { address: `${server.url}/oauth/authorize?${query}`, verifier }
}

async function begin(parameters: Record<string, string> = { prompt: 'login' }) {
  const { address, verifier } = request(parameters)
  await page.goto(address)
  return verifier
}

async function typePassword() {
  await page.fill('[name=identifier]', 'alice@example.com')
  await page.fill('[name=password]', password)
  await page.click('form .primary')
}

async function claims(verifier: string) {
  await page.waitForURL(/consent|shop\.example/)
  if (page.url().includes('/consent')) await page.click('[name=decision][value=allow]')
  await page.waitForURL('https://shop.example/cb**')
  const { body } = await j.redeem(new URL(page.url()).searchParams.get('code') ?? '', verifier)
  return decodeJwt(body.id_token ?? '')
}

async function enrol() {
  await device.touches(false) // the field's suggestion would be quicker than the password
  const verifier = await begin()
  await typePassword()
  await page.waitForURL('**/enrolment')
  await device.touches(true)
  await page.click('[data-passkey] button')
  await page.waitForURL('**/recovery-codes')
  expect(await page.locator('.codes code').count()).toBe(10)
  await page.click('[value=continue]')
  return claims(verifier)
}

test('is set up where policy asks for a second factor, and is worth more than a code', async () => {
  expect(await enrol()).toMatchObject({ acr: 'phr', amr: expect.arrayContaining(['pwd', 'pop', 'user', 'mfa']) })
})

test('signs in without a name or a password, from the button of the login page', async () => {
  await enrol()
  await device.touches(false)
  const verifier = await begin()
  await page.waitForSelector('[data-passkey] button:not([hidden])')
  await device.touches(true)
  await page.click('[data-passkey] button')
  const { sub, acr, amr } = await claims(verifier)
  expect([sub, acr]).toEqual([j.alice.id, 'phr'])
  expect(amr).not.toContain('pwd')
  expect(amr).toEqual(expect.arrayContaining(['pop', 'user', 'mfa']))
})

test('is suggested by the field for the email address, and signs in from there', async () => {
  await enrol()
  const verifier = await begin() // nothing is clicked
  expect((await claims(verifier)).sub).toBe(j.alice.id)
})

test('is a second factor after the password', async () => {
  await enrol()
  await device.touches(false)
  const verifier = await begin({ prompt: 'login', acr_values: 'phr' })
  await typePassword()
  await page.waitForURL('**/second-factor')
  await device.touches(true)
  await page.click('[data-passkey] button')
  expect(await claims(verifier)).toMatchObject({ acr: 'phr', amr: expect.arrayContaining(['pwd', 'pop', 'mfa']) })
})

test('is asked for alone, of somebody who is signed in, when an application asks for it (acr_values)', async () => {
  await enrol()
  await page.context().clearCookies()
  const seed = await giveTotp(server, j.alice.id)
  await device.touches(false)
  const first = await begin()
  await typePassword()
  await page.waitForURL('**/second-factor')
  await page.fill('[name=code]', codeAt(seed, new Date()))
  await page.click('form .primary')
  expect((await claims(first)).acr).toBe('urn:sallyport:acr:2fa')
  // Enough for everybody who does not ask for more.
  const plain = await page.context().request.get(request({}).address, { maxRedirects: 0 })
  expect(plain.headers().location).toMatch(/^https:\/\/shop\.example\/cb\?code=/)
  const verifier = await begin({ acr_values: 'phr' })
  await page.waitForURL('**/second-factor')
  expect(await page.locator('[name=code], [name=password]').count()).toBe(0)
  await device.touches(true)
  await page.click('[data-passkey] button')
  expect((await claims(verifier)).acr).toBe('phr')
})

test('a device that does not recognise its owner, then does: the page says what happened and goes on', async () => {
  await enrol()
  await device.touches(false)
  await begin()
  await typePassword()
  await page.waitForURL('**/second-factor')
  await device.recognises(false)
  await device.touches(true)
  await page.click('[data-passkey] button')
  await page.waitForSelector('[data-passkey] [role=alert]:not([hidden])')
  expect(await page.textContent('[data-passkey] [role=alert]')).toMatch(/Nothing was chosen/)
  await device.recognises(true)
  await page.click('[data-passkey] button')
  await page.waitForURL(/shop\.example|consent/)
})

test('without a script a recovery code leads on', async () => {
  await enrol()
  const [code = ''] = await giveRecoveryCodes(server, j.alice.id)
  const plain = await openPage(browser, { javaScriptEnabled: false })
  const before = page
  page = plain.page
  await page.route('https://shop.example/**', (route) => route.fulfill({ body: 'Shop' }))
  const verifier = await begin()
  await typePassword()
  await page.waitForURL('**/second-factor')
  expect(await page.textContent('noscript')).toContain('JavaScript')
  await page.click('a[href*="recovery-code"]')
  await page.fill('[name=code]', code)
  await page.click('form .primary')
  expect(await claims(verifier)).toMatchObject({ acr: 'urn:sallyport:acr:2fa' })
  await plain.close()
  page = before
})

test('no page of the sign-in weighs more than 50 kB with its scripts', async () => {
  /** Everything that this page loaded, from the cache or not. */
  const weigh = async (arrive: () => Promise<unknown>): Promise<number> => {
    await arrive()
    await page.waitForLoadState('networkidle')
    return page.evaluate(() =>
      [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')].reduce(
        (bytes, entry) => bytes + (entry as PerformanceResourceTiming).decodedBodySize,
        0,
      ),
    )
  }
  await device.touches(false)
  const login = await weigh(() => begin())
  const enrolment = await weigh(async () => {
    await typePassword()
    await page.waitForURL('**/enrolment')
  })
  await page.click('[value=totp]')
  await page.waitForURL('**/enrolment/totp')
  const app = await weigh(() => page.reload())
  expect([login, enrolment, app].every((bytes) => bytes > 10_000)).toBe(true)
  for (const bytes of [login, enrolment, app]) expect(bytes).toBeLessThan(50_000)
})
