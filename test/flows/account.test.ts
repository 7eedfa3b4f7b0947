// A person looks after their account in a real Chromium, with scripts and without.
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type AccountHome, startAccount } from '#test/support/account.ts'
import { launchBrowser, openPage } from '#test/support/browser.ts'
import { orders, password } from '#test/support/installation.ts'

let home: AccountHome
let browser: Browser

beforeAll(async () => {
  home = await startAccount()
  browser = await launchBrowser()
})
afterAll(async () => {
  await browser?.close()
  await home?.stop()
})

async function enter(path: string, options: { javaScriptEnabled: boolean; as?: string; secret?: string }) {
  const { javaScriptEnabled, as = 'alice@example.com', secret = password } = options
  const watched = await openPage(browser, { javaScriptEnabled, locale: 'en-GB' })
  const { page } = watched
  await page.goto(home.server.url + path)
  await signIn(page, as, secret)
  await page.waitForURL(`**${path}`)
  return watched
}

async function signIn(page: Page, as: string, secret: string): Promise<void> {
  await page.fill('[name=identifier]', as)
  await page.fill('[name=password]', secret)
  await page.click('button.primary')
}

describe.each([true, false])('with JavaScript: %s', (javaScriptEnabled) => {
  test('ends another browser’s session', async () => {
    const other = await enter('/account/profile', { javaScriptEnabled })
    const mine = await enter('/account', { javaScriptEnabled })
    await mine.page.getByRole('link', { name: /^Devices Signed in on/ }).click()
    await mine.page.waitForURL('**/account/sessions')
    const row = mine.page.locator('section', { hasText: 'Other devices' }).getByRole('link').first()
    await row.click()
    await mine.page.getByRole('button', { name: 'Sign out of this device' }).click()
    await mine.page.waitForURL('**/account/sessions?done=session')
    expect(await mine.page.getByRole('status').textContent()).toContain('That device is signed out.')
    await other.page.reload()
    await other.page.waitForSelector('[name=identifier]')
    await mine.page.reload()
    expect(await mine.page.locator('h1').textContent()).toBe('Devices')
    expect([...mine.complaints, ...other.complaints]).toEqual([])
    await Promise.all([mine.close(), other.close()])
  })

  test('takes an application’s access away and sees its refresh token die', async () => {
    const { refresh, access_token } = await home.tokensFor(
      { scope: 'openid email offline_access orders:read', resource: orders, prompt: 'consent' },
      undefined,
      { resource: orders },
    )
    const { page, complaints, close } = await enter('/account/applications', { javaScriptEnabled })
    await page.getByRole('link', { name: /shop-web/ }).click()
    expect(await page.locator('main').textContent()).toContain('See your email address')
    await page.getByRole('button', { name: 'Remove access' }).click()
    await page.waitForURL('**/account/applications?done=application')
    expect(await page.getByRole('link', { name: /shop-web/ }).count()).toBe(0)
    expect((await home.refresh(refresh)).body.error).toBe('invalid_grant')
    expect((await home.introspect(access_token, 'orders-api')).body).toEqual({ active: false })
    expect(complaints).toEqual([])
    await close()
  })

  test('is asked to sign in once more before the password changes, and comes back to the form', async () => {
    const secret = javaScriptEnabled ? password : 'the phrase after that'
    const next = javaScriptEnabled ? 'the phrase after that' : 'and one more after it'
    const { page, complaints, close } = await enter('/account/security', {
      javaScriptEnabled,
      as: 'bob@example.com',
      secret,
    })
    await home.server.database.pool.query(`UPDATE session SET login_at = login_at - interval '10 minutes'`)
    await page.getByRole('link', { name: 'Change password' }).click()
    expect(await page.locator('main').textContent()).toContain('confirm that it is you')
    await signIn(page, 'bob@example.com', secret)
    await page.waitForURL('**/account/security/password')
    await page.fill('#current', secret)
    await page.fill('#password', next)
    await page.getByRole('button', { name: 'Change password' }).click()
    await page.waitForURL('**/account/security?done=password')
    expect(complaints).toEqual([])
    await close()
  })

  test('is told politely while a new password is typed whether it will do; without a script the rule is there to read', async () => {
    const { page, close } = await enter('/account/security/password', { javaScriptEnabled })
    const line = page.locator('.strength')
    expect(await page.locator('#password-hint').textContent()).toContain('At least 15 characters')
    expect(await line.isVisible()).toBe(javaScriptEnabled)
    if (javaScriptEnabled) {
      const words = line.locator('[aria-live=polite]')
      await page.fill('#password', 'short')
      expect(await words.textContent()).toBe('Too short so far')
      await page.fill('#password', 'five words nobody would guess')
      expect(await words.textContent()).toBe('Strong')
    }
    await close()
  })

  test('downloads what is held', async () => {
    const { page, close } = await enter('/account/data', { javaScriptEnabled })
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name: 'Download a copy' }).click(),
    ])
    expect(download.suggestedFilename()).toBe('account-data.json')
    await close()
  })

  test('a keyboard reaches the content at once, and the focus is where the mistake is', async () => {
    const { page, close } = await enter('/account/security/password', { javaScriptEnabled })
    expect(await page.locator('#current').evaluate((field) => field === field.ownerDocument.activeElement)).toBe(true)
    await page.goto(`${home.server.url}/account/profile`)
    await page.keyboard.press('Tab')
    expect(await page.locator('.skip').evaluate((link) => link === link.ownerDocument.activeElement)).toBe(true)
    await page.keyboard.press('Enter')
    expect(new URL(page.url()).hash).toBe('#content')
    await close()
  })
})

test('adds a passkey, names it, signs in with it, and removes it', async () => {
  const { page, complaints, close } = await enter('/account/security', { javaScriptEnabled: true })
  const authenticator = await page.context().newCDPSession(page)
  await authenticator.send('WebAuthn.enable')
  await authenticator.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
  await page.getByRole('link', { name: 'Add a passkey' }).click()
  await page.getByRole('button', { name: 'Set up a passkey' }).click()
  await page.waitForURL('**/account/security/recovery-codes?done=first')
  await page.getByRole('button', { name: 'Create new codes' }).click()
  await page.getByRole('link', { name: 'Done' }).click()
  await page.getByRole('link', { name: /Chrome on Linux/ }).click()
  await page.fill('[name=name]', 'My laptop')
  await page.getByRole('button', { name: 'Save name' }).click()
  await page.waitForURL('**?done=renamed')
  expect(await page.locator('h1').textContent()).toBe('My laptop')

  await page.goto(`${home.server.url}/oauth/logout`)
  await page.click('button[value=logout]')
  await page.goto(`${home.server.url}/account/security`)
  // The browser offers the passkey inside the login form, and this authenticator says yes at once.
  await page.waitForURL('**/account/security')
  await page.getByRole('link', { name: /My laptop/ }).click()
  await page.getByRole('button', { name: 'Remove' }).click()
  await page.waitForURL('**/account/security?done=removed')
  expect(await page.getByRole('link', { name: /My laptop|Recovery codes/ }).count()).toBe(0)
  expect(complaints).toEqual([])
  await close()
})
