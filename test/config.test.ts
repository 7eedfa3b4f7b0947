import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import {
  ConfigurationError,
  documentConfiguration,
  followStored,
  readConfig,
  storableSettings,
  withStored,
} from '#src/config.ts'

const key = randomBytes(32).toString('base64url')
const directory = mkdtempSync(join(tmpdir(), 'sallyport-config-'))
afterAll(() => rmSync(directory, { recursive: true }))

/** @returns the problems, each on its own. */
function problemsOf(env: Record<string, string>): readonly string[] {
  try {
    readConfig(env)
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems
    throw error
  }
  return []
}

function file(name: string, text: string): string {
  writeFileSync(join(directory, name), text)
  return join(directory, name)
}

const production = {
  NODE_ENV: 'production',
  ISSUER_URL: 'https://id.example.com',
  DATABASE_URL: 'postgresql://sallyport:secret@db/sallyport',
  SECRET_KEY: key,
}

test('nothing set: a development server on loopback with its database in .data', () => {
  expect(readConfig({})).toMatchObject({
    production: false,
    issuerUrl: 'http://localhost:3000',
    host: 'localhost',
    port: 3000,
    databaseUrl: undefined,
    dataDir: join(process.cwd(), '.data'),
    secretKeys: undefined,
    trustProxy: [],
    clientCertificateHeader: undefined,
  })
})

describe('mail', () => {
  test('SMTP_URL is taken apart, its user name and password decoded, its port the usual one', () => {
    expect(readConfig({ SMTP_URL: 'smtp://mail.example.com' }).smtp).toEqual({
      host: 'mail.example.com',
      port: 587,
      secure: false,
    })
    expect(readConfig({ SMTP_URL: 'smtps://us%40er:p%3Aw@[::1]:4650' }).smtp).toEqual({
      host: '::1',
      port: 4650,
      secure: true,
      auth: { user: 'us@er', pass: 'p:w' },
    })
    expect(readConfig({ SMTP_URL: 'smtps://mail.example.com/' }).smtp?.port).toBe(465)
  })

  test.each([
    ['a@example.com', { name: 'Sallyport', address: 'a@example.com' }],
    ['<a@example.com>', { name: 'Sallyport', address: 'a@example.com' }],
    ['Example Shop <a@example.com>', { name: 'Example Shop', address: 'a@example.com' }],
    ['"Shop, Example" <a@example.com>', { name: 'Shop, Example', address: 'a@example.com' }],
  ])('MAIL_FROM may be %s', (text, expected) => {
    expect(readConfig({ MAIL_FROM: text }).mailFrom).toEqual(expected)
  })

  test.each([
    'Shop\nBcc: everybody@example.com <a@example.com>',
    'Shop\r\n <a@example.com>',
    'Shop\u2028 <a@example.com>',
    '"Shop\u0000" <a@example.com>',
  ])('MAIL_FROM may not hold a line break or control character: %j', (text) => {
    expect(problemsOf({ MAIL_FROM: text })).toEqual([expect.stringMatching(/^MAIL_FROM must be an email address/)])
  })

  test('comes from the host of the issuer unless it is said otherwise', () => {
    expect(readConfig(production).mailFrom.address).toBe('no-reply@id.example.com')
  })

  test.each([
    ['sent where there is a mail server', { ...production, SMTP_URL: 'smtp://mail' }, 'smtp'],
    ['shown on a page on a developer’s machine', {}, 'page'],
    ['nowhere in production', { ...production, ISSUER_URL: 'http://localhost:3000' }, 'none'],
    ['nowhere on an issuer that others reach', { ISSUER_URL: 'http://192.0.2.7:3000' }, 'none'],
  ])('is %s', (_what, env, expected) => {
    expect(readConfig(env).mail).toBe(expected)
  })
})

