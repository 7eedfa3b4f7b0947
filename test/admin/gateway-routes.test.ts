// Gateway routes through the admin API: one by one, in their order, and which one answers a request; the gate itself is asked the same.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type AdminApi, type Answer, startAdminApi } from '#test/support/admin-api.ts'
import { clearAudit } from '#test/support/audit.ts'
import { furnish, orders, stock } from '#test/support/installation.ts'

const host = 'api.example.com'
const read = ['routes:read']
const write = ['routes:write']

let api: AdminApi
let call: AdminApi['call']

beforeAll(async () => {
  api = await startAdminApi({ env: { TRUST_PROXY: '127.0.0.1,::1' } })
  call = api.call
  await furnish(api.server)
  await call('POST', '/roles', { body: { name: 'clerk', permissions: [] } })
})
afterAll(() => api.stop())
beforeEach(async () => {
  await api.server.database.pool.query('TRUNCATE route')
  await clearAudit(api.server.database)
})

const create = (path: string, more: object = {}) =>
  call('POST', '/routes', { body: { host, method: 'GET', path, api: orders, ...more }, scopes: write })
const paths = async (query = '') =>
  ((await call('GET', `/routes${query}`, { scopes: read })).body.data as { path: string }[]).map(({ path }) => path)
const fieldsOf = ({ body }: Answer) => body.flaws.map(({ field }: { field: string }) => field)
const events = async () =>
  (
    await api.server.database.prisma.auditEvent.findMany({
      where: { event: { startsWith: 'route.' } },
      orderBy: { id: 'asc' },
    })
  ).map(({ event, targetId }) => [event, targetId])
const etagOf = async (path: string) => (await call('GET', path)).headers.get('etag') ?? ''

describe('one by one', () => {
  test('one is created, read, changed and deleted, and the record says so', async () => {
    const asked = {
      scopes: ['orders:write', 'orders:read'],
      roles: ['clerk'],
      relation: 'owner@order:{id}',
      acrValues: ['urn:sallyport:acr:2fa'],
      maxAge: 900,
    }
    const made = await create('/orders/{id}', asked)
    expect([made.status, made.body]).toEqual([
      201,
      {
        ...{ id: expect.any(String), host, method: 'GET', path: '/orders/{id}', api: orders, anonymous: false },
        ...{ ...asked, scopes: ['orders:read', 'orders:write'] },
      },
    ])
    const at = `/routes/${made.body.id}`
    expect((await call('GET', at, { scopes: read })).body).toEqual(made.body)
    const headers = { 'If-Match': await etagOf(at) }
    const changed = await call('PATCH', at, {
      body: { path: '/orders/{order}', relation: null, maxAge: null, scopes: ['orders:read'] },
      scopes: write,
      headers,
    })
    expect(changed).toMatchObject({
      status: 200,
      body: { path: '/orders/{order}', relation: null, maxAge: null, scopes: ['orders:read'], roles: ['clerk'] },
    })
    expect((await call('DELETE', at, { scopes: write })).body).toEqual({ id: made.body.id, deleted: true })
    expect((await call('GET', at)).status).toBe(404)
    expect((await call('DELETE', at)).status).toBe(404)
    expect(await events()).toEqual([
      ['route.created', `GET ${host}/orders/{id}`],
      ['route.updated', `GET ${host}/orders/{order}`],
      ['route.deleted', `GET ${host}/orders/{order}`],
    ])
  })

  test.each([
    ['an unknown API', { api: 'https://nobody.example' }, ['api']],
    ['a scope of another API', { scopes: ['orders:read', 'stock:read'] }, ['scopes[1]']],
    ['an unknown role', { roles: ['clerk', 'nobody'] }, ['roles[1]']],
    ['a host in capitals and no path', { host: 'API.example.com', path: 'orders' }, ['host', 'path']],
    ['a relation to nothing in the path', { relation: 'owner@order:{order}' }, ['relation']],
    ['something to ask of everybody', { anonymous: true, scopes: ['orders:read'] }, ['anonymous']],
    ['a place before nothing', { before: 'nothing' }, ['before']],
  ])('refuses %s, as the declarative file does, and nothing is done', async (_what, wrong, fields) => {
    const refused = await create('/orders/{id}', wrong)
    expect([refused.status, fieldsOf(refused)]).toEqual([422, fields])
    expect(await paths()).toEqual([])
    const { body } = await create('/orders/{id}')
    const { before: _, ...patch } = wrong as { before?: string }
    if (Object.keys(patch).length > 0) {
      const again = await call('PATCH', `/routes/${body.id}`, { body: patch, headers: { 'If-Match': '*' } })
      expect([again.status, fieldsOf(again)]).toEqual([422, fields])
    }
    expect((await call('GET', `/routes/${body.id}`)).body).toEqual(body)
  })

  test('of one host, method and path there is one', async () => {
    await create('/orders')
    expect(await create('/orders')).toMatchObject({ status: 409, body: { error: 'already_exists' } })
    const { body } = await create('/others')
    const taken = await call('PATCH', `/routes/${body.id}`, { body: { path: '/orders' }, headers: { 'If-Match': '*' } })
    expect([taken.status, taken.body.error]).toEqual([409, 'already_exists'])
    expect(await paths()).toEqual(['/orders', '/others'])
  })

  test('of two editors the second is told, and nothing is overwritten', async () => {
    const { body } = await create('/orders')
    const at = `/routes/${body.id}`
    const headers = { 'If-Match': await etagOf(at) }
    await create('/first', { before: body.id }) // where it stands is not what it says
    expect((await call('PATCH', at, { body: { scopes: ['orders:read'] }, headers })).status).toBe(200)
    const told = await call('PATCH', at, { body: { scopes: ['orders:write'] }, headers })
    expect([told.status, told.body.error]).toEqual([412, 'changed'])
    expect((await call('PATCH', at, { body: { scopes: [] } })).status).toBe(428)
    expect((await call('GET', at)).body.scopes).toEqual(['orders:read'])
  })

  test('each scope opens its own, and no other', async () => {
    const { body } = await create('/orders')
    for (const scopes of [['apis:write', 'apis:read'], read])
      expect((await call('POST', '/routes', { body: { host }, scopes })).status).toBe(403)
    expect((await call('GET', `/routes/${body.id}`, { scopes: write })).status).toBe(403)
    expect((await call('DELETE', `/routes/${body.id}`, { scopes: read })).status).toBe(403)
    expect(await paths()).toEqual(['/orders'])
  })

  test('what is sent again with its Idempotency-Key is made once', async () => {
    const options = {
      body: { host, method: 'GET', path: '/once', api: orders },
      headers: { 'Idempotency-Key': 'route-once-1' },
    }
    const [first, again] = [await call('POST', '/routes', options), await call('POST', '/routes', options)]
    expect([again.status, again.body]).toEqual([201, first.body])
  })

  test('an API and a role that routes ask for are not deleted by the way', async () => {
    await create('/orders', { roles: ['clerk'] })
    for (const path of [`/apis/${encodeURIComponent(orders)}`, '/roles/clerk']) {
      const refused = await call('DELETE', path)
      expect([refused.status, fieldsOf(refused)]).toEqual([409, expect.arrayContaining(['routes'])])
    }
  })
})

