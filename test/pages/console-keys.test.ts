// Signing keys and API keys in the console.
import { createApiKey, revokeApiKey, rotateApiKey } from '#src/access/api-keys/api-keys.ts'
import type { ConsoleHome } from '#test/support/console.ts'
import { lookAtConsole, press } from '#test/support/console-pages.ts'
import { change, orders } from '#test/support/installation.ts'

let kid = ''
let key = ''
const list = '/admin/keys/api-keys'

lookAtConsole(
  'keys',
  [
    { name: 'keys', path: () => '/admin/keys' },
    { name: 'key-rotate', path: () => '/admin/keys/rotate' },
    { name: 'key-rotate-early', path: () => '/admin/keys/rotate', status: 409, act: (page) => press(page) },
    { name: 'key-retire', path: () => `/admin/keys/retire/${kid}`, shows: '/admin/keys/retire/:kid' },
    { name: 'api-keys', path: () => list },
    { name: 'api-key', path: () => `${list}/${key}`, shows: `${list}/:key` },
    { name: 'api-key-new', path: () => `${list}/new` },
    { name: 'api-key-new-client', path: () => `${list}/new?client=reports` },
    {
      name: 'api-key-value',
      path: () => `${list}/new?client=reports`,
      async act(page) {
        await page.fill('#name', 'Nightly export')
        await page.check('[name=scope]')
        return press(page)
      },
    },
    {
      name: 'api-key-new-refused',
      path: () => `${list}/new?client=reports`,
      status: 422,
      async act(page) {
        await page.fill('#name', 'Nightly export')
        return press(page)
      },
    },
    { name: 'api-key-rotate', path: () => `${list}/${key}/rotate`, shows: `${list}/:key/rotate` },
    { name: 'api-key-revoke', path: () => `${list}/${key}/revoke`, shows: `${list}/:key/revoke` },
  ],
  async (home: ConsoleHome) => {
    const { prisma, pool } = home.server.database
    kid = (await prisma.signingKey.findFirstOrThrow({ where: { state: 'current' } })).kid
    await pool.query('UPDATE api SET accept = accept || $2 WHERE identifier = $1', [orders, ['api_key']])
    const make = (name: string) =>
      createApiKey(prisma, { name, owner: { clientId: 'reports' }, apis: { [orders]: ['orders:read'] } }, change())
    key = (await make('Monthly report')).id
    await rotateApiKey(prisma, key, { overlapHours: 24 }, change())
    await revokeApiKey(prisma, (await make('Old importer')).id, change())
    const alices = {
      name: 'Backup of my orders',
      owner: { userId: home.alice.id },
      apis: { [orders]: ['orders:read'] },
    }
    await createApiKey(prisma, alices, change())
  },
)
