// The relying party of examples/, in a real browser: a person signs in, sees who they are, refreshes, and signs out.
import { randomBytes } from 'node:crypto'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClient } from '#src/clients/clients.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createUser } from '#src/users/users.ts'
import { launchBrowser, openPage } from '#test/support/browser.ts'
import { freePort } from '#test/support/processes.ts'
import { startServer, type TestServer } from '#test/support/server.ts'
import { type Program, startProgram } from './program.ts'

const password = 'correct lantern battery harbour'

describe('examples/relying-party', { timeout: 180_000 }, () => {
  let server: TestServer
  let app: Program
  let browser: Browser
  let subject: string

  beforeAll(async () => {
    const [port, started, launched] = await Promise.all([freePort(), startServer(), launchBrowser()])
    server = started
    browser = launched
    const url = `http://localhost:${port}`
    const change = { now: new Date(), actor: { kind: 'system' as const } }
    const secret = randomBytes(32).toString('base64url')
    const { prisma } = server.database
    await createClient(
      prisma,
      {
        id: 'demo-web',
        name: 'Demo',
        type: 'web',
        redirectUris: [`${url}/callback`],
        postLogoutRedirectUris: [`${url}/`],
        scopes: ['openid', 'profile', 'email'],
      },
      [{ value: secret }],
      change,
    )
    const passwordHash = await hashPassword(password)
    const alice = { email: 'alice@example.com', emailVerified: true, name: 'Alice <b>Example</b>', passwordHash }
    subject = (await createUser(prisma, alice, change)).id
    await server.app.providers.refresh()
    app = await startProgram('examples/relying-party/server.ts', {
      ISSUER_URL: server.url,
      PORT: String(port),
      DEMO_CLIENT_SECRET: secret,
    })
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await app?.stop()
    await server?.stop()
  })

  it('signs a person in with the code flow, refreshes, and signs out at the issuer too', async () => {
    const { page, complaints, close } = await openPage(browser)
    await page.goto(app.url)
    await page.getByRole('link', { name: 'Sign in' }).click()
    await page.locator('[name=identifier]').fill('alice@example.com')
    await page.locator('[name=password]').fill(password)
    await page.locator('[name=password]').press('Enter')
    await page.locator('[name=decision][value=allow]').click()
    await page.getByRole('heading', { name: 'You are signed in' }).waitFor()
    const claims = async () => (await page.locator('table').textContent()) ?? ''
    expect(await claims()).toContain(subject)
    expect(await claims()).toContain('alice@example.com')
    expect(await claims()).toContain('Alice <b>Example</b>') // shown, not run

    for (let n = 0; n < 2; n++) {
      // Twice: the second spends the token that the first was given.
      await page.getByRole('button', { name: 'Refresh' }).click()
      await page.getByRole('heading', { name: 'You are signed in' }).waitFor()
    }
    expect(await claims()).toContain(subject)

    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.locator('[name=decision][value=logout]').click()
    await page.getByRole('heading', { name: 'You are not signed in' }).waitFor()
    expect(new URL(page.url()).origin).toBe(app.url)

    await page.getByRole('link', { name: 'Sign in' }).click()
    await page.locator('[name=password]').waitFor() // the session at the issuer is gone: it asks again
    expect(complaints).toEqual([])
    await close()
  })

  it('refuses an answer that this browser did not ask for (RFC 9700 4.7)', async () => {
    const response = await fetch(`${app.url}/callback?code=stolen&state=guessed&iss=${encodeURIComponent(server.url)}`)
    expect(response.status).toBe(400)
    expect(response.headers.get('set-cookie')).toBeNull()
  })

  it('refuses a state or an issuer that is not the one it started with (RFC 9207)', async () => {
    for (const changed of [{ state: 'another' }, { iss: 'https://other.example.com' }]) {
      const login = await fetch(`${app.url}/login`, { redirect: 'manual' })
      const cookie = login.headers.get('set-cookie')?.split(';')[0] ?? ''
      const state = new URL(login.headers.get('location') ?? '').searchParams.get('state') ?? ''
      const answer = new URLSearchParams({ code: 'c', state, iss: server.url, ...changed })
      const response = await fetch(`${app.url}/callback?${answer}`, { headers: { cookie } })
      expect(response.status).toBe(400)
      expect(await response.text()).toContain('could not be trusted')
    }
  })

  it('does nothing for a form of another site', async () => {
    for (const path of ['/refresh', '/logout']) {
      const response = await fetch(app.url + path, { method: 'POST', headers: { 'sec-fetch-site': 'cross-site' } })
      expect(response.status, path).toBe(403)
    }
  })

  it('sends the person to the issuer with PKCE S256, state and nonce', async () => {
    const login = await fetch(`${app.url}/login`, { redirect: 'manual' })
    const { searchParams } = new URL(login.headers.get('location') ?? '')
    expect(searchParams.get('code_challenge_method')).toBe('S256')
    for (const name of ['code_challenge', 'state', 'nonce'])
      expect(searchParams.get(name)?.length, name).toBeGreaterThan(40)
  })
})
