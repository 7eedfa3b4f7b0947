// Lists in an installation with many of everything: each page has what was asked for, and finding it reads about as many rows as it shows, or
// a step of them, however many there are.
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { listApiKeys } from '#src/access/api-keys/reads.ts'
import { listRoles } from '#src/access/roles.ts'
import { listApis } from '#src/apis/apis.ts'
import { searchClients } from '#src/clients/editing.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { listMailRecords } from '#src/mail/records.ts'
import { readApplicationUse } from '#src/tokens/applications.ts'
import { countRevocation, mostLookedAt } from '#src/tokens/dry-run.ts'
import { searchUsers, type UserFilter } from '#src/users/search.ts'
import { listDeliveries } from '#src/webhooks/deliveries.ts'
import { createTestDatabase, hasPostgres15, type TestDatabase } from '#test/support/database.ts'
import { explain, nodesOf, type Statement } from '#test/support/plans.ts'

const servers = ['embedded' as const, ...(hasPostgres15() ? [15 as const] : [])]
/** Of which there are so few here that reading them whole is right. */
const few = ['scope', 'role_permission']
const people = 60_000
const clients = 6_000
const hook = '00000000-0000-4000-8000-00000000000c'
const api = 'https://api.example.com/1'

/** Of people, by number: the lowest is the oldest, and ids mean nothing. */
const isAnna = (n: number) => n % 5 < 2
const holds: Record<string, (n: number) => boolean> = {
  many: (n) => n % 5 === 2 || n % 5 === 3,
  // All of them the oldest there are: on the way from the newest, the last to be met.
  older: (n) => n <= 24_000,
  old: (n) => n <= 12_000,
  few: (n) => n <= 40,
}
const isOff = (n: number) => n % 5_000 === 7
const idOf = (n: string) => `md5('u' || ${n})::uuid`

