// Gateway routes in the console.
import { createRole } from '#src/access/roles.ts'
import { createRoute } from '#src/apis/route-editing.ts'
import { lookAtConsole, press } from '#test/support/console-pages.ts'
import { change, orders, stock } from '#test/support/installation.ts'

const list = '/admin/routes'
let id = ''

lookAtConsole(
  'routes',
  [
    { name: 'routes', path: () => list },
    { name: 'route', path: () => `${list}/${id}`, shows: `${list}/:id` },
    { name: 'route-new', path: () => `${list}/new` },
    {
      name: 'route-new-refused',
      path: () => `${list}/new`,
      status: 422,
      async act(page) {
        await page.fill('#host', 'API.example.com')
        return press(page)
      },
    },
    { name: 'route-delete', path: () => `${list}/${id}/delete`, shows: `${list}/:id/delete` },
    {
      name: 'route-test',
      path: () => `${list}/test?address=${encodeURIComponent('https://api.example.com/orders/88')}`,
      shows: `${list}/test`,
    },
    {
      name: 'route-test-none',
      path: () => `${list}/test?method=PUT&address=${encodeURIComponent('https://api.example.com/orders/88')}`,
    },
  ],
  async ({ server }) => {
    const { prisma } = server.database
    await createRole(prisma, 'order-support', { permissions: ['orders:read'] }, change())
    const make = async (method: string, path: string, more: object = {}) =>
      (await createRoute(prisma, { host: 'api.example.com', method, path, api: orders, ...more }, {}, change())).id
    await make('GET', '/health', { anonymous: true })
    id = await make('GET', '/orders/{id}', { scopes: ['orders:read'], relation: 'owner@order:{id}' })
    await make('GET', '/orders/mine', { scopes: ['orders:read'] })
    await make('DELETE', '/orders/{id}', {
      ...{ scopes: ['orders:write'], roles: ['order-support'], maxAge: 900 },
      acrValues: ['urn:sallyport:acr:2fa', 'phr'],
    })
    await make('GET', '/', { host: 'warehouse.internal.example.com:8443', api: stock })
  },
)
