// Every check, with an installation in which nothing is to be said, and with one thing wrong in it: that is what is said, and nothing else.
import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { createRole } from '#src/access/roles.ts'
import { createApi } from '#src/apis/apis.ts'
import { judgeBackups, recordBackup } from '#src/checkup/backups.ts'
import { checks, runCheckup } from '#src/checkup/checkup.ts'
import { most } from '#src/checkup/finding.ts'
import { createClient } from '#src/clients/clients.ts'
import { newClientSecret } from '#src/clients/secrets.ts'
import { readConfig } from '#src/config.ts'
import { moveToNewestKey, noteSecretKeys } from '#src/keys/seal-rotation.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys } from '#src/keys/signing-keys.ts'
import { createUser } from '#src/users/users.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const orders = 'https://api.example.com/orders'
const production = {
  NODE_ENV: 'production',
  ISSUER_URL: 'https://id.example.com',
  DATABASE_URL: 'postgresql://x@localhost/x',
  SECRET_KEY: randomBytes(32).toString('base64url'),
  SMTP_URL: 'smtps://mail.example.com',
  TRUST_PROXY: '10.0.0.0/8',
}
const [old, fresh] = [randomBytes(32), randomBytes(32)]
const secretKeys = createSecretKeys([fresh])
const change = () => ({ now: new Date(), actor: { kind: 'cli' as const } })

let db: TestDatabase
const query = async (text: string, values: unknown[] = []) => (await db.database.pool.query(text, values)).rows
beforeAll(async () => {
  db = await createTestDatabase()
  await ensureSigningKeys(db.database, secretKeys, new Date())
})
afterAll(() => db.drop())

const ago = (days: number) => `now() - interval '${days} days'`

/** Years old, in use, and nothing wrong with it. */
beforeEach(async () => {
  const { prisma } = db.database
  await query('TRUNCATE api, client, users, role, mail, token, client_use, last_backup, secret_key, api_key CASCADE')
  await query(`UPDATE signing_key SET created_at = ${ago(30)}, activated_at = ${ago(30)}`)
  const scopes = { 'orders:read': 'See', 'orders:write': 'Change' }
  await createApi(prisma, { identifier: orders, name: 'Orders', scopes }, change())
  const apis = { [orders]: ['orders:read', 'orders:write'] }
  const secret = () => [{ value: newClientSecret() }]
  const web = { type: 'web', redirectUris: ['https://shop.example/cb'], apis } as const
  await createClient(prisma, { id: 'shop', ...web }, secret(), change())
  await createClient(prisma, { id: 'robot', type: 'service', apis }, secret(), change())
  const app = { type: 'native', redirectUris: ['http://127.0.0.1/cb'] } as const
  await createClient(prisma, { id: 'app', ...app }, [], change())
  const { id } = await createApiKey(prisma, { name: 'nightly', apis, owner: { clientId: 'robot' } }, change())
  await query('UPDATE api_key_value SET last_used_at = now()')
  await query(`UPDATE api_key SET created_at = ${ago(400)} WHERE id = $1`, [id])
  await query(`UPDATE client SET created_at = ${ago(800)}, updated_at = ${ago(800)}`)
  await query(`UPDATE client_secret SET created_at = ${ago(100)}`)
  await query(`UPDATE client_scope SET granted_at = ${ago(800)}`)
  await query(`UPDATE _prisma_migrations SET finished_at = ${ago(800)}`)
  for (const what of ['authorization_code', 'refresh_token'])
    await query(`INSERT INTO client_use VALUES ('shop', '', $1, ${ago(3)})`, [what])
  for (const what of ['orders:read', 'orders:write'])
    await query(`INSERT INTO client_use VALUES ('shop', $1, $2, ${ago(80)})`, [orders, what])
  await createRole(prisma, 'admin', { permissions: ['clients:write'], secondFactor: 'required' }, change())
  await createRole(prisma, 'clerk', { permissions: ['orders:read'] }, change())
  const anna = await createUser(prisma, { email: 'anna@example.com', roles: ['admin'] }, change())
  await createUser(prisma, { email: 'clara@example.com', roles: ['clerk'] }, change())
  await query(`INSERT INTO credential (id, user_id, kind, secret) VALUES ($1, $2, 'totp', 'x')`, [
    randomUUID(),
    anna.id,
  ])
  await recordBackup(prisma, new Date(), change())
})

