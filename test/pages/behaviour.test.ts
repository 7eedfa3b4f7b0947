// What the pages do in a real browser: with scripts and without, with a keyboard, and under a policy that names where a form leads.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { launchBrowser, openPage, type WatchedPage } from '#test/support/browser.ts'
import { consentScopes, type Hosted, pendingInteraction, startHosted } from './hosted.ts'
import { addressOf, createPerson, issueSetupCode, person, protocolRoutes, submit, withoutOwner } from './screens.ts'

let hosted: Hosted
let browser: Browser
let userId: string
let watched: WatchedPage | undefined

beforeAll(async () => {
  hosted = await startHosted({ routes: protocolRoutes })
  browser = await launchBrowser()
  userId = await createPerson(hosted)
})
afterAll(async () => {
  await browser?.close()
  await hosted?.stop()
})
beforeEach(() => {
  hosted.pending = pendingInteraction()
  hosted.next = '/resumed'
  hosted.handedOver.length = 0
})
afterEach(() => watched?.close())

async function open(path: string, options: Parameters<typeof openPage>[1] = {}): Promise<WatchedPage> {
  watched = await openPage(browser, { locale: 'en-GB', ...options })
  await watched.page.goto(addressOf(hosted, path))
  return watched
}

describe('a new password', () => {
  it('is told while it is typed whether it will do, and the server has the last word', async () => {
    await withoutOwner(hosted)
    const { page } = await open('/admin/setup')
    const line = page.locator('.strength')
    const told = async (text: string) => {
      await page.fill('[name=password]', text)
      return [
        await line.locator('span').textContent(),
        await line.locator('meter').evaluate((meter) => (meter as HTMLMeterElement).value),
      ]
    }
    expect(await told('')).toEqual(['', 0])
    expect(await told('short')).toEqual(['Too short so far', 1])
    expect(await told('aaaaaaaaaaaaaaaaaaaa')).toEqual(['Easy to guess: it repeats or counts', 2])
    expect(await told('12345678901234567890')).toEqual(['Easy to guess: it repeats or counts', 2])
    expect(await told('kelp over a wall')).toEqual(['Good', 3])
    expect(await told('five words nobody would guess')).toEqual(['Strong', 4])
  })

  it.each([
    ['to sign up', () => '/interaction/:uid/signup'],
    ['on invitation', async () => `/invitation/${await hosted.invite()}`],
  ])('is told so %s, too', async (_what, path) => {
    const { page } = await open(await path())
    await page.fill('[name=password]', 'five words nobody would guess')
    expect(await page.locator('.strength').textContent()).toBe('Strong')
  })

  it('has no line about it where scripts do not run', async () => {
    const { page } = await open('/admin/setup', { javaScriptEnabled: false })
    expect(await page.locator('.strength').isVisible()).toBe(false)
  })
})

describe('without scripts', () => {
  const javaScriptEnabled = false

  it('a person signs in', async () => {
    const { page } = await open('/interaction/:uid/login', { javaScriptEnabled })
    expect(await page.locator('.reveal').isVisible()).toBe(false)
    await page.fill('[name=identifier]', person.email)
    await page.fill('[name=password]', person.password)
    expect(await submit(page, '.primary')).toBe(200)
    expect(hosted.handedOver).toMatchObject([{ what: 'login', with: { userId, amr: ['pwd'] } }])
  })

  it('a person agrees to part of what is asked', async () => {
    hosted.pending = pendingInteraction({ ...consentScopes, userId })
    const { page } = await open('/interaction/:uid/consent', { javaScriptEnabled })
    await page.uncheck('[value="orders:write"]')
    await page.uncheck('[value="offline_access"]')
    expect(await submit(page, '[value=allow]')).toBe(200)
    expect(hosted.handedOver[0]?.with).toEqual({
      openid: ['openid', 'profile', 'email'],
      resources: { 'https://api.example.com/orders': ['orders:read'] },
    })
  })

  it('a form on its way to an application waits for the button', async () => {
    const { page } = await open('/show/form-post?action=/resumed', { javaScriptEnabled })
    expect(await submit(page, '.primary')).toBe(200)
    expect(page.url()).toBe(`${hosted.origin}/resumed`)
  })
})

