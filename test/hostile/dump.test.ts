// Somebody has the whole database. Nothing in it, in any spelling, may be accepted by any endpoint.
import { createHash } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { bootstrap } from '#src/bootstrap/bootstrap.ts'
import { findRememberedDevice } from '#src/factors/remembered-device.ts'
import { codeAt, giveTotp } from '#test/support/factors.ts'
import { change, orders, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
/** Values that some endpoint accepts, by name. */
const live = new Map<string, string>()

beforeAll(async () => {
  server = await startServer()
  const { banner } = await bootstrap({
    config: server.config,
    database: server.database,
    secretKeys: server.secretKeys,
    log: (await import('pino')).pino({ level: 'silent' }),
    now: () => new Date(),
  })
  j = await startJourney(server)
  live.set('setup code', /#code=([\w-]+)/.exec(banner.join('\n'))?.[1] ?? '')
  live.set('client secret', j.secret)
  live.set('password', password)
  const tokens = await j.tokensFor({ scope: 'openid profile orders:read', resource: orders }, undefined, {
    resource: orders,
  })
  live
    .set('access token', tokens.access_token)
    .set('refresh token', tokens.refresh)
    .set('id token', tokens.id_token ?? '')
  const rotated = await j.tokensFor()
  live.set('successor', (await j.refresh(rotated.refresh)).body.refresh_token ?? '')
  live.set('userinfo token', rotated.access_token)
  const { code } = await j.codeFor()
  live.set('code', code)
  live.set(
    'client credentials token',
    (await j.post('/oauth/token', { grant_type: 'client_credentials', scope: 'stock:read' }, { as: 'reports' })).body
      .access_token,
  )
  const pushed = await j.post('/oauth/par', [...new URLSearchParams((await j.begin()).address.split('?')[1])])
  live.set('request_uri', String(pushed.body.request_uri).split(':').at(-1) ?? '')
  const waiting = new Person(server.url)
  const page = await waiting.open((await j.begin()).address)
  live.set('interaction', /interaction\/([\w-]+)/.exec(page.url)?.[1] ?? '')
  const seed = await giveTotp(server, j.alice.id)
  const second = await beyondPassword(new Person(server.url))
  await second.person.submit(second.page, { code: codeAt(seed, new Date()), remember: 'yes' })
  live.set('remembered browser', second.person.cookies.get('sallyport_remembered')?.value ?? '')
  await tokens.person.open('/oauth/logout')
  for (const [key, { value }] of [...tokens.person.cookies, ...waiting.cookies])
    if (!key.includes('.sig')) live.set(`cookie ${key}`, value)
  const { value } = await createApiKey(
    server.database.prisma,
    { name: 'key', apis: { [`${server.url}/api`]: [] }, owner: { userId: j.alice.id } },
    change(),
  )
  live.set('API key', value)
})
afterAll(() => server.stop())

/** @returns the page after the right password. */
async function beyondPassword(person: Person) {
  const login = await person.open((await j.begin({ prompt: 'login' })).address)
  return { person, page: await person.submit(login, { identifier: 'alice@example.com', password }) }
}

async function dump(): Promise<{ text: string; values: Set<string> }> {
  const { pool } = server.database
  const { rows: tables } = await pool.query(
    `SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '\\_%'`,
  )
  const values = new Set<string>()
  let text = ''
  const collect = (value: unknown): void => {
    if (Buffer.isBuffer(value))
      for (const encoding of ['hex', 'base64', 'base64url', 'latin1'] as const) values.add(value.toString(encoding))
    else if (typeof value === 'string') values.add(value)
    else if (value && typeof value === 'object')
      for (const [key, inner] of Object.entries(value)) values.add(key) && collect(inner)
  }
  for (const { tablename } of tables) {
    const { rows } = await pool.query(`SELECT * FROM "${tablename}"`)
    expect(rows.length + 1, tablename).toBeGreaterThan(0)
    for (const row of rows) {
      text += `${JSON.stringify(row)}\n`
      collect(row)
    }
  }
  return { text, values }
}

test('no value that an endpoint accepts can be read in it', async () => {
  const { text, values } = await dump()
  const everything = `${text}\n${[...values].join('\n')}`
  expect(live.size).toBeGreaterThan(14)
  for (const [name, value] of live) {
    expect(value.length, name).toBeGreaterThan(15)
    for (const spelling of [value, Buffer.from(value).toString('base64url'), Buffer.from(value).toString('hex')])
      expect(everything.includes(spelling), name).toBe(false)
  }
})

test('no value found in it opens anything', async () => {
  const { values } = await dump()
  const tries = [...values].filter(
    (value) =>
      value.length >= 8 &&
      value.length < 2000 &&
      /^[\x20-\x7e]+$/.test(value) &&
      !value.startsWith('urn:') &&
      !/^[a-z._: -]{1,40}$/.test(value),
  )
  expect(tries.length).toBeGreaterThan(100)
  const url = (path: string) => server.url + path
  const refused: [string, (value: string) => Promise<boolean>][] = [
    [
      'userinfo',
      async (value) =>
        (await fetch(url('/oauth/userinfo'), { headers: { Authorization: `Bearer ${value}` } })).status !== 200,
    ],
    [
      'admin API, bearer',
      async (value) =>
        (await fetch(url('/api/v1/clients'), { headers: { Authorization: `Bearer ${value}` } })).status !== 200,
    ],
    [
      'admin API, key',
      async (value) => (await fetch(url('/api/v1/clients'), { headers: { 'X-API-Key': value } })).status !== 200,
    ],
    ['introspection', async (value) => (await j.introspect(value)).body.active !== true],
    ['refresh', async (value) => (await j.refresh(value)).status !== 200],
    ['code', async (value) => (await j.redeem(value, 'x'.repeat(43))).status !== 200],
    [
      'client secret',
      async (value) =>
        (
          await j.post(
            '/oauth/token',
            { grant_type: 'client_credentials', scope: 'stock:read' },
            { as: null, headers: { Authorization: j.basic('reports', encodeURIComponent(value)) } },
          )
        ).status !== 200,
    ],
    [
      'interaction cookie',
      async (value) =>
        (
          await fetch(url(`/interaction/${encodeURIComponent(value)}/login`), {
            headers: { Cookie: `sallyport_interaction=${encodeURIComponent(value)}` },
          })
        ).status !== 200,
    ],
    [
      'session cookie',
      async (value) => {
        const response = await fetch(url((await j.begin({ prompt: 'none' })).address), {
          redirect: 'manual',
          headers: { Cookie: `sallyport_session=${encodeURIComponent(value)}` },
        })
        return !(response.headers.get('location') ?? '').includes('code=')
      },
    ],
    [
      'request_uri',
      async (value) =>
        (
          await fetch(
            url(
              `/oauth/authorize?${new URLSearchParams({ client_id: 'shop-web', request_uri: `urn:ietf:params:oauth:request_uri:${value}` })}`,
            ),
            { redirect: 'manual' },
          )
        ).status === 400,
    ],
  ]
  for (const [name, refuses] of refused)
    for (const value of tries)
      expect(await refuses(value), `${name} accepts a value of ${value.length} characters from the dump`).toBe(true)
}, 180_000)

test('no value found in it makes a browser one that was remembered', async () => {
  const { values } = await dump()
  const whose = { userId: j.alice.id, days: 30, now: new Date() }
  const held = live.get('remembered browser') ?? ''
  expect(await findRememberedDevice(server.database.prisma, { ...whose, values: [held] })).toBeDefined()
  expect(await findRememberedDevice(server.database.prisma, { ...whose, values: [...values] })).toBeUndefined()
})

test('hashes are of full-length secrets only: a password is argon2id', async () => {
  const { rows } = await server.database.pool.query(`SELECT secret FROM credential WHERE kind = 'password'`)
  for (const { secret } of rows) expect(secret).toMatch(/^\$argon2id\$v=19\$/)
  const { values } = await dump()
  expect(values.has(createHash('sha256').update(password).digest('hex'))).toBe(false)
})