const examine = (env: Record<string, string> = {}, { keys = secretKeys, ahead = 0 } = {}) =>
  runCheckup({
    database: db.database,
    config: readConfig({ ...production, ...env }),
    secretKeys: keys,
    now: () => new Date(Date.now() + ahead * 1000),
  })
/** `severity id` of each finding. */
const said = async (...options: Parameters<typeof examine>) =>
  (await examine(...options)).findings.map(({ severity, id }) => `${severity} ${id}`)

test('of a sound installation nothing is said', async () => {
  const report = await examine()
  expect(report.findings).toEqual([])
  expect(report.counts).toEqual({ critical: 0, warning: 0, note: 0 })
  expect(report.checks.map(({ name }) => name)).toEqual(checks.map(({ name }) => name))
})

const set = (client: string, column: string, value: string) =>
  `UPDATE client SET ${column} = ${value} WHERE id = '${client}'`
const uris = (client: string, uri: string) => set(client, 'redirect_uris', `ARRAY['https://shop.example/cb', '${uri}']`)
const refreshed = (days: number) =>
  `INSERT INTO token (id, kind, client_id, consumed_at, expires_at, payload) VALUES ('a', 2, 'shop', ${ago(days)}, now() + interval '1 day', '{}')`
const noRefreshing = `DELETE FROM client_use WHERE what = 'refresh_token'`
const noWriting = `UPDATE client_use SET last_at = ${ago(91)} WHERE what = 'orders:write'`
const writing = (column: string) =>
  `INSERT INTO token (id, kind, client_id, resource, scope, issued_at, expires_at, payload) VALUES ('a', 1, ${column}, now(), now() + interval '1 hour', '{}')`
const keyUnused = `UPDATE api_key_value SET last_used_at = ${ago(91)}`