async function fill({ database: { pool } }: TestDatabase): Promise<void> {
  await pool.query(`SET statement_timeout = 0`)
  for (const statement of [
    `INSERT INTO role (name) SELECT unnest(ARRAY['many', 'older', 'old', 'few']) UNION ALL SELECT 'role-' || n FROM generate_series(1, 500) n`,
    `INSERT INTO role_permission (role_name, permission) SELECT name, 'p' || n FROM role, generate_series(1, 5) n`,
    `INSERT INTO api (identifier, name) SELECT 'https://api.example.com/' || n, 'Api' FROM generate_series(1, 500) n`,
    `INSERT INTO scope (api_identifier, name, description) SELECT identifier, 's' || n, '' FROM api, generate_series(1, 5) n WHERE identifier LIKE 'https://api.%'`,
    `INSERT INTO client (id, name, type, grant_types, redirect_uris, post_logout_redirect_uris, scopes, token_endpoint_auth_method)
      SELECT 'client-' || lpad(n::text, 5, '0'), 'App ' || n, 'service', '{}', '{}', '{}', '{}', 'client_secret_basic' FROM generate_series(1, ${clients}) n`,
    `INSERT INTO client_secret (id, client_id, hash) SELECT gen_random_uuid(), id, '' FROM client WHERE id LIKE 'client-%'`,
    `INSERT INTO client_scope (client_id, api_identifier, scope_name) SELECT id, 'https://api.example.com/' || (1 + right(id, 4)::int % 500), 's1' FROM client WHERE id LIKE 'client-%'`,
    ...[0, 1, 2].map(
      (part) => `INSERT INTO users (id, email, email_key, name, created_at, disabled_at)
        SELECT ${idOf('n')}, n || '@example.com', n || '@example.com', CASE WHEN n % 5 < 2 THEN 'Anna ' ELSE 'Other ' END || n, '2026-01-01'::timestamptz + n / 2 * interval '1 second',
          CASE WHEN n % 5000 = 7 THEN now() END FROM generate_series(${(part * people) / 3 + 1}, ${((part + 1) * people) / 3}) n`,
    ),
    `INSERT INTO user_role (user_id, role_name) SELECT ${idOf('n')}, 'many' FROM generate_series(1, ${people}) n WHERE n % 5 IN (2, 3)`,
    `INSERT INTO user_role (user_id, role_name) SELECT ${idOf('n')}, 'older' FROM generate_series(1, 24000) n`,
    `INSERT INTO user_role (user_id, role_name) SELECT ${idOf('n')}, 'old' FROM generate_series(1, 12000) n`,
    `INSERT INTO user_role (user_id, role_name) SELECT ${idOf('n')}, 'few' FROM generate_series(1, 40) n`,
    `INSERT INTO oauth_grant (id, user_id, client_id, session_uid, scopes, rejected_scopes, payload)
      SELECT 'grant ' || n, ${idOf('n')}, CASE WHEN n % 2 = 0 THEN 'client-00001' ELSE 'client-' || lpad((2 + n % 1000)::text, 5, '0') END, 'session ' || n, '{}', '{}', '{}' FROM generate_series(1, 12000) n`,
    `INSERT INTO session (uid, cookie_hash, user_id, amr, payload, expires_at) SELECT 'session ' || n, sha256(n::text::bytea), ${idOf('n')}, '{}', '{}', now() + interval '1 day' FROM generate_series(1, 12000) n`,
    `INSERT INTO token (id, kind, client_id, user_id, grant_id, session_uid, expires_at, payload)
      SELECT sha256((k || 't' || n)::bytea), k, g.client_id, g.user_id, g.id, g.session_uid, now() + interval '1 hour', '{}'
      FROM generate_series(1, 12000) n JOIN oauth_grant g ON g.id = 'grant ' || n CROSS JOIN generate_series(1, 2) k`,
    `INSERT INTO api_key (id, name, client_id, owner_generation) SELECT md5('k' || n)::uuid, 'k', 'client-' || lpad((1 + n % ${clients})::text, 5, '0'), 0 FROM generate_series(1, 10000) n`,
    `INSERT INTO api_key_value (hash, key_id, version, hint) SELECT sha256(('v' || n)::bytea), md5('k' || n)::uuid, 1, 'h' FROM generate_series(1, 10000) n`,
    `INSERT INTO mail (id, template, recipient, created_at, sent_at, given_up_at, expires_at) SELECT gen_random_uuid(), 'x', '', now(), CASE WHEN n > 20 THEN now() END,
      CASE WHEN n <= 20 THEN now() END, now() + n * interval '1 second' FROM generate_series(1, 20000) n`,
    `INSERT INTO webhook_endpoint (id, name, url, types, secret, created_at) VALUES ('${hook}', 'hook', 'https://hook.example.com', '{*}', '', now())`,
    `INSERT INTO webhook_event (id, type, at, body, expires_at) SELECT md5('e' || n)::uuid, 'user.created', now(), '{}', now() FROM generate_series(1, 20000) n`,
    `INSERT INTO webhook_delivery (endpoint_id, event_id, state, created_at) SELECT '${hook}', md5('e' || n)::uuid, CASE WHEN n <= 3 THEN 'given_up' ELSE 'delivered' END, now() FROM generate_series(1, 20000) n`,
    'VACUUM ANALYZE',
  ])
    await pool.query({ text: statement, query_timeout: 60_000 } as { text: string })
}