describe('with scripts', () => {
  it('a form on its way to an application goes by itself, and not again by the back button', async () => {
    const { page, complaints } = await open('/interaction/:uid/login')
    await page.goto(`${hosted.origin}/show/form-post?action=/resumed`)
    await page.waitForURL('**/resumed')
    await page.goBack()
    await page.waitForLoadState('load')
    expect(page.url()).not.toContain('/resumed')
    expect(complaints).toEqual([])
  })

  it('the password can be looked at, and is hidden again when it is sent', async () => {
    const { page, complaints } = await open('/interaction/:uid/login')
    await page.fill('[name=password]', 'look at me')
    const button = page.getByRole('button', { name: 'Show password' })
    await button.click()
    expect(await page.getAttribute('[name=password]', 'type')).toBe('text')
    expect(await page.evaluate(() => document.activeElement?.id)).toBe('password')
    await page.getByRole('button', { name: 'Hide password' }).click()
    expect(await page.getAttribute('[name=password]', 'type')).toBe('password')
    expect(complaints).toEqual([])
  })

  it('a double click sends a form once', async () => {
    hosted.pending = pendingInteraction({ ...consentScopes, userId })
    const { page } = await open('/interaction/:uid/consent')
    await page.dblclick('[value=allow]')
    await page.waitForURL('**/resumed')
    expect(hosted.handedOver).toHaveLength(1)
  })
})

describe('with a keyboard', () => {
  it('Enter in the password signs in; it does not cancel', async () => {
    const { page } = await open('/interaction/:uid/login')
    await page.keyboard.type(person.email) // the field has the focus already
    await page.keyboard.press('Tab')
    await page.keyboard.type(person.password)
    await page.keyboard.press('Enter')
    await page.waitForURL('**/resumed')
    expect(hosted.handedOver.map(({ what }) => what)).toEqual(['login'])
  })

  it('after a refusal the focus is in the field that is wrong, which is described by its error', async () => {
    const { page } = await open('/interaction/:uid/login')
    await page.fill('[name=identifier]', person.email)
    await page.fill('[name=password]', 'wrong')
    expect(await submit(page, '.primary')).toBe(401)
    const focused = await page.evaluate(() => {
      const active = document.activeElement
      return [active?.id, document.getElementById(active?.getAttribute('aria-describedby') ?? '')?.textContent?.trim()]
    })
    expect(focused).toEqual(['password', 'This email address and password do not match. Check both and try again.'])
    expect(await page.title()).toBe('Error: Sign in · Sallyport')
    expect(await page.inputValue('[name=identifier]')).toBe(person.email)
    expect(await page.inputValue('[name=password]')).toBe('')
  })

  it('password managers recognise both fields', async () => {
    const { page } = await open('/interaction/:uid/login')
    expect(await page.getAttribute('[name=identifier]', 'autocomplete')).toBe('username webauthn')
    expect(await page.getAttribute('[name=password]', 'autocomplete')).toBe('current-password')
  })
})

it('every page also fits from right to left', async () => {
  hosted.pending = pendingInteraction({ ...consentScopes, userId })
  const { page } = await open('/interaction/:uid/consent', { viewport: { width: 320, height: 640 } })
  const overflow = await page.evaluate(() => {
    document.documentElement.dir = 'rtl'
    return document.documentElement.scrollWidth - document.documentElement.clientWidth
  })
  expect(overflow).toBe(0)
})

it('the language switch keeps the page and is remembered', async () => {
  const { page } = await open('/interaction/:uid/login')
  await page.getByRole('link', { name: 'Français' }).click()
  expect(await page.getAttribute('html', 'lang')).toBe('fr')
  await page.goto(addressOf(hosted, '/interaction/:uid/login'))
  expect(await page.locator('h1').textContent()).toBe('Se connecter')
})

