import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { insertRole, ownerRole } from '#src/access/roles.ts'
import { insertApi } from '#src/apis/apis.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { createClient as create, createClient, findClient } from '#src/clients/clients.ts'
import { addClientSecret, newClientSecret } from '#src/clients/secrets.ts'
import { applyDeclaration } from '#src/declaration/apply.ts'
import { exportDeclaration } from '#src/declaration/export.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import type { WrittenDeclaration } from '#src/declaration/schema.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const webhookDeps = { secretKeys: createSecretKeys([randomBytes(32)]), networks: [] }
let first: TestDatabase
let second: TestDatabase

beforeAll(async () => {
  first = await createTestDatabase()
  second = await createTestDatabase()
})
afterAll(async () => {
  await first.drop()
  await second.drop()
})

const apply = ({ database }: TestDatabase, declaration: WrittenDeclaration, prune = false) =>
  applyDeclaration(database, declaration, { prune, dryRun: false, ...change, webhookDeps })
const exported = ({ database }: TestDatabase) => exportDeclaration(database.prisma)
const nothing: WrittenDeclaration = {
  apis: [],
  roles: [],
  clients: [],
  users: [],
  routes: [],
  policies: [],
  webhooks: [],
  settings: {},
  branding: {},
}

test('an empty installation exports every section, empty', async () => {
  expect(parseDeclaration(await exported(first))).toEqual(nothing)
})

test('secrets appear as hashes, several and expiring ones too; what belongs to Sallyport does not appear', async () => {
  const { prisma } = first.database
  const [one, two] = [newClientSecret(), newClientSecret()]
  await prisma.$transaction((tx) =>
    insertApi(tx, 'https://sallyport.example/api', { name: 'Sallyport', scopes: ownScopes }, { builtIn: true }, change),
  )
  await prisma.$transaction((tx) => insertRole(tx, ownerRole, {}, change))
  await createClient(prisma, { id: 'demo-service', type: 'service' }, [], change)
  await create(
    prisma,
    { id: 'svc', type: 'service', apis: { 'https://sallyport.example/api': ['clients:read'] } },
    [{ value: one }],
    change,
  )
  await addClientSecret(prisma, 'svc', { value: two, expiresAt: new Date('2027-01-01T00:00:00Z') }, change)
  await apply(first, parseDeclaration('users: [{ email: a@example.com, password: correct horse battery }]'))
  const text = await exported(first)
  for (const value of [one, two, 'correct horse', 'demo-service', 'Sallyport\n', 'owner'])
    expect(text).not.toContain(value)
  expect(text).toMatch(
    /clientSecretHash:\n {6}- sha256:\S{43}\n {6}- hash: sha256:\S{43}\n {8}expiresAt: "?2027-01-01T00:00:00.000Z"?\n/,
  )
  expect(text).toMatch(/passwordHash: \$argon2id\$/)
  expect(await apply(first, parseDeclaration(text), true)).toEqual([])
  await apply(second, { ...parseDeclaration(text), clients: [] }) // the other installation has no API of that name
  await prisma.client.delete({ where: { id: 'svc' } })
  await apply(first, parseDeclaration(text))
  expect(await exported(first)).toBe(text)
  expect((await findClient(prisma, 'svc'))?.secrets).toHaveLength(2)
  await apply(first, nothing, true)
  await apply(second, nothing, true)
})

// Names that YAML may take for something else stand beside ordinary ones.
const words = [
  'no',
  'null',
  '~',
  '1e3',
  '0x1F',
  '2026-01-01',
  '#a',
  'a: b',
  '- a',
  "it's",
  '"',
  '*',
  '&x',
  '!y',
  '%',
  '@',
  '`',
  '{',
  '[',
  '日本',
  'é',
  '😀',
  'a  b',
  ' x',
]
const word = fc
  .oneof(fc.constantFrom(...words), fc.string({ minLength: 1, maxLength: 12, unit: 'grapheme' }))
  .filter(
    (text) =>
      text.trim() !== '' && !/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.test(text) && text.isWellFormed(),
  )
