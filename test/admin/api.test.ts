// The admin API over real HTTP, as app.ts mounts it: decision ids outside, router inside.
import { createServer, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import Koa from 'koa'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey, revokeApiKey, usualApiKeyRules } from '#src/access/api-keys/api-keys.ts'
import { formatApiKey } from '#src/access/api-keys/values.ts'
import { createRole, updateRole } from '#src/access/roles.ts'
import { adminRoutes, createAdminApiRouter } from '#src/admin/api/router.ts'
import { readApis } from '#src/apis/api-reads.ts'
import { type ApiRecord, createApi, insertApi } from '#src/apis/apis.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { createClient, findClient, setClientDisabled } from '#src/clients/clients.ts'
import { addClientSecret, newClientSecret } from '#src/clients/secrets.ts'
import { readConfig } from '#src/config.ts'
import { accountKey, reserveGuess } from '#src/factors/guessing.ts'
import { replaceRecoveryCodes } from '#src/factors/recovery-code.ts'
import { whichRoute } from '#src/gate/which-route.ts'
import { createRateLimits } from '#src/http/rate-limits.ts'
import { requestContext } from '#src/http/request-context.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys } from '#src/keys/signing-keys.ts'
import { createLog } from '#src/log.ts'
import { unsealMail } from '#src/mail/outbox.ts'
import { commitBoundary } from '#src/oauth/commit-boundary.ts'
import { decisionIds } from '#src/oauth/decision-id.ts'
import { createPossessions } from '#src/oauth/possession.ts'
import { createReceipts } from '#src/oauth/receipts.ts'
import { createTwoDoors } from '#src/oauth/two-doors.ts'
import type { JudgedToken } from '#src/tokens/find.ts'
import { createUser, setUserDisabled } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const ownApi = 'http://localhost:3000/api'
const secret = newClientSecret()
const tokens = new Map<string, JudgedToken>() // stands for the token room, which tests its own answers
const lines: string[] = []
let created: TestDatabase
let prisma: TestDatabase['database']['prisma']
let server: Server
let base: string
let key: string
let deps: Parameters<typeof createAdminApiRouter>[0]
let own: ApiRecord | undefined

beforeAll(async () => {
  created = await createTestDatabase()
  prisma = created.database.prisma
  await prisma.$transaction((tx) =>
    insertApi(
      tx,
      ownApi,
      {
        name: 'Sallyport',
        accept: ['oauth', 'api_key', 'basic'],
        scopes: Object.fromEntries(
          Object.entries(ownScopes).map(([name, description]) => [name, { description, byRole: true }]),
        ),
      },
      { builtIn: true },
      change,
    ),
  )
  await createApi(prisma, { identifier: 'https://other.example', name: 'Other', scopes: { x: 'X' } }, change)
  await createClient(
    prisma,
    { id: 'robot', type: 'service', apis: { [ownApi]: ['clients:read', 'users:read'] } },
    [{ value: secret }],
    change,
  )
  await createClient(
    prisma,
    { id: 'shop', type: 'web', redirectUris: ['https://shop.example/cb'], apis: { [ownApi]: ['clients:read'] } },
    [{ value: secret }],
    change,
  )
  key = (
    await createApiKey(
      prisma,
      { name: 'k', apis: { [ownApi]: ['clients:read'] }, owner: { clientId: 'robot' } },
      change,
    )
  ).value
  own = (await readApis(created.database)).find((api) => api.builtIn)
  const now = () => change.now
  const secretKeys = createSecretKeys([Buffer.alloc(32, 1)])
  await ensureSigningKeys(created.database, secretKeys, change.now)
  const config = readConfig({})
  const receipts = createReceipts({ config, now })
  deps = {
    database: created.database,
    now,
    secretKeys,
    whichRoute,
    config: { ...config, issuerUrl: 'http://localhost:3000', signUp: 'invitation', apiKeys: usualApiKeyRules },
    doors: createTwoDoors({
      database: created.database,
      now,
      findToken: async (value) => tokens.get(value) ?? 'unknown',
      possessions: createPossessions({ database: created.database, secretKeys, now }),
      findClient: async (id) => {
        const client = await findClient(prisma, id)
        return client?.disabledAt ? undefined : (client ?? undefined)
      },
      policiesOf: () => undefined,
      api: () => own as ApiRecord,
      issuer: 'https://id.example',
      rateLimits: createRateLimits({ config, now }),
      receipts,
    }),
  }
  const app = new Koa()
  app.use(requestContext({ log: createLog({ logLevel: 'info' }, { write: (line: string) => void lines.push(line) }) }))
  app.use(decisionIds())
  app.use(
    commitBoundary({
      database: created.database,
      sessionCookie: 'session',
      receipts,
      refuse: (ctx, { status, error }) => Object.assign(ctx, { status, body: { error } }),
    }),
  )
  app.use(createAdminApiRouter(deps).routes())
  server = createServer(app.callback()).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})
