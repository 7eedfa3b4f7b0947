// Webhooks in the console.
import { testEndpoint } from '#src/webhooks/deliveries.ts'
import { createEndpoint } from '#src/webhooks/endpoints.ts'
import { lookAtConsole, press } from '#test/support/console-pages.ts'
import { change } from '#test/support/installation.ts'

const list = '/admin/webhooks'
let id = ''
let delivery = ''

lookAtConsole(
  'webhooks',
  [
    { name: 'webhooks', path: () => list },
    { name: 'webhook', path: () => `${list}/${id}`, shows: `${list}/:id` },
    { name: 'webhook-new', path: () => `${list}/new` },
    {
      name: 'webhook-new-refused',
      path: () => `${list}/new`,
      status: 422,
      async act(page) {
        await page.fill('#url', 'http://hooks.example.com')
        return press(page)
      },
    },
    { name: 'webhook-edit', path: () => `${list}/${id}/edit`, shows: `${list}/:id/edit` },
    { name: 'webhook-test', path: () => `${list}/${id}/test`, shows: `${list}/:id/test` },
    { name: 'webhook-rotate', path: () => `${list}/${id}/rotate`, shows: `${list}/:id/rotate` },
    { name: 'webhook-delete', path: () => `${list}/${id}/delete`, shows: `${list}/:id/delete` },
    {
      name: 'webhook-delivery',
      path: () => `${list}/${id}/deliveries/${delivery}`,
      shows: `${list}/:id/deliveries/:delivery`,
    },
  ],
  async ({ server }) => {
    const { prisma } = server.database
    const deps = { secretKeys: server.secretKeys, networks: [] }
    const make = async (url: string, types: string[], description: string) =>
      (await createEndpoint(prisma, { url, types, description }, deps, change())).record.id
    id = await make('https://hooks.example.com/sallyport', ['user.*', 'token.reuse_detected'], 'Security team')
    await make('https://billing.example.com/events', ['*'], '')
    delivery = String((await testEndpoint(prisma, id, change())).id)
  },
)
