// Why a scope is not enough. `orders:read` says that a token may read orders; it does not say whose.
//   GET    /broken/orders/:id   SELECT … WHERE id = ?                    whoever may read one order reads all of them, by counting
//   GET    /orders/:id          the same row, and then: is it yours?     403, or 404 with HIDE_EXISTENCE=1
//   GET    /orders              SELECT … WHERE owner_id = ?              a list asks for its own rows, and needs no check for each
//   DELETE /orders/:id          DELETE … WHERE id = ? AND owner_id = ?   one statement: nothing happens between the check and the deed
// The first is kept here to be tried, and as the test that fails if anybody takes the check out of the second.
// Start: npx node examples/ownership/orders.ts
import { DatabaseSync } from 'node:sqlite'
import Router from '@koa/router'
import Koa from 'koa'
import { createGuard } from 'sallyport/guard'
import { koaGuard } from 'sallyport/guard/koa'

type Order = { id: number; owner_id: string; item: string }

const guard = createGuard({
  issuer: process.env.ISSUER_URL ?? 'http://localhost:3000',
  audience: process.env.API_IDENTIFIER ?? 'https://api.example.com/orders',
  hideExistence: process.env.HIDE_EXISTENCE === '1',
})
await guard.ready()

const database = new DatabaseSync(':memory:')
database.exec('CREATE TABLE orders (id INTEGER PRIMARY KEY, owner_id TEXT NOT NULL, item TEXT NOT NULL)')
database.exec('CREATE INDEX orders_of_owner ON orders (owner_id)')
const insert = database.prepare('INSERT INTO orders (owner_id, item) VALUES (?, ?) RETURNING id, item')
const selectById = database.prepare('SELECT id, owner_id, item FROM orders WHERE id = ?')
const selectOwn = database.prepare('SELECT id, owner_id, item FROM orders WHERE owner_id = ?')
const deleteOwn = database.prepare('DELETE FROM orders WHERE id = ? AND owner_id = ?')

const doors = koaGuard(guard)
const read = doors.authorize({ scopes: ['orders:read'] })
const write = doors.authorize({ scopes: ['orders:write'] })
const find = (id: string | undefined) => selectById.get(Number(id)) as Order | undefined
const router = new Router()

router.get('/broken/orders/:id', read, (ctx) => {
  const order = find(ctx.params.id)
  if (!order) ctx.throw(404)
  ctx.body = order // The mistake: both doors were passed, and nobody asked whose order this is.
})

router.get('/orders/:id', read, (ctx) => {
  ctx.body = guard.requireOwner(ctx.state.caller, find(ctx.params.id), (order) => order.owner_id)
})

router.get('/orders', read, (ctx) => {
  ctx.body = { orders: selectOwn.all(ctx.state.caller.id) }
})

router.post('/orders', write, (ctx) => {
  // The owner is who calls. An owner in the body would be a wish.
  ctx.body = insert.get(ctx.state.caller.id, 'a compass')
  ctx.status = 201
})

router.delete('/orders/:id', write, (ctx) => {
  const { changes } = deleteOwn.run(Number(ctx.params.id), ctx.state.caller.id)
  // Nothing was deleted: now there is time to say why, and the answer is that of reading.
  if (changes === 0) guard.requireOwner(ctx.state.caller, find(ctx.params.id), (order) => order.owner_id)
  ctx.status = 204
})

const app = new Koa()
app.use(doors.authenticate)
app.use(router.routes())
const server = app.listen(Number(process.env.PORT ?? 4002), 'localhost', () => {
  const address = server.address()
  console.log(`orders API on http://localhost:${address && typeof address === 'object' ? address.port : ''}`)
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => server.close())
