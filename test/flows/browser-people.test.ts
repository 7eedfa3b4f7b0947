// What a person does about their own account in a real Chromium, with scripts and without, with mails read from a real mail server.
// Signing in by a password is in browser.test.ts, by a code from a mail in email-code.test.ts, by a passkey in passkey.test.ts; devices
// and applications are in account.test.ts.
import { decodeJwt, type JWTPayload } from 'jose'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createUser } from '#src/users/users.ts'
import { launchBrowser, openPage, type WatchedPage } from '#test/support/browser.ts'
import { codeAt, giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { codeIn, deliver, type Mailbox, startMailbox } from '#test/support/mailbox.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const twoFactors = 'urn:sallyport:acr:2fa'
const chosen = 'nine purple walruses paint'

let mailbox: Mailbox
let server: TestServer
let j: Journey
let browser: Browser
let passwordHash: string

beforeAll(async () => {
  mailbox = await startMailbox()
  server = await startServer({ env: { SMTP_URL: mailbox.url, SIGN_UP: 'open' } })
  j = await startJourney(server)
  await createRole(server.database.prisma, 'keeper', { secondFactor: 'required' }, change())
  passwordHash = await hashPassword(password)
  browser = await launchBrowser()
})
afterAll(async () => {
  await browser?.close()
  await server?.stop()
  await mailbox?.stop()
})

describe.each([true, false])('with JavaScript: %s', (javaScriptEnabled) => {
  let watched: WatchedPage
  let page: Page
  let email: string
  let people = 0

  beforeEach(async () => {
    email = `person.${++people}.${javaScriptEnabled ? 'scripts' : 'plain'}@example.com`
    watched = await openPage(browser, { javaScriptEnabled, locale: 'en-GB' })
    page = watched.page
    await page.route('https://shop.example/**', (route) => route.fulfill({ body: 'Shop' }))
    return async () => {
      expect(watched.complaints).toEqual([])
      await watched.close()
    }
  })

  const create = (roles: string[] = []) =>
    createUser(
      server.database.prisma,
      { email, name: 'Mary Anning', emailVerified: true, passwordHash, roles },
      change(),
    )

  async function begin(parameters: Record<string, string> = {}): Promise<string> {
    const { address, verifier } = await j.begin(parameters)
    await page.goto(server.url + address)
    return verifier
  }

  async function typePassword(secret = password): Promise<void> {
    await page.fill('[name=identifier]', email)
    await page.fill('[name=password]', secret)
    await page.click('form .primary')
  }

  async function typeCode(code: string): Promise<void> {
    await page.fill('[name=code]', code)
    await page.click('form .primary')
  }

  /** From the mail server, as the person would from their mailbox. */
  async function newestCode(): Promise<string> {
    await deliver(server)
    return codeIn(mailbox.newest(email))
  }

  /** Agrees, goes back to the application, and has it redeem the code. @returns what the application learns. */
  async function arrive(verifier: string): Promise<JWTPayload> {
    await page.waitForURL(/consent|shop\.example/)
    if (page.url().includes('/consent')) await page.click('[name=decision][value=allow]')
    await page.waitForURL('https://shop.example/cb**')
    const { body } = await j.redeem(new URL(page.url()).searchParams.get('code') ?? '', verifier)
    const userinfo = await (await j.userinfo(body.access_token)).json()
    return { ...userinfo, ...decodeJwt(body.id_token ?? '') }
  }

  test('signs up, shows that the address is theirs, and is in', async () => {
    const verifier = await begin()
    await page.getByRole('link', { name: 'Create an account' }).click()
    await page.fill('[name=name]', 'Mary Anning')
    await page.fill('[name=email]', email)
    await page.fill('[name=password]', chosen)
    await page.getByRole('button', { name: 'Create account' }).click()
    expect(await page.textContent('.lead')).toContain(email)
    await typeCode(await newestCode())
    expect(await arrive(verifier)).toMatchObject({ email, email_verified: true, name: 'Mary Anning' })
  })

  test('signs in by a password and a code of an app, and a mistyped one is said beside its field', async () => {
    const seed = await giveTotp(server, (await create()).id)
    const verifier = await begin()
    await typePassword()
    await page.waitForURL('**/second-factor')
    await typeCode('000000')
    expect(await page.textContent('#code-error')).toContain('This code is not right')
    expect(await page.getAttribute('[name=code]', 'aria-describedby')).toContain('code-error')
    await typeCode(codeAt(seed, new Date()))
    expect(await arrive(verifier)).toMatchObject({ acr: twoFactors, amr: ['pwd', 'otp', 'mfa'] })
  })

  test('signs in by a recovery code where the app is lost', async () => {
    const { id } = await create()
    await giveTotp(server, id)
    const [code = ''] = await giveRecoveryCodes(server, id)
    const verifier = await begin()
    await typePassword()
    await page.getByRole('link', { name: 'Use a recovery code' }).click()
    await typeCode(code)
    expect((await arrive(verifier)).acr).toBe(twoFactors)
  })

  test('sets up an app where policy asks for a second factor, and gets recovery codes', async () => {
    await create(['keeper'])
    const verifier = await begin()
    await typePassword()
    await page.waitForURL('**/enrolment')
    await page.getByRole('button', { name: 'Set up an app' }).click()
    await page.click('summary')
    const seed = (await page.textContent('.key'))?.replaceAll(' ', '') ?? ''
    await typeCode(codeAt(seed, new Date()))
    await page.waitForURL('**/recovery-codes')
    expect(await page.locator('.codes code').count()).toBe(10)
    await page.getByRole('button', { name: 'I have written them down' }).click()
    expect((await arrive(verifier)).acr).toBe(twoFactors)
  })

  test('recovers by a code from a mail, chooses a new password, and signs in with it from then on', async () => {
    await create()
    const verifier = await begin()
    await page.getByRole('link', { name: 'Forgot your password?' }).click()
    await page.fill('[name=email]', email)
    await page.getByRole('button', { name: 'Send the code' }).click()
    await page.waitForSelector('[name=code]')
    await typeCode(await newestCode())
    await page.fill('[name=password]', chosen)
    await page.getByRole('button', { name: 'Save and sign in' }).click()
    expect((await arrive(verifier)).email).toBe(email)

    await begin({ prompt: 'login' })
    await typePassword()
    expect(await page.textContent('#password-error')).toContain('do not match')
    await typePassword(chosen)
    await page.waitForURL('https://shop.example/cb**')
  })

  test('is asked for the second factor alone when an application asks for more (acr_values)', async () => {
    const { id } = await create()
    const first = await begin()
    await typePassword()
    expect((await arrive(first)).acr).toBe('urn:sallyport:acr:1fa')
    const seed = await giveTotp(server, id)

    const verifier = await begin({ acr_values: twoFactors })
    await page.waitForURL('**/second-factor')
    expect(await page.textContent('.person')).toContain(email)
    await typeCode(codeAt(seed, new Date()))
    expect(await arrive(verifier)).toMatchObject({ sub: id, acr: twoFactors, amr: ['pwd', 'otp', 'mfa'] })
  })
})