afterAll(async () => {
  server.close()
  server.closeAllConnections()
  await created.drop()
})

const get = async (path: string, headers: Record<string, string> = {}, method = 'get') => {
  const response = await fetch(base + path, { method, headers })
  const isFile = response.headers.has('content-disposition')
  return {
    status: response.status,
    headers: response.headers,
    body: await (isFile ? response.text() : response.json()),
  }
}
const basic = (id: string, password: string) => ({
  authorization: `Basic ${Buffer.from(`${id}:${password}`).toString('base64')}`,
})
const bearer = (token: Partial<JudgedToken>) => {
  const value = `token${tokens.size}`
  tokens.set(value, {
    over: undefined,
    clientId: 'robot',
    userId: undefined,
    scopes: ['clients:read'],
    audience: ownApi,
    binding: undefined,
    acr: null,
    amr: [],
    authenticatedAt: undefined,
    expiresAt: undefined,
    ...token,
  })
  return { authorization: `Bearer ${value}` }
}

/** Header lines exactly as given, so that one may be repeated. */
const getRaw = (path: string, headers: [string, string][]) =>
  new Promise<number>((resolve, reject) => {
    const outgoing = request(base + path, {
      headers: Object.fromEntries(
        Object.entries(Object.groupBy(headers, ([name]) => name)).map(([name, list = []]) => [
          name,
          list.map(([, value]) => value),
        ]),
      ),
    })
    outgoing
      .once('response', (response) => resolve(response.resume().statusCode ?? 0))
      .once('error', reject)
      .end()
  })

describe('every route', () => {
  test('names its scope, and the router has no other', () => {
    const routes = adminRoutes(deps)
    for (const route of routes) expect(Object.keys(ownScopes)).toContain(route.scope)
    const mounted = createAdminApiRouter(deps).stack.filter((layer) => layer.methods.length > 0)
    expect(mounted.map((layer) => layer.path).sort()).toEqual(routes.map((route) => `/api/v1${route.path}`).sort())
    expect(routes.length).toBeGreaterThanOrEqual(5)
  })

  test('answers 401 without a credential, 401 to a bad one, 403 without its scope, and not 401 or 403 with it', async () => {
    for (const route of adminRoutes(deps)) {
      const path = `/api/v1${route.path.replace(':id', 'robot')}`
      const ask = (headers?: Record<string, string>) => get(path, headers, route.method.toUpperCase())
      const without = Object.keys(ownScopes).filter((scope) => scope !== route.scope)
      const none = await ask()
      expect([none.status, none.headers.get('www-authenticate')], path).toEqual([401, `Bearer realm="${ownApi}"`])
      const bad = await ask({ authorization: 'Bearer nobody' })
      expect([bad.status, bad.headers.get('www-authenticate')], path).toEqual([
        401,
        `Bearer realm="${ownApi}", error="invalid_token"`,
      ])
      const poor = await ask(bearer({ scopes: without }))
      expect([poor.status, poor.headers.get('www-authenticate')], path).toEqual([
        403,
        `Bearer realm="${ownApi}", error="insufficient_scope", scope="${route.scope}"`,
      ])
      const rich = await ask(bearer({ scopes: [route.scope] }))
      // Where it is about somebody who may do more than the caller, that is what is missing, not the scope of the route.
      if (rich.status === 403) expect(rich.headers.get('www-authenticate')).not.toContain(`scope="${route.scope}"`)
      else expect([200, 400, 404, 415, 428], path).toContain(rich.status)
      for (const answer of [none, bad, poor]) {
        expect(answer.headers.get('x-decision-id'), path).toMatch(/^[\w-]{16,}$/)
        expect(answer.headers.get('content-type'), path).toBe('application/problem+json')
        expect(answer.body, path).toMatchObject({
          type: 'about:blank',
          status: answer.status,
          title: expect.any(String),
          detail: expect.any(String),
        })
      }
    }
  })
})