describe('in order', () => {
  test('a list in pages, by host and by API, has each route once, in the order in which they are tried', async () => {
    for (const path of ['/c', '/a', '/b']) await create(path)
    await create('/s', { host: 'stock.example.com', api: stock })
    expect(await paths()).toEqual(['/c', '/a', '/b', '/s'])
    expect(await paths(`?host=${host}`)).toEqual(['/c', '/a', '/b'])
    expect(await paths(`?api=${encodeURIComponent(stock)}`)).toEqual(['/s'])
    const walked: string[] = []
    for (let after = '', page: Answer; ; after = `&after=${page.body.next}`) {
      page = await call('GET', `/routes?limit=1${after}`)
      walked.push(...page.body.data.map(({ path }: { path: string }) => path))
      if (page.body.next === null) break
    }
    expect(walked).toEqual(['/c', '/a', '/b', '/s'])
    for (const after of ['nothing', btoa('["a","b","c","d"]').replaceAll('=', '')])
      expect((await call('GET', `/routes?after=${after}`)).status).toBe(422)
  })

  test('pages hold where several routes share a place', async () => {
    for (const path of ['/a', '/b', '/c']) await create(path)
    await api.server.database.pool.query('UPDATE route SET position = 7')
    const first = await call('GET', '/routes?limit=2')
    expect(await paths(`?after=${first.body.next}`)).toEqual(['/c'])
  })

  test('a new one is tried last, or before another', async () => {
    const { body } = await create('/orders/{id}')
    await create('/last')
    await create('/orders/mine', { before: body.id })
    expect(await paths()).toEqual(['/orders/mine', '/orders/{id}', '/last'])
  })

  test('the order is changed as a whole; of two editors the second is told', async () => {
    const ids = []
    for (const path of ['/a', '/b', '/c']) ids.push((await create(path)).body.id)
    const [a, b, c] = ids
    expect((await call('GET', '/routes/order', { scopes: read })).body).toEqual({ data: ids })
    const headers = { 'If-Match': await etagOf('/routes/order') }
    const put = (data: string[]) => call('PUT', '/routes/order', { body: { data }, scopes: write, headers })
    expect(await put([c, a, b])).toMatchObject({ status: 200, body: { data: [c, a, b] } })
    expect(await paths()).toEqual(['/c', '/a', '/b'])
    expect(await put([b, a, c])).toMatchObject({ status: 412, body: { error: 'changed' } })
    expect(await paths()).toEqual(['/c', '/a', '/b'])
    expect((await call('PUT', '/routes/order', { body: { data: [a, b, c] } })).status).toBe(428)
    const moves = await api.server.database.prisma.auditEvent.findMany({ where: { event: 'route.reordered' } })
    expect(moves.map(({ detail }) => detail)).toEqual([{ moved: 3 }])
  })

  test('an order that lacks a route, repeats one or names a stranger is refused', async () => {
    const [a, b] = [(await create('/a')).body.id, (await create('/b')).body.id]
    const headers = { 'If-Match': '*' }
    for (const [data, fields] of [
      [[b], ['data']],
      [[b, a, b], ['data[2]']],
      [[b, a, 'nothing'], ['data[2]']],
    ] as const) {
      const refused = await call('PUT', '/routes/order', { body: { data }, headers })
      expect([refused.status, fieldsOf(refused)]).toEqual([422, fields])
    }
    expect(await paths()).toEqual(['/a', '/b'])
  })
})