describe('one thing wrong', () => {
  test.each<[what: string, statements: string[], findings: string[]]>([
    [
      'a redirect URI that today is refused',
      [uris('shop', 'https://*.shop.example/cb')],
      ['critical redirect-uris:shop'],
    ],
    [
      'one with a fragment, for the way back after signing out',
      [set('shop', 'post_logout_redirect_uris', `ARRAY['https://shop.example/#a']`)],
      ['critical redirect-uris:shop'],
    ],
    ['one that forwards', [uris('shop', 'https://shop.example/cb?next=/')], ['warning redirect-uris:shop']],
    [
      'one on loopback, for a web application',
      [uris('shop', 'http://127.0.0.1:3000/cb')],
      ['warning redirect-uris:shop'],
    ],
    ['localhost by name, for an app', [uris('app', 'http://localhost/cb')], ['note redirect-uris:app']],
    [
      'the same of one that is switched off',
      [uris('shop', 'https://*.shop.example/cb'), set('shop', 'disabled_at', 'now()')],
      [],
    ],

    [
      'a grant type its type has no use for',
      [set('app', 'grant_types', `'{authorization_code,client_credentials}'`)],
      ['critical grant-types:app'],
    ],
    ['refreshing that nobody uses', [noRefreshing], ['note grant-types:shop']],
    ['used with a token that lives', [noRefreshing, refreshed(1)], []],
    ['used long ago', [noRefreshing, refreshed(91)], ['note grant-types:shop']],
    ['changed lately', [noRefreshing, set('shop', 'updated_at', ago(89))], []],
    ['a record that began lately', [noRefreshing, `UPDATE _prisma_migrations SET finished_at = ${ago(89)}`], []],

    [
      'a secret of a year',
      [`UPDATE client_secret SET created_at = ${ago(366)} WHERE client_id = 'robot'`],
      ['warning client-secrets:robot'],
    ],
    [
      'one that was followed by another',
      [
        `UPDATE client_secret SET created_at = ${ago(366)}, expires_at = now() + interval '1 day' WHERE client_id = 'robot'`,
        `INSERT INTO client_secret (id, client_id, hash) VALUES (gen_random_uuid(), 'robot', '')`,
      ],
      [],
    ],
    [
      'two, and none of them ends',
      [
        `INSERT INTO client_secret (id, client_id, hash, created_at) VALUES (gen_random_uuid(), 'robot', '', ${ago(31)})`,
      ],
      ['warning client-secrets:robot'],
    ],

    ['a scope that nobody asked for', [noWriting], ['warning unused-scopes:shop']],
    ['one that was never used', [`DELETE FROM client_use WHERE what = 'orders:write'`], ['warning unused-scopes:shop']],
    ['one of a token that lives', [noWriting, writing(`'shop', '${orders}', 'a orders:write'`)], []],
    [
      'a token of another client',
      [noWriting, writing(`'robot', '${orders}', 'orders:write'`)],
      ['warning unused-scopes:shop'],
    ],
    ['one that was given lately', [noWriting, `UPDATE client_scope SET granted_at = ${ago(89)}`], []],
    [
      'a service whose key is idle',
      [keyUnused],
      ['warning unused-scopes:robot', expect.stringMatching(/^warning idle-api-keys:/)],
    ],
    [
      'an API that takes secrets by themselves',
      [keyUnused, `UPDATE api SET accept = '{oauth,basic}'`],
      [expect.stringMatching(/^warning idle-api-keys:/)],
    ],

    [
      'access tokens of two hours',
      ['UPDATE api SET access_token_ttl_seconds = 7200'],
      [`warning access-token-lifetimes:${orders}`],
    ],
    ['of an hour', ['UPDATE api SET access_token_ttl_seconds = 3600'], []],
    [
      'refresh tokens of 40 days',
      [set('shop', 'refresh_token_ttl_seconds', '40 * 86400')],
      ['warning refresh-token-lifetimes:shop'],
    ],
    [
      'that end when nobody uses them',
      [set('shop', 'refresh_token_ttl_seconds', '40 * 86400, refresh_token_idle_ttl_seconds = 86400')],
      [],
    ],
    [
      'of 91 days',
      [set('shop', 'refresh_token_ttl_seconds', '91 * 86400, refresh_token_idle_ttl_seconds = 86400')],
      ['warning refresh-token-lifetimes:shop'],
    ],

    [
      'an API key without an end',
      ['UPDATE api_key_value SET expires_at = NULL'],
      [expect.stringMatching(/^warning endless-api-keys:/)],
    ],
    [
      'that was revoked',
      [
        'UPDATE api_key_value SET expires_at = NULL',
        'UPDATE api_key SET revoked_at = now()',
        "DELETE FROM client_scope WHERE client_id = 'robot'",
      ],
      [],
    ],

    [
      'an administrator with a password alone',
      ['DELETE FROM credential'],
      [expect.stringMatching(/^critical administrators:/)],
    ],
    [
      'with recovery codes alone',
      [`UPDATE credential SET kind = 'recovery_code'`],
      [expect.stringMatching(/^critical administrators:/)],
    ],
    ['who is switched off', ['DELETE FROM credential', 'UPDATE users SET disabled_at = now()'], []],
    [
      'a role that asks for none',
      [`UPDATE role SET second_factor = 'optional'`],
      ['warning administering-roles:admin'],
    ],

    [
      'a signing key that nobody rotates',
      [`UPDATE signing_key SET activated_at = ${ago(93)} WHERE alg = 'ES256'`],
      [expect.stringMatching(/^warning signing-keys:/)],
    ],
    ['two days late', [`UPDATE signing_key SET activated_at = ${ago(91)} WHERE alg = 'ES256'`], []],

    [
      'a mail that waits',
      [
        `INSERT INTO mail (id, template, recipient, created_at, next_attempt_at, expires_at) VALUES (gen_random_uuid(), 'x', '', now() - interval '16 minutes', now(), now() + interval '1 day')`,
      ],
      ['warning mail'],
    ],
    [
      'a moment',
      [
        `INSERT INTO mail (id, template, recipient, created_at, next_attempt_at, expires_at) VALUES (gen_random_uuid(), 'x', '', now() - interval '14 minutes', now(), now() + interval '1 day')`,
      ],
      [],
    ],
    [
      'one that was given up',
      [
        `INSERT INTO mail (id, template, recipient, given_up_at, expires_at) VALUES (gen_random_uuid(), 'x', '', now(), now() + interval '1 day')`,
      ],
      ['warning mail'],
    ],

    ['a backup of last week', [`UPDATE last_backup SET at = ${ago(8)}`], ['warning backups']],
    ['none that is known', ['DELETE FROM last_backup'], ['note backups']],
  ])('%s', async (_what, statements, findings) => {
    for (const statement of statements) await query(statement)
    expect(await said()).toEqual(findings)
  })

  test('no key is announced', async () => {
    const [row] = await query(
      `UPDATE signing_key SET state = 'retired' WHERE alg = 'ES256' AND state = 'next' RETURNING kid`,
    )
    expect(await said()).toEqual([expect.stringMatching(/^warning signing-keys:/)])
    await query(`UPDATE signing_key SET state = 'next' WHERE kid = $1`, [row?.kid])
  })

  test.each<[env: Record<string, string>, findings: string[]]>([
    [{ TRUST_PROXY: '' }, ['warning proxies']],
    [{ TRUST_PROXY: '0.0.0.0/0' }, ['critical proxies']],
    [{ TRUST_PROXY: '10.0.0.1,2000::/3' }, ['critical proxies']],
    [{ TRUST_PROXY: '', ISSUER_URL: 'http://localhost:3000' }, []],
    [{ NODE_ENV: '' }, ['critical mode']],
    [{ NODE_ENV: '', ISSUER_URL: 'http://localhost:3000', TRUST_PROXY: '', SMTP_URL: '' }, []],
    [{ SMTP_URL: '' }, ['warning mail']],
    [{ SMTP_URL: '', SIGN_UP: 'open' }, ['critical mail']],
    [{ SMTP_URL: '', EMAIL_SIGN_IN: 'on' }, ['critical mail']],
    [{ SESSION_TTL_SECONDS: '86401' }, ['warning session-lifetimes']],
    [{ SESSION_IDLE_TTL_SECONDS: '7200' }, ['warning session-lifetimes']],
    [{ SIGNING_KEY_ROTATION_DAYS: '0' }, []],
    [{ SIGNING_KEY_ROTATION_DAYS: '20' }, Array(3).fill(expect.stringMatching(/^warning signing-keys:/))],
  ])('%j', async (env, findings) => expect(await said(env)).toEqual(findings))

  test.each([
    [-90, ['critical clock']],
    [-20, ['warning clock']],
    [3, []],
    [20, ['warning clock']],
  ])('a clock that is %i seconds ahead', async (ahead, findings) => expect(await said({}, { ahead })).toEqual(findings))

  test('an old key in SECRET_KEY: a note while something needs it, a warning from then on', async () => {
    await query('DELETE FROM credential')
    const [anna] = await query(`SELECT id FROM users WHERE email_key = 'anna@example.com'`)
    const id = randomUUID()
    const sealed = createSecretKeys([old]).seal('totp', id, 'seed')
    await query(`INSERT INTO credential (id, user_id, kind, secret) VALUES ($1, $2, 'totp', $3)`, [
      id,
      anna?.id,
      sealed,
    ])
    const keys = createSecretKeys([fresh, old])
    expect(await said({}, { keys })).toEqual(['note secret-key'])
    await noteSecretKeys(db.database, keys, new Date())
    await moveToNewestKey(db.database, keys, { change: change() })
    expect(await said({}, { keys })).toEqual(['note secret-key']) // cookies
    await query(`UPDATE secret_key SET first_at = ${ago(2)} WHERE first_at IS NOT NULL`)
    expect(await said({}, { keys })).toEqual(['warning secret-key'])
  })

  test('archiving of the log counts as a backup, and is a finding when it fails', () => {
    const now = new Date()
    const daysAgo = (days: number) => new Date(now.getTime() - days * 86_400_000)
    const judge = (facts: Partial<Parameters<typeof judgeBackups>[0]>) =>
      judgeBackups({ recordedAt: null, archiving: true, archivedAt: null, failedAt: null, ...facts }, now).map(
        ({ severity }) => severity,
      )
    expect(judge({ archivedAt: daysAgo(1) })).toEqual([])
    expect(judge({ archivedAt: daysAgo(1), archiving: false })).toEqual(['note'])
    expect(judge({ archivedAt: daysAgo(8) })).toEqual(['note'])
    expect(judge({ archivedAt: daysAgo(2), failedAt: daysAgo(1), recordedAt: now })).toEqual(['warning'])
    expect(judge({ archivedAt: daysAgo(1), failedAt: daysAgo(2) })).toEqual([])
  })
})

