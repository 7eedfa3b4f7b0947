// Applications in the console.
import { createClient, setClientDisabled } from '#src/clients/clients.ts'
import { type ConsoleScreen, lookAtConsole, press } from '#test/support/console-pages.ts'
import { change, orders } from '#test/support/installation.ts'

const base = '/admin/applications'
let made = 0
const secretPath = new Map<string, string>()

const screens: ConsoleScreen[] = [
  { name: 'applications', path: () => base },
  { name: 'applications-none', path: () => `${base}?q=nothing` },
  { name: 'application-who', path: () => `${base}/new` },
  { name: 'application-new', path: () => `${base}/new/web`, shows: `${base}/new/:kind` },
  {
    name: 'application-made',
    path: () => `${base}/new/web`,
    async act(page) {
      made += 1
      await page.fill('#name', `Field orders ${made}`)
      return press(page, 'main .primary')
    },
  },
  { name: 'application-code', path: () => `${base}/reports/code`, shows: `${base}/:id/code` },
  { name: 'application-code-browser', path: () => `${base}/shop-spa/code` },
  { name: 'application-try', path: () => `${base}/shop-web/try`, shows: `${base}/:id/try` },
  {
    name: 'application-try-begun',
    path: () => `${base}/shop-spa/try`,
    act: (page) => press(page, 'main .primary'),
  },
  {
    name: 'application-try-service',
    path: () => `${base}/reports/try`,
    act: (page) => press(page, 'main .primary'),
  },
  {
    name: 'application-try-done',
    path: () => `${base}/shop-spa/try`,
    async act(page, { server }) {
      await press(page, 'main .primary')
      await server.settle()
      await press(page, 'main a.primary')
      if (page.url().includes('/interaction/')) await press(page, 'main .primary')
      await page.waitForURL('**/try/callback**')
      return 200
    },
  },
  {
    name: 'application-try-none',
    path: () => `${base}/shop-spa/try/callback`,
    shows: `${base}/:id/try/callback`,
  },
  { name: 'application', path: () => `${base}/shop-web`, shows: `${base}/:id` },
  { name: 'application-service', path: () => `${base}/reports` },
  { name: 'application-off', path: () => `${base}/old-kiosk` },
  { name: 'application-settings', path: () => `${base}/shop-web/settings`, shows: `${base}/:id/settings` },
  {
    name: 'application-settings-refused',
    status: 422,
    path: () => `${base}/shop-web/settings`,
    async act(page) {
      await page.locator('[name=redirectUris]').nth(1).fill('http://shop.example/cb#here')
      await page.fill('#refreshTokenTtlSeconds', '12')
      return press(page, 'main .primary')
    },
  },
  { name: 'application-secrets', path: () => `${base}/shop-web/secrets`, shows: `${base}/:id/secrets` },
  {
    name: 'application-secret-value',
    path: () => `${base}/reports/secrets`,
    act: (page) => press(page, 'main .primary'),
  },
  { name: 'application-disable', path: () => `${base}/shop-web/disable`, shows: `${base}/:id/disable` },
  { name: 'application-end-tokens', path: () => `${base}/shop-web/end-tokens`, shows: `${base}/:id/end-tokens` },
  { name: 'application-delete', path: () => `${base}/shop-web/delete`, shows: `${base}/:id/delete` },
  {
    name: 'application-retire',
    path: () => `${base}/shop-web/secrets/${secretPath.get('shop-web')}`,
    shows: `${base}/:id/secrets/:secret`,
  },
]

lookAtConsole('applications', screens, async ({ server: { database, settle }, tokensFor }) => {
  const { prisma } = database
  await createClient(prisma, { id: 'old-kiosk', name: 'Kiosk in the lobby', type: 'device' }, [], change())
  await setClientDisabled(prisma, 'old-kiosk', true, change())
  await createClient(
    prisma,
    {
      id: 'field-app',
      name: 'Field app',
      type: 'native',
      redirectUris: ['com.example.field:/callback'],
      apis: { [orders]: ['orders:read'] },
    },
    [],
    change(),
  )
  await settle()
  await tokensFor()
  const secret = await prisma.clientSecret.findFirstOrThrow({ where: { clientId: 'shop-web' } })
  secretPath.set('shop-web', secret.id)
})
