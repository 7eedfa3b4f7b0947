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
    { name: 'settings-preview-dark', path: () => '/admin/settings/preview?scheme=dark' },
  ],
  async () => undefined,
)