describe('the webhook of factors', () => {
  const FACTOR_WEBHOOK_SECRET = `whsec_${Buffer.from(key, 'base64url').toString('base64')}`

  test('address and secret belong together; the secret is written in base64 of either kind, several for rotation', () => {
    const FACTOR_WEBHOOK_URL = 'https://messages.example.com/sallyport?team=1'
    const secret = Buffer.from(key, 'base64url')
    for (const text of [FACTOR_WEBHOOK_SECRET, key, secret.toString('base64')])
      expect(readConfig({ FACTOR_WEBHOOK_URL, FACTOR_WEBHOOK_SECRET: text }).factorWebhook).toEqual({
        url: FACTOR_WEBHOOK_URL,
        secrets: [secret],
      })
    const two = readConfig({ FACTOR_WEBHOOK_URL, FACTOR_WEBHOOK_SECRET: `${key}, ${FACTOR_WEBHOOK_SECRET}` })
    expect(two.factorWebhook?.secrets).toHaveLength(2)
    const apart = 'FACTOR_WEBHOOK_URL and FACTOR_WEBHOOK_SECRET belong together: set both or neither'
    expect(problemsOf({ FACTOR_WEBHOOK_URL })).toEqual([apart])
    expect(problemsOf({ FACTOR_WEBHOOK_SECRET })).toEqual([apart])
    expect(readConfig({}).factorWebhook).toBeUndefined()
  })

  test.each([
    'https://messages.example.com/',
    'http://localhost:4000/',
    'http://127.0.0.1:4000/',
    'http://[::1]:4000/',
  ])('production: takes %s', (FACTOR_WEBHOOK_URL) => {
    expect(problemsOf({ ...production, FACTOR_WEBHOOK_URL, FACTOR_WEBHOOK_SECRET })).toEqual([])
  })

  test.each(['http://messages.example.com/', 'http://localhost.example.com/', 'http://169.254.169.254/'])(
    'production: refuses %s',
    (FACTOR_WEBHOOK_URL) => {
      expect(problemsOf({ ...production, FACTOR_WEBHOOK_URL, FACTOR_WEBHOOK_SECRET })).toEqual([
        'FACTOR_WEBHOOK_URL must use https in production (plain http is accepted on loopback only)',
      ])
    },
  )
})

test('a password hash costs what OWASP asks for at least: less memory only with more passes', () => {
  const cost = (memory: string, passes: string) =>
    problemsOf({ PASSWORD_HASH_MEMORY_KIB: memory, PASSWORD_HASH_TIME_COST: passes })
  expect([cost('47104', '1'), cost('19456', '2'), cost('262144', '16')]).toEqual([[], [], []])
  expect(cost('47103', '1')).toEqual([
    'PASSWORD_HASH_MEMORY_KIB must be at least 47104 with a PASSWORD_HASH_TIME_COST of 1',
  ])
  expect(cost('19455', '2')).toEqual(['PASSWORD_HASH_MEMORY_KIB must be from 19456 to 262144'])
  expect(cost('262145', '0')).toEqual([
    'PASSWORD_HASH_MEMORY_KIB must be from 19456 to 262144',
    'PASSWORD_HASH_TIME_COST must be from 1 to 16',
  ])
  expect(cost('46 MiB', '1')).toEqual(['PASSWORD_HASH_MEMORY_KIB must be a whole number of KiB'])
})

test('the result cannot be changed', () => {
  expect(Object.isFrozen(readConfig({}))).toBe(true)
})

test('production: complete and safe values are accepted', () => {
  expect(problemsOf(production)).toEqual([])
  expect(problemsOf({ ...production, ISSUER_URL: 'http://localhost:3000' })).toEqual([])
  expect(problemsOf({ ...production, ISSUER_URL: 'http://127.0.0.1:3000' })).toEqual([])
})

test('production: everything that is missing is one list', () => {
  expect(problemsOf({ NODE_ENV: 'production' })).toEqual([
    'DATABASE_URL is required in production',
    'SECRET_KEY is required in production',
    'ISSUER_URL is required in production',
  ])
})