describe('Chromium follows a form', () => {
  let client: Server
  let origin: string
  beforeAll(async () => {
    // Its callback redirects once more, to another origin: `localhost` is not `127.0.0.1`.
    client = createServer((request, response) => {
      const { port } = client.address() as AddressInfo
      if (request.url?.startsWith('/onward')) response.writeHead(302, { Location: `http://localhost:${port}/home` })
      response.end('the application')
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => client.once('listening', resolve))
    origin = `http://127.0.0.1:${(client.address() as AddressInfo).port}`
  })
  afterAll(() => void client.close())

  async function signIn(redirectOrigin: string, next = `${origin}/cb?code=1`): Promise<WatchedPage> {
    hosted.pending = pendingInteraction({ redirectOrigin })
    hosted.next = next
    const opened = await open('/interaction/:uid/login')
    await opened.page.fill('[name=identifier]', person.email)
    await opened.page.fill('[name=password]', person.password)
    await opened.page.click('.primary', { noWaitAfter: true })
    return opened
  }

  it('to the application that the page named', async () => {
    const { page, complaints } = await signIn(origin)
    await page.waitForURL(`${origin}/cb?code=1`)
    expect(complaints).toEqual([])
  })

  it('and, by a page that ends the chain, to where the application itself redirects', async () => {
    const to = `${origin}/onward?code=1&state=a'b;c"d<e>`
    const { page, complaints } = await signIn(
      origin,
      `/oauth/authorize/b7Qm2xK9tR4wZ1cV6nLpE?to=${encodeURIComponent(to)}`,
    )
    await page.waitForURL('http://localhost:*/home')
    expect(complaints).toEqual([])
  })

  it('while a program gets the redirect itself', async () => {
    const response = await fetch(`${hosted.origin}/oauth/authorize/x?to=${encodeURIComponent(`${origin}/cb`)}`, {
      redirect: 'manual',
    })
    expect([response.status, response.headers.get('location')]).toEqual([303, `${origin}/cb`])
  })

  it('and to no other (CSP form-action)', async () => {
    const { page, complaints } = await signIn('https://shop.example')
    await expect.poll(() => complaints.join()).toContain('form-action')
    expect(page.url()).not.toContain(origin)
  })
})

describe('set-up', () => {
  beforeEach(() => withoutOwner(hosted))

  const fill = async ({ page }: WatchedPage, change: Record<string, string> = {}) => {
    const fields = { email: 'grace@example.com', name: 'Grace Hopper', password: person.password, ...change }
    for (const [name, value] of Object.entries(fields)) await page.fill(`[name=${name}]`, value)
  }

  it('takes the code from the part of the link that is never sent, and removes it from the address', async () => {
    const code = await issueSetupCode(hosted)
    hosted.lines.length = 0
    const opened = await open(`/admin/setup#code=${code}`)
    expect(await opened.page.inputValue('[name=code]')).toBe(code)
    expect(opened.page.url()).toBe(`${hosted.origin}/admin/setup`)
    await fill(opened)
    expect(await submit(opened.page, '.primary')).toBe(200)
    expect(await opened.page.locator('h1').textContent()).toBe('You are the first administrator')
    expect(hosted.lines.join('')).not.toContain(code)
    expect(opened.complaints).toEqual([])

    const again = await opened.page.goto(`${hosted.origin}/admin/setup`)
    expect(again?.status()).toBe(404)
  })

  it('works without scripts: the code is typed', async () => {
    const opened = await open('/admin/setup', { javaScriptEnabled: false })
    await fill(opened, { code: await issueSetupCode(hosted) })
    expect(await submit(opened.page, '.primary')).toBe(200)
  })

  it.each([
    ['an unknown code', { code: 'AAAA' }, 403, 'code', 'This code is not valid'],
    ['a password that repeats', { password: 'abababababababab' }, 422, 'password', 'repeats or counts'],
    ['a password that is the address', { password: 'grace@example.com' }, 422, 'password', 'your name or address'],
    ['an address that is none', { email: 'grace@localhost@' }, 422, 'email', 'complete email address'],
  ])('refuses %s next to its field, and the code can be used again', async (_what, change, status, field, words) => {
    const code = await issueSetupCode(hosted)
    const opened = await open('/admin/setup', { javaScriptEnabled: false })
    await opened.page.locator('form').evaluate((form: HTMLFormElement) => {
      form.noValidate = true
    })
    await fill(opened, { code, ...change })
    expect(await submit(opened.page, '.primary')).toBe(status)
    expect(await opened.page.locator(`#${field}-error`).textContent()).toContain(words)
    expect(await opened.page.inputValue('[name=password]')).toBe('')
    await fill(opened, { code })
    expect(await submit(opened.page, '.primary')).toBe(200)
  })
})