describe('which one answers', () => {
  const ask = async (path: string, more: object = {}) => {
    const { status, body } = await call('POST', '/routes/match', {
      body: { host, method: 'GET', path, ...more },
      scopes: read,
    })
    expect(status).toBe(200)
    return body
  }

  test('the first that fits, with its parameters; HEAD is asked as GET', async () => {
    const { body } = await create('/orders/{id}', { scopes: ['orders:read'] })
    await create('/orders/mine')
    expect(await ask('/orders/88')).toEqual({ route: body, parameters: { id: '88' }, because: null })
    expect((await ask('/orders/mine')).route.id).toBe(body.id)
    expect((await ask('/orders/a%20b', { method: 'HEAD', host: 'API.example.com:443' })).parameters).toEqual({
      id: 'a b',
    })
    expect((await ask('/orders/88?x=1')).route.id).toBe(body.id)
  })

  test.each([
    ['another path', { path: '/orders' }, 'no_route'],
    ['another method', { path: '/orders/88', method: 'DELETE' }, 'no_route'],
    ['another host', { path: '/orders/88', host: 'other.example.com' }, 'no_route'],
    ['dot segments', { path: '/orders/../orders/88' }, 'unreadable'],
    ['an encoded slash', { path: '/orders/8%2f8' }, 'unreadable'],
    ['a method that nobody knows', { path: '/orders/88', method: 'BREW' }, 'unreadable'],
    ['the way back of a sign-in', { path: '/.sallyport/callback' }, 'sign_in'],
  ])('none for %s', async (_what, { path, ...more }, because) => {
    await create('/orders/{id}')
    expect(await ask(path, more)).toEqual({ route: null, parameters: {}, because })
  })

  test('asking changes nothing, and needs its scope', async () => {
    await clearAudit(api.server.database)
    await ask('/orders/88')
    expect(await api.server.database.prisma.auditEvent.count({ where: { event: { startsWith: 'route.' } } })).toBe(0)
    const refused = await call('POST', '/routes/match', { body: { host, method: 'GET', path: '/' }, scopes: write })
    expect(refused.status).toBe(403)
  })

  test('a gateway that asks about the request hears the same', async () => {
    await create('/open/{id}', { anonymous: true })
    await create('/open/mine', { scopes: ['orders:read'] })
    await api.server.settle()
    const gateway = async (uri: string) =>
      (
        await fetch(`${api.server.url}/authz/forward`, {
          headers: {
            'X-Forwarded-Method': 'GET',
            'X-Forwarded-Proto': 'https',
            'X-Forwarded-Host': host,
            'X-Forwarded-Uri': uri,
          },
        })
      ).status
    expect(await gateway('/open/mine')).toBe(200)
    const mine = (await ask('/open/mine')).route
    expect(mine.path).toBe('/open/{id}')
    const { data } = (await call('GET', '/routes/order')).body
    await call('PUT', '/routes/order', { body: { data: data.toReversed() }, headers: { 'If-Match': '*' } })
    await api.server.settle()
    expect([await gateway('/open/mine'), await gateway('/open/88'), await gateway('/open//88')]).toEqual([
      401, 200, 401,
    ])
    const answers = [await ask('/open/mine'), await ask('/open/88'), await ask('/open//88')]
    expect(answers.map(({ route, because }) => because ?? route.path)).toEqual([
      '/open/mine',
      '/open/{id}',
      'unreadable',
    ])
  })
})
