// sallyport routes, as a script sees it: what the admin API does with gateway routes, by the same room.
import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { createApi } from '#src/apis/apis.ts'
import { clearAudit } from '#test/support/audit.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { waitingForLocks } from '#test/support/locks.ts'

const api = 'https://api.example.com/orders'
const host = 'api.example.com'
let db: TestDatabase

beforeAll(async () => {
  db = await createTestDatabase()
  const { prisma } = db.database
  const scopes = { 'orders:read': 'See orders', 'orders:write': 'Change orders' }
  await createApi(prisma, { identifier: api, name: 'Orders', scopes }, changeAt())
  await createRole(prisma, 'clerk', { permissions: [] }, changeAt())
})
afterAll(() => db.drop())
beforeEach(async () => {
  await db.database.pool.query('TRUNCATE route')
  await clearAudit(db.database)
})

async function routes(args: readonly string[], input = '') {
  const child = spawn(process.execPath, ['src/sallyport.mjs', 'routes', ...args], {
    env: { PATH: process.env.PATH, DATABASE_URL: db.url, LOG_LEVEL: 'error' },
  })
  child.stdin.end(input)
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { code, out, err }
}
async function json(args: readonly string[], input?: string) {
  const { code, out, err } = await routes([...args, '--json'], input)
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out)
}
const create = (path: string, ...more: string[]) =>
  json(['create', '--host', host, '--method', 'GET', '--path', path, '--api', api, ...more])
const audited = async () =>
  (await db.database.prisma.auditEvent.findMany({ orderBy: { id: 'asc' } })).map(({ event, actorKind, targetId }) => [
    event,
    actorKind,
    targetId,
  ])

test('create, show, list, update, delete: what changes one says what it was and is, and the record has it', async () => {
  const asked = ['--scope', 'orders:write', '--scope', 'orders:read', '--role', 'clerk', '--max-age', '900']
  const more = ['--relation', 'owner@order:{id}', '--acr-value', 'urn:sallyport:acr:2fa']
  const made = await create('/orders/{id}', ...asked, ...more)
  expect(made).toEqual({
    ...{ id: expect.any(String), host, method: 'GET', path: '/orders/{id}', api, anonymous: false },
    ...{ scopes: ['orders:read', 'orders:write'], roles: ['clerk'], relation: 'owner@order:{id}' },
    ...{ acrValues: ['urn:sallyport:acr:2fa'], maxAge: 900 },
  })
  expect(await json(['show', made.id])).toEqual(made)
  expect((await routes(['list'])).out).toMatch(
    /^ROUTE +REQUEST +API +ASKS\n\S+ +GET api\.example\.com\/orders\/\{id\} +\S+ +orders:read, orders:write, role clerk, owner@order:\{id\}, acr \S+, a sign-in of the last 900 s\n$/,
  )

  const change = ['update', made.id, '--scope', 'orders:read', '--reset', 'maxAge', '--reset', 'relation']
  const changed = await json(change)
  const is = { ...made, scopes: ['orders:read'], maxAge: null, relation: null }
  expect(changed).toEqual({ was: made, is })
  const said = await routes(['update', made.id, '--method', 'HEAD', '--reset', 'roles'])
  expect(said).toMatchObject({ code: 0, err: '' })
  expect(said.out).toBe(`HEAD ${host}/orders/{id}\n        WAS    IS\nmethod  GET    HEAD\nroles   clerk  -\n`)
  expect((await routes(['update', made.id, '--method', 'HEAD'])).out).toContain('It was so before.')

  const was = { ...is, method: 'HEAD', roles: [] }
  expect(await json(['delete', made.id])).toEqual({ id: made.id, deleted: true, was })
  expect((await routes(['list'])).out).toBe('There is no route.\n')
  for (const args of [
    ['show', made.id],
    ['delete', made.id],
    ['update', made.id, '--anonymous'],
    ['show', 'nothing'],
  ])
    expect(await routes(args)).toMatchObject({ code: 1, out: '', err: expect.stringContaining('is not a route here') })
  const head = `HEAD ${host}/orders/{id}`
  expect(await audited()).toEqual([
    ['route.created', 'cli', `GET ${host}/orders/{id}`],
    ['route.updated', 'cli', `GET ${host}/orders/{id}`],
    ...Array(2).fill(['route.updated', 'cli', head]),
    ['route.deleted', 'cli', head],
  ])
}, 60_000)

test('the order: read, changed by all ids or by moving one, told with what it was', async () => {
  const [a, b] = [await create('/a'), await create('/b')]
  const c = await create('/c', '--before', a.id)
  expect(await json(['order'])).toEqual({ data: [c.id, a.id, b.id] })
  expect(await json(['order', b.id, a.id, c.id])).toEqual({ was: [c.id, a.id, b.id], is: [b.id, a.id, c.id] })
  expect((await json(['order', '-'], `${a.id}\n${b.id}\n${c.id}\n`)).is).toEqual([a.id, b.id, c.id])
  expect(await json(['move', c.id, '--up'])).toEqual({ was: [a.id, b.id, c.id], is: [a.id, c.id, b.id] })
  expect((await routes(['move', c.id, '--up'])).out).toMatch(/^WAS +IS +ROUTE +REQUEST\n2 +1 +\S+ +GET \S+\/c\n1 +2 +/)
  expect((await routes(['move', b.id, '--down'])).out).toBe('Nothing moved: they are in that order.\n')
  expect((await routes(['order'])).out).toMatch(/^PLACE +ROUTE +REQUEST\n1 +\S+ +GET \S+\/c\n/)
  for (const [args, words] of [
    [['order', a.id, b.id], /^data lacks /],
    [['order', a.id, b.id, c.id, c.id], /^data\[3\] repeats /],
    [['order', a.id, b.id, 'nothing'], /^data\[2\] is "nothing", which is not a route here/],
    [['move', 'nothing', '--up'], /is not a route here/],
    [['order', '-'], /There is no route on standard input/],
  ] as const)
    expect(await routes(args)).toMatchObject({ code: 1, out: '', err: expect.stringMatching(words) })
  expect((await json(['order'])).data).toEqual([c.id, a.id, b.id])
  expect((await audited()).filter(([event]) => event === 'route.reordered')).toHaveLength(4)
}, 60_000)

