import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApi } from '#src/apis/apis.ts'
import { readClient } from '#src/clients/client-reads.ts'
import {
  createClient,
  deleteClient,
  endClientTokens,
  findClient,
  listClients,
  setClientDisabled,
  updateClient,
} from '#src/clients/clients.ts'
import { ClientExists, ClientNotFound, InvalidClient } from '#src/clients/errors.ts'
import {
  addClientSecret,
  newClientSecret,
  removeClientSecret,
  SecretNotFound,
  verifyClientSecret,
} from '#src/clients/secrets.ts'
import type { ClientInput } from '#src/clients/settings.ts'
import { readConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database } from '#src/db/database.ts'
import type { Refusal } from '#src/refusal.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const orders = 'https://api.example.com/orders'
const change = changeAt()
let test_: TestDatabase
let db: Database['prisma']

beforeAll(async () => {
  test_ = await createTestDatabase()
  db = test_.database.prisma
  await createApi(
    db,
    { identifier: orders, name: 'Orders', scopes: { 'orders:read': 'See', 'orders:write': 'Change' } },
    change,
  )
})
afterAll(() => test_.drop())

const web: ClientInput = { type: 'web', redirectUris: ['https://shop.example/cb'] }
const flawsOf = async (work: Promise<unknown>) =>
  work.then(
    () => [],
    (error: Refusal) => error.flaws.map((flaw) => flaw.field),
  )

