// From an empty installation to one that is run, as its operator sees it: the program is started, everything else happens in a browser. The
// first administrator by the code that was printed, a second factor, an application by the wizard, its real flow, a person who signs in,
// is switched off, and whose token dies with that. Then the same by command line, by the API and by a file.
import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { launchBrowser, openPage, type WatchedPage } from '#test/support/browser.ts'
import { codeAt } from '#test/support/factors.ts'
import { offered } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { checkout, freePort, gone, killAll, type Running, runNode } from '#test/support/processes.ts'

const secret = 'nine purple walruses paint'
const callback = 'http://localhost:3000/callback'
let directory: string
let url: string
let running: Running
let browser: Browser
let owner: WatchedPage

beforeAll(async () => {
  directory = fs.mkdtempSync(join(tmpdir(), 'sallyport-empty-'))
  fs.chmodSync(directory, 0o755)
  const port = await freePort()
  url = `http://localhost:${port}`
  running = runNode(['src/sallyport.mjs', 'start'], {
    env: { DATA_DIR: directory, PORT: String(port), ISSUER_URL: url, METRICS_PORT: '0' },
  })
  await running.prints('"event":"server.started"', 60_000)
  browser = await launchBrowser()
  owner = await openPage(browser, { locale: 'en-GB' })
})
afterAll(async () => {
  await browser?.close()
  running?.child.kill('SIGTERM')
  await running?.ended().catch(() => undefined)
  killAll()
  await gone(directory)
  const home = join(directory, 'postgres')
  if (fs.existsSync(home)) fs.rmSync(fs.realpathSync(home), { recursive: true })
  fs.rmSync(directory, { recursive: true, force: true })
})

const titleOf = async (page: Page) => (await page.textContent('h1'))?.trim() ?? ''
async function press(page: Page, button = 'main .primary'): Promise<void> {
  await Promise.all([
    page.waitForResponse((answer) => answer.request().isNavigationRequest() && answer.status() !== 303),
    page.click(button),
  ])
  await page.waitForLoadState('load')
}
async function codeFromMail(): Promise<string> {
  const mails = await (await fetch(`${url}/dev/mail`)).text()
  return /(\d{4} \d{4})/.exec(mails)?.[1] ?? 'no code'
}

