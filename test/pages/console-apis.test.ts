// APIs in the console.
import { updateApi } from '#src/apis/apis.ts'
import { lookAtConsole, press } from '#test/support/console-pages.ts'
import { change, orders } from '#test/support/installation.ts'

const path = `/admin/apis/${encodeURIComponent(orders)}`

lookAtConsole(
  'apis',
  [
    { name: 'apis', path: () => '/admin/apis' },
    { name: 'api', path: () => path, shows: '/admin/apis/:id' },
    { name: 'api-new', path: () => '/admin/apis/new' },
    {
      name: 'api-new-refused',
      path: () => '/admin/apis/new',
      status: 422,
      async act(page) {
        await page.fill('#identifier', 'orders')
        await page.fill('#name', 'Orders')
        return press(page)
      },
    },
    { name: 'api-delete', path: () => `${path}/delete`, shows: '/admin/apis/:id/delete' },
  ],
  async (home) => {
    await updateApi(
      home.server.database.prisma,
      orders,
      {
        name: 'Orders',
        accept: ['oauth', 'api_key'],
        introspectionClients: ['orders-api'],
        scopes: {
          'orders:read': 'See orders',
          'orders:write': { description: 'Create and change orders', byRole: true },
        },
        objects: { order: { owner: ['orders:read', 'orders:write'], viewer: ['orders:read'] } },
      },
      change(),
    )
  },
)
