// An orders API behind Sallyport. What happens to a request, in this order:
//   1. who are you: `protect` lets nobody past who did not send one good token for this API; 400 and 401 are its answers
//   2. may you do this: `authorize` wants the scope of the route, or 403 insufficient_scope
//   3. may you do this to that: `requireOwner` wants the order to belong to the subject of the token, or 403
// Only then does a handler do anything. Start: npx node examples/resource-server/server.ts
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type Caller, createGuard } from 'sallyport/guard'
import { protect } from 'sallyport/guard/node'

const port = Number(process.env.PORT ?? 4001)
const revocationsKey = process.env.REVOCATIONS_KEY

type Order = { id: string; owner: string; item: string }

const guard = createGuard({
  issuer: process.env.ISSUER_URL ?? 'http://localhost:3000',
  audience: process.env.API_IDENTIFIER ?? 'https://api.example.com/orders',
  realm: 'orders',
  // Without it a revoked token is taken until it expires, a quarter of an hour at most unless the API says otherwise.
  ...(revocationsKey !== undefined && { revocations: { apiKey: revocationsKey } }),
})
await guard.ready() // before the first request: what was revoked is known, and a wrong ISSUER_URL is told now

const orders = new Map<string, Order>([['1', { id: '1', owner: 'somebody-else', item: 'a lantern' }]])
let nextId = 2

const server = createServer(protect(guard, handle, { onError: console.error }))
server.listen(port, 'localhost', () => {
  const address = server.address()
  console.log(`orders API on http://localhost:${address && typeof address === 'object' ? address.port : port}`)
})
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => {
    guard.close()
    server.close()
  })

function handle(request: IncomingMessage, response: ServerResponse, caller: Caller): void {
  const path = request.url?.split('?')[0] ?? ''
  const route = `${request.method} ${path.replace(/^\/orders\/[^/]+$/, '/orders/:id')}`
  const id = path.split('/')[2] ?? ''

  const [status, body] = answer()
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(`${JSON.stringify(body)}\n`)

  function answer(): [number, object] {
    switch (route) {
      case 'GET /orders':
        guard.authorize(caller, { scopes: ['orders:read'] })
        return [200, { orders: [...orders.values()].filter((order) => guard.owns(caller, order.owner)) }]
      case 'POST /orders': {
        guard.authorize(caller, { scopes: ['orders:write'] })
        const order = { id: String(nextId++), owner: caller.id, item: 'a compass' }
        orders.set(order.id, order)
        return [201, order]
      }
      case 'GET /orders/:id':
        guard.authorize(caller, { scopes: ['orders:read'] })
        return [200, ownOrder(caller, id)]
      case 'DELETE /orders/:id':
        guard.authorize(caller, { scopes: ['orders:delete'] })
        orders.delete(ownOrder(caller, id).id)
        return [200, { deleted: id }]
      default:
        return [404, { error: 'not_found', error_description: 'No such resource.' }]
    }
  }
}

/** A scope says what kind of thing a token may do; only the API knows to whom an order belongs. */
function ownOrder(caller: Caller, id: string): Order {
  return guard.requireOwner(caller, orders.get(id), (order) => order.owner)
}
