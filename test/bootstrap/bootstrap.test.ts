// biome-ignore-all lint/suspicious/noTemplateCurlyInString: a file may name variables so.
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import { findApiKey, listApiKeys } from '#src/access/api-keys/reads.ts'
import { findPolicyByName } from '#src/access/policies/policies.ts'
import { ownerPermissions, ownerRole, permissionsOf } from '#src/access/roles.ts'
import { findApi } from '#src/apis/apis.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { bootstrap } from '#src/bootstrap/bootstrap.ts'
import { completeSetup } from '#src/bootstrap/setup.ts'
import { findClient, updateClient } from '#src/clients/clients.ts'
import { verifyClientSecret } from '#src/clients/secrets.ts'
import { readConfig } from '#src/config.ts'
import { readConfigurationVersion } from '#src/db/configuration-version.ts'
import { withConfigurationLock } from '#src/db/transaction.ts'
import { verifyPassword } from '#src/factors/password.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createLog } from '#src/log.ts'
import { createUser, findUserByEmail, updateUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { picture, png } from '#test/support/logos.ts'

const log = createLog({ logLevel: 'silent' })
const key = randomBytes(32)
const issuer = 'http://localhost:3000'
const now = new Date('2026-11-22T12:00:00Z')
const hour = 3600_000
const directory = mkdtempSync(join(tmpdir(), 'sallyport-bootstrap-'))
const opened: TestDatabase[] = []
let database: TestDatabase['database']
let prisma: TestDatabase['database']['prisma']
let url: string

beforeEach(async () => {
  const created = await createTestDatabase()
  opened.push(created)
  ;({ database, url } = created)
  prisma = database.prisma
})
afterAll(async () => {
  await Promise.all(opened.map((each) => each.drop()))
  rmSync(directory, { recursive: true })
}, 60_000)

const production = () => ({
  NODE_ENV: 'production',
  ISSUER_URL: 'https://id.example',
  DATABASE_URL: url,
  SECRET_KEY: randomBytes(32).toString('base64url'),
})
const start = async (env: Record<string, string> = {}, at = now, secretKey = key) =>
  (
    await bootstrap({
      config: readConfig(env),
      database,
      secretKeys: createSecretKeys([secretKey]),
      log,
      now: () => at,
    })
  ).banner
const codeIn = (banner: string[]) => /\/admin\/setup#code=([A-Za-z0-9_-]+)/.exec(banner.join('\n'))?.[1]

describe('what every start makes sure of', () => {
  test('own API, owner role and signing keys; a second start changes nothing', async () => {
    await start()
    expect(await findApi(prisma, `${issuer}/api`)).toMatchObject({
      name: 'Sallyport',
      accessTokenFormat: 'opaque',
      builtIn: true,
      accept: ['oauth', 'api_key', 'basic'],
    })
    expect((await findApi(prisma, `${issuer}/api`))?.scopes.map((scope) => scope.name)).toEqual(
      Object.keys(ownScopes).sort(),
    )
    expect(await prisma.signingKey.count()).toBeGreaterThan(0)
    const version = await readConfigurationVersion(database)
    const clients = await prisma.client.findMany({ include: { secrets: true } })
    await start()
    expect(await readConfigurationVersion(database)).toBe(version)
    expect(await prisma.client.findMany({ include: { secrets: true } })).toEqual(clients)
  })

  test('two processes that start at once make everything once, and both end well', async () => {
    const banners = await Promise.all([start(), start(), start()])
    expect(banners).toHaveLength(3)
    const counts = await Promise.all([
      prisma.api.count(),
      prisma.role.count(),
      prisma.client.count(),
      prisma.apiKey.count(),
      prisma.setupCode.count(),
    ])
    expect(counts).toEqual([1, 1, 2, 1, 3]) // a set-up code for each start
    expect(await prisma.clientSecret.count()).toBe(2)
  })

  test('a changed ISSUER_URL takes the API along, with what clients and keys were given', async () => {
    await start()
    await start({ ISSUER_URL: 'http://localhost:4444' })
    expect(await prisma.api.findMany({ select: { identifier: true } })).toEqual([
      { identifier: 'http://localhost:4444/api' },
    ])
    expect((await findClient(prisma, 'demo-service'))?.apiScopes).toMatchObject([
      { apiIdentifier: 'http://localhost:4444/api', scopeName: 'clients:read' },
    ])
  })

  test('a restart that finds everything takes no lock: it starts while another process changes the configuration', async () => {
    const file = join(directory, 'restart.yaml')
    writeFileSync(file, 'users: [{ email: boss@example.com, password: correct horse battery, roles: [owner] }]\n')
    const env = { ...production(), SALLYPORT_CONFIG: file }
    await start(env)
    await withConfigurationLock(database, () => start(env))
  })

  test.each([
    ['a scope of the own API', () => prisma.scope.deleteMany({ where: { name: 'keys:read' } })],
    ['the owner role', () => prisma.role.deleteMany({})],
    ['a key that is announced', () => prisma.signingKey.deleteMany({ where: { alg: 'EdDSA', state: 'next' } })],
  ])('%s that went missing comes back', async (_, remove) => {
    const things = async () => [await prisma.scope.count(), await prisma.role.count(), await prisma.signingKey.count()]
    await start(production())
    const before = await things()
    await remove()
    expect(await things()).not.toEqual(before)
    await start(production())
    expect(await things()).toEqual(before)
  })

  test('a permission that went missing from the owner role comes back', async () => {
    await start()
    await prisma.rolePermission.deleteMany({ where: { roleName: ownerRole, permission: 'keys:write' } })
    await start()
    expect(
      (await prisma.rolePermission.findMany({ where: { roleName: ownerRole } })).map((row) => row.permission).sort(),
    ).toEqual(ownerPermissions)
  })

  test('SALLYPORT_CONFIG is applied without prune, before the first administrator is looked for', async () => {
    const file = join(directory, 'config.yaml')
    writeFileSync(
      file,
      `users: [{ email: boss@example.com, password: correct horse battery, roles: [owner] }]\nclients: [{ clientId: svc, type: service, clientSecretHash: [], apis: { "${issuer}/api": ["users:read"] } }]\n`,
    )
    const banner = await start({ SALLYPORT_CONFIG: file })
    expect(codeIn(banner)).toBeUndefined()
    expect(await findClient(prisma, 'svc')).toMatchObject({ apiScopes: [{ scopeName: 'users:read' }] })
    writeFileSync(join(directory, 'svc.png'), png(8, 8))
    writeFileSync(file, 'clients: [{ clientId: svc, type: service, logo: ./svc.png }]\n')
    await start({ SALLYPORT_CONFIG: file })
    expect((await findClient(prisma, 'svc'))?.logo).toBe(picture(png(8, 8)).name)
    writeFileSync(file, 'clients: []\n')
    await start({ SALLYPORT_CONFIG: file })
    expect(await findClient(prisma, 'svc')).not.toBeNull()
    await expect(start({ SALLYPORT_CONFIG: join(directory, 'none.yaml') })).rejects.toMatchObject({
      name: 'BootstrapFailed',
    })
    writeFileSync(file, 'clients: [{ clientId: x }]\n')
    await expect(start({ SALLYPORT_CONFIG: file })).rejects.toMatchObject({ name: 'InvalidDeclaration' })
  })
})

describe('a file that was found to change nothing', () => {
  const file = join(directory, 'unchanged.yaml')
  const restart = () => start({ SALLYPORT_CONFIG: file })
  const nameOfClient = async () => (await findClient(prisma, 'svc'))?.name
  /** As nobody does: the version does not move, so whoever compares nothing does not see it. */
  const changeUnseen = (name: string) => prisma.client.update({ where: { id: 'svc' }, data: { name } })
  const write = (extra = '') =>
    writeFileSync(
      file,
      `clients: [{ clientId: svc, type: service, name: As declared, clientSecretHash: [] }]\n${extra}`,
    )

  test('is compared until it changes nothing, then not again until the configuration moves', async () => {
    write()
    await restart() // makes the client
    await changeUnseen('changed below')
    await restart() // compares, and puts it right
    expect(await nameOfClient()).toBe('As declared')
    await restart() // finds nothing to change, and remembers
    await changeUnseen('unseen')
    await restart()
    expect(await nameOfClient()).toBe('unseen')
    await updateClient(prisma, 'svc', { type: 'service', name: 'By somebody' }, changeAt())
    await restart()
    expect(await nameOfClient()).toBe('As declared')
  })

  test('is compared again when its text changes, or the key that it was remembered under is gone', async () => {
    write()
    await restart()
    await restart()
    await changeUnseen('unseen')
    write('# another text, same meaning\n')
    await restart()
    expect(await nameOfClient()).toBe('As declared')
    await restart()
    await changeUnseen('unseen')
    await prisma.signingKey.deleteMany() // they were sealed under the key that goes
    await start({ SALLYPORT_CONFIG: file }, now, randomBytes(32))
    expect(await nameOfClient()).toBe('As declared')
  })

  test('is compared at every start when it declares people, who change without the configuration', async () => {
    write('users: [{ email: ada@example.com, name: Ada }]\n')
    await restart()
    await restart()
    const { id } = (await findUserByEmail(prisma, 'ada@example.com')) ?? { id: '' }
    await updateUser(prisma, id, { name: 'Somebody' }, changeAt())
    await restart()
    expect((await findUserByEmail(prisma, 'ada@example.com'))?.name).toBe('Ada')
  })

  test('is compared at every start when it names a picture, which may change without the text', async () => {
    writeFileSync(join(directory, 'mark.png'), png(8, 8))
    writeFileSync(file, 'clients: [{ clientId: svc, type: service, clientSecretHash: [], logo: ./mark.png }]\n')
    await restart()
    await restart()
    writeFileSync(join(directory, 'mark.png'), png(9, 9))
    await restart()
    expect((await findClient(prisma, 'svc'))?.logo).toBe(picture(png(9, 9)).name)
  })

  test('is remembered with policies in it, and compared at every start when they lie in files of their own', async () => {
    const api = 'https://api.example.com/orders'
    const policy = 'permit (principal, action, resource);'
    const config = (source: string) =>
      `apis: [{ identifier: "${api}", name: Orders, scopes: { read: See } }]\npolicies: [{ api: "${api}", name: all, ${source} }]\n`
    writeFileSync(file, config(`text: "${policy}"`))
    await restart()
    await restart()
    // Past the version: whoever compares would put it right.
    await prisma.policy.updateMany({ data: { description: 'changed in SQL' } })
    await restart()
    expect((await findPolicyByName(prisma, api, 'all'))?.description).toBe('changed in SQL')
    writeFileSync(join(directory, 'all.cedar'), policy)
    writeFileSync(file, config('file: ./all.cedar'))
    await restart()
    await restart()
    writeFileSync(join(directory, 'all.cedar'), policy.replace('permit', 'forbid'))
    await restart()
    expect(await findPolicyByName(prisma, api, 'all')).toMatchObject({ effect: 'forbid', description: '' })
  })

  test('is compared at every start when it names a secret, and a variable that is missing stops the start', async () => {
    const secret = randomBytes(32).toString('base64url')
    writeFileSync(
      file,
      'clients: [{ clientId: svc, type: service, name: As declared, clientSecret: "${SVC_SECRET}" }]\n',
    )
    const begin = (env: Record<string, string>) => start({ SALLYPORT_CONFIG: file, ...env })
    await expect(begin({})).rejects.toThrow(
      'clients[0].clientSecret (line 1) names the variable SVC_SECRET, which is not set.',
    )
    expect(await findClient(prisma, 'svc')).toBeNull()
    await begin({ SVC_SECRET: secret })
    const record = await findClient(prisma, 'svc')
    expect(record && verifyClientSecret(record, secret, now)).toBe(true)
    await begin({ SVC_SECRET: secret })
    await changeUnseen('changed below')
    await begin({ SVC_SECRET: secret })
    expect(await nameOfClient()).toBe('As declared')
  })

  test('is compared at every start when it declares webhooks, which change without the configuration', async () => {
    write('webhooks: [{ name: archive, url: "https://hooks.example.com/", types: [user.created] }]\n')
    await restart()
    await restart()
    await prisma.webhookEndpoint.updateMany({ data: { types: ['*'] } })
    await restart()
    expect((await prisma.webhookEndpoint.findFirstOrThrow()).types).toEqual(['user.created'])
  })

  test('is compared at every start when it names an OpenAPI document, which may change without the text', async () => {
    const api = 'https://api.example.com/orders'
    const document = (scope: string) =>
      `openapi: 3.1.0\npaths: { /orders: { get: { security: [{ a: ["${scope}"] }] } } }\ncomponents: { securitySchemes: { a: { type: oauth2 } } }\n`
    writeFileSync(join(directory, 'orders.openapi.yaml'), document('orders:read'))
    writeFileSync(
      file,
      `apis: [{ identifier: "${api}", name: Orders, scopes: { "orders:read": See, "orders:all": See all } }]
routes: [{ openapi: ./orders.openapi.yaml, api: "${api}", host: api.example.com }]\n`,
    )
    await restart()
    await restart()
    writeFileSync(join(directory, 'orders.openapi.yaml'), document('orders:all'))
    await restart()
    expect(await prisma.route.findMany()).toMatchObject([{ path: '/orders', scopes: ['orders:all'] }])
  })

  test('what is remembered of it is neither its text nor a plain hash', async () => {
    write()
    await restart()
    await restart()
    const { appliedDigest } = await prisma.configurationVersion.findUniqueOrThrow({ where: { id: 1 } })
    const plain = createHash('sha256').update(readFileSync(file)).digest('hex')
    expect(Buffer.from(appliedDigest ?? []).toString('hex')).toMatch(/^[0-9a-f]{64}$/)
    expect(Buffer.from(appliedDigest ?? []).toString('hex')).not.toBe(plain)
  })
})

describe('demo objects', () => {
  test('are printed again by every start, and only hashes are stored', async () => {
    const banner = (await start()).join('\n')
    const again = (await start()).join('\n')
    const secrets = [...banner.matchAll(/secret +(\S{43})$/gm)].map((match) => match[1] ?? '')
    const apiKey = /sp_key_\S+?_\w{6}/.exec(banner)?.[0] ?? ''
    expect(secrets).toHaveLength(2)
    for (const value of [...secrets, apiKey]) expect(again).toContain(value)
    const [service, web] = await Promise.all([findClient(prisma, 'demo-service'), findClient(prisma, 'demo-web')])
    expect(service && verifyClientSecret(service, secrets[0] ?? '', now)).toBe(true)
    expect(web && verifyClientSecret(web, secrets[1] ?? '', now)).toBe(true)
    expect(await findApiKey(database, apiKey, now)).toMatchObject({
      apis: { [`${issuer}/api`]: ['clients:read'] },
    })
    for (const table of ['client', 'client_secret', 'api_key', 'api_key_value', 'audit_event', 'setup_code']) {
      const { rows } = await database.pool.query(`SELECT row_to_json(t)::text AS text FROM ${table} t`)
      for (const value of [...secrets, apiKey, codeIn([banner]) ?? '-'])
        expect(JSON.stringify(rows)).not.toContain(value)
    }
  })

  test('follow a new SECRET_KEY: the old ones stop working', async () => {
    const before = /sp_key_\S+?_\w{6}/.exec((await start()).join('\n'))?.[0] ?? ''
    const after = /sp_key_\S+?_\w{6}/.exec((await start({}, now, randomBytes(32))).join('\n'))?.[0] ?? ''
    expect(after).not.toBe(before)
    expect(await findApiKey(database, before, now)).toBeUndefined()
    expect(await findApiKey(database, after, now)).toBeDefined()
    expect(await prisma.clientSecret.count()).toBe(2)
    expect(
      (await listApiKeys(prisma, { owner: { clientId: 'demo-service' } }, now)).filter((each) => !each.revokedAt),
    ).toHaveLength(1)
  })

  test('do not exist in production, also when the database once served development', async () => {
    await start()
    const banner = await start(production())
    expect(await prisma.client.count()).toBe(0)
    expect(await prisma.apiKey.count()).toBe(0)
    expect(banner.join('\n')).not.toMatch(/demo|curl|sp_key/i)
  })
})

describe('banner', () => {
  test('ends in exactly three lines that start with curl, without a pipe, in plain ASCII', async () => {
    const banner = await start()
    const curls = banner.filter((line) => line.startsWith('curl'))
    expect(curls).toEqual([
      expect.stringMatching(/^curl -i -H "X-API-Key: sp_key_\w+" http:\/\/localhost:3000\/api\/v1\/clients$/),
      'curl -i http://localhost:3000/api/v1/clients',
      expect.stringMatching(/^curl -i -H "X-API-Key: sp_key_\w+" http:\/\/localhost:3000\/api\/v1\/users$/),
    ])
    expect(banner.join('\n')).toMatch(/^[\x20-\x7e\n]*$/)
    expect(banner.join('\n')).toContain(`${issuer}/admin/setup#code=`)
  })
})

describe('the first administrator', () => {
  const admin = { ADMIN_EMAIL: 'root@example.com', ADMIN_PASSWORD: 'correct horse battery' }

  test('ADMIN_EMAIL and ADMIN_PASSWORD make one, once', async () => {
    const banner = await start(admin)
    expect(codeIn(banner)).toBeUndefined()
    const root = await findUserByEmail(prisma, admin.ADMIN_EMAIL)
    expect([...(await permissionsOf(prisma, root?.id ?? '', 'http://localhost:4444/api'))].sort()).toEqual(
      ownerPermissions,
    )
    await start({ ADMIN_EMAIL: 'second@example.com', ADMIN_PASSWORD: 'another long password' })
    expect(await findUserByEmail(prisma, 'second@example.com')).toBeNull()
    await start({ ...admin, ADMIN_PASSWORD: 'yet another password' })
    expect(
      await verifyPassword(prisma, { identifier: 'root@example.com', password: 'correct horse battery' }),
    ).toMatchObject({ ok: true })
  })

  test('somebody with that address who is here already gets the role and keeps their password', async () => {
    await createUser(prisma, { email: 'root@example.com', passwordHash: '$argon2id$theirs' }, changeAt())
    await start(admin)
    expect(await prisma.credential.findFirst()).toMatchObject({ secret: '$argon2id$theirs' })
    expect((await findUserByEmail(prisma, 'root@example.com'))?.roles).toMatchObject([{ roleName: ownerRole }])
  })

  test('a password that is little more than the address stops the start', async () => {
    await expect(
      start({ ADMIN_EMAIL: 'administrator@example.com', ADMIN_PASSWORD: 'administrator12' }),
    ).rejects.toThrow(/ADMIN_PASSWORD .*name or address/)
    expect(await prisma.user.count()).toBe(0)
  })

  test('each start prints a code that works, until somebody used one: replicas start together', async () => {
    const [first, second] = [codeIn(await start()), codeIn(await start())]
    expect(first).toMatch(/^[A-Za-z0-9_-]{43}$/) // 256 bits
    expect(second).not.toBe(first)
    expect(await setUp(first)).toMatchObject({ ok: true })
    expect(await setUp(second, { email: 'other@example.com' })).toMatchObject({ ok: false, reason: 'code' })
  })

  test.each([
    ['a day', {}, 24 * hour],
    ['an hour in production', undefined, hour],
  ])('a code works for %s', async (_, env, lifetime) => {
    const code = codeIn(await start(env ?? production()))
    expect(await setUp(code, {}, new Date(now.getTime() + lifetime))).toMatchObject({ ok: false, reason: 'code' })
    expect(await setUp(code, {}, new Date(now.getTime() + lifetime - 1))).toMatchObject({ ok: true })
  })

  const setUp = (code: string | undefined, input: Partial<Parameters<typeof completeSetup>[1]> = {}, at = now) =>
    completeSetup(
      database,
      { code: code ?? '', email: 'first@example.com', name: 'First', password: 'correct horse battery', ...input },
      at,
    )

  test('setting up makes person, password, role and record; from then on there is no code', async () => {
    const code = codeIn(await start())
    const result = await setUp(code)
    const person = await findUserByEmail(prisma, 'first@example.com')
    expect(result).toEqual({ ok: true, userId: person?.id })
    expect(person).toMatchObject({ name: 'First', emailVerifiedAt: null, roles: [{ roleName: ownerRole }] })
    expect(
      await verifyPassword(prisma, { identifier: 'first@example.com', password: 'correct horse battery' }),
    ).toMatchObject({ ok: true })
    expect(await prisma.auditEvent.count({ where: { event: 'setup.completed', targetId: person?.id ?? '' } })).toBe(1)
    expect(await setUp(code, { email: 'second@example.com' })).toMatchObject({ ok: false, reason: 'code' })
    expect(codeIn(await start())).toBeUndefined()
    expect(await prisma.setupCode.count({ where: { consumedAt: null } })).toBe(0)
  })

  test('of many who send one code at once, one wins', async () => {
    const code = codeIn(await start())
    const results = await Promise.all(Array.from({ length: 8 }, (_, n) => setUp(code, { email: `n${n}@example.com` })))
    expect(results.filter((result) => result.ok)).toHaveLength(1)
    expect(await prisma.user.count()).toBe(1)
  })

  test('a mistake in another field names it and leaves the code usable', async () => {
    const code = codeIn(await start())
    expect(await setUp(code, { email: 'nobody' })).toMatchObject({ ok: false, reason: 'email' })
    expect(await setUp(code, { name: ' ' })).toMatchObject({ ok: false, reason: 'name' })
    expect(await setUp(code, { password: 'short' })).toMatchObject({
      ok: false,
      reason: 'password',
      flaws: [{ code: 'too_short' }],
    })
    await createUser(prisma, { email: 'first@example.com' }, changeAt())
    expect(await setUp(code)).toMatchObject({ ok: false, reason: 'email' })
    expect(await setUp(code, { email: 'other@example.com' })).toMatchObject({ ok: true })
  })

  test('garbage is refused and recorded', async () => {
    await start()
    for (const code of ['', 'x', '\0', 'x'.repeat(10_000)])
      expect(await setUp(code)).toMatchObject({ ok: false, reason: 'code' })
    expect(await prisma.auditEvent.count({ where: { event: 'setup.failed', outcome: 'failure' } })).toBe(4)
  })
})