test('the first administrator, by the code that was printed; with a second factor before anything is shown', async () => {
  const { page } = owner
  const link = /(http:\/\/localhost:\d+\/admin\/setup#code=[\w-]+)/.exec(running.output())?.[1] ?? ''
  await page.goto(link)
  await page.fill('[name=email]', 'owner@example.com')
  await page.fill('[name=name]', 'Olive Owner')
  await page.fill('[name=password]', secret)
  await press(page)
  await page.goto(`${url}/admin`)
  await page.fill('[name=identifier]', 'owner@example.com')
  await page.fill('[name=password]', secret)
  await press(page)
  await press(page, '[value=totp]')
  const seed = (await page.textContent('.key'))?.replaceAll(' ', '') ?? ''
  await page.fill('[name=code]', codeAt(seed, new Date()))
  await press(page)
  expect(await page.locator('main li code, main .codes li').count()).toBeGreaterThan(5) // recovery codes
  await press(page)
  expect(page.url()).toBe(`${url}/admin`)
  expect(await titleOf(page)).toBe('Overview')
  // The code is used up.
  expect((await fetch(`${url}/admin/setup`)).status).toBe(404)
})

let client: { id: string; secret: string }

test('an application by the wizard, and its real flow', async () => {
  const { page } = owner
  await page.goto(`${url}/admin/applications/new`)
  await page.click('a[href="/admin/applications/new/web"]')
  await page.fill('#name', 'Field orders')
  await press(page)
  client = {
    id: (await page.textContent('#client-id')) ?? '',
    secret: (await page.textContent('#client-secret')) ?? '',
  }
  await page.click('a[href$="/try"]')
  await press(page)
  await press(page, 'main a.primary')
  if (page.url().includes('/consent')) await press(page)
  expect(page.url()).toContain('/try/callback')
  expect(await page.locator('main .badge-good').count()).toBeGreaterThan(5)
  expect(await page.locator('main .badge-bad').allTextContents()).toEqual([])
})

let token = ''
const isActive = async (): Promise<boolean> => {
  const answer = await fetch(`${url}/oauth/introspect`, {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa(`${client.id}:${client.secret}`)}` },
    body: new URLSearchParams({ token }),
  })
  return ((await answer.json()) as { active: boolean }).active
}

test('a person is created, chooses a password by mail, and lets the application in', async () => {
  const { page } = owner
  await page.goto(`${url}/admin/people/new`)
  await page.fill('#email', 'ada@example.com')
  await page.fill('#name', 'Ada Lovelace')
  await press(page)
  expect(await titleOf(page)).toMatch(/^Ada Lovelace/)

  const ada = await openPage(browser, { locale: 'en-GB' })
  const verifier = randomBytes(32).toString('base64url')
  let code = ''
  // Nothing listens there: it is enough to see where the browser was sent.
  ada.page.on('request', (request) => {
    if (request.url().startsWith(callback)) code = new URL(request.url()).searchParams.get('code') ?? ''
  })
  await ada.page.goto(
    `${url}/oauth/authorize?${new URLSearchParams({
      ...{ client_id: client.id, redirect_uri: callback, response_type: 'code', scope: 'openid profile' },
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    })}`,
  )
  await ada.page.click('a[href*="recovery"]')
  await ada.page.fill('[name=email]', 'ada@example.com')
  await press(ada.page)
  await ada.page.fill('[name=code]', await codeFromMail())
  await press(ada.page)
  await ada.page.fill('[name=password]', secret)
  await press(ada.page)
  for (let step = 0; step < 3 && code === ''; step++) {
    if (await ada.page.locator('[name=identifier]').count()) {
      await ada.page.fill('[name=identifier]', 'ada@example.com')
      await ada.page.fill('[name=password]', secret)
    }
    const before = ada.page.url()
    await ada.page.click('main .primary')
    const arrived = async () => ada.page.url() !== before && (await ada.page.locator('main .primary').count()) > 0
    await expect.poll(async () => code !== '' || (await arrived()), { timeout: 10_000 }).toBe(true)
  }
  expect(code).not.toBe('')
  await ada.close()
  const answer = await fetch(`${url}/oauth/token`, {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa(`${client.id}:${client.secret}`)}` },
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: callback,
      code_verifier: verifier,
    }),
  })
  token = String(((await answer.json()) as { access_token?: string }).access_token)
  expect(await isActive()).toBe(true)
})

test('the person is switched off: the token is over, and the record says who did it', async () => {
  const { page } = owner
  await page.goto(`${url}/admin/people?q=ada`)
  await page.click('tbody a')
  await page.click('a[href$="/disable"]')
  expect(await page.textContent('main')).toMatch(/Access tokens\s*1/)
  await press(page, 'main .danger')
  expect(await titleOf(page)).toMatch(/Switched off$/)
  expect(await isActive()).toBe(false)
  await page.goto(`${url}/admin/audit?event=user.disabled`)
  const record = (await page.textContent('main')) ?? ''
  expect(record).toContain('user.disabled')
  expect(owner.complaints).toEqual([])
})

