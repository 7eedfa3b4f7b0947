// Every account page in a real browser, signed in through the real login: readable by assistive technology, in both colour schemes, on
// the narrowest phone, at 200 %, under the strict policy, without a script, and small.
import { randomUUID } from 'node:crypto'
import { AxeBuilder } from '@axe-core/playwright'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createApiKey, revokeApiKey, rotateApiKey } from '#src/access/api-keys/api-keys.ts'
import { createRole } from '#src/access/roles.ts'
import { updateApi } from '#src/apis/apis.ts'
import { setClientLogo } from '#src/clients/logos.ts'
import { accountKey, reserveGuess } from '#src/factors/guessing.ts'
import { rememberDevice } from '#src/factors/remembered-device.ts'
import { type AccountHome, accountTable, headingOf, startAccount } from '#test/support/account.ts'
import { tamper } from '#test/support/audit.ts'
import { launchBrowser, openPage, type WatchedPage } from '#test/support/browser.ts'
import { givePhone, giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { change, orders, password } from '#test/support/installation.ts'
import { harbourLogo } from '#test/support/logos.ts'
import { measureLooks, watchShifts } from '#test/support/looks.ts'
import { takePicture } from '#test/support/pictures.ts'
import { type Receiver, startReceiver } from '#test/support/receiver.ts'

let home: AccountHome
let receiver: Receiver
let browser: Browser
let sessionPath: string
let factorPath: string
let keyPath: string

const passes = [
  { what: 'wide and light', suffix: '', colorScheme: 'light', viewport: { width: 1280, height: 800 } },
  { what: 'at 200 %', suffix: undefined, colorScheme: 'light', viewport: { width: 640, height: 400 } },
  { what: 'on a phone, dark', suffix: '-phone-dark', colorScheme: 'dark', viewport: { width: 320, height: 640 } },
] as const
const signedIn = new Map<string, WatchedPage>()

const agents = [
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1',
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0',
  'curl/8.11.0',
]

beforeAll(async () => {
  receiver = await startReceiver()
  home = await startAccount({ env: receiver.env })
  browser = await launchBrowser()
  await furnish()
  for (const { what, colorScheme, viewport } of passes) signedIn.set(what, await signIn({ colorScheme, viewport }))
  await giveFactors()
})
afterAll(async () => {
  for (const { close } of signedIn.values()) await close()
  await browser?.close()
  await home?.stop()
  await receiver?.stop()
})

/** Other devices, applications with and without an API, and a past. */
async function furnish(): Promise<void> {
  const { database } = home.server
  await database.prisma.client.update({
    where: { id: 'shop-web' },
    data: { name: 'Harbour Shop', clientUri: 'https://shop.example/' },
  })
  await setClientLogo(database.prisma, 'shop-web', harbourLogo, change())
  await database.prisma.client.update({ where: { id: 'shop-spa' }, data: { name: 'Parcel tracker' } })
  await giveApiKeys()
  await giveReceipt()
  await home.tokensFor(
    { scope: 'openid profile email offline_access orders:read orders:write', resource: orders, prompt: 'consent' },
    undefined,
    { resource: orders },
  )
  await home.tokensFor({ client_id: 'shop-spa', scope: 'openid profile' })
  await home.enter()
  for (const [index, session] of (await home.sessionsOf(home.alice.id)).entries()) {
    const id = Buffer.from(`origin ${index}`)
    await database.prisma.origin.create({
      data: {
        id,
        address: ['203.0.113.7', '2001:db8:85a3::8a2e:370:7334', '198.51.100.23'][index] ?? null,
        userAgent: agents[index] ?? null,
      },
    })
    await database.pool.query(
      `UPDATE session SET origin_id = $2, created_at = now() - make_interval(hours => $3), last_used_at = now() - make_interval(mins => $4) WHERE uid = $1`,
      [session.uid, id, [4, 30, 2][index], [3, 55, 12][index]],
    )
    sessionPath ??= `/account/sessions/${session.uid}`
  }
  await tamper(database, `UPDATE audit_event SET at = at - make_interval(hours => (100 - id)::int)`)
  await database.pool.query(`UPDATE credential SET created_at = now() - interval '40 days' WHERE user_id = $1`, [
    home.alice.id,
  ])
}

const receiptId = '4f0c2d3e-9a1b-4c5d-8e6f-7a8b9c0d1e2f'

/** A decision, and the right to read of it. */
async function giveReceipt(): Promise<void> {
  const { prisma } = home.server.database
  await createRole(prisma, 'auditor', { permissions: ['audit:read'] }, change())
  await prisma.userRole.create({ data: { userId: home.alice.id, roleName: 'auditor' } })
  await prisma.decisionReceipt.create({
    data: {
      ...{ id: receiptId, endpoint: 'GET /authz/forward', allowed: false, gate: 'relation', reason: 'ownership' },
      ...{ needs: ['owner'], policies: [], subjectKind: 'user', subjectId: home.alice.id, method: 'oauth' },
      ...{ clientId: 'shop-web', api: orders, action: 'DELETE /orders/{id}', objectType: 'order', objectId: '89' },
      ...{ address: '203.0.113.7', expiresAt: new Date(Date.now() + 86_400_000) },
    },
  })
}

async function giveApiKeys(): Promise<void> {
  const { prisma } = home.server.database
  const scopes = { 'orders:read': 'See orders', 'orders:write': 'Create and change orders' }
  await updateApi(prisma, orders, { name: 'Orders', accept: ['oauth', 'api_key'], scopes }, change())
  await createRole(prisma, 'buyer', { permissions: ['orders:read', 'orders:write'] }, change())
  await prisma.userRole.create({ data: { userId: home.alice.id, roleName: 'buyer' } })
  const owner = { userId: home.alice.id }
  const make = (name: string) => createApiKey(prisma, { name, apis: { [orders]: ['orders:read'] }, owner }, change())
  const [laptop, old] = [await make('Backup script on the laptop'), await make('Old phone')]
  await rotateApiKey(prisma, laptop.id, {}, change())
  await revokeApiKey(prisma, old.id, change())
  keyPath = `/account/api-keys/${laptop.id}`
}

/** After everybody has signed in: from now on it takes one of them. */
async function giveFactors(): Promise<void> {
  const { prisma } = home.server.database
  await giveTotp(home.server, home.alice.id)
  await giveRecoveryCodes(home.server, home.alice.id)
  await givePhone(home.server, home.alice.id)
  const { id } = await prisma.credential.create({
    data: {
      id: randomUUID(),
      userId: home.alice.id,
      kind: 'passkey',
      name: 'MacBook',
      secret: '-',
      keyId: randomUUID(),
      createdAt: new Date(Date.now() - 9 * 86_400_000),
      lastUsedAt: new Date(Date.now() - 7_200_000),
    },
  })
  factorPath = `/account/security/factors/${id}`
  for (const [factor, times] of [
    ['password', 7],
    ['totp', 5],
  ] as const)
    for (let n = 0; n < times; n++)
      await reserveGuess(home.server.database, {
        factor,
        account: accountKey(home.server.secretKeys, 'alice@example.com'),
        address: '198.51.100.99',
        now: new Date(Date.now() - (factor === 'totp' ? 1_000 : (times - n) * 3_600_000)),
      })
  for (const [index, userAgent] of agents.entries())
    await rememberDevice(
      prisma,
      { userId: home.alice.id, days: 30, values: [] },
      {
        now: new Date(Date.now() - (index + 1) * 3 * 86_400_000),
        actor: { kind: 'user', id: home.alice.id },
        origin: { address: ['203.0.113.7', '2001:db8:85a3::8a2e:370:7334'][index], userAgent },
      },
    )
}

async function signIn(options: Parameters<typeof openPage>[1] = {}, as = 'alice@example.com'): Promise<WatchedPage> {
  const watched = await openPage(browser, { locale: 'en-GB', ...options })
  await watchShifts(watched.page)
  await watched.page.goto(`${home.server.url}/account`)
  await watched.page.fill('[name=identifier]', as)
  await watched.page.fill('[name=password]', password)
  await watched.page.click('.primary')
  await watched.page.waitForURL('**/account')
  return watched
}

async function submit(page: Page, button = 'main .primary, main .danger'): Promise<number> {
  const [response] = await Promise.all([
    page.waitForResponse((candidate) => candidate.request().isNavigationRequest() && candidate.status() !== 303),
    page.click(button),
  ])
  await page.waitForLoadState('load')
  return response.status()
}

type Screen = { name: string; status?: number; path: () => string; act?: (page: Page) => Promise<number> }
const unchecked = (page: Page) =>
  page.locator('main form').evaluateAll((forms) => {
    for (const form of forms) if (form instanceof HTMLFormElement) form.noValidate = true
  })

const screens: Screen[] = [
  { name: 'account', path: () => '/account' },
  { name: 'account-profile', path: () => '/account/profile' },
  {
    name: 'account-profile-refused',
    status: 422,
    path: () => '/account/profile',
    async act(page) {
      await page.locator('#given_name').evaluate((input: HTMLInputElement) => {
        input.value = 'Alice \u202e ecilA'
      })
      return submit(page)
    },
  },
  { name: 'account-profile-saved', path: () => '/account/profile?done=profile' },
  { name: 'account-security', path: () => '/account/security' },
  { name: 'account-password', path: () => '/account/security/password' },
  {
    name: 'account-password-refused',
    status: 422,
    path: () => '/account/security/password',
    async act(page) {
      await page.fill('#current', 'not it')
      await page.fill('#password', 'short')
      return submit(page)
    },
  },
  { name: 'account-email', path: () => '/account/profile/email' },
  {
    name: 'account-email-code',
    path: () => '/account/profile/email',
    async act(page) {
      await page.fill('#email', 'alice.liddell@example.com')
      return submit(page)
    },
  },
  { name: 'account-passkey', path: () => '/account/security/passkeys' },
  { name: 'account-totp', path: () => '/account/security/totp' },
  {
    name: 'account-totp-refused',
    status: 422,
    path: () => '/account/security/totp',
    async act(page) {
      await page.fill('#code', '000000')
      return submit(page)
    },
  },
  { name: 'account-phone', path: () => '/account/security/phone' },
  {
    name: 'account-phone-refused',
    status: 422,
    path: () => '/account/security/phone',
    async act(page) {
      await page.fill('#number', '07700 900 113')
      return submit(page)
    },
  },
  {
    name: 'account-phone-code',
    path: () => '/account/security/phone',
    async act(page) {
      await page.fill('#number', '+44 7700 900 113')
      return submit(page)
    },
  },
  { name: 'account-factor', path: () => factorPath },
  { name: 'account-attempts', path: () => '/account/security/attempts' },
  { name: 'account-browsers', path: () => '/account/security/browsers' },
  { name: 'account-recovery-codes', path: () => '/account/security/recovery-codes' },
  {
    name: 'account-recovery-codes-new',
    path: () => '/account/security/recovery-codes',
    act: (page) => submit(page, 'main form .button'),
  },
  { name: 'account-sessions', path: () => '/account/sessions' },
  { name: 'account-session', path: () => sessionPath },
  { name: 'account-applications', path: () => '/account/applications' },
  { name: 'account-application', path: () => '/account/applications/shop-web' },
  { name: 'account-api-keys', path: () => '/account/api-keys' },
  { name: 'account-api-key', path: () => keyPath },
  { name: 'account-api-key-new', path: () => '/account/api-keys/new' },
  {
    name: 'account-api-key-refused',
    status: 422,
    path: () => '/account/api-keys/new',
    async act(page) {
      await unchecked(page)
      return submit(page)
    },
  },
  {
    name: 'account-api-key-value',
    path: () => '/account/api-keys/new',
    async act(page) {
      await page.fill('#name', 'Report at night')
      await page.check('[name=scope]')
      return submit(page)
    },
  },
  { name: 'account-api-key-rotate', path: () => `${keyPath}/rotate` },
  { name: 'account-activity', path: () => '/account/activity' },
  { name: 'account-data', path: () => '/account/data' },
  { name: 'account-deletion', path: () => '/account/data/deletion' },
  {
    name: 'account-deletion-refused',
    status: 422,
    path: () => '/account/data/deletion',
    async act(page) {
      await unchecked(page)
      return submit(page)
    },
  },
  { name: 'account-deleted', path: () => '/account/deleted' },
  { name: 'receipt', path: () => `/d/${receiptId}` },
  { name: 'account-not-found', status: 404, path: () => '/account/applications/nobody' },
]

test('every page of the account is among them', () => {
  const shown = screens.map(({ path }) =>
    path()
      .replace(sessionPath, '/account/sessions/:uid')
      .replace(factorPath, '/account/security/factors/:id')
      .replace(keyPath, '/account/api-keys/:key')
      .replace('shop-web', ':clientId'),
  )
  const ours = accountTable.filter(({ show, path }) => show && !path.endsWith('.svg'))
  expect(ours.map(({ path }) => path).filter((path) => !shown.includes(path))).toEqual([])
})

describe.each(passes)('$what', ({ what, suffix }) => {
  // The passes take longer than a sign-in counts as fresh.
  beforeEach(() =>
    home.server.database.pool.query(
      `UPDATE session SET login_at = now(), amr = '{pwd,otp,mfa}', acr = 'urn:sallyport:acr:2fa' WHERE ended_at IS NULL`,
    ),
  )

  test.each(screens)('$name', async ({ name, status = 200, path, act }) => {
    const { page, complaints } = signedIn.get(what) as WatchedPage
    const opened = await page.goto(home.server.url + path())
    const answered = act ? await act(page) : (opened?.status() ?? 0)
    if (suffix !== undefined) await takePicture(page, name + suffix)
    const { violations } = await new AxeBuilder({ page }).analyze()
    const { bytes, overflow, ...looks } = await measureLooks(page, { focusFirst: false })
    expect({
      status: answered,
      violations: violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`),
      complaints,
      overflow: Math.max(...overflow),
      ...looks,
    }).toEqual({ status, violations: [], complaints: [], overflow: 0, shifts: [], focus: [], untied: [] })
    expect(bytes).toBeGreaterThan(10_000)
    expect(bytes).toBeLessThan(50_000)
    expect(headingOf({ text: await page.content() } as never)).not.toBe('')
  })
})