describe('malformed credentials are 400 invalid_request', () => {
  test.each<[string, string, [string, string][]]>([
    [
      'two kinds at once',
      '',
      [
        ['Authorization', 'Bearer x'],
        ['X-API-Key', 'y'],
      ],
    ],
    [
      'Authorization twice',
      '',
      [
        ['Authorization', 'Bearer x'],
        ['Authorization', 'Bearer x'],
      ],
    ],
    [
      'X-API-Key twice',
      '',
      [
        ['X-API-Key', 'x'],
        ['X-API-Key', 'x'],
      ],
    ],
    ['Bearer with nothing', '', [['Authorization', 'Bearer']]],
    ['Bearer with two words', '', [['Authorization', 'Bearer a b']]],
    ['an empty Authorization', '', [['Authorization', '']]],
    ['an empty X-API-Key', '', [['X-API-Key', '']]],
    ['Basic that is not base64', '', [['Authorization', 'Basic §']]],
    ['Basic without a colon', '', [['Authorization', `Basic ${btoa('abc')}`]]],
    ['Basic with a bad escape', '', [['Authorization', `Basic ${btoa('abc:%zz')}`]]],
    ['Basic that is not UTF-8', '', [['Authorization', `Basic ${btoa('abc:\xff')}`]]],
    ['a token in the address', '?access_token=x', []],
    ['a token in the address, beside a good key', '?access_token=x', [['X-API-Key', 'good']]],
    ['a key in the address', '?api_key=x', []],
  ])('%s', async (_, query, headers) => {
    expect(await getRaw(`/api/v1/clients${query}`, headers)).toBe(400)
  })
})