test.each([
  ['http://id.example.com', 'ISSUER_URL must use https in production (plain http is accepted on loopback only)'],
  ['http://localhost.example.com', 'ISSUER_URL must use https in production (plain http is accepted on loopback only)'],
  ['http://127.0.0.1.example.com', 'ISSUER_URL must use https in production (plain http is accepted on loopback only)'],
  ['https://id.example.com/auth', 'ISSUER_URL must be an origin: remove the path, query or fragment'],
  ['https://id.example.com/?', 'ISSUER_URL must be an origin: remove the path, query or fragment'],
  ['https://id.example.com/#', 'ISSUER_URL must be an origin: remove the path, query or fragment'],
  ['https://user@id.example.com', 'ISSUER_URL must not contain a user name or password'],
  ['ftp://id.example.com', 'ISSUER_URL must be an origin such as https://id.example.com'],
  ['id.example.com', 'ISSUER_URL must be an origin such as https://id.example.com'],
])('production: refuses the issuer %s', (issuer, problem) => {
  expect(problemsOf({ ...production, ISSUER_URL: issuer })).toEqual([problem])
})

test.each([
  ['PORT', '70000'],
  ['PORT', '-1'],
  ['PORT', '3000; rm -rf'],
  ['DATABASE_URL', 'mysql://db'],
  ['SECRET_KEY', 'secret'],
  ['SECRET_KEY', 'A'.repeat(43)],
  ['SECRET_KEY', `${key},short`],
  ['ADMIN_EMAIL', 'nobody'],
  ['ADMIN_PASSWORD', 'short'],
  ['SMTP_URL', 'https://mail.example.com'],
  ['SMTP_URL', 'smtp://'],
  ['SMTP_URL', 'smtp://mail.example.com/path'],
  ['SMTP_URL', 'smtp://mail.example.com?ignoreTLS=true'],
  ['SMTP_URL', 'smtp://user@mail.example.com'],
  ['SMTP_URL', 'smtp://user:%ff@mail.example.com'],
  ['SMTP_URL', 'smtp://mail.example.com:99999'],
  ['MAIL_FROM', 'nobody'],
  ['SIGN_UP', 'yes'],
  ['EMAIL_VERIFICATION', 'on'],
  ['MAIL_FROM', 'a@example.com, b@example.com'],
  ['MAIL_FROM', 'Example <a@example.com>, <b@example.com>'],
  ['MAIL_FROM', 'a@example.com\r\nBcc: b@example.com'],
  ['FACTOR_WEBHOOK_URL', 'messages.example.com'],
  ['FACTOR_WEBHOOK_URL', 'ftp://messages.example.com/'],
  ['FACTOR_WEBHOOK_URL', 'https://'],
  ['FACTOR_WEBHOOK_URL', 'https://user@messages.example.com/'],
  ['FACTOR_WEBHOOK_URL', 'https://user:secret@messages.example.com/'],
  ['FACTOR_WEBHOOK_URL', 'https://messages.example.com/#top'],
  ['FACTOR_WEBHOOK_SECRET', 'secret'],
  ['FACTOR_WEBHOOK_SECRET', `whsec_${randomBytes(31).toString('base64')}`],
  ['FACTOR_WEBHOOK_SECRET', randomBytes(65).toString('base64')],
  ['FACTOR_WEBHOOK_SECRET', Buffer.alloc(32, 7).toString('base64')],
  ['FACTOR_WEBHOOK_SECRET', `${key},short`],
  ['TRUST_PROXY', '10.0.0.0/33'],
  ['TRUST_PROXY', 'proxy.internal'],
  ['CLIENT_CERTIFICATE_HEADER', 'X-User'],
  ['WEBHOOK_NETWORKS', 'hooks.internal'],
  ['WORKERS', '0'],
  ['WORKERS', '65'],
  ['WORKERS', 'many'],
  ['METRICS_PORT', '99999'],
  ['METRICS_PORT', '3000'],
  ['LOG_LEVEL', 'loud'],
  ['DATABASE_POOL_SIZE', '0'],
  ['SESSION_TTL_SECONDS', '1'],
  ['SHUTDOWN_TIMEOUT_SECONDS', '8s'],
])('refuses %s=%s by name and does not repeat a secret', (name, value) => {
  const problems = problemsOf({ [name]: value }).filter((problem) => !problem.includes('belong together'))
  expect(problems).toHaveLength(1)
  expect(problems[0]).toMatch(new RegExp(`^${name} `))
  if (['SECRET_KEY', 'ADMIN_PASSWORD', 'DATABASE_URL', 'FACTOR_WEBHOOK_SECRET'].includes(name))
    expect(problems[0]).not.toContain(value)
})

