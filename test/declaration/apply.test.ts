import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { createRole, insertRole, LastOwner, ownerRole } from '#src/access/roles.ts'
import { createClient, findClient, setClientDisabled } from '#src/clients/clients.ts'
import { addClientSecret, newClientSecret, verifyClientSecret } from '#src/clients/secrets.ts'
import { readConfigurationVersion } from '#src/db/configuration-version.ts'
import { withConfigurationLock } from '#src/db/transaction.ts'
import { applyDeclaration, planDeclaration } from '#src/declaration/apply.ts'
import { type InvalidDeclaration, StillInUse } from '#src/declaration/errors.ts'
import { exportDeclaration } from '#src/declaration/export.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { hashPassword, verifyPassword } from '#src/factors/password.ts'
import { createUser, findUserByEmail, setPassword, setUserDisabled, updateUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const secret = '0123456789abcdef0123456789abcdef'
const orders = 'https://api.example.com/orders'
const file = `
apis:
  - identifier: ${orders}
    name: Orders
    introspectionClients: [orders-api]
    scopes: { "orders:read": See orders, "orders:write": Change orders }
roles:
  - { name: order-admin, permissions: ["orders:read", "orders:write"] }
clients:
  - { clientId: orders-api, type: service, clientSecret: ${secret}, apis: { "${orders}": ["orders:read"] } }
  - { clientId: shop-web, type: web, clientSecret: ${secret}, redirectUris: [https://shop.example/cb], apis: { "${orders}": ["orders:read", "orders:write"] } }
users:
  - { email: alice@example.com, password: correct horse battery, emailVerified: true, roles: [order-admin], attributes: { department: sales } }
routes:
  - { host: api.example.com, method: GET, path: "/orders/{id}", api: "${orders}", scopes: ["orders:read"] }
  - { host: api.example.com, method: DELETE, path: "/orders/{id}", api: "${orders}", scopes: ["orders:write"], relation: "owner@order:{id}" }
`

let created: TestDatabase | undefined
let database: TestDatabase['database']
const opened: TestDatabase[] = []

beforeEach(async () => {
  created = await createTestDatabase()
  opened.push(created)
  database = created.database
})
afterAll(async () => {
  for (const each of opened) await each.drop()
})

const apply = (text: string, options: { prune?: boolean; dryRun?: boolean } = {}) =>
  applyDeclaration(database, parseDeclaration(text), { prune: false, dryRun: false, ...change, ...options })
const brief = (changes: Awaited<ReturnType<typeof apply>>) =>
  changes.map(({ action, kind, id }) => `${action} ${kind} ${id}`)
const flawsOf = (work: Promise<unknown>) =>
  work.then(
    () => [],
    (error: InvalidDeclaration) => error.flaws.map((flaw) => flaw.field),
  )

describe('converging', () => {
  test('creates everything, although API and client name each other; the second time changes nothing', async () => {
    expect(brief(await apply(file))).toEqual([
      `create api ${orders}`,
      'create role order-admin',
      'create client orders-api',
      'create client shop-web',
      'create user alice@example.com',
      'create route GET api.example.com/orders/{id}',
      'create route DELETE api.example.com/orders/{id}',
    ])
    const version = await readConfigurationVersion(database)
    const rows = await database.prisma.auditEvent.count()
    expect(await apply(file)).toEqual([])
    expect(await planDeclaration(database.prisma, parseDeclaration(file), { prune: true })).toEqual([])
    expect(await readConfigurationVersion(database)).toBe(version)
    expect(await database.prisma.auditEvent.count()).toBe(rows)
    expect(
      await verifyPassword(database.prisma, { identifier: 'alice@example.com', password: 'correct horse battery' }),
    ).toMatchObject({ ok: true })
  })

  test('raises the configuration version and records each change and the whole, in the same commit', async () => {
    const before = await readConfigurationVersion(database)
    await apply(file)
    expect(await readConfigurationVersion(database)).toBeGreaterThan(before)
    const events = await database.prisma.auditEvent.findMany({ orderBy: { id: 'asc' } })
    expect(events.at(-1)).toMatchObject({
      event: 'configuration.applied',
      detail: { created: 7, updated: 0, deleted: 0 },
    })
    expect(events.map((row) => row.event)).toContain('user.created')
    expect(JSON.stringify(events.map((row) => row.detail))).not.toMatch(/correct horse|0123456789|alice/)
  })

  test('an update names each field with what was and what will be, and no secret', async () => {
    await apply(file)
    const changed = file
      .replace('name: Orders', 'name: All orders')
      .replace('redirectUris: [https://shop.example/cb]', 'redirectUris: [https://shop.example/cb2]')
      .replace('emailVerified: true', 'emailVerified: false')
      .replace(secret, newClientSecret())
    expect(await apply(changed)).toEqual([
      { action: 'update', kind: 'api', id: orders, fields: { name: { from: 'Orders', to: 'All orders' } } },
      {
        action: 'update',
        kind: 'client',
        id: 'shop-web',
        fields: { redirectUris: { from: ['https://shop.example/cb'], to: ['https://shop.example/cb2'] } },
      },
      { action: 'update', kind: 'user', id: 'alice@example.com', fields: { emailVerified: { from: true, to: false } } },
    ])
    expect(await apply(changed)).toEqual([])
  })

  test('a field of a client that is left out takes its default again', async () => {
    await apply(
      'clients: [{ clientId: a, type: spa, redirectUris: ["https://a.example/"], name: A, refreshLeewaySeconds: 5, refreshTokenIdleTtlSeconds: 600 }]',
    )
    const [change] = await apply('clients: [{ clientId: a, type: spa, redirectUris: ["https://a.example/"] }]')
    expect(change?.fields).toEqual({
      name: { from: 'A', to: 'a' },
      refreshLeewaySeconds: { from: 5, to: 30 },
      refreshTokenIdleTtlSeconds: { from: 600, to: null },
    })
  })

  test('a field of a person that is left out is theirs', async () => {
    await apply('users: [{ email: a@example.com }]')
    const person = await findUserByEmail(database.prisma, 'a@example.com')
    await updateUser(database.prisma, person?.id ?? '', { name: 'Ada', emailVerified: true }, change)
    expect(await apply('users: [{ email: A@example.com }]')).toEqual([])
    expect(await findUserByEmail(database.prisma, 'a@example.com')).toMatchObject({
      name: 'Ada',
      emailVerifiedAt: change.now,
    })
  })

  test('routes keep the order of the file; those it does not list come after', async () => {
    await apply(file)
    const other = `routes:\n  - { host: b.example.com, method: GET, path: /, api: "${orders}" }\n`
    await apply(other)
    expect(await apply(other)).toEqual([])
    const routes = await database.prisma.route.findMany({ orderBy: { position: 'asc' } })
    expect(routes.map((route) => `${route.method} ${route.host}`)).toEqual([
      'GET b.example.com',
      'GET api.example.com',
      'DELETE api.example.com',
    ])
  })
})

describe('secrets and switches count at creation only: an old file brings nothing back', () => {
  test('a rotated secret, a changed password, a disabled client and person stay as they are', async () => {
    await apply(file)
    const { prisma } = database
    await database.prisma.clientSecret.deleteMany({ where: { clientId: 'shop-web' } })
    const rotated = newClientSecret()
    await addClientSecret(prisma, 'shop-web', { value: rotated }, change)
    const alice = await findUserByEmail(prisma, 'alice@example.com')
    await setPassword(prisma, alice?.id ?? '', await hashPassword('another long password'), change)
    await setUserDisabled(prisma, alice?.id ?? '', true, change)
    await setClientDisabled(prisma, 'shop-web', true, change)
    expect(await apply(file)).toEqual([])
    const client = await findClient(prisma, 'shop-web')
    expect(client && [secret, rotated].map((value) => verifyClientSecret(client, value, change.now))).toEqual([
      false,
      true,
    ])
    expect(client?.disabledAt).toEqual(change.now)
    expect((await findUserByEmail(prisma, 'alice@example.com'))?.disabledAt).toEqual(change.now)
  })

  test('`disabled` in the file is done', async () => {
    await apply('users: [{ email: a@example.com, disabled: true }]')
    expect((await findUserByEmail(database.prisma, 'a@example.com'))?.disabledAt).toEqual(change.now)
    const [enabled] = await apply('users: [{ email: a@example.com, disabled: false }]')
    expect(enabled?.fields).toEqual({ disabled: { from: true, to: false } })
    expect((await findUserByEmail(database.prisma, 'a@example.com'))?.disabledAt).toBeNull()
  })

  test('hashes are taken in place of secrets', async () => {
    const passwordHash = await hashPassword('correct horse battery')
    await apply(file)
    const exported = await exportDeclaration(database.prisma)
    const hash = /clientSecretHash: (sha256:\S+)/.exec(exported)?.[1]
    await apply(
      `clients: [{ clientId: copy, type: service, clientSecretHash: ["${hash}"] }]\nusers: [{ email: copy@example.com, passwordHash: "${passwordHash}" }]`,
    )
    const copy = await findClient(database.prisma, 'copy')
    expect(copy && verifyClientSecret(copy, secret, change.now)).toBe(true)
    expect(
      await verifyPassword(database.prisma, { identifier: 'copy@example.com', password: 'correct horse battery' }),
    ).toMatchObject({ ok: true })
  })
})

describe('everything or nothing', () => {
  test.each<[string, string, string[]]>([
    [
      'an unknown API of a client',
      'clients: [{ clientId: a, type: service, clientSecretHash: [], apis: { "https://none.example": [x] } }]',
      ['clients[0].apis["https://none.example"] (line 1)'],
    ],
    [
      'an unknown scope of an API in the file',
      file.replace('["orders:read"] } }', '["orders:list"] } }'),
      [`clients[0].apis["${orders}"][0] (line 10)`],
    ],
    [
      'an unknown introspection client',
      file.replace('[orders-api]', '[orders-api, nobody]'),
      ['apis[0].introspectionClients[1] (line 5)'],
    ],
    ['an unknown role', file.replace('roles: [order-admin]', 'roles: [order-king]'), ['users[0].roles[0] (line 13)']],
    [
      'an unknown API of a route',
      'routes: [{ host: a.example, method: GET, path: /, api: "https://none.example" }]',
      ['routes[0].api (line 1)'],
    ],
    [
      'an unknown scope of a route',
      file.replace('scopes: ["orders:write"], relation', 'scopes: ["orders:burn"], relation'),
      ['routes[1].scopes[0] (line 16)'],
    ],
    [
      'a new confidential client without secret',
      'clients: [{ clientId: a, type: service }]',
      ['clients[0].clientSecret (line 1)'],
    ],
  ])('%s: named by its path and line, nothing is written', async (_, text, fields) => {
    expect(await flawsOf(apply(text))).toEqual(fields)
    expect(await flawsOf(apply(text, { dryRun: true }))).toEqual(fields)
    expect(await database.prisma.auditEvent.count()).toBe(0)
    expect(await database.prisma.client.count()).toBe(0)
    expect(await database.prisma.api.count()).toBe(0)
  })

  test('a failure in the middle takes everything back', async () => {
    await database.pool.query(
      `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$`,
    )
    await database.pool.query('CREATE TRIGGER refuse BEFORE INSERT ON route FOR EACH ROW EXECUTE FUNCTION refuse()')
    await expect(apply(file)).rejects.toThrow()
    const left = await Promise.all([
      database.prisma.api.count(),
      database.prisma.client.count(),
      database.prisma.user.count(),
      database.prisma.auditEvent.count(),
    ])
    expect(left).toEqual([0, 0, 0, 0])
    expect(await readConfigurationVersion(database)).toBe(0n)
  })

  test('a dry run says what would happen and leaves no trace', async () => {
    const planned = await apply(file, { dryRun: true })
    expect(planned).toHaveLength(7)
    expect(await database.prisma.auditEvent.count()).toBe(0)
    expect(await readConfigurationVersion(database)).toBe(0n)
    expect(await apply(file)).toEqual(planned)
  })

  test("Sallyport's own API is not described by a file", async () => {
    await apply(file)
    await database.prisma.api.update({ where: { identifier: orders }, data: { builtIn: true } })
    expect(await flawsOf(apply(file))).toEqual(['apis[0].identifier (line 3)'])
  })
})

describe('prune', () => {
  const without = (pattern: RegExp) => file.replace(pattern, '')

  test('nothing is removed without it', async () => {
    await apply(file)
    expect(await apply('apis: []\nroles: []\nclients: []\nusers: []\nroutes: []\n')).toEqual([])
    expect(await database.prisma.client.count()).toBe(2)
  })

  test('removes what the sections do not list, users and routes before what they need', async () => {
    await apply(file)
    expect(brief(await apply('apis: []\nroles: []\nclients: []\nusers: []\nroutes: []\n', { prune: true }))).toEqual([
      'delete route GET api.example.com/orders/{id}',
      'delete route DELETE api.example.com/orders/{id}',
      'delete user alice@example.com',
      'delete client orders-api',
      'delete client shop-web',
      'delete role order-admin',
      `delete api ${orders}`,
    ])
    expect(await database.prisma.scope.count()).toBe(0)
  })

  test('a section that is not in the file is left alone', async () => {
    await apply(file)
    expect(brief(await apply(`routes: []\n`, { prune: true }))).toEqual([
      'delete route GET api.example.com/orders/{id}',
      'delete route DELETE api.example.com/orders/{id}',
    ])
    expect(await database.prisma.user.count()).toBe(1)
  })

  test('what others need is not taken away from under them', async () => {
    await apply(file)
    for (const text of ['apis: []\n', 'clients: []\n', 'roles: []\n', 'apis: []\nroutes: []\n']) {
      await expect(apply(text, { prune: true }), text).rejects.toBeInstanceOf(StillInUse)
      await expect(apply(text, { prune: true, dryRun: true }), text).rejects.toBeInstanceOf(StillInUse)
    }
    expect(await database.prisma.api.count()).toBe(1)
  })

  test('a file that still names what it removes is refused by path', async () => {
    await apply(file)
    expect(await flawsOf(apply(without(/ {2}- \{ clientId: orders-api.*\n/), { prune: true }))).toEqual([
      'apis[0].introspectionClients[0] (line 5)',
    ])
    expect(
      await flawsOf(
        apply(without(/ {2}- \{ name: order-admin.*\n/).replace('roles:\n', 'roles: []\n'), { prune: true }),
      ),
    ).toEqual(['users[0].roles[0] (line 12)'])
  })

  test('a scope that a client outside the file may ask for is not taken away, with or without prune', async () => {
    await apply(file)
    const fewer = `apis: [{ identifier: "${orders}", name: Orders, introspectionClients: [orders-api], scopes: { "orders:read": See orders } }]\n`
    await expect(apply(fewer)).rejects.toBeInstanceOf(StillInUse)
    await expect(apply(fewer, { prune: true })).rejects.toBeInstanceOf(StillInUse)
    const both = file
      .replace(', "orders:write": Change orders', '')
      .replace('["orders:read", "orders:write"] } }', '["orders:read"] } }')
      .replace('scopes: ["orders:write"], ', '')
    expect(brief(await apply(both))).toEqual([
      `update api ${orders}`,
      'update client shop-web',
      'update route DELETE api.example.com/orders/{id}',
    ])
  })

  test("leaves Sallyport's own role and demo clients, and never the last owner", async () => {
    await database.prisma.$transaction((tx) => insertRole(tx, ownerRole, {}, change))
    await createClient(database.prisma, { id: 'demo-service', type: 'service' }, [], change)
    await createRole(database.prisma, 'other', {}, change)
    await createUser(database.prisma, { email: 'root@example.com', roles: [ownerRole] }, change)
    expect(brief(await apply('roles: []\nclients: []\n', { prune: true }))).toEqual(['delete role other'])
    await expect(apply('users: []\n', { prune: true })).rejects.toBeInstanceOf(LastOwner)
    await expect(apply('users: []\n', { prune: true, dryRun: true })).rejects.toBeInstanceOf(LastOwner)
    expect(await database.prisma.user.count()).toBe(1)
  })
})

describe('at the same time', () => {
  test('several applies of one file: one does the work, all end well', async () => {
    const results = await Promise.all([1, 2, 3, 4].map(() => apply(file)))
    expect(results.map((changes) => changes.length).sort()).toEqual([0, 0, 0, 7])
  })

  test('applies of two files that contradict each other leave one of them, whole', async () => {
    const a = file
    const b = file
      .replace('name: Orders', 'name: Bestellungen')
      .replace('[https://shop.example/cb]', '[https://shop.example/b]')
    await Promise.all([apply(a), apply(b), apply(a), apply(b)])
    const left = await Promise.all([
      planDeclaration(database.prisma, parseDeclaration(a), { prune: true }),
      planDeclaration(database.prisma, parseDeclaration(b), { prune: true }),
    ])
    expect(left.map((changes) => changes.length).sort()).toEqual([0, 2])
  })

  test('who cannot get the lock is told so', async () => {
    let release: () => void = () => undefined
    let locked: () => void = () => undefined
    const isLocked = new Promise<void>((resolve) => {
      locked = resolve
    })
    const holder = withConfigurationLock(database, async () => {
      locked()
      await new Promise<void>((resolve) => {
        release = resolve
      })
    })
    await isLocked
    await expect(
      withConfigurationLock(database, async () => 'in', { waitSeconds: 0.2, runSeconds: 30 }),
    ).rejects.toMatchObject({ name: 'LockTimeout' })
    release()
    await holder
    expect(await withConfigurationLock(database, async () => 'in')).toBe('in')
  })
})