describe('defaults by type', () => {
  test.each([
    ['web', ['authorization_code', 'refresh_token'], 'client_secret_basic', ['openid']],
    ['spa', ['authorization_code', 'refresh_token'], 'none', ['openid']],
    ['native', ['authorization_code', 'refresh_token'], 'none', ['openid']],
    ['service', ['client_credentials'], 'client_secret_basic', []],
    ['device', ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'], 'none', ['openid']],
  ] as const)('%s', async (type, grantTypes, tokenEndpointAuthMethod, scopes) => {
    const redirectUris = ['web', 'spa', 'native'].includes(type) ? ['https://shop.example/cb'] : undefined
    const client = await createClient(db, { id: `default-${type}`, type, redirectUris }, [], change)
    expect(client).toMatchObject({ grantTypes, tokenEndpointAuthMethod, scopes, name: `default-${type}` })
    expect(client).toMatchObject({ profile: 'default', refreshLeewaySeconds: 30, idTokenSignedResponseAlg: 'ES256' })
  })

  test('a client of profile high has no leeway (token-rules A)', async () => {
    const client = await createClient(db, { id: 'high', ...web, profile: 'high' }, [], change)
    expect(client.refreshLeewaySeconds).toBe(0)
    expect(
      await flawsOf(createClient(db, { id: 'high-2', ...web, profile: 'high', refreshLeewaySeconds: 30 }, [], change)),
    ).toEqual(['refreshLeewaySeconds'])
  })
})

test('an idle lifetime is kept, and gone when it is left out', async () => {
  const client = await createClient(db, { id: 'idle', ...web, refreshTokenIdleTtlSeconds: 600 }, [], change)
  expect(client.refreshTokenIdleTtlSeconds).toBe(600)
  expect((await updateClient(db, 'idle', web, change)).refreshTokenIdleTtlSeconds).toBeNull()
})

test('a second factor may be required, except where no person signs in', async () => {
  const client = await createClient(db, { id: 'strict', ...web, secondFactor: 'required' }, [], change)
  expect(client.secondFactor).toBe('required')
  expect((await updateClient(db, 'strict', web, change)).secondFactor).toBe('optional')
  await expect(
    createClient(db, { id: 'robot-2fa', type: 'service', secondFactor: 'required' }, [], change),
  ).rejects.toThrow(/secondFactor/)
})

describe('refused, naming the field', () => {
  test.each<[string, Partial<ClientInput> & { id?: string }, string[]]>([
    ['an id with a space', { id: 'a b' }, ['clientId']],
    ['an empty id', { id: '' }, ['clientId']],
    ['an id with NUL', { id: 'a\0' }, ['clientId']],
    ['a UUID as id (RFC 9700 4.15)', { id: '0195d3a0-7c1f-4c6e-9a55-1f2e3d4c5b6a' }, ['clientId']],
    ['a UUID in capitals without hyphens', { id: '0195D3A07C1F4C6E9A551F2E3D4C5B6A' }, ['clientId']],
    ['an unknown type', { type: 'desktop' as 'web' }, ['type']],
    ['no redirect URI', { redirectUris: [] }, ['redirectUris']],
    ['a repeated redirect URI', { redirectUris: ['https://a.example/', 'https://a.example/'] }, ['redirectUris[1]']],
    ['a bad second redirect URI', { redirectUris: ['https://a.example/', 'http://a.example/'] }, ['redirectUris[1]']],
    ['a bad logout address', { postLogoutRedirectUris: ['javascript:alert(1)'] }, ['postLogoutRedirectUris[0]']],
    ['a redirect URI for a service', { type: 'service' }, ['redirectUris']],
    ['an OpenID scope for a service', { type: 'service', redirectUris: [], scopes: ['openid'] }, ['scopes[0]']],
    ['an API scope among OpenID scopes', { scopes: ['openid', 'orders:read'] }, ['scopes[1]']],
    ['the password grant', { grantTypes: ['authorization_code', 'password'] }, ['grantTypes[1]']],
    ['a grant of another type', { grantTypes: ['authorization_code', 'client_credentials'] }, ['grantTypes[1]']],
    ['only refresh_token', { grantTypes: ['refresh_token'] }, ['grantTypes']],
    ['an unknown API', { apis: { 'https://api.example.com/none': ['x'] } }, ['apis["https://api.example.com/none"]']],
    ['an unknown scope', { apis: { [orders]: ['orders:read', 'orders:delete'] } }, [`apis["${orders}"][1]`]],
    ['an API with NUL in it', { apis: { 'https://a\0b': ['x'] } }, ['apis["https://a\\u0000b"]']],
    ['a leeway above 300', { refreshLeewaySeconds: 301 }, ['refreshLeewaySeconds']],
    ['a negative leeway', { refreshLeewaySeconds: -1 }, ['refreshLeewaySeconds']],
    ['half a second', { refreshLeewaySeconds: 0.5 }, ['refreshLeewaySeconds']],
    ['a policy for second factors that there is not', { secondFactor: 'sometimes' }, ['secondFactor']],
    ['an idle lifetime below a minute', { refreshTokenIdleTtlSeconds: 59 }, ['refreshTokenIdleTtlSeconds']],
    ['an idle lifetime above a year', { refreshTokenIdleTtlSeconds: 31_536_001 }, ['refreshTokenIdleTtlSeconds']],
    ['half a second of it', { refreshTokenIdleTtlSeconds: 60.5 }, ['refreshTokenIdleTtlSeconds']],
    [
      'an idle lifetime where tokens do not rotate',
      { refreshTokenIdleTtlSeconds: 600, profile: 'fapi2' },
      ['refreshTokenIdleTtlSeconds'],
    ],
    ['an unknown algorithm', { idTokenSignedResponseAlg: 'none' }, ['idTokenSignedResponseAlg']],
    ['an unknown profile', { profile: 'low' }, ['profile']],
    ['a script as link', { policyUri: 'javascript:alert(1)' }, ['policyUri']],
    ['a name that overrides direction', { name: 'Bank \u202e' }, ['name']],
  ])('%s', async (_, { id = 'refused', ...input }, fields) => {
    const refusal = await createClient(db, { ...web, ...input, id }, [], change).then(
      () => undefined,
      (error: unknown) => error as InvalidClient,
    )
    expect(refusal).toBeInstanceOf(InvalidClient)
    for (const field of fields) expect(refusal?.flaws.map((flaw) => flaw.field)).toContain(field)
    expect(await findClient(db, id)).toBeNull()
  })
})

describe('secrets', () => {
  test('several are valid at once, an expired one is not, and only SHA-256 is stored', async () => {
    const [first, second, old] = [newClientSecret(), newClientSecret(), newClientSecret()]
    await createClient(db, { ...web, id: 'rotating' }, [{ value: first }], change)
    await addClientSecret(db, 'rotating', { value: second }, change)
    await addClientSecret(db, 'rotating', { value: old, expiresAt: change.now }, change)
    const client = await findClient(db, 'rotating')
    if (!client) throw new Error('not created')
    expect([first, second, old, 'x', ''].map((secret) => verifyClientSecret(client, secret, change.now))).toEqual([
      true,
      true,
      false,
      false,
      false,
    ])
    expect(client.secrets.map((secret) => Buffer.from(secret.hash).toString('hex')).sort()).toEqual(
      [first, second, old].map((secret) => createHash('sha256').update(secret).digest('hex')).sort(),
    )
  })

  test('a removed secret no longer works; the others do', async () => {
    const [first, second] = [newClientSecret(), newClientSecret()]
    await createClient(db, { ...web, id: 'removing' }, [{ value: first }], change)
    const id = await addClientSecret(db, 'removing', { value: second }, change)
    await removeClientSecret(db, 'removing', id, change)
    const client = await findClient(db, 'removing')
    expect([first, second].map((secret) => client && verifyClientSecret(client, secret, change.now))).toEqual([
      true,
      false,
    ])
    await expect(removeClientSecret(db, 'removing', id, change)).rejects.toBeInstanceOf(SecretNotFound)
  })

  test.each([
    ['short', 'a1b2c3d4e5f6g7h8i9j0k1l2m3n4o5p'],
    ['repetitive', 'ab'.repeat(20)],
    ['not ASCII', 'ü'.repeat(40)],
  ])('refuses a %s secret, and then creates nothing', async (_, value) => {
    expect(await flawsOf(createClient(db, { ...web, id: 'weak' }, [{ value }], change))).toEqual(['clientSecret'])
    expect(await findClient(db, 'weak')).toBeNull()
  })

  test('a public client is given none (RFC 8252 8.5), and loses those it had when it becomes public', async () => {
    expect(
      await flawsOf(createClient(db, { ...web, type: 'spa', id: 'public' }, [{ value: newClientSecret() }], change)),
    ).toEqual(['clientSecret'])
    await createClient(db, { ...web, id: 'turning' }, [{ value: newClientSecret() }], change)
    const turned = await updateClient(db, 'turning', { ...web, type: 'spa' }, change)
    expect(turned).toMatchObject({ secrets: [], tokenEndpointAuthMethod: 'none' })
  })
})

describe('changes', () => {
  test('an update replaces everything said, keeps secrets, raises the configuration version and is recorded', async () => {
    await createClient(
      db,
      { ...web, id: 'shop', apis: { [orders]: ['orders:read'] }, name: 'Shop' },
      [{ value: newClientSecret() }],
      change,
    )
    const before = await readConfigurationVersion(test_.database)
    const updated = await updateClient(db, 'shop', { ...web, apis: { [orders]: ['orders:write'] } }, change)
    expect(updated).toMatchObject({ name: 'shop', apiScopes: [{ apiIdentifier: orders, scopeName: 'orders:write' }] })
    expect(updated.secrets).toHaveLength(1)
    expect(await readConfigurationVersion(test_.database)).toBeGreaterThan(before)
    const [row] = await db.auditEvent.findMany({ where: { targetId: 'shop' }, orderBy: { id: 'desc' }, take: 1 })
    expect(row).toMatchObject({ event: 'client.updated', outcome: 'success', actorKind: 'system', actorId: 'test' })
  })

  test('a scope that stays keeps the moment it was granted; one that is given again begins anew', async () => {
    const grantedAt = async () =>
      Object.fromEntries(
        (await db.clientScope.findMany({ where: { clientId: 'dated' } })).map((row) => [row.scopeName, row.grantedAt]),
      )
    const set = (...names: string[]) => updateClient(db, 'dated', { ...web, apis: { [orders]: names } }, change)
    await createClient(db, { ...web, id: 'dated', apis: { [orders]: ['orders:read'] } }, [], change)
    await db.clientScope.updateMany({ where: { clientId: 'dated' }, data: { grantedAt: new Date(0) } })
    await set('orders:read', 'orders:write')
    expect((await grantedAt())['orders:read']).toEqual(new Date(0))
    expect((await grantedAt())['orders:write']?.getTime()).toBeGreaterThan(0)
    await set()
    expect(await grantedAt()).toEqual({})
    await set('orders:read')
    expect((await grantedAt())['orders:read']?.getTime()).toBeGreaterThan(0)
  })

  test('a refused change leaves version and record alone', async () => {
    const before = await readConfigurationVersion(test_.database)
    const rows = await db.auditEvent.count()
    await expect(updateClient(db, 'nobody', web, change)).rejects.toBeInstanceOf(ClientNotFound)
    await expect(createClient(db, { ...web, id: 'shop' }, [], change)).rejects.toBeInstanceOf(ClientExists)
    expect(await readConfigurationVersion(test_.database)).toBe(before)
    expect(await db.auditEvent.count()).toBe(rows)
  })

  test('of two that create one id at once, one does', async () => {
    const results = await Promise.allSettled(
      [1, 2, 3, 4].map(() => createClient(db, { ...web, id: 'raced' }, [], change)),
    )
    expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected', 'rejected', 'rejected'])
    for (const result of results) if (result.status === 'rejected') expect(result.reason).toBeInstanceOf(ClientExists)
  })

  test('disabling raises the generation once, so that tokens end; enabling does not bring them back', async () => {
    const { generation } = await createClient(db, { ...web, id: 'off' }, [], change)
    await setClientDisabled(db, 'off', true, change)
    await setClientDisabled(db, 'off', true, change)
    expect(await findClient(db, 'off')).toMatchObject({ disabledAt: change.now, generation: generation + 1 })
    await setClientDisabled(db, 'off', false, change)
    expect(await findClient(db, 'off')).toMatchObject({ disabledAt: null, generation: generation + 1 })
    await endClientTokens(db, 'off', change)
    expect(await findClient(db, 'off')).toMatchObject({ generation: generation + 2 })
  })

  test('a client made again under an old id has another generation: old tokens stay dead', async () => {
    const first = await createClient(db, { ...web, id: 'phoenix' }, [], change)
    await deleteClient(db, 'phoenix', change)
    const second = await createClient(db, { ...web, id: 'phoenix' }, [], change)
    expect(second.generation).not.toBe(first.generation)
  })

  test('lists by id, page by page', async () => {
    const all = await listClients(db)
    const first = await listClients(db, { limit: 3 })
    const rest = await listClients(db, { after: first.at(-1)?.id, limit: 1000 })
    expect([...first, ...rest].map((client) => client.id)).toEqual(all.map((client) => client.id))
  })

  test('the server reads the same record in plain SQL', async () => {
    const everything: Required<ClientInput> = {
      type: 'web',
      name: 'Everything',
      profile: 'default',
      grantTypes: ['authorization_code', 'refresh_token'],
      redirectUris: ['https://shop.example/cb', 'https://shop.example/cb2'],
      postLogoutRedirectUris: ['https://shop.example/bye'],
      scopes: ['openid', 'email'],
      roles: [],
      apis: { [orders]: ['orders:read', 'orders:write'] },
      defaultScopes: ['openid'],
      defaultApiScopes: { [orders]: ['orders:read'] },
      optionalScopes: [],
      optionalApiScopes: { [orders]: ['orders:write'] },
      idTokenSignedResponseAlg: 'EdDSA',
      refreshLeewaySeconds: 7,
      refreshTokenTtlSeconds: 6000,
      refreshTokenIdleTtlSeconds: 600,
      secondFactor: 'required',
      clientUri: 'https://shop.example/',
      logoUri: 'https://shop.example/logo.png',
      policyUri: 'https://shop.example/policy',
      tosUri: 'https://shop.example/tos',
    }
    await createClient(
      db,
      { ...everything, id: 'everything' },
      [{ value: 'kT0rVw5m3dJqZcQ8yXb1nHsE6uLpA2fG4iRoB7tKjM9', expiresAt: new Date(change.now.getTime() + 3_600_000) }],
      change,
    )
    await db.client.update({
      where: { id: 'everything' },
      data: { jwks: { keys: [] }, logo: 'a.png', disabledAt: change.now },
    })
    await createClient(db, { type: 'spa', redirectUris: ['https://shop.example/cb'], id: 'little' }, [], change)
    for (const id of ['everything', 'little']) {
      const record = await findClient(db, id)
      const read = await readClient(test_.database, id)
      expect(
        read && { ...read, secrets: read.secrets.map((row) => ({ ...row, hash: new Uint8Array(row.hash) })) },
      ).toEqual(record)
      // A column that was added to the table and not to the statement would be undefined there.
      expect(Object.keys(read ?? {}).sort()).toEqual(Object.keys(record ?? {}).sort())
    }
    expect(await readClient(test_.database, 'nobody')).toBeUndefined()
    expect(await readClient(test_.database, 'a\0b')).toBeUndefined()
  })

  test('an id that no client can have is not asked of the database', async () => {
    expect(await findClient(db, 'a\0b')).toBeNull()
  })
})