test('every finding says what, why, where that is written, and what mends it; the worst stands first', async () => {
  await query('DELETE FROM last_backup')
  await query(noWriting)
  await query('DELETE FROM credential')
  const { findings, counts } = await examine({ TRUST_PROXY: '' })
  expect(findings.map(({ severity }) => severity)).toEqual(['critical', 'warning', 'warning', 'note'])
  expect(counts).toEqual({ critical: 1, warning: 2, note: 1 })
  for (const { what, why, section, fix } of findings) {
    for (const sentence of [what, why, fix]) expect(sentence).toMatch(/^[A-Z/s].*\.$/)
    expect(section).toMatch(/^(RFC|ASVS|NIST)/)
  }
  expect(findings[2]?.oneClick).toEqual({
    id: 'shrink',
    scopes: [{ clientId: 'shop', api: orders, scope: 'orders:write' }],
  })
})

test('a check that fails says so and leaves the others alone; a database that is away is an error', async () => {
  await query('ALTER TABLE last_backup RENAME TO gone')
  try {
    expect(await said()).toEqual(['warning backups'])
  } finally {
    await query('ALTER TABLE gone RENAME TO last_backup')
  }
  const away = await createTestDatabase()
  await away.drop()
  const config = readConfig(production)
  await expect(runCheckup({ database: away.database, config, secretKeys, now: () => new Date() })).rejects.toThrow()
})