describe('who is identified', () => {
  test('a service client, by its secret, with the scopes it registered', async () => {
    expect((await get('/api/v1/clients', basic('robot', secret))).status).toBe(200)
    expect((await get('/api/v1/apis', basic('robot', secret))).status).toBe(403)
  })

  test('an API key, as Bearer too, with its scopes', async () => {
    expect((await get('/api/v1/clients', { 'x-api-key': key })).status).toBe(200)
    expect((await get('/api/v1/users', { 'x-api-key': key })).status).toBe(403)
    expect((await get('/api/v1/clients', { authorization: `Bearer ${key}` })).status).toBe(200)
    expect((await get('/api/v1/users', { authorization: `Bearer ${key}` })).status).toBe(403)
  })

  test('RFC 6749 2.3.1: id and secret are form-encoded', async () => {
    const odd = `%+${'aB3-'.repeat(10)} /`
    await addClientSecret(prisma, 'robot', { value: odd }, change)
    expect((await get('/api/v1/clients', basic('robot', encodeURIComponent(odd)))).status).toBe(200)
    expect((await get('/api/v1/clients', basic('robot', encodeURIComponent(odd).replaceAll('%20', '+')))).status).toBe(
      200,
    )
  })

  test.each([
    ['a wrong secret', () => basic('robot', newClientSecret())],
    ['an unknown client', () => basic('nobody', secret)],
    ['a web client: its secret stands for no person', () => basic('shop', secret)],
    ['an impossible client', () => basic('a%00', secret)],
    ['garbage as key', () => ({ 'x-api-key': 'garbage' })],
    ['an unknown key', () => ({ 'x-api-key': formatApiKey(new Uint8Array(32)) })],
    ['a token for another audience', () => bearer({ audience: 'https://other.example' })],
    ['a token without audience', () => bearer({ audience: undefined })],
    ['another scheme', () => ({ authorization: 'Digest username="robot"' })],
    ['DPoP, which is not taken here yet', () => ({ authorization: 'DPoP abc' })],
  ])(
    'not %s: 401 invalid_token, with a line in the log and no row that a stranger could multiply',
    async (_, credential) => {
      const before = await prisma.auditEvent.count()
      lines.length = 0
      const answer = await get('/api/v1/clients', credential())
      expect([answer.status, answer.body.error]).toEqual([401, 'invalid_token'])
      expect(await prisma.auditEvent.count()).toBe(before)
      expect(lines.filter((line) => line.includes('"credential.refused"'))).toHaveLength(1)
      expect(lines.join('')).not.toContain(secret)
    },
  )

  test('not a key of another API, a revoked key, a disabled client', async () => {
    await createClient(
      prisma,
      { id: 'temp', type: 'service', apis: { [ownApi]: ['clients:read'], 'https://other.example': ['x'] } },
      [{ value: secret }],
      change,
    )
    const make = (apiIdentifier: string, scopes: string[]) =>
      createApiKey(prisma, { name: 'k', apis: { [apiIdentifier]: scopes }, owner: { clientId: 'temp' } }, change)
    const [other, revoked, good] = [
      await make('https://other.example', ['x']),
      await make(ownApi, ['clients:read']),
      await make(ownApi, ['clients:read']),
    ]
    await revokeApiKey(prisma, revoked.id, change)
    const statuses = async () =>
      Promise.all(
        [other, revoked, good].map(async ({ value }) => (await get('/api/v1/clients', { 'x-api-key': value })).status),
      )
    expect(await statuses()).toEqual([401, 401, 200])
    await setClientDisabled(prisma, 'temp', true, change)
    expect(await statuses()).toEqual([401, 401, 401])
    expect((await get('/api/v1/clients', basic('temp', secret))).status).toBe(401)
  })

  test('a person: what the token says and their roles permit now, both', async () => {
    await createRole(prisma, 'clerk', { permissions: ['clients:read'] }, change)
    const { id } = await createUser(prisma, { email: 'clerk@example.com', roles: ['clerk'] }, change)
    const credential = bearer({ userId: id, scopes: ['clients:read', 'users:read'] })
    expect((await get('/api/v1/clients', credential)).status).toBe(200)
    expect((await get('/api/v1/users', credential)).status).toBe(403)
    await updateRole(prisma, 'clerk', { permissions: ['users:read'] }, change)
    expect((await get('/api/v1/clients', credential)).status).toBe(403)
    await setUserDisabled(prisma, id, true, change)
    expect((await get('/api/v1/users', credential)).status).toBe(401)
  })
})

