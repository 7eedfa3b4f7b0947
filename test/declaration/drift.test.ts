// What is remembered of an applied file, and what is told of the difference: by kind, name and fields, and never about what somebody else declared.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { updateApi } from '#src/apis/apis.ts'
import { runCheckup } from '#src/checkup/checkup.ts'
import { lookForDrift } from '#src/checkup/drift.ts'
import { createClient, deleteClient, updateClient } from '#src/clients/clients.ts'
import { setClientLogo } from '#src/clients/logos.ts'
import { newClientSecret } from '#src/clients/secrets.ts'
import { readConfig } from '#src/config.ts'
import { applyDeclaration } from '#src/declaration/apply.ts'
import { readDrift } from '#src/declaration/drift.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { newWebhookSecret } from '#src/outbound/standard-webhooks.ts'
import { storeSettings } from '#src/settings/settings.ts'
import { deleteUser, findUserByEmail, updateUser } from '#src/users/users.ts'
import { patchEndpoint } from '#src/webhooks/endpoints.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { picture, png } from '#test/support/logos.ts'

const change = changeAt()
const secretKeys = createSecretKeys([randomBytes(32)])
const webhookDeps = { secretKeys, networks: [] }
const orders = 'https://api.example.com/orders'
const secrets = { client: newClientSecret(), webhook: newWebhookSecret(), password: 'correct horse battery' }
const file = `
apis:
  - { identifier: "${orders}", name: Orders, scopes: { "orders:read": See, "orders:write": Change } }
roles:
  - { name: clerk, permissions: ["orders:read"] }
  - { name: boss, permissions: ["orders:read", "orders:write"] }
clients:
  - { clientId: robot, type: service, clientSecret: "${secrets.client}", apis: { "${orders}": ["orders:read"] } }
  - { clientId: shop, type: spa, name: Shop, redirectUris: [https://shop.example/cb] }
users:
  - { email: ada@example.com, password: ${secrets.password}, name: Ada Lovelace, roles: [clerk], attributes: { department: sales } }
routes:
  - { host: api.example.com, method: GET, path: /a, api: "${orders}", scopes: ["orders:read"] }
  - { host: api.example.com, method: GET, path: /b, api: "${orders}", scopes: ["orders:read"] }
policies:
  - { api: "${orders}", name: all, state: enforced, text: "permit (principal, action, resource);" }
webhooks:
  - { name: archive, url: "https://hooks.example.com/", types: ["*"], secret: "${secrets.webhook}" }
settings: { signUp: open, sessionTtlSeconds: 7200 }
branding: { css: ":root { --accent: navy }" }
`

let created: TestDatabase
let database: TestDatabase['database']
let prisma: TestDatabase['database']['prisma']
beforeAll(async () => {
  created = await createTestDatabase()
  ;({ database } = created)
  prisma = database.prisma
})
afterAll(() => created.drop())
beforeEach(() =>
  database.pool.query(
    'TRUNCATE api, client, users, role, route, policy, webhook_endpoint, setting, applied_declaration CASCADE',
  ),
)

const apply = (text: string, options: { file?: string; prune?: boolean; dryRun?: boolean; at?: string } = {}) =>
  applyDeclaration(database, parseDeclaration(text), {
    ...{ ...change, prune: false, dryRun: false, webhookDeps, file: 'sallyport.yaml' },
    ...options,
    ...(options.at ? { now: new Date(options.at) } : {}),
  })
/** `file: kind id: fields`. */
const told = async () =>
  (await readDrift(prisma)).flatMap(({ file: name, differences, refused }) => [
    ...(refused === null ? [] : [`${name} refused: ${refused}`]),
    ...differences.map(
      ({ kind, id, missing, fields }) => `${name}: ${kind} ${id}: ${missing ? 'gone' : fields.join()}`,
    ),
  ])
const kept = async () => JSON.stringify(await prisma.appliedDeclaration.findMany())
const ada = async () => (await findUserByEmail(prisma, 'ada@example.com'))?.id ?? ''