test('ten thousand applications with everything wrong: a hundred findings of each check, and how many more', async () => {
  await query(
    `INSERT INTO client (id, name, type, grant_types, redirect_uris, token_endpoint_auth_method, refresh_token_ttl_seconds, updated_at)
      SELECT 'c' || lpad(i::text, 5, '0'), 'C', 'web', '{authorization_code,refresh_token,password}', '{https://a.example/*}', 'client_secret_basic', 31536000, ${ago(400)}
      FROM generate_series(1, 10000) i`,
  )
  await query(
    `INSERT INTO client_secret (id, client_id, hash, created_at) SELECT gen_random_uuid(), id, '', ${ago(400)} FROM client WHERE id LIKE 'c_____'`,
  )
  await query(
    `INSERT INTO client_scope (client_id, api_identifier, scope_name, granted_at) SELECT id, $1, scope, ${ago(400)} FROM client, unnest('{orders:read,orders:write}'::text[]) scope WHERE id LIKE 'c_____'`,
    [orders],
  )
  const { findings, checks } = await examine()
  const of = (name: string) => checks.find((check) => check.name === name)
  for (const name of ['redirect-uris', 'grant-types', 'client-secrets', 'refresh-token-lifetimes'])
    expect(of(name)).toMatchObject({ findings: most, more: 10_000 - most })
  expect(of('unused-scopes')).toMatchObject({ findings: most })
  expect(of('unused-scopes')?.more).toBeGreaterThan(most)
  expect(findings).toHaveLength(5 * most)
})
