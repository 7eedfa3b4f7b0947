// The first page of the console, on an installation that people use.
import { lookAtConsole } from '#test/support/console-pages.ts'
import { orders } from '#test/support/installation.ts'

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
  ],
  async (home) => {
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
