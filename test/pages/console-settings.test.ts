// Settings in the console, and the preview of the sign-in page.
import { lookAtConsole } from '#test/support/console-pages.ts'

lookAtConsole(
  'settings',
  [
    { name: 'settings', path: () => '/admin/settings' },
    {
      name: 'settings-preview',
      path: () => '/admin/settings/preview?client=shop-web',
      shows: '/admin/settings/preview',
    },
    { name: 'settings-preview-light', path: () => '/admin/settings/preview?scheme=light' },
    { name: 'settings-jobs', path: () => '/admin/settings/jobs' },
    { name: 'settings-preview-dark', path: () => '/admin/settings/preview?scheme=dark' },
  ],
  async ({ server: { database } }) => {
    await database.pool.query(
      `INSERT INTO job (name, every_seconds, when_needed, looked_at, began_at, seconds, outcome, failed_at, ran_by) VALUES
         ('sweep', 10, false, now(), now() - interval '20 s', 0.084, 'done', NULL, 'sallyport-1:41'),
         ('signing keys', 600, false, now(), now() - interval '7 min', 0.021, 'done', now() - interval '2 days', 'sallyport-2:38'),
         ('mail', 1, true, now(), now() - interval '3 min', 0.412, 'failed', now() - interval '3 min', 'sallyport-1:41'),
         ('webhooks', 1, true, now(), NULL, NULL, NULL, NULL, NULL),
         ('audit seal', 1, true, now() - interval '2 hours', now() - interval '2 hours', 0.006, 'done', NULL, 'sallyport-2:38')`,
    )
  },
)