test('of two at one moment the second is told, and nothing is overwritten', async () => {
  const [a, b] = [await create('/a'), await create('/b')]
  const { pool } = db.database
  const changes = [
    ['update', a.id, '--anonymous'],
    ['delete', a.id],
    ['order', b.id, a.id],
    ['move', b.id, '--up'],
  ]
  for (const [round, args] of changes.entries()) {
    const first = await pool.connect()
    await first.query('BEGIN')
    await first.query('UPDATE configuration_version SET version = version + 1')
    const second = routes(args)
    await expect.poll(() => waitingForLocks({ pool }), { timeout: 20_000 }).toBe(1)
    await first.query('UPDATE route SET max_age = $2 WHERE id = $1', [a.id, 60 + round])
    await first.query('UPDATE route SET position = 1 - position')
    await first.query('COMMIT')
    first.release()
    expect(await second, args[0]).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/^Somebody changed it/),
    })
    expect(await json(['show', a.id])).toEqual({ ...a, maxAge: 60 + round })
  }
  expect((await audited()).filter(([event]) => event !== 'route.created')).toEqual([])
}, 60_000)

test('a list in pages, of one host, of one API', async () => {
  for (const path of ['/a', '/b', '/c']) await create(path)
  const first = await json(['list', '--limit', '2', '--host', host])
  expect(first.data.map(({ path }: { path: string }) => path)).toEqual(['/a', '/b'])
  const rest = await json(['list', '--limit', '2', '--after', first.next, '--api', api])
  expect([rest.data.map(({ path }: { path: string }) => path), rest.next]).toEqual([['/c'], null])
  expect((await routes(['list', '--limit', '2'])).out).toContain(`There are more: --after ${first.next}`)
  expect(await json(['list', '--host', 'other.example'])).toEqual({ data: [], next: null })
  expect((await routes(['list', '--after', 'nothing'])).code).toBe(1)
  for (const limit of ['0', '1001']) expect((await routes(['list', '--limit', limit])).code).toBe(1)
}, 60_000)

test('match asks the matcher of the gate, with the address as it is sent; 1 where no route answers', async () => {
  const made = await create('/orders/{id}')
  expect(await json(['match', 'GET', `https://${host}/orders/88?full=1`])).toEqual({
    ...{ route: made, parameters: { id: '88' }, because: null },
  })
  expect((await json(['match', 'HEAD', `https://${host}:443/orders/88`])).route).toEqual(made)
  for (const [method, path, because] of [
    ['DELETE', '/orders/88', 'no_route'],
    ['GET', '/orders', 'no_route'],
    ['GET', '/orders/../orders/88', 'unreadable'],
    ['GET', '/.sallyport/callback', 'sign_in'],
  ] as const) {
    const { code, out } = await routes(['match', method, `https://${host}${path}`, '--json'])
    expect([code, JSON.parse(out)]).toEqual([1, { route: null, parameters: {}, because }])
  }
  const told = await routes(['match', 'GET', `http://${host}/none`])
  expect(told).toEqual({ code: 1, out: 'No route answers it: gateways refuse it.\n', err: '' })
}, 60_000)

test('what the room refuses is 1, with field and fix, and nothing is done', async () => {
  const made = await create('/orders')
  await clearAudit(db.database)
  const frame = ['--host', host, '--method', 'GET', '--path', '/orders', '--api', api]
  for (const [args, words] of [
    [['create', ...frame], /^path of "GET api\.example\.com\/orders" has a route already/],
    [['create', ...frame, '--path', 'orders'], /^path /],
    [['create', ...frame, '--path', '/x', '--scope', 'stock:read'], /^scopes\[0\] is "stock:read"/],
    [['create', ...frame, '--path', '/x', '--method', 'FETCH'], /^method is "FETCH"/],
    [['create', ...frame, '--path', '/x', '--anonymous', '--role', 'clerk'], /^anonymous is true although/],
    [['create', ...frame, '--path', '/x', '--before', 'nothing'], /^before is "nothing"/],
    [['update', made.id, '--host', 'API.example.com'], /^host /],
    [['update', made.id, '--api', 'https://nobody.example'], /^api is "https:\/\/nobody\.example"/],
    [['update', made.id, '--role', 'nobody'], /^roles\[0\] is "nobody"/],
  ] as const)
    expect(await routes(args)).toMatchObject({ code: 1, out: '', err: expect.stringMatching(words) })
  expect((await json(['list'])).data).toEqual([made])
  expect(await audited()).toEqual([])
}, 60_000)

test.each([
  [['create', '--host', host]],
  [['update', 'x']],
  [['update', 'x', '--reset', 'host']],
  [['update', 'x', '--max-age', '60', '--reset', 'maxAge']],
  [['update', 'x', '--max-age', 'soon']],
  [['move', 'x']],
  [['move', 'x', '--up', '--down']],
  [['match', 'GET', 'api.example.com/orders']],
  [['match', 'GET']],
])('%j is wrong usage: 2', async (args) => expect(await routes(args)).toMatchObject({ code: 2, out: '' }))