test('nothing differs after an apply, also one that changes nothing, and of what was never applied nothing is told', async () => {
  expect(await readDrift(prisma)).toEqual([])
  await apply(file)
  expect(await readDrift(prisma)).toEqual([
    { file: 'sallyport.yaml', appliedAt: change.now, differences: [], refused: null },
  ])
  await apply(file, { at: '2026-12-01T00:00:00Z' })
  expect((await readDrift(prisma))[0]?.appliedAt).toEqual(new Date('2026-12-01T00:00:00Z'))
})

test('a dry run is not remembered', async () => {
  await apply(file, { dryRun: true })
  expect(await readDrift(prisma)).toEqual([])
  await apply(file)
  const before = await kept()
  await apply('clients: []', { dryRun: true })
  expect(await kept()).toBe(before)
})

test('what is kept holds no secret, no hash of one, and of people neither name nor address nor attributes', async () => {
  await apply(file)
  const text = await kept()
  for (const value of [...Object.values(secrets), 'sha256:', 'argon2', 'ada@', 'Ada', 'Lovelace', 'sales'])
    expect(text).not.toContain(value)
  expect(text).toContain(await ada())
})

describe('one thing changed', () => {
  test.each<[string, () => Promise<unknown>, string[]]>([
    [
      'an application',
      () => updateClient(prisma, 'shop', { type: 'spa', name: 'Other', redirectUris: ['https://x.example/'] }, change),
      ['client shop: name,redirectUris'],
    ],
    ['an application that is gone', () => deleteClient(prisma, 'shop', change), ['client shop: gone']],
    ['one with a secret that is gone', () => deleteClient(prisma, 'robot', change), ['client robot: gone']],
    [
      'an API',
      () =>
        updateApi(
          prisma,
          orders,
          { name: 'All orders', scopes: { 'orders:read': 'See', 'orders:write': 'Change' } },
          change,
        ),
      [`api ${orders}: name`],
    ],
    ['a role', () => prisma.rolePermission.deleteMany({ where: { roleName: 'boss' } }), ['role boss: permissions']],
    ['a policy', () => prisma.policy.updateMany({ data: { state: 'draft' } }), [`policy ${orders} all: state`]],
    [
      'a route',
      () => prisma.route.updateMany({ where: { path: '/b' }, data: { anonymous: true } }),
      ['route GET api.example.com/b: anonymous'],
    ],
    [
      'the order of routes',
      async () => {
        await prisma.route.updateMany({ where: { path: '/a' }, data: { position: 7 } })
      },
      ['route GET api.example.com/a: position'],
    ],
    [
      'a webhook',
      async () => {
        const { id } = await prisma.webhookEndpoint.findFirstOrThrow()
        await patchEndpoint(prisma, id, { types: ['user.*'] }, [], change)
      },
      ['webhook archive: types'],
    ],
    [
      'a setting',
      () => storeSettings(prisma, { SIGN_UP: 'off', SESSION_TTL_SECONDS: null }, change),
      ['setting signUp: value', 'setting sessionTtlSeconds: gone'],
    ],
    [
      'the style sheet',
      () => storeSettings(prisma, { THEME_CSS: ':root { --accent: red }' }, change),
      ['branding css: text'],
    ],
  ])('%s is told by name and fields, and applying the file mends it', async (_, alter, expected) => {
    await apply(file)
    await alter()
    expect(await told()).toEqual(expected.map((one) => `sallyport.yaml: ${one}`))
    await apply(file)
    expect(await told()).toEqual([])
  })

  test('a picture that nobody has any more is a difference', async () => {
    const text = 'clients: [{ clientId: shop, type: spa, redirectUris: [https://shop.example/cb], logo: ./logo.png }]'
    const logos = new Map([['./logo.png', picture(png(8, 8))]])
    await applyDeclaration(database, parseDeclaration(text), {
      ...{ ...change, prune: false, dryRun: false, file: 'logo.yaml', logos },
    })
    expect(await told()).toEqual([])
    await setClientLogo(prisma, 'shop', picture(png(9, 9)), change)
    expect(await told()).toEqual(['logo.yaml: client shop: logo'])
  })

  test('roles of a person are told by id; what people change themselves is not', async () => {
    await apply(file)
    await updateUser(prisma, await ada(), { name: 'Somebody' }, change)
    expect(await told()).toEqual([])
    await updateUser(prisma, await ada(), { roles: ['clerk', 'boss'] }, change)
    expect(await told()).toEqual([`sallyport.yaml: user ${await ada()}: roles`])
  })

  test('a person with another address is the same, one who is gone is told by id, which is all that is left', async () => {
    await apply(file)
    const id = await ada()
    await prisma.user.update({ where: { id }, data: { email: 'a@new.example', emailKey: 'a@new.example' } })
    expect(await told()).toEqual([])
    await deleteUser(prisma, id, change)
    expect(await told()).toEqual([`sallyport.yaml: user ${id}: gone`])
    expect(await kept()).not.toContain('@')
  })

  test('what the file does not list is nobody’s business, routes that come in between neither', async () => {
    await apply(file)
    await createClient(prisma, { id: 'other', type: 'spa', redirectUris: ['https://o.example/'] }, [], change)
    await createRole(prisma, 'other', {}, change)
    await apply(`routes: [{ host: b.example.com, method: GET, path: /, api: "${orders}" }]`, { file: 'more.yaml' })
    expect(await told()).toEqual([])
  })

  test('a file that could not be applied now says why', async () => {
    await apply(file)
    await apply(
      `clients: [{ clientId: shop, type: spa, redirectUris: [https://shop.example/cb], apis: { "${orders}": ["orders:read"] } }]`,
      {
        file: 'shop.yaml',
      },
    )
    await prisma.clientScope.deleteMany()
    await prisma.policy.deleteMany()
    await prisma.route.deleteMany()
    await prisma.api.deleteMany()
    const [said, ...others] = (await told()).sort().reverse()
    expect(said).toMatch(/^shop\.yaml refused: clients\[0\]\.apis/)
    expect(others).toContain(`sallyport.yaml: api ${orders}: gone`)
    expect(others.every((one) => one.startsWith('sallyport.yaml: '))).toBe(true)
  })
})