describe.each(servers)('on PostgreSQL %s', (server) => {
  let own: TestDatabase
  beforeAll(async () => {
    own = await createTestDatabase({ server, poolSize: 1 })
    await fill(own)
  }, 120_000)
  afterAll(() => own.drop())

  /** Asks, and explains each statement that it took. @returns the rows that were read of each table, the most of one statement, and whether
   *  a table was read whole. */
  async function readBy(ask: () => Promise<unknown>) {
    const sent: Statement[] = []
    const query = vi.spyOn(own.database.pool, 'query')
    try {
      await ask()
      for (const [first, second] of query.mock.calls as unknown as [string | Statement, unknown[] | undefined][])
        sent.push(
          typeof first === 'string'
            ? { name: '', text: first, values: second ?? [] }
            : { ...first, values: second ?? first.values ?? [] },
        )
    } finally {
      query.mockRestore()
    }
    expect(sent.length).toBeGreaterThan(0)
    const rows = new Map<string, number>()
    const whole = new Set<string>()
    for (const statement of sent) {
      const { Plan } = await explain(own.database.pool, statement, { analyze: true })
      for (const node of nodesOf(Plan)) {
        const table = node['Relation Name']
        if (table === undefined) continue
        const each = Number(node['Actual Rows']) + Number(node['Rows Removed by Filter'] ?? 0)
        const read = Math.round(each * Number(node['Actual Loops']))
        rows.set(table, Math.max(rows.get(table) ?? 0, read))
        if (node['Node Type'] === 'Seq Scan' && read > 0) whole.add(table)
      }
    }
    return { rows, whole, statements: sent.length }
  }

  describe('people', () => {
    const searches: [UserFilter, (n: number) => boolean][] = [
      [{}, () => true],
      [{ q: 'ANNA' }, isAnna],
      [{ q: '5999' }, (n) => String(n).startsWith('5999')],
      [{ role: 'many' }, (n) => holds.many?.(n) ?? false],
      [{ role: 'old' }, (n) => holds.old?.(n) ?? false],
      [{ role: 'older' }, (n) => holds.older?.(n) ?? false],
      [{ role: 'few' }, (n) => holds.few?.(n) ?? false],
      [{ role: 'nobody' }, () => false],
      [{ disabled: true }, isOff],
      [{ disabled: false }, (n) => !isOff(n)],
      [{ q: 'anna', role: 'few' }, (n) => isAnna(n) && n <= 40],
      [{ q: '7', role: 'old' }, (n) => String(n).startsWith('7') && n <= 12_000],
      // Many are called so, many hold it, and nobody does both.
      [{ q: 'anna', role: 'many' }, () => false],
      [{ role: 'old', disabled: true }, (n) => isOff(n) && n <= 12_000],
      [{ q: 'other', disabled: true }, (n) => isOff(n) && !isAnna(n)],
    ]
    const numbers = Array.from({ length: people }, (_, index) => index + 1)

    // What is found is the same on every server: asked of one.
    test.each(server === 'embedded' ? searches : [])(
      '%j: all of them, once, in order, in pages',
      async (filter, matches) => {
        const expected = numbers.filter(matches)
        for (const newestFirst of [true, false]) {
          const found: { n: number; id: string }[] = []
          let after: string | undefined
          do {
            const { users, next } = await searchUsers(own.database.prisma, filter, { after, limit: 200, newestFirst })
            expect(users.length).toBeLessThanOrEqual(200)
            found.push(...users.map(({ id, email }) => ({ n: Number.parseInt(email, 10), id })))
            after = next ?? undefined
          } while (after !== undefined && found.length < 600)
          expect(new Set(found.map(({ id }) => id)).size).toBe(found.length)
          expect(found.length).toBeGreaterThanOrEqual(Math.min(expected.length, 600))
          if (newestFirst) {
            // Two of one moment stand in the order of their ids.
            const moments = expected.map((n) => Math.floor(n / 2)).reverse()
            expect(found.map(({ n }) => Math.floor(n / 2))).toEqual(moments.slice(0, found.length))
          } else expect(found.map(({ id }) => id)).toEqual(found.map(({ id }) => id).toSorted())
          expect(found.every(({ n }) => matches(n))).toBe(true)
        }
      },
    )

    test.each(searches)('%j: a page reads no more than a step', async (filter) => {
      const { pool } = own.database
      const { rows } = await pool.query(`SELECT ${idOf('30000')} AS id`)
      // A third of so small a table is about as dear by its index as read whole, and a sample of its rows decides. Among millions it is not.
      await pool.query('SET enable_seqscan = off')
      onTestFinished(async () => void (await pool.query('RESET enable_seqscan')))
      for (const newestFirst of [true, false])
        for (const after of [undefined, rows[0].id as string]) {
          const { rows: read } = await readBy(() =>
            searchUsers(own.database.prisma, filter, { after, limit: 25, newestFirst }),
          )
          for (const [table, count] of read) expect(count, table).toBeLessThanOrEqual(20_001) // a step, of 60,000
        }
    })

    test('those who are switched off are found by an index of their own', async () => {
      for (const newestFirst of [true, false]) {
        const { rows } = await readBy(() =>
          searchUsers(own.database.prisma, { disabled: true }, { limit: 25, newestFirst }),
        )
        expect(rows.get('users')).toBeLessThanOrEqual(26)
      }
    })
  })

  const now = new Date()
  const lists: [string, (own: TestDatabase) => Promise<unknown>][] = [
    ['clients', ({ database: { prisma } }) => searchClients(prisma, {}, { limit: 26 })],
    [
      'clients, further on',
      ({ database: { prisma } }) => searchClients(prisma, {}, { after: 'client-05000', limit: 26 }),
    ],
    ['APIs', ({ database: { prisma } }) => listApis(prisma, { after: api, limit: 26 })],
    ['roles', ({ database: { prisma } }) => listRoles(prisma, { after: 'many', limit: 26 })],
    ['API keys', ({ database: { prisma } }) => listApiKeys(prisma, {}, now, { limit: 26 })],
    [
      'API keys of a client',
      ({ database: { prisma } }) => listApiKeys(prisma, { owner: { clientId: 'client-00007' } }, now, { limit: 26 }),
    ],
    ['mails', ({ database }) => listMailRecords(database, createSecretKeys([Buffer.alloc(32)]), {}, { limit: 26 })],
    [
      'mails that were given up',
      ({ database }) =>
        listMailRecords(database, createSecretKeys([Buffer.alloc(32)]), { state: 'given_up' }, { limit: 26 }),
    ],
    ['deliveries', ({ database: { prisma } }) => listDeliveries(prisma, hook, {}, { limit: 26 })],
    [
      'deliveries that were given up',
      ({ database: { prisma } }) => listDeliveries(prisma, hook, { state: 'given_up' }, { limit: 26 }),
    ],
    [
      'deliveries that wait',
      ({ database: { prisma } }) => listDeliveries(prisma, hook, { state: 'waiting' }, { limit: 26 }),
    ],
  ]
  test.each(lists)('%s: a page reads about as many rows as it shows', async (_name, list) => {
    const { rows } = await readBy(() => list(own))
    for (const [table, count] of rows) if (!few.includes(table)) expect(count, table).toBeLessThanOrEqual(200)
  })

  test('what an application with thousands of sign-ins has is counted up to a bound', async () => {
    const { prisma } = own.database
    const counts = await countRevocation(prisma, { kind: 'client', id: 'client-00001' })
    expect(counts).toMatchObject({ more: true, accessTokens: mostLookedAt / 2, refreshTokens: mostLookedAt / 2 })
    expect(await readApplicationUse(prisma, 'client-00001', now)).toMatchObject({ more: true, people: mostLookedAt })
    for (const ask of [
      () => countRevocation(prisma, { kind: 'client', id: 'client-00001' }),
      () => readApplicationUse(prisma, 'client-00001', now),
    ]) {
      const { rows, whole } = await readBy(ask)
      for (const [table, count] of rows) expect(count, table).toBeLessThanOrEqual(20_000) // of 24,000 tokens
      for (const table of ['users', 'session', 'token']) expect(whole).not.toContain(table)
    }
  })

  test('and of one with a few, all of it', async () => {
    const { rows } = await own.database.pool.query(
      `SELECT count(*)::int AS count FROM oauth_grant WHERE client_id = 'client-00003'`,
    )
    expect(rows[0].count).toBeGreaterThan(0)
    const counts = await countRevocation(own.database.prisma, { kind: 'client', id: 'client-00003' })
    // 24,000 tokens are alive: those that a client has for itself are looked for among the next 20,000.
    expect(counts).toMatchObject({ accessTokens: rows[0].count, refreshTokens: rows[0].count, more: true })
  })
})
