// The checkup in the console.
import { lookAtConsole, press } from '#test/support/console-pages.ts'

lookAtConsole(
  'checkup',
  [
    { name: 'checkup', path: () => '/admin/checkup' },
    { name: 'checkup-shrink', path: () => '/admin/checkup/shrink?client=reports', shows: '/admin/checkup/shrink' },
    { name: 'checkup-backup', path: () => '/admin/checkup/backup' },
    {
      name: 'checkup-backup-refused',
      path: () => '/admin/checkup/backup',
      status: 422,
      async act(page) {
        await page.fill('#at', 'yesterday')
        return press(page)
      },
    },
  ],
  async ({ server }) => {
    await server.database.pool.query(
      "UPDATE client_scope SET granted_at = now() - interval '91 days' WHERE client_id = 'reports'",
    )
  },
)