/** Signs in as somebody, agrees, and redeems. */
async function tokenFor(email: string, app: { id: string; secret: string }): Promise<string> {
  const verifier = randomBytes(32).toString('base64url')
  const person = new Person(url)
  let page = await person.open(
    `/oauth/authorize?${new URLSearchParams({
      ...{ client_id: app.id, redirect_uri: callback, response_type: 'code', scope: 'openid' },
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    })}`,
  )
  page = await person.submit(page, { identifier: email, password: secret })
  if (page.url.includes('/consent')) page = await person.submit(page, { decision: 'allow', scope: offered(page) })
  const code = new URL(page.url).searchParams.get('code') ?? ''
  const answer = await fetch(`${url}/oauth/token`, {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa(`${app.id}:${app.secret}`)}` },
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: callback,
      code_verifier: verifier,
    }),
  })
  return String(((await answer.json()) as { access_token?: string }).access_token)
}

function cli(args: readonly string[], input = ''): string {
  const env = { PATH: process.env.PATH ?? '', DATA_DIR: directory, ISSUER_URL: url }
  return execFileSync(process.execPath, ['src/sallyport.mjs', ...args, '--json'], {
    cwd: checkout,
    env,
    input,
  }).toString()
}

const disabledByNow = (userId: string): boolean =>
  (JSON.parse(cli(['audit', 'list', '--event', 'user.disabled', '--target', `user:${userId}`])).data as unknown[])
    .length === 1

test('the same by command line', async () => {
  const made = JSON.parse(
    cli(['clients', 'create', 'by-cli', '--type', 'web', '--redirect-uri', callback, '--scope', 'openid']),
  )
  const user = JSON.parse(cli(['users', 'create', 'cli@example.com', '--email-verified', '--password-stdin'], secret))
  client = { id: 'by-cli', secret: made.clientSecret }
  await expect.poll(async () => (token = await tokenFor('cli@example.com', client))).not.toBe('undefined')
  expect(await isActive()).toBe(true)
  cli(['users', 'disable', 'cli@example.com'])
  expect(await isActive()).toBe(false)
  expect(disabledByNow(user.id)).toBe(true)
})

test('the same by the API', async () => {
  const own = `${url}/api`
  const robot = JSON.parse(
    cli([
      'clients',
      'create',
      'robot',
      '--type',
      'service',
      '--api',
      `${own}=clients:write,users:read,users:write,audit:read`,
    ]),
  )
  const call = async (method: string, path: string, body?: object) => {
    const answer = await fetch(`${own}/v1${path}`, {
      method,
      headers: {
        Authorization: `Basic ${btoa(`robot:${robot.clientSecret}`)}`,
        'Content-Type': 'application/json',
        'If-Match': '*',
      },
      ...(body ? { body: JSON.stringify(body) } : {}),
    })
    // biome-ignore lint/suspicious/noExplicitAny: what is looked at is said below
    return { status: answer.status, body: (await answer.json()) as any }
  }
  await expect.poll(async () => (await call('GET', '/users')).status).toBe(200)
  const app = await call('POST', '/clients', {
    ...{ clientId: 'by-api', type: 'web', name: 'By the API', redirectUris: [callback], scopes: ['openid'] },
  })
  const user = await call('POST', '/users', { email: 'api@example.com', emailVerified: true, password: secret })
  expect([app.status, user.status]).toEqual([201, 201])
  client = { id: 'by-api', secret: app.body.clientSecret }
  await expect.poll(async () => (token = await tokenFor('api@example.com', client))).not.toBe('undefined')
  expect(await isActive()).toBe(true)
  expect((await call('PATCH', `/users/${user.body.id}`, { disabled: true })).status).toBe(200)
  expect(await isActive()).toBe(false)
  const record = await call('GET', `/audit?event=user.disabled&target=user:${user.body.id}`)
  expect(record.body.data).toMatchObject([{ event: 'user.disabled', actor: { kind: 'client', id: 'robot' } }])
})

test('the same by a file', async () => {
  const file = join(directory, 'sallyport.yaml')
  const declare = (state: string): void =>
    fs.writeFileSync(
      file,
      `clients:
  - clientId: by-file
    clientSecret: ${client.secret}
    type: web
    name: By a file
    redirectUris: [${callback}]
    scopes: [openid]
users:
  - email: file@example.com
    emailVerified: true
    password: ${secret}
    disabled: ${state}
`,
    )
  client = { id: 'by-file', secret: randomBytes(32).toString('base64url') }
  const apply = () => {
    const env = { PATH: process.env.PATH ?? '', DATA_DIR: directory, ISSUER_URL: url }
    execFileSync(process.execPath, ['src/sallyport.mjs', 'apply', '--file', file], {
      cwd: checkout,
      env,
    })
  }
  declare('false')
  apply()
  await expect.poll(async () => (token = await tokenFor('file@example.com', client))).not.toBe('undefined')
  expect(await isActive()).toBe(true)
  declare('true')
  apply()
  expect(await isActive()).toBe(false)
  const user = JSON.parse(cli(['users', 'show', 'file@example.com']))
  expect(disabledByNow(user.id)).toBe(true)
})