test('a page does not compare more clients than it has time for', async () => {
  await apply(file)
  expect(await lookForDrift(database, { mostClients: 2 })).toHaveLength(1)
  expect(await lookForDrift(database, { mostClients: 1 })).toEqual([])
})

describe('several files', () => {
  test('a thing belongs to the file that declared it last; a file of which nothing is left is forgotten', async () => {
    await apply(file)
    const other = 'clients: [{ clientId: shop, type: spa, name: Shop 2, redirectUris: [https://shop.example/cb] }]'
    await apply(other, { file: 'other.yaml' })
    expect(await told()).toEqual([])
    await updateClient(
      prisma,
      'shop',
      { type: 'spa', name: 'By hand', redirectUris: ['https://shop.example/cb'] },
      change,
    )
    expect(await told()).toEqual(['other.yaml: client shop: name'])
    await apply(file)
    expect((await readDrift(prisma)).map(({ file: name }) => name)).toEqual(['sallyport.yaml'])
  })

  test('what one prunes the other no longer declares', async () => {
    await apply(file)
    await apply('webhooks: []', { file: 'none.yaml', prune: true })
    expect(await told()).toEqual([])
  })
})

test('the checkup says so, one finding for each thing, and keeps quiet otherwise', async () => {
  const config = readConfig({})
  const findings = async () =>
    (await runCheckup({ database, config, secretKeys, now: () => change.now })).findings.filter(
      ({ check }) => check === 'drift',
    )
  await apply(file)
  expect(await findings()).toEqual([])
  await updateClient(prisma, 'shop', { type: 'spa', name: 'Other', redirectUris: ['https://shop.example/cb'] }, change)
  await deleteUser(prisma, await ada(), change)
  expect(await findings()).toMatchObject([
    {
      ...{ id: 'drift:shop', severity: 'warning', subject: { kind: 'client', id: 'shop' } },
      what: `Differs from sallyport.yaml, applied on ${change.now.toISOString()}: name.`,
    },
    { subject: { kind: 'user' }, what: expect.stringMatching(/^Is gone, and sallyport\.yaml declared it/) },
  ])
})