test('WORKERS: a number, or one per core', () => {
  expect(readConfig({}).workers).toBe(1)
  expect(readConfig({ WORKERS: '64' }).workers).toBe(64)
  expect(readConfig({ WORKERS: 'auto' }).workers).toBe(Math.min(availableParallelism(), 64))
  expect(problemsOf({ WORKERS: '2', PORT: '0' })).toEqual(['PORT must be named when several WORKERS share it'])
})

test('webhooks reach loopback outside production, and no private network unless it is named', () => {
  expect(readConfig({}).webhookNetworks).toEqual(['127.0.0.0/8', '::1/128'])
  expect(readConfig(production).webhookNetworks).toEqual([])
  expect(readConfig({ ...production, WEBHOOK_NETWORKS: '10.20.0.0/16, fd12::/32' }).webhookNetworks).toEqual([
    '10.20.0.0/16',
    'fd12::/32',
  ])
  expect(readConfig({ WEBHOOK_NETWORKS: '10.20.0.0/16' }).webhookNetworks).toEqual(['10.20.0.0/16'])
})

test('metrics are for this machine unless HOST says otherwise, in production too', () => {
  expect(readConfig({ METRICS_PORT: '9090' })).toMatchObject({ metricsPort: 9090, metricsHost: 'localhost' })
  expect(readConfig({ ...production, METRICS_PORT: '9090' })).toMatchObject({ host: '::', metricsHost: 'localhost' })
  expect(readConfig({ METRICS_PORT: '9090', HOST: '10.0.0.1' }).metricsHost).toBe('10.0.0.1')
})

test('several bad values are several lines of one message', () => {
  expect(() => readConfig({ PORT: 'x', LOG_LEVEL: 'y', ADMIN_EMAIL: 'a@example.com' })).toThrow(
    /^Configuration problems:\n {2}- PORT .*\n {2}- LOG_LEVEL .*\n {2}- ADMIN_EMAIL and ADMIN_PASSWORD belong together/,
  )
})

describe('X_FILE', () => {
  test('holds the value of X, without the newline that editors add', () => {
    const env = { SECRET_KEY_FILE: file('key', `${key}\n`), PORT_FILE: file('port', '4000\n') }
    expect(readConfig(env)).toMatchObject({ port: 4000, secretKeys: [Buffer.from(key, 'base64url')] })
  })

  test('counts as given in production', () => {
    const { SECRET_KEY, ...rest } = production
    expect(problemsOf({ ...rest, SECRET_KEY_FILE: file('key', SECRET_KEY) })).toEqual([])
  })

  test('may not contradict X', () => {
    expect(problemsOf({ PORT: '1', PORT_FILE: file('port', '2') })).toEqual([
      'PORT and PORT_FILE are both set: keep one',
    ])
  })

  test('must be readable', () => {
    expect(problemsOf({ PORT_FILE: '/nowhere' })).toEqual(['PORT_FILE names a file that cannot be read: /nowhere'])
  })
})

test('an empty value counts as unset, as compose files write it', () => {
  expect(readConfig({ DATABASE_URL: '', PORT: '' })).toMatchObject({ databaseUrl: undefined, port: 3000 })
})

test('docs/configuration.md is what the schema says', () => {
  expect(readFileSync(join(import.meta.dirname, '../docs/configuration.md'), 'utf8')).toBe(documentConfiguration())
})