const anyText = fc.oneof(
  word,
  fc.string({ maxLength: 20, unit: 'binary' }).map((text) => text.replaceAll('\0', '').toWellFormed()),
  fc.constantFrom('', '\n', ' \n ', 'a\n\nb\n', '\t', '\u0085', '\ufeff', 'x\r\ny', '  lead', 'trail  '),
)
const key = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_.:-]{0,8}$/)
const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    anyText,
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((n) => !Number.isInteger(n) || Number.isSafeInteger(n)),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(key, tie('value'), { maxKeys: 3, noNullPrototype: true }),
  ),
})).value
const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const scopeName = fc
  .stringMatching(/^[!#-[\]-~]{1,10}$/)
  .filter((name) => !['openid', 'email', 'phone', '__proto__'].includes(name))
const hash = fc
  .uint8Array({ minLength: 32, maxLength: 32 })
  .map((bytes) => `sha256:${Buffer.from(bytes).toString('base64url')}`)

/** Cedar that is accepted everywhere, in every shape that a text can have. */
const policyText = fc
  .tuple(
    fc.constantFrom('', '\n', '\n\n  ', '\t', '// a comment\n', '\r\n'),
    fc.constantFrom('permit', 'forbid'),
    fc.constantFrom('', ' when { context.hour < 6 }', '\nwhen {\n  context has address\n}\n'),
    word.filter((text) => !/["\\]/.test(text)),
    fc.constantFrom('', '\n', ' \n', '\n\n', '\n// the end', '\r\n'),
  )
  .map(([lead, effect, when, id, tail]) => `${lead}@id("${id}") ${effect} (principal, action, resource)${when};${tail}`)

/** Every second scope, or none; nothing where nothing is said. */
function scopeChoices(
  { type, scopes = ['openid'] }: { type: string; scopes?: string[] | undefined },
  apis: readonly { identifier: string; scopes?: Record<string, string> | undefined }[],
  { usually, leaves }: { usually: boolean | undefined; leaves: boolean | undefined },
) {
  const some = (names: readonly string[], any: boolean) => names.filter((_, index) => any && index % 2 === 0)
  const ofApis = (any: boolean) =>
    Object.fromEntries(
      apis
        .filter((api) => Object.keys(api.scopes ?? {}).length > 0)
        .map((api) => [api.identifier, some(Object.keys(api.scopes ?? {}), any)]),
    )
  const openid = type === 'service' ? [] : scopes
  const chosen = (any: boolean, not: string) => some(openid, any).filter((scope) => scope !== not)
  return {
    ...(usually === undefined
      ? {}
      : { defaultScopes: chosen(usually, 'offline_access'), defaultApiScopes: ofApis(usually) }),
    ...(leaves === undefined || type === 'service'
      ? {}
      : { optionalScopes: chosen(leaves, 'openid'), optionalApiScopes: ofApis(leaves) }),
  }
}

const declarations: fc.Arbitrary<WrittenDeclaration> = fc
  .record({
    apis: fc.uniqueArray(
      fc.record({
        identifier: fc.stringMatching(/^[a-z]{1,6}$/).map((name) => `https://${name}.example/api`),
        name: word,
        accessTokenFormat: maybe(fc.constantFrom('jwt', 'opaque')),
        accessTokenTtlSeconds: maybe(fc.integer({ min: 60, max: 86_400 })),
        accept: maybe(fc.uniqueArray(fc.constantFrom('oauth', 'api_key', 'basic', 'session'), { minLength: 1 })),
        hideExistence: maybe(fc.boolean()),
        scopes: maybe(fc.dictionary(scopeName, word, { maxKeys: 4, noNullPrototype: true })),
        policySchema: maybe(
          fc.record(
            {
              attributes: fc.constantFrom('{ department: String }', '{\n  plan?: String,\n}\n', ' {"a b": Long} '),
              context: fc.constant('{ amount?: Long }'),
              objects: fc.constant({ order: { relations: { owner: 'user' }, properties: '{ status?: String }' } }),
            },
            { requiredKeys: [] },
          ),
        ),
      }),
      { selector: (api) => api.identifier, maxLength: 3 },
    ),
    roles: fc.uniqueArray(
      fc.record({
        name: fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,6}$/).filter((name) => name !== ownerRole),
        description: maybe(word),
        permissions: maybe(fc.uniqueArray(scopeName, { maxLength: 3 })),
        secondFactor: maybe(fc.constantFrom('optional', 'required')),
      }),
      { selector: (role) => role.name, maxLength: 3 },
    ),
    clients: fc.uniqueArray(
      fc.record({
        clientId: fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,8}$/),
        type: fc.constantFrom('web', 'spa', 'native', 'service', 'device'),
        name: maybe(word),
        disabled: maybe(fc.boolean()),
        profile: maybe(fc.constantFrom('default', 'high', 'fapi2')),
        hashes: fc.uniqueArray(hash, { maxLength: 3 }),
        scopes: maybe(fc.uniqueArray(fc.constantFrom('openid', 'profile', 'email', 'offline_access'))),
        idTokenSignedResponseAlg: maybe(fc.constantFrom('ES256', 'EdDSA', 'RS256')),
        refreshTokenTtlSeconds: maybe(fc.integer({ min: 300, max: 31_536_000 })),
        secondFactor: maybe(fc.constantFrom('optional', 'required')),
        refreshTokenIdleTtlSeconds: maybe(fc.integer({ min: 60, max: 31_536_000 })),
        policyUri: maybe(fc.constant('https://a.example/policy')),
        asks: fc.boolean(),
        usually: maybe(fc.boolean()),
        leaves: maybe(fc.boolean()),
      }),
      { selector: (client) => client.clientId, maxLength: 3 },
    ),
    users: fc.uniqueArray(
      fc.record({
        email: fc.stringMatching(/^[A-Za-z0-9+._-]{1,8}$/).map((name) => `${name}@Example.com`),
        disabled: maybe(fc.boolean()),
        emailVerified: maybe(fc.boolean()),
        name: maybe(word),
        locale: maybe(fc.constantFrom('en', 'no')),
        attributes: maybe(
          fc.dictionary(key, json, { maxKeys: 3, noNullPrototype: true }) as fc.Arbitrary<Record<string, never>>,
        ),
        holds: fc.boolean(),
        passwordHash: maybe(
          fc.constant(
            '$argon2id$v=19$m=47104,p=1,t=1$5Q9eFomeuF2bNYT2xPBFgA$3irlJJEQaSn1tbWBJv4hF9MvF/xyleXVsTe+yojxZPU',
          ),
        ),
      }),
      { selector: (user) => user.email.toLowerCase(), maxLength: 3 },
    ),
    policies: fc.uniqueArray(
      fc.record({
        name: fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,6}$/),
        description: maybe(word),
        state: maybe(fc.constantFrom('draft', 'enforced')),
        text: policyText,
      }),
      { selector: (policy) => policy.name, maxLength: 3 },
    ),
    webhooks: fc.uniqueArray(
      fc.record({
        name: fc.stringMatching(/^[a-z0-9][a-z0-9._-]{0,6}$/),
        url: fc.constantFrom(
          'https://hooks.example.com/a',
          'https://hooks.example.com',
          'https://hooks.example.com/?b=c%20',
        ),
        types: fc.uniqueArray(fc.constantFrom('*', 'user.*', 'session.ended'), { minLength: 1 }),
        description: maybe(word),
        disabled: maybe(fc.boolean()),
      }),
      { selector: (webhook) => webhook.name, maxLength: 3 },
    ),
    paths: fc.uniqueArray(
      fc.stringMatching(/^\/[a-z0-9~.-]{0,6}$/).filter((path) => path !== '/.' && path !== '/..'),
      { maxLength: 3 },
    ),
  })
  .map(({ apis, roles, clients, users, policies, webhooks, paths }) => ({
    webhooks,
    // Of an API that has no action nothing can ever be permitted.
    policies: apis
      .filter((api) => Object.keys(api.scopes ?? {}).length > 0)
      .flatMap((api) => policies.map((policy) => ({ ...policy, api: api.identifier }))),
    apis: apis.map((api) => ({ ...api, introspectionClients: clients.slice(0, 2).map((client) => client.clientId) })),
    roles,
    clients: clients.map(({ hashes, asks, usually, leaves, ...client }) => ({
      ...client,
      ...scopeChoices(client, asks ? apis : [], { usually, leaves }),
      ...(client.type === 'service' ? { scopes: undefined } : {}),
      ...(client.profile === 'fapi2' ? { refreshTokenIdleTtlSeconds: undefined } : {}),
      ...(client.type === 'service' ? { secondFactor: undefined } : {}),
      ...(['web', 'service'].includes(client.type) ? { clientSecretHash: hashes } : {}),
      ...(['web', 'spa', 'native'].includes(client.type)
        ? { redirectUris: ['https://a.example/cb', 'http://localhost:1/x?y=z'] }
        : {}),
      apis: asks ? Object.fromEntries(apis.map((api) => [api.identifier, Object.keys(api.scopes ?? {})])) : undefined,
    })),
    users: users.map(({ holds, ...user }) => ({ ...user, roles: holds ? roles.map((role) => role.name) : undefined })),
    routes: apis[0]
      ? paths.map((path) => ({
          host: 'a.example',
          method: 'GET',
          path,
          api: apis[0]?.identifier ?? '',
          scopes: Object.keys(apis[0]?.scopes ?? {}),
        }))
      : [],
  }))

test('export, apply, export: the same bytes, here and in another installation', { timeout: 300_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(declarations, async (declaration) => {
      await apply(first, nothing, true)
      await apply(second, nothing, true)
      await apply(first, declaration)
      const text = await exported(first)
      const read = parseDeclaration(text)
      expect(await apply(first, read, true)).toEqual([])
      expect(await exported(first)).toBe(text)
      await apply(second, read)
      expect(await exported(second)).toBe(text)
      expect(await apply(second, declaration, true)).toEqual([])
    }),
    { numRuns: 40 },
  )
})
