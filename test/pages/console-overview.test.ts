// The first page of the console, on an installation that people use.
import { updateRole } from '#src/access/roles.ts'
import { deleteClient, updateClient } from '#src/clients/clients.ts'
import { applyDeclaration } from '#src/declaration/apply.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { lookAtConsole } from '#test/support/console-pages.ts'
import { change, orders } from '#test/support/installation.ts'

lookAtConsole(
  'overview',
  [
    { name: 'overview', path: () => '/admin' },
    {
      name: 'overview-table',
      path: () => '/admin?range=weeks',
      async act(page) {
        await page.click('.figures-table summary')
        return undefined
      },
    },
    {
      name: 'overview-drift',
      path: () => '/admin',
      async act(page) {
        await page.click('.drift summary')
        return undefined
      },
    },
  ],
  async (home) => {
    const { database } = home.server
    const file = `clients:
  - { clientId: shop-mobile, type: native, name: Shop, redirectUris: [http://127.0.0.1/cb] }
  - { clientId: kiosk, type: spa, redirectUris: [https://kiosk.example/cb] }
roles: [{ name: order-clerk, permissions: ["orders:read"] }]`
    const options = { ...change(), prune: false, dryRun: false, file: 'sallyport.yaml' }
    await applyDeclaration(database, parseDeclaration(file), options)
    const shop = { type: 'native', name: 'Shop', redirectUris: ['http://127.0.0.1/other'] } as const
    await updateClient(database.prisma, 'shop-mobile', { ...shop, refreshLeewaySeconds: 5 }, change())
    await deleteClient(database.prisma, 'kiosk', change())
    await updateRole(database.prisma, 'order-clerk', { permissions: ['orders:read', 'orders:write'] }, change())
    await home.tokensFor(
      { scope: 'openid offline_access orders:read', resource: orders, prompt: 'consent' },
      undefined,
      { resource: orders },
    )
    // A day like others: few at night, most before noon.
    await home.server.database.pool.query(
      `INSERT INTO audit_event (at, event, outcome, actor_kind, detail)
       SELECT now() - make_interval(hours => h, mins => n % 60), CASE WHEN n % 7 = 0 THEN 'login.failed' ELSE 'login.succeeded' END,
         CASE WHEN n % 7 = 0 THEN 'failure' ELSE 'success' END, 'user', '{}'
       FROM generate_series(0, 330) h, generate_series(1, 45) n WHERE n < 4 + 40 * abs(sin(h * 0.131)) AND h % 5 <> 3`,
    )
  },
)