describe('POST /invitations', () => {
  const post = async (body: unknown, headers = bearer({ scopes: ['users:write'] }), query = '') => {
    const answer = await fetch(`${base}/api/v1/invitations${query}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
    return { status: answer.status, body: await answer.json(), retryAfter: answer.headers.get('retry-after') }
  }

  test('queues a mail and answers 201 without the link', async () => {
    const { status, body } = await post({ email: 'Guest@Example.com', days: 2, language: 'de' })
    expect([status, Object.keys(body).sort()]).toEqual([201, ['email', 'expiresAt', 'id']])
    const mail = await prisma.mail.findFirstOrThrow({ where: { template: 'invitation' } })
    expect(unsealMail(deps.secretKeys, { id: mail.id, sealed: mail.sealed ?? '' })).toMatchObject({
      to: 'Guest@Example.com',
      locale: 'de',
      data: { days: 2 },
    })
  })

  test.each([
    ['no address', {}, 400],
    ['something else beside it', { email: 'a@example.com', roles: ['owner'] }, 400],
    ['half an address', { email: 'a@' }, 422],
    ['too many days', { email: 'a@example.com', days: 31 }, 422],
    ['half a day', { email: 'a@example.com', days: 0.5 }, 400],
    ['a language nobody reads here', { email: 'a@example.com', language: 'tlh' }, 400],
  ])('refuses %s', async (_what, body, status) => {
    expect((await post(body)).status).toBe(status)
  })

  test('takes nothing from the address, which ends in logs', async () => {
    const mails = await prisma.mail.count()
    for (const query of ['?email=a@example.com', '?x='])
      expect((await post({ email: 'query@example.com' }, undefined, query)).status).toBe(400)
    expect(await prisma.mail.count()).toBe(mails)
  })

  test('409 for somebody who has an account, 429 when a mailbox would be flooded, 403 without the scope', async () => {
    await createUser(prisma, { email: 'member@example.com' }, change)
    expect((await post({ email: 'member@example.com' })).status).toBe(409)
    const statuses: number[] = []
    for (let n = 0; n < 6; n++) statuses.push((await post({ email: 'flooded@example.com' })).status)
    expect(statuses).toEqual([201, 201, 201, 201, 429, 429])
    expect((await post({ email: 'flooded@example.com' })).retryAfter).toBe('900')
    expect((await post({ email: 'a@example.com' }, bearer({ scopes: ['users:read'] }))).status).toBe(403)
  })
})

describe('what failed guesses closed', () => {
  test('is seen with users:read and lifted with users:write, with a row of who did it', async () => {
    const user = await createUser(prisma, { email: 'guessed@example.com' }, change)
    const account = accountKey(deps.secretKeys, 'guessed@example.com')
    const wrong = () =>
      reserveGuess(created.database, { factor: 'password', account, address: '192.0.2.1', now: change.now })
    for (let n = 0; n < 5; n++) await wrong()
    expect(await wrong()).toEqual({ allowed: false, retryAfterSeconds: 900 })
    const path = `/api/v1/users/${user.id}`
    const reader = bearer({ scopes: ['users:read'] })
    const { status, body } = await get(`${path}/guess-limits`, reader)
    expect([status, body.data]).toEqual([
      200,
      [
        {
          factor: 'all',
          knownDevice: false,
          failures: 5,
          lastAt: change.now.toISOString(),
          closedUntil: null,
          reached: false,
        },
        {
          factor: 'password',
          knownDevice: false,
          failures: 5,
          lastAt: change.now.toISOString(),
          closedUntil: new Date(change.now.getTime() + 900_000).toISOString(),
          reached: true,
        },
      ],
    ])
    expect((await get(`${path}/unlock`, reader, 'post')).status).toBe(403)
    expect(await wrong()).toMatchObject({ allowed: false })
    const writer = bearer({ scopes: ['users:write'] })
    expect(await get(`${path}/unlock`, writer, 'post')).toMatchObject({ status: 200, body: { id: user.id, lifted: 2 } })
    expect(await wrong()).toMatchObject({ allowed: true })
    expect(await prisma.auditEvent.findMany({ where: { event: 'user.unlocked' } })).toMatchObject([
      { actorKind: 'client', targetKind: 'user', targetId: user.id, detail: { limits: 2 } },
    ])
    expect((await get('/api/v1/users/nobody/unlock', writer, 'post')).status).toBe(404)
    expect((await get('/api/v1/users/nobody/guess-limits', reader)).status).toBe(404)
  })
})

describe('answers', () => {
  const all = () => bearer({ scopes: Object.keys(ownScopes) })

  test('clients and users by pages: no gap, no repetition, an end', async () => {
    for (let n = 0; n < 7; n++) await createUser(prisma, { email: `n${n}@example.com` }, change)
    for (const [path, field] of [
      ['/api/v1/clients', 'clientId'],
      ['/api/v1/users', 'id'],
      ['/api/v1/apis', 'identifier'],
    ] as const) {
      const whole = (await get(`${path}?limit=200`, all())).body
      expect(whole.next).toBeNull()
      const seen: string[] = []
      for (let after: string | null = ''; after !== null; ) {
        const page: { data: Record<string, string>[]; next: string | null } = (
          await get(`${path}?limit=2${after ? `&after=${encodeURIComponent(after)}` : ''}`, all())
        ).body
        expect(page.data.length).toBeGreaterThan(0)
        seen.push(...page.data.map((entry) => entry[field] ?? ''))
        after = page.next
      }
      expect(seen).toEqual(whole.data.map((entry: Record<string, string>) => entry[field]))
      expect(new Set(seen).size).toBe(seen.length)
    }
  })

  test('never hold a secret or its hash', async () => {
    const secrets = await prisma.clientSecret.findMany()
    const text = JSON.stringify([
      (await get('/api/v1/clients', all())).body,
      (await get('/api/v1/clients/robot', all())).body,
    ])
    expect(text).toContain('"secrets":[{"id"')
    for (const { hash } of secrets) {
      expect(text).not.toContain(Buffer.from(hash).toString('hex'))
      expect(text).not.toContain(Buffer.from(hash).toString('base64').slice(0, 40))
    }
    expect(text).not.toMatch(/hash|password/i)
  })

  test('one client, one person; 404 for unknown and impossible ids', async () => {
    expect((await get('/api/v1/clients/robot', all())).body).toMatchObject({
      clientId: 'robot',
      type: 'service',
      apis: { [ownApi]: ['clients:read', 'users:read'] },
    })
    for (const path of [
      '/api/v1/clients/nobody',
      '/api/v1/clients/a%00b',
      '/api/v1/users/nobody',
      '/api/v1/users/00000000-0000-4000-8000-000000000000',
      '/api/v1/users/%00',
    ]) {
      const answer = await get(path, all())
      expect([answer.status, answer.body.error], path).toEqual([404, 'not_found'])
    }
  })

  test.each([
    ['limit=0', 'limit'],
    ['limit=201', 'limit'],
    ['limit=-1', 'limit'],
    ['limit=1e1', 'limit'],
    ['limit=', 'limit'],
    ['limit=1&limit=2', 'limit'],
    ['after=', 'after'],
    ['after=%00', 'after'],
    ['Limit=1', 'Limit'],
    ['offset=2', 'offset'],
    ['__proto__=1', '__proto__'],
  ])('%s is 400 and named', async (query, name) => {
    for (const path of ['/api/v1/clients', '/api/v1/users', '/api/v1/apis']) {
      const answer = await get(`${path}?${query}`, all())
      expect([answer.status, answer.body.error], path).toEqual([400, 'invalid_request'])
      expect(answer.body.detail).toContain(name)
      expect(answer.headers.get('x-decision-id')).toBeTruthy()
    }
    expect((await get('/api/v1/clients/robot?limit=1', all())).status).toBe(400)
  })

  test('a stranger learns nothing from parameters: 401 comes first', async () => {
    expect((await get('/api/v1/clients?offset=1')).status).toBe(401)
    expect((await get('/api/v1/clients/nobody')).status).toBe(401)
  })
})

describe('second factors of a person', () => {
  const person = async (roles: string[] = []) => {
    const { id } = await createUser(prisma, { email: `f${Math.random()}@example.com`, roles }, change)
    await replaceRecoveryCodes(prisma, id, change)
    return id
  }
  const reset = (id: string, scopes: string[]) => get(`/api/v1/users/${id}/factors`, bearer({ scopes }), 'delete')

  test('are listed without anything that proves them', async () => {
    const id = await person()
    const answer = await get(`/api/v1/users/${id}/factors`, bearer({ scopes: ['users:read'] }))
    expect([answer.status, answer.body]).toEqual([200, { data: [], recoveryCodes: 10 }])
  })

  test('are reset by an administrator, who gets nothing for it, and it is recorded', async () => {
    const id = await person()
    const answer = await reset(id, ['users:write'])
    expect([answer.status, answer.body]).toEqual([200, { removed: 10 }])
    expect(await prisma.auditEvent.findFirst({ where: { event: 'user.factors_reset', targetId: id } })).toBeTruthy()
    expect((await reset('nobody', ['users:write'])).status).toBe(404)
  })

  test('are not reset by somebody who may do less than the person (CVE-2026-9795)', async () => {
    await createRole(prisma, 'auditor', { permissions: ['orders:read'] }, change)
    await prisma.role.createMany({ data: [{ name: 'owner' }], skipDuplicates: true })
    await prisma.rolePermission.createMany({
      data: [{ roleName: 'owner', permission: 'keys:write' }],
      skipDuplicates: true,
    })
    const owner = await person(['owner'])
    expect(await reset(owner, ['users:write'])).toMatchObject({ status: 403, body: { error: 'insufficient_scope' } })
    expect((await reset(owner, ['users:write', 'keys:write'])).status).toBe(200)
    expect((await reset(await person(['auditor']), ['users:write'])).status).toBe(200)
  })
})