describe('what is stored', () => {
  const stored = (values: Record<string, string>) => new Map(Object.entries(values))
  const shown = (config: ReturnType<typeof readConfig>, name: string) => config.inForce.find((one) => one.name === name)

  test('goes before the default, and the environment before it', () => {
    const config = readConfig({ SESSION_TTL_SECONDS: '7200' })
    const both = withStored(config, stored({ SESSION_TTL_SECONDS: '3600', SESSION_IDLE_TTL_SECONDS: '600' }))
    expect([both.sessionTtlSeconds, both.sessionIdleTtlSeconds, both.apiKeys.usualDays]).toEqual([7200, 600, 90])
    expect(shown(both, 'SESSION_TTL_SECONDS')).toMatchObject({ value: '7200', source: 'environment', editable: false })
    expect(shown(both, 'SESSION_IDLE_TTL_SECONDS')).toMatchObject({ value: '600', source: 'stored', editable: true })
    expect(shown(both, 'API_KEY_DAYS')).toMatchObject({ value: '90', source: 'default', editable: true })
    expect(withStored(both, stored({})).sessionIdleTtlSeconds).toBe(3600)
  })

  test('bounds what it bounds, wherever the two come from', () => {
    const bounded = withStored(readConfig({ API_KEY_DAYS: '90' }), stored({ API_KEY_MOST_DAYS: '30' }))
    expect(bounded.apiKeys).toEqual({ usualDays: 30, mostDays: 30, overlapHours: 24 })
    const open = readConfig({ ISSUER_URL: 'http://id.internal' })
    expect(withStored(open, stored({ REMEMBER_DEVICE_DAYS: '30' })).rememberDeviceDays).toBe(0)
  })

  test('does not count where it cannot be used, or may not be stored', () => {
    const config = readConfig({})
    const odd = withStored(config, stored({ SIGN_UP: 'whoever', ISSUER_URL: 'https://x.example', PORT: '1', NEW: '1' }))
    expect({ ...odd, inForce: [] }).toEqual({ ...config, inForce: [] })
    expect(shown(odd, 'SIGN_UP')).toMatchObject({ value: 'off', source: 'default', stored: true })
  })

  test('is followed by one object, which nobody else can change', () => {
    const base = readConfig({})
    const { config, follow } = followStored(base)
    expect({ ...config }).toEqual({ ...base })
    follow(stored({ SIGN_UP: 'open', THEME_CSS: 'a{}' }))
    expect([config.signUp, config.themeCss, base.signUp]).toEqual(['open', 'a{}', 'off'])
    follow(stored({}))
    expect([config.signUp, config.themeCss]).toEqual(['off', undefined])
    expect(() => Object.assign(config, { signUp: 'open' })).toThrow(TypeError)
  })

  test('is nothing that decides whom a process trusts, where it keeps its data or what is secret', () => {
    expect([...storableSettings.keys()].sort()).toEqual([
      'ACCOUNT_DELETION_GRACE_DAYS',
      'API_KEY_DAYS',
      'API_KEY_MOST_DAYS',
      'API_KEY_OVERLAP_HOURS',
      'CONSOLE_IDLE_TTL_SECONDS',
      'CONSOLE_SESSION_TTL_SECONDS',
      'DECISION_RECEIPTS_PERMITTED',
      'DECISION_RECEIPT_TTL_DAYS',
      'EMAIL_SIGN_IN',
      'EMAIL_VERIFICATION',
      'RATE_LIMIT_INTROSPECTION_PER_MINUTE',
      'RATE_LIMIT_PAR_PER_MINUTE',
      'RATE_LIMIT_REVOCATION_PER_MINUTE',
      'RATE_LIMIT_TOKEN_PER_MINUTE',
      'RATE_LIMIT_UNIDENTIFIED_PER_MINUTE',
      'REMEMBER_DEVICE_DAYS',
      'SESSION_IDLE_TTL_SECONDS',
      'SESSION_TTL_SECONDS',
      'SIGNING_KEY_ROTATION_DAYS',
      'SIGN_UP',
      'THEME_CSS',
    ])
  })
})
