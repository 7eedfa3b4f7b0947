// Applications, APIs, roles and people through the admin API: made, read, changed by two at once, deleted with what hangs from them.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { unsealMail } from '#src/mail/outbox.ts'
import { type AdminApi, startAdminApi } from '#test/support/admin-api.ts'

let api: AdminApi
let call: AdminApi['call']
const orders = 'https://api.example.com/orders'
const ordersPath = `/apis/${encodeURIComponent(orders)}`

beforeAll(async () => {
  api = await startAdminApi()
  call = api.call
  await call('POST', '/apis', { body: { identifier: orders, name: 'Orders', scopes: { 'orders:read': 'See orders' } } })
})
afterAll(() => api.stop())

const etagOf = async (path: string) => (await call('GET', path)).headers.get('etag') ?? ''
const tokenWith = async (clientId: string, secret: string) => {
  const response = await fetch(`${api.server.url}/oauth/token`, {
    method: 'POST',
    headers: { Authorization: `Basic ${btoa(`${clientId}:${secret}`)}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource: orders }),
  })
  return { status: response.status, body: (await response.json()) as { access_token?: string; error?: string } }
}

describe('an application', () => {
  test('is registered with a secret that is shown once and works, read, changed and deleted', async () => {
    const made = await call('POST', '/clients', {
      body: { clientId: 'reports', type: 'service', name: 'Reports', apis: { [orders]: ['orders:read'] } },
    })
    expect([made.status, made.headers.get('cache-control')]).toEqual([201, 'no-store'])
    const { clientSecret } = made.body
    expect(clientSecret).toMatch(/^[\w-]{43}$/)
    await api.server.settle()
    expect((await tokenWith('reports', clientSecret)).status).toBe(200)

    const read = await call('GET', '/clients/reports')
    expect(JSON.stringify(read.body)).not.toContain(clientSecret)
    const changed = await call('PATCH', '/clients/reports', {
      body: { name: 'Weekly reports' },
      headers: { 'If-Match': read.headers.get('etag') ?? '' },
    })
    expect(changed).toMatchObject({
      status: 200,
      body: { name: 'Weekly reports', apis: { [orders]: ['orders:read'] } },
    })
    // Null puts a field back to its default.
    const reset = await call('PATCH', '/clients/reports', { body: { name: null }, headers: { 'If-Match': '*' } })
    expect(reset.body.name).toBe('reports')
    expect((await call('DELETE', '/clients/reports')).body).toEqual({ id: 'reports', deleted: true })
    expect((await call('GET', '/clients/reports')).status).toBe(404)
  })

  test('takes a secret of the caller, and shows none then; a public one has none', async () => {
    const clientSecret = 'fA9-kQ7_xB2.'.repeat(3)
    const own = await call('POST', '/clients', { body: { clientId: 'own-secret', type: 'service', clientSecret } })
    expect([own.status, own.body.clientSecret]).toEqual([201, undefined])
    const spa = { clientId: 'spa', type: 'spa', redirectUris: ['https://app.example/cb'] }
    const open = await call('POST', '/clients', { body: spa })
    expect([open.status, open.body.clientSecret, open.body.secrets]).toEqual([201, undefined, []])
    const choices = { defaultApiScopes: { [orders]: ['orders:read'] }, optionalScopes: [] }
    const body = { scopes: ['openid', 'email'], apis: { [orders]: ['orders:read'] }, ...choices }
    const chosen = await call('PATCH', '/clients/spa', { body, headers: { 'If-Match': '*' } })
    expect([chosen.status, chosen.body]).toMatchObject([200, choices])
    const reset = { defaultApiScopes: null, optionalScopes: null }
    const back = await call('PATCH', '/clients/spa', { body: reset, headers: { 'If-Match': '*' } })
    expect(back).toMatchObject({ status: 200, body: { defaultApiScopes: {}, optionalScopes: null } })
  })

  test('has its secret replaced with an overlap, after which the old one is over', async () => {
    const { body } = await call('POST', '/clients', {
      body: { clientId: 'rotated', type: 'service', apis: { [orders]: ['orders:read'] } },
    })
    const next = await call('POST', '/clients/rotated/secrets', { body: { overlapSeconds: 0 } })
    expect(next.status).toBe(201)
    await api.server.settle()
    expect((await tokenWith('rotated', body.clientSecret)).body.error).toBe('invalid_client')
    expect((await tokenWith('rotated', next.body.clientSecret)).status).toBe(200)
    expect((await call('DELETE', `/clients/rotated/secrets/${next.body.id}`)).status).toBe(200)
    expect((await call('DELETE', `/clients/rotated/secrets/${next.body.id}`)).status).toBe(404)
    expect((await call('DELETE', '/clients/rotated/secrets/not-a-secret')).status).toBe(404)
    const other = await call('GET', '/clients/own-secret')
    // A secret of another client is not there.
    expect((await call('DELETE', `/clients/rotated/secrets/${other.body.secrets[0].id}`)).status).toBe(404)
  })

  test('is switched off: its tokens are over', async () => {
    const { body } = await call('POST', '/clients', {
      body: { clientId: 'off', type: 'service', apis: { [orders]: ['orders:read'] } },
    })
    await api.server.settle()
    expect((await tokenWith('off', body.clientSecret)).status).toBe(200)
    const off = await call('PATCH', '/clients/off', { body: { disabled: true }, headers: { 'If-Match': '*' } })
    expect(off.body.disabled).toBe(true)
    await api.server.settle()
    expect((await tokenWith('off', body.clientSecret)).body.error).toBe('invalid_client')
  })

  test('is found by a part of its name, its type, its API', async () => {
    const ids = async (query: string) =>
      (await call('GET', `/clients?${query}`)).body.data.map(({ clientId }: { clientId: string }) => clientId)
    expect(await ids('q=OWN-SEC')).toEqual(['own-secret'])
    expect(await ids('type=spa')).toEqual(['spa'])
    expect(await ids(`api=${encodeURIComponent(orders)}&disabled=true`)).toEqual(['off'])
    expect(await ids('q=%25')).toEqual([])
    const first = await call('GET', '/clients?limit=2')
    expect(first.body.data).toHaveLength(2)
    const rest = await ids(`after=${first.body.next}`)
    expect(rest).not.toContain(first.body.data[1].clientId)
    for (const query of ['type=robot', 'disabled=yes', 'limit=0', 'limit=201', 'tpye=spa', 'type=spa&type=web', 'q='])
      expect((await call('GET', `/clients?${query}`)).status, query).toBe(400)
  })
})

describe('two editors of one thing', () => {
  test('the second is told, and nothing is overwritten', async () => {
    await call('POST', '/clients', { body: { clientId: 'shared', type: 'service' } })
    const etag = await etagOf('/clients/shared')
    const first = await call('PATCH', '/clients/shared', { body: { name: 'First' }, headers: { 'If-Match': etag } })
    expect(first.status).toBe(200)
    expect(first.headers.get('etag')).toBe(await etagOf('/clients/shared'))
    const second = await call('PATCH', '/clients/shared', { body: { name: 'Second' }, headers: { 'If-Match': etag } })
    expect(second).toMatchObject({ status: 412, body: { error: 'changed', flaws: [{ field: 'If-Match' }] } })
    expect((await call('GET', '/clients/shared')).body.name).toBe('First')
  })

  test('of many at once exactly one wins', async () => {
    for (const [path, field] of [
      ['/clients/shared', 'name'],
      [ordersPath, 'name'],
    ] as const) {
      const etag = await etagOf(path)
      const answers = await Promise.all(
        Array.from({ length: 6 }, (_, n) =>
          call('PATCH', path, { body: { [field]: `Name ${n}` }, headers: { 'If-Match': etag } }),
        ),
      )
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 412, 412, 412, 412, 412])
      const won = answers.find(({ status }) => status === 200)
      expect((await call('GET', path)).body[field]).toBe(won?.body[field])
    }
  })

  test('a change that names no version is asked for one; nonsense is 400; what was read and did not change is 304', async () => {
    expect(await call('PATCH', '/clients/shared', { body: { name: 'X' } })).toMatchObject({
      status: 428,
      body: { error: 'precondition_required' },
    })
    for (const tag of [
      'nonsense',
      '"short"',
      'W/"aaaaaaaaaaaaaaaaaaaaaa"',
      '"aaaaaaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbbbb"',
    ])
      expect((await call('PATCH', '/clients/shared', { body: {}, headers: { 'If-Match': tag } })).status, tag).toBe(400)
    const etag = await etagOf('/clients/shared')
    expect((await call('GET', '/clients/shared', { headers: { 'If-None-Match': etag } })).status).toBe(304)
  })
})

describe('Idempotency-Key', () => {
  const headers = (key: string) => ({ 'Idempotency-Key': key })

  test('the same request is done once and answered the same, its secret included', async () => {
    const body = { clientId: 'once', type: 'service' }
    const first = await call('POST', '/clients', { body, headers: headers('key-of-once') })
    const again = await call('POST', '/clients', { body, headers: headers('key-of-once') })
    expect([first.status, first.headers.get('idempotency-replayed')]).toEqual([201, null])
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([201, 'true'])
    expect(again.body).toEqual(JSON.parse(JSON.stringify(first.body)))
    expect((await call('POST', '/clients', { body })).status).toBe(409)
    const rows = await api.server.database.prisma.idempotentRequest.findMany()
    expect(JSON.stringify(rows)).not.toContain(first.body.clientSecret)
  })

  test('many at once make one', async () => {
    const answers = await Promise.all(
      Array.from({ length: 6 }, () =>
        call('POST', '/users', { body: { email: 'once@example.com' }, headers: headers('key-of-many') }),
      ),
    )
    expect(new Set(answers.map(({ status, body }) => `${status} ${body.id}`)).size).toBe(1)
  })

  test('while the first is still at it the second is told to come back, and a lock that somebody keeps is 503 elsewhere', async () => {
    const { id } = (await call('POST', '/users', { body: { email: 'kept@example.com' } })).body
    const seen = { 'If-Match': await etagOf(`/users/${id}`) }
    const connection = await api.server.database.pool.connect()
    await connection.query('BEGIN')
    await connection.query('LOCK TABLE idempotent_request IN EXCLUSIVE MODE')
    await connection.query('SELECT FROM users WHERE id = $1 FOR UPDATE', [id])
    const [second, change] = await Promise.all([
      call('POST', '/users', { body: { email: 'late@example.com' }, headers: headers('key-of-late') }),
      call('PATCH', `/users/${id}`, { body: { name: 'Kay' }, headers: seen }),
    ]).finally(async () => {
      await connection.query('COMMIT')
      connection.release()
    })
    expect([second.status, second.headers.get('retry-after'), second.body.error]).toEqual([409, '2', 'in_progress'])
    expect([change.status, change.headers.get('retry-after')]).toEqual([503, '5'])
    expect((await call('PATCH', `/users/${id}`, { body: { name: 'Kay' }, headers: seen })).status).toBe(200)
  })

  test('another request under it is refused; a refusal uses nothing up; another caller has keys of their own', async () => {
    const first = await call('POST', '/clients', {
      body: { clientId: 'kept', type: 'service' },
      headers: headers('key-of-kept'),
    })
    expect(first.status).toBe(201)
    const other = await call('POST', '/clients', {
      body: { clientId: 'kept2', type: 'service' },
      headers: headers('key-of-kept'),
    })
    expect(other).toMatchObject({ status: 422, body: { flaws: [{ field: 'Idempotency-Key' }] } })
    const bad = { clientId: 'bad id', type: 'service' }
    expect((await call('POST', '/clients', { body: bad, headers: headers('key-of-bad') })).status).toBe(422)
    const good = { clientId: 'good-id', type: 'service' }
    expect((await call('POST', '/clients', { body: good, headers: headers('key-of-bad') })).status).toBe(201)
    const elsewhere = { clientId: 'elsewhere', type: 'service' }
    const scopes = ['clients:write']
    expect((await call('POST', '/clients', { body: elsewhere, scopes, headers: headers('key-of-kept') })).status).toBe(
      201,
    )
  })

  test('where none is kept, and one that is no key, are refused', async () => {
    for (const [path, key] of [
      ['/policies/try', 'key-of-nothing'],
      ['/clients', 'short'],
      ['/clients', 'k'.repeat(256)],
    ] as const) {
      const body =
        path === '/clients'
          ? { clientId: 'x', type: 'service' }
          : { api: orders, drafts: [{ name: 'x' }], questions: [] }
      expect((await call('POST', path, { body, headers: headers(key) })).status, path).toBe(400)
    }
  })
})

describe('an API', () => {
  test('is changed in one thing; the rest stays', async () => {
    const path = `/apis/${encodeURIComponent('urn:example:stock')}`
    const body = {
      identifier: 'urn:example:stock',
      name: 'Stock',
      scopes: { 'stock:read': 'See' },
      accept: ['api_key'],
    }
    expect((await call('POST', '/apis', { body })).status).toBe(201)
    const changed = await call('PATCH', path, { body: { accessTokenTtlSeconds: 60 }, headers: { 'If-Match': '*' } })
    expect(changed.body).toMatchObject({
      accessTokenTtlSeconds: 60,
      accept: ['api_key'],
      scopes: { 'stock:read': 'See' },
    })
    const back = await call('PATCH', path, {
      body: { accept: null, accessTokenTtlSeconds: null },
      headers: { 'If-Match': '*' },
    })
    expect(back.body).toMatchObject({ accessTokenTtlSeconds: 900, accept: ['oauth'] })
    expect((await call('DELETE', path)).status).toBe(200)
  })

  test('that others depend on is deleted only when the caller has seen them', async () => {
    const refused = await call('DELETE', ordersPath)
    expect(refused).toMatchObject({ status: 409, body: { error: 'in_use' } })
    expect(refused.body.flaws).toEqual(
      expect.arrayContaining([expect.objectContaining({ field: 'clients', problem: expect.stringMatching(/depend/) })]),
    )
    const identifier = 'https://gone.example'
    await call('POST', '/apis', { body: { identifier, name: 'Gone', scopes: { gone: 'Go' } } })
    await call('POST', '/clients', { body: { clientId: 'goer', type: 'service', apis: { [identifier]: ['gone'] } } })
    const path = `/apis/${encodeURIComponent(identifier)}`
    const key = { name: 'k', owner: { clientId: 'goer' }, apis: { [identifier]: ['gone'] } }
    const made = await call('POST', '/api-keys', { body: key })
    expect(made).toMatchObject({ status: 201 })
    const kinds = async (of: string) => {
      const { status, body } = await call('DELETE', of)
      return [status, ...body.flaws.map(({ field }: { field: string }) => field)]
    }
    expect(await kinds(path)).toEqual([409, 'clients', 'apiKeys'])
    expect(await kinds('/clients/goer')).toEqual([409, 'apiKeys'])
    // What was revoked depends on nothing.
    expect((await call('DELETE', `/api-keys/${made.body.id}`)).status).toBe(200)
    expect(await kinds(path)).toEqual([409, 'clients'])
    expect((await call('DELETE', `${path}?cascade=true`)).status).toBe(200)
    expect((await call('GET', '/clients/goer')).body.apis).toEqual({})
  })

  test('of Sallyport itself is not changed or deleted', async () => {
    const path = `/apis/${encodeURIComponent(api.ownApi)}`
    expect((await call('PATCH', path, { body: { name: 'Mine' }, headers: { 'If-Match': '*' } })).status).toBe(404)
    expect((await call('DELETE', `${path}?cascade=true`)).status).toBe(404)
  })
})

describe('a role', () => {
  test('is made, given, changed and taken from those who hold it', async () => {
    const made = await call('POST', '/roles', {
      body: { name: 'clerk', permissions: ['orders:read'], description: 'Reads' },
    })
    expect(made).toMatchObject({ status: 201, body: { name: 'clerk', permissions: ['orders:read'], builtIn: false } })
    const person = await call('POST', '/users', { body: { email: 'clerk@example.com', roles: ['clerk'] } })
    expect(person).toMatchObject({ status: 201, body: { roles: ['clerk'] } })
    const changed = await call('PATCH', '/roles/clerk', { body: { permissions: null }, headers: { 'If-Match': '*' } })
    expect(changed.body).toMatchObject({ permissions: [], description: 'Reads' })
    expect((await call('GET', '/roles/clerk/holders')).body).toEqual({ people: 1, clients: 0, routes: 0 })
    expect((await call('DELETE', '/roles/clerk')).status).toBe(409)
    expect((await call('DELETE', '/roles/clerk?cascade=true')).status).toBe(200)
    expect((await call('GET', `/users/${person.body.id}`)).body.roles).toEqual([])
    expect((await call('PATCH', '/roles/owner', { body: {}, headers: { 'If-Match': '*' } })).status).toBe(404)
  })
})

describe('nobody hands out what they lack', () => {
  const low = ['clients:read', 'clients:write', 'roles:read', 'roles:write', 'users:read', 'users:write', 'keys:write']
  const ifMatch = { 'If-Match': '*' }

  test.each<[string, string, string, unknown]>([
    ['a role with more', 'POST', '/roles', { name: 'more', permissions: ['tokens:write'] }],
    ['a person with a role of more', 'POST', '/users', { email: 'more@example.com', roles: ['auditors'] }],
    ['a role of more to somebody', 'PATCH', '/users/:low', { roles: ['auditors'] }],
    ['more to a role', 'PATCH', '/roles/harmless', { permissions: ['audit:read'] }],
    ['a change to a role of more', 'PATCH', '/roles/auditors', { description: 'x' }],
    ['the end of a role of more', 'DELETE', '/roles/auditors?cascade=true', undefined],
    ['another address to somebody who may do more', 'PATCH', '/users/:high', { email: 'mine@example.com' }],
    [
      'a password to somebody who may do more',
      'PUT',
      '/users/:high/password',
      { password: 'correct horse battery staple 9' },
    ],
    ['the end of somebody who may do more', 'DELETE', '/users/:high', undefined],
    ['the sessions of somebody who may do more', 'DELETE', '/users/:high/sessions', undefined],
    ['new tries at somebody who may do more', 'POST', '/users/:high/unlock', undefined],
    [
      'a client that may do more',
      'POST',
      '/clients',
      { clientId: 'more', type: 'service', apis: { ':own': ['tokens:write'] } },
    ],
    ['a client with a role of more', 'POST', '/clients', { clientId: 'more', type: 'service', roles: ['auditors'] }],
    ['more to a client', 'PATCH', '/clients/harmless', { apis: { ':own': ['tokens:write'] } }],
    ['a secret of a client that may do more', 'POST', '/clients/robot/secrets', {}],
    ['a change to a client that may do more', 'PATCH', '/clients/robot', { name: 'Mine' }],
    ['the end of a client that may do more', 'DELETE', '/clients/robot?cascade=true', undefined],
    [
      'a key that may do more',
      'POST',
      '/api-keys',
      { name: 'k', owner: { clientId: 'robot' }, apis: { ':own': ['tokens:write'] } },
    ],
  ])('not %s', async (_, method, path, body) => {
    if ((await call('GET', '/roles/auditors')).status === 404) {
      await call('POST', '/roles', { body: { name: 'auditors', permissions: ['audit:read'] } })
      await call('POST', '/roles', { body: { name: 'harmless' } })
      await call('POST', '/clients', { body: { clientId: 'harmless', type: 'service' } })
      await call('POST', '/users', { body: { email: 'high@example.com', roles: ['auditors'] } })
      await call('POST', '/users', { body: { email: 'low@example.com' } })
      await api.server.settle()
    }
    const idOf = async (q: string) => (await call('GET', `/users?q=${q}@`)).body.data[0].id
    const at = path.replace(':high', await idOf('high')).replace(':low', await idOf('low'))
    const sent = body === undefined ? undefined : JSON.parse(JSON.stringify(body).replace(':own', api.ownApi))
    const answer = await call(method, at, { body: sent, scopes: low, headers: ifMatch })
    expect([answer.status, answer.body.error], JSON.stringify(answer.body)).toEqual([403, 'insufficient_scope'])
    const allowed = await call('GET', '/users?q=high@', { scopes: low })
    expect(allowed.body.data).toHaveLength(1)
  })
})

describe('a person', () => {
  test('is made, found by the beginning of address or name, changed and deleted', async () => {
    const body = {
      email: 'Zoë@Example.com',
      name: 'Zoë Quill',
      attributes: { department: 'sales' },
      emailVerified: true,
    }
    const made = await call('POST', '/users', { body })
    expect(made).toMatchObject({ status: 201, body: { email: 'Zoë@Example.com', emailVerified: true, roles: [] } })
    const found = async (q: string) => (await call('GET', `/users?q=${encodeURIComponent(q)}`)).body.data.length
    expect([
      await found('zoë@ex'),
      await found('ZOË QUI'),
      await found('quill'),
      await found('_oë'),
      await found('zo%'),
    ]).toEqual([1, 1, 0, 0, 0])
    const path = `/users/${made.body.id}`
    const changed = await call('PATCH', path, {
      body: { name: null, locale: 'de' },
      headers: { 'If-Match': await etagOf(path) },
    })
    expect(changed.body).toMatchObject({ name: null, locale: 'de', attributes: { department: 'sales' } })
    expect((await call('DELETE', path)).status).toBe(200)
    expect((await call('GET', path)).status).toBe(404)
    expect((await call('GET', '/users/not-an-id')).status).toBe(404)
  })

  test('with another address has to prove it, and the old one hears of it', async () => {
    const { body } = await call('POST', '/users', { body: { email: 'before@example.com', emailVerified: true } })
    const changed = await call('PATCH', `/users/${body.id}`, {
      body: { email: 'after@example.com' },
      headers: { 'If-Match': '*' },
    })
    expect(changed.body).toMatchObject({ email: 'after@example.com', emailVerified: false })
    const { database, secretKeys } = api.server
    const mail = await database.prisma.mail.findFirstOrThrow({ where: { userId: body.id } })
    expect(unsealMail(secretKeys, { id: mail.id, sealed: mail.sealed ?? '' })).toMatchObject({
      to: 'before@example.com',
      data: { what: 'emailChanged' },
    })
    await call('POST', '/users', { body: { email: 'taken@example.com' } })
    const taken = await call('PATCH', `/users/${body.id}`, {
      body: { email: 'TAKEN@example.com' },
      headers: { 'If-Match': '*' },
    })
    expect(taken).toMatchObject({ status: 409, body: { error: 'already_exists' } })
  })

  test('is given a password that holds up, and no other', async () => {
    const { body } = await call('POST', '/users', { body: { email: 'pw@example.com' } })
    const put = (password: string) => call('PUT', `/users/${body.id}/password`, { body: { password } })
    expect((await put('short')).status).toBe(422)
    expect((await put('pw@example.com pw@example.com')).status).toBe(422)
    expect((await put('seven purple walnuts sing')).body).toEqual({ id: body.id, passwordSet: true })
    const bad = { email: 'weak@example.com', password: 'password12345678' }
    expect((await call('POST', '/users', { body: bad })).status).toBe(422)
    expect((await call('GET', '/users?q=weak@')).body.data).toEqual([])
  })

  test('is signed out everywhere, of one session, and out of an application', async () => {
    const { prisma } = api.server.database
    const { body: person } = await call('POST', '/users', { body: { email: 'seen@example.com' } })
    const { generation } = await prisma.user.findUniqueOrThrow({ where: { id: person.id } })
    for (const uid of ['one', 'two', 'three'])
      await prisma.session.create({
        data: {
          uid,
          cookieHash: Buffer.from(uid),
          userId: person.id,
          userGeneration: generation,
          loginAt: new Date(),
          payload: {},
        },
      })
    const path = `/users/${person.id}`
    const sessions = async () =>
      (await call('GET', `${path}/sessions`)).body.data.map(({ uid }: { uid: string }) => uid).sort()
    expect(await sessions()).toEqual(['one', 'three', 'two'])
    expect((await call('DELETE', `${path}/sessions/one`)).status).toBe(200)
    expect((await call('DELETE', `${path}/sessions/one`)).status).toBe(404)
    const { body: stranger } = await call('POST', '/users', { body: { email: 'stranger@example.com' } })
    expect((await call('DELETE', `/users/${stranger.id}/sessions/two`)).status).toBe(404)
    expect((await call('DELETE', `${path}/sessions`)).body).toEqual({ ended: 2 })
    expect(await sessions()).toEqual([])
    await prisma.consent.create({ data: { userId: person.id, clientId: 'spa', scopes: ['openid'] } })
    expect((await call('GET', `${path}/applications`)).body.data).toMatchObject([
      { clientId: 'spa', scopes: ['openid'] },
    ])
    expect((await call('DELETE', `${path}/applications/spa`)).status).toBe(200)
    expect((await call('GET', `${path}/applications`)).body.data).toEqual([])
    expect((await call('DELETE', `${path}/applications/spa`)).status).toBe(404)
  })
})

test('every change has left its record, in the name of the key that made it', async () => {
  const { prisma } = api.server.database
  const events = await prisma.auditEvent.groupBy({ by: ['event'], where: { actorKind: 'api_key' } })
  expect(events.map(({ event }) => event)).toEqual(
    expect.arrayContaining([
      ...['client.created', 'client.updated', 'client.deleted', 'client.secret_added', 'client.secret_removed'],
      ...['api.created', 'api.updated', 'api.deleted', 'role.created', 'role.updated', 'role.deleted'],
      ...[
        'user.created',
        'user.updated',
        'user.email_changed',
        'user.password_changed',
        'user.deleted',
        'consent.withdrawn',
      ],
    ]),
  )
})
