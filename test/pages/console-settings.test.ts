// Settings in the console, and the preview of the sign-in page.
import { expect } from 'vitest'
import { changeSettings } from '#src/settings/settings.ts'
import { lookAtConsole, press } from '#test/support/console-pages.ts'
import { change } from '#test/support/installation.ts'

const sheet = ':root { --accent: #5b21b6 } @media (prefers-color-scheme: dark) { :root { --accent: #c4b5fd } }'

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
    {
      name: 'settings-refused',
      path: () => '/admin/settings',
      act: async (page) => {
        await page.fill('[name=SESSION_TTL_SECONDS]', '12')
        return press(page, '#sessions .primary')
      },
      status: 422,
    },
    {
      name: 'settings-preview-draft',
      path: () => '/admin/settings',
      act: async (page) => {
        await page.fill('[name=THEME_CSS]', sheet)
        // It opens beside the form; here it is looked at in this window.
        const button = page.locator('[formaction="/admin/settings/preview"][formtarget=_blank]')
        await button.evaluate((element) => element.removeAttribute('formtarget'))
        const status = await press(page, '[formaction="/admin/settings/preview"]')
        const read = () => getComputedStyle(document.documentElement).getPropertyValue('--accent').trim()
        expect(['#5b21b6', '#c4b5fd']).toContain(await page.evaluate(read))
        return status
      },
    },
  ],
  async ({ server }) => {
    const { database, config } = server
    await changeSettings(database.prisma, config, { SIGN_UP: 'open', THEME_CSS: 'a {}\n' }, change())
    await database.pool.query(
      `INSERT INTO job (name, every_seconds, when_needed, looked_at, began_at, seconds, outcome, failed_at, ran_by) VALUES
         ('sweep', 10, false, now(), now() - interval '20 s', 0.084, 'done', NULL, 'sallyport-1:41'),
         ('signing keys', 600, false, now(), now() - interval '7 min', 0.021, 'done', now() - interval '2 days', 'sallyport-2:38'),
         ('mail', 1, true, now(), now() - interval '3 min', 0.412, 'failed', now() - interval '3 min', 'sallyport-1:41'),
         ('webhooks', 1, true, now(), NULL, NULL, NULL, NULL, NULL),
         ('audit seal', 1, true, now() - interval '2 hours', now() - interval '2 hours', 0.006, 'done', NULL, 'sallyport-2:38')`,
    )
    await server.settle()
  },
)
