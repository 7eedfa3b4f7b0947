import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ApiKeyNotFound, createApiKey, revokeApiKey, rotateApiKey } from '#src/access/api-keys/api-keys.ts'
import { createApi } from '#src/apis/apis.ts'
import { createClient } from '#src/clients/clients.ts'
import { closeDatabase, openDatabase } from '#src/db/database.ts'
import { sweepLagSeconds, tableSizes } from '#src/tokens/growth.ts'
import { type Batch, nextSize, sweep, sweepStatement } from '#src/tokens/sweep.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

let own: TestDatabase
beforeAll(async () => {
  own = await createTestDatabase()
})
afterAll(() => own.drop())
beforeEach(() =>
  query(
    'TRUNCATE token, session, interaction, replay, oauth_grant, setup_code, passkey_challenge, push_approval, out_of_band_message, one_time_code, mail, address_proof, invitation, guess_limit, revocation, origin, consent, api_key, api_key_value, api_key_api',
  ),
)

const query = async (text: string, values: unknown[] = []) => (await own.database.pool.query(text, values)).rows
async function sizesOf(work: () => Promise<unknown>): Promise<number[]> {
  const sizes: number[] = []
  observed = ({ table, rows }) => {
    if (table === 'token') sizes.push(rows)
  }
  await work()
  observed = () => undefined
  return sizes
}
let observed: (batch: Batch) => void = () => undefined
const run = (options: Partial<Parameters<typeof sweep>[1]> = {}) =>
  sweep(own.database, { now: new Date(), onBatch: (batch) => observed(batch), ...options })
const names = async (table: string, column: string) =>
  (await query(`SELECT ${column}::text AS name FROM ${table} ORDER BY 1`)).map((row) => row.name)

/** @param expires as PostgreSQL reads an interval from now, or null for never. */
const token = (name: string, expires: string | null, columns: Record<string, unknown> = {}) =>
  insert('token', { id: Buffer.from(name), kind: 1, payload: '{}', ...columns }, expires)
const grant = (id: string, expires: string | null, columns: Record<string, unknown> = {}) =>
  insert('oauth_grant', { id, user_id: randomUUID(), client_id: 'shop', payload: '{}', ...columns }, expires)
const session = (uid: string, expires: string | null, columns: Record<string, unknown> = {}) =>
  insert('session', { uid, cookie_hash: Buffer.from(uid), payload: '{}', ...columns }, expires)
const origin = (name: string, seen = '-1 day') =>
  query(`INSERT INTO origin (id, address, first_seen_at) VALUES ($1, '192.0.2.1', now() + $2::interval)`, [
    Buffer.from(name),
    seen,
  ])
function insert(table: string, columns: Record<string, unknown>, expires: string | null) {
  const names = Object.keys(columns)
  return query(
    `INSERT INTO ${table} (${names.join(', ')}, expires_at) VALUES (${names.map((_, i) => `$${i + 2}`).join(', ')}, now() + $1::interval)`,
    [expires, ...Object.values(columns)],
  )
}
/** @param ends of the key; of its values, oldest first, where they differ from it. */
async function apiKey(
  name: string,
  ends: string | null,
  columns: Record<string, unknown> = {},
  values: (string | null)[] = [ends],
) {
  const id = randomUUID()
  const owned = 'user_id' in columns || 'client_id' in columns ? columns : { ...columns, client_id: 'shop' }
  const names = Object.keys(owned)
  await query(
    `INSERT INTO api_key (id, name, owner_generation, ends_at, ${names.join(', ')})
      VALUES ($1, $2, COALESCE((SELECT generation FROM client WHERE id = 'shop'), 0), now() + $3::interval, ${names.map((_, i) => `$${i + 4}`).join(', ')})`,
    [id, name, ends, ...Object.values(owned)],
  )
  for (const [n, value] of values.entries())
    await query(
      `INSERT INTO api_key_value (hash, key_id, version, hint, created_at, expires_at)
        VALUES ($1, $2, $3, 'h', now() - interval '2 years', now() + $4::interval)`,
      [Buffer.from(`${name} ${n + 1}`), id, n + 1, value],
    )
  return id
}
/** Expired for an hour, one millisecond apart. */
const manyTokens = (count: number) =>
  query(
    `INSERT INTO token (id, kind, expires_at, payload)
     SELECT sha256(int4send(i)), 4, now() - interval '1 hour' + i * interval '1 millisecond', '{}' FROM generate_series(1, $1::int) i`,
    [count],
  )

test('an expired row is kept for ten minutes, then leaves; one without an expiry never does', async () => {
  await token('living', '1 minute')
  await token('just expired', '-9 minutes -50 seconds')
  await token('over', '-10 minutes -5 seconds')
  await token('eternal', null)
  const swept = await run()
  expect(swept).toMatchObject({ rows: { token: 1 }, finished: true })
  expect(await names('token', `convert_from(id, 'UTF8')`)).toEqual(['eternal', 'just expired', 'living'])
})

test('every table that grows by itself is swept, and what people agreed to stays', async () => {
  await query(`INSERT INTO interaction (id, payload, expires_at) VALUES ('a', '{}', now() - interval '1 hour')`)
  await query(`INSERT INTO replay (id, payload, expires_at) VALUES ('a', '{}', now() - interval '1 hour')`)
  await query(`INSERT INTO setup_code (id, expires_at) VALUES ('a', now() - interval '1 hour')`)
  await query(
    `INSERT INTO one_time_code (purpose, flow, hash, expires_at) VALUES ('recovery', 'a', 'a', now() - interval '1 hour')`,
  )
  const [person, phone] = [randomUUID(), randomUUID()]
  await query(`INSERT INTO users (id, email, email_key) VALUES ($1, 'p@example.com', 'p@example.com')`, [person])
  await query(`INSERT INTO credential (id, user_id, kind, secret) VALUES ($1, $2, 'push', '')`, [phone, person])
  await query(
    `INSERT INTO push_approval (id, flow, credential_id, number_hash, expires_at)
      VALUES (gen_random_uuid(), 'a', $1, 'a', now() - interval '1 hour')`,
    [phone],
  )
  await query(`INSERT INTO out_of_band_message (id, channel, user_id, recipient, asked_from, expires_at)
    VALUES (gen_random_uuid(), 'sms', gen_random_uuid(), 'a', 'a', now() - interval '1 hour')`)
  await query(
    `INSERT INTO mail (id, template, recipient, next_attempt_at, expires_at) VALUES
      (gen_random_uuid(), 'nothing', 'a', NULL, now() - interval '1 hour'),
      (gen_random_uuid(), 'nothing', 'a', now(), now() - interval '1 hour')`,
  )
  await query(`INSERT INTO passkey_challenge (id, purpose, flow, expires_at)
    VALUES ('a', 'sign_in', 'f', now() - interval '1 second'), ('b', 'sign_in', 'f', now() + interval '1 minute')`)
  await query(`INSERT INTO guess_limit (subject, device, factor, failures, failed_at, expires_at)
    VALUES ('a', '', 'totp', 3, now(), now() - interval '1 second'), ('b', '', 'totp', 3, now(), now() + interval '1 minute')`)
  await query(
    `INSERT INTO address_proof (id, purpose, sealed, expires_at) VALUES ('a', 'recovery', '', now() - interval '1 hour')`,
  )
  await query(`INSERT INTO invitation (id, token_hash, email, email_key, expires_at)
    VALUES (gen_random_uuid(), 'a', 'a', 'a', now() - interval '1 hour')`)
  await query(`INSERT INTO users (id, email, email_key) VALUES ('00000000-0000-4000-8000-000000000001', 'a', 'a')`)
  await query(`INSERT INTO remembered_device (id, user_id, user_generation, factors, expires_at)
    SELECT id, '00000000-0000-4000-8000-000000000001', 0, '', now() + over::interval FROM (VALUES ('a'::bytea, '-1 second'), ('b', '1 day')) v(id, over)`)
  await query(`INSERT INTO decision_receipt (id, endpoint, allowed, reason, expires_at)
    SELECT gen_random_uuid(), 'GET /', false, 'none', now() + over::interval FROM (VALUES ('-1 second'), ('1 day')) v(over)`)
  await query(
    `INSERT INTO webhook_event (id, type, at, body, expires_at) VALUES
      (gen_random_uuid(), 'user.created', now(), '', now() - interval '1 second'),
      (gen_random_uuid(), 'user.created', now(), '', now() + interval '1 hour')`,
  )
  await query(
    `INSERT INTO idempotent_request (id, request, expires_at) VALUES ('a', 'a', now() - interval '1 second'), ('b', 'b', now() + interval '1 hour')`,
  )
  await apiKey('k', '-91 days', { user_id: '00000000-0000-4000-8000-000000000001' })
  await apiKey('rotated', '1 day', { user_id: '00000000-0000-4000-8000-000000000001' }, ['-91 days', '1 day'])
  await query(`INSERT INTO revocation (kind, target, at) VALUES ('all', '*', now() - interval '2 days')`)
  await token('a', '-1 hour')
  await grant('a', '-1 hour')
  await session('a', '-1 hour')
  await origin('a')
  const swept = await run()
  expect(swept.rows).toEqual({
    token: 1,
    interaction: 1,
    replay: 1,
    oauth_grant: 1,
    session: 1,
    passkey_challenge: 1,
    setup_code: 1,
    push_approval: 1,
    out_of_band_message: 1,
    one_time_code: 1,
    mail: 1,
    address_proof: 1,
    invitation: 1,
    guess_limit: 1,
    decision_receipt: 1,
    remembered_device: 1,
    idempotent_request: 1,
    api_key_value: 1,
    api_key: 1,
    webhook_event: 1,
    revocation: 1,
    origin: 1,
  })
  expect(Object.keys(swept.rows)).not.toContain('consent')
})

test('what was consumed, ended or revoked stays until it would have expired: a second use is still known for what it is', async () => {
  await token('consumed', '1 day', { kind: 2, consumed_at: new Date(0) })
  await token('revoked', '1 day', { revoked_at: new Date(0) })
  await grant('revoked', '1 day', { revoked_at: new Date(0) })
  await session('ended', '1 day', { ended_at: new Date(0) })
  const { rows } = await run()
  expect(rows).toMatchObject({ token: 0, oauth_grant: 0, session: 0 })
})

test('a grant stays as long as a token hangs from it', async () => {
  await grant('g', '-1 hour')
  await token('its token', '1 minute', { grant_id: 'g' })
  expect((await run()).rows.oauth_grant).toBe(0)
  await query(`UPDATE token SET expires_at = now() - interval '1 hour'`)
  expect((await run()).rows).toMatchObject({ token: 1, oauth_grant: 1 })
})

test('a revoked session stays as long as a grant of it: without the row its tokens would count as never revoked', async () => {
  await session('revoked', '-1 hour', { generation: 1 })
  await session('merely over', '-1 hour')
  await grant('outlives the logout', '1 day', { session_uid: 'revoked' })
  await grant('of the other', '1 day', { session_uid: 'merely over' })
  expect((await run()).rows.session).toBe(1)
  expect(await names('session', 'uid')).toEqual(['revoked'])
  await query('DELETE FROM oauth_grant')
  expect((await run()).rows.session).toBe(1)
})

test('a revocation is listed for longer than any access token can live', async () => {
  await query(`INSERT INTO revocation (kind, target, at) VALUES
    ('token', 'a day ago', now() - interval '24 hours 9 minutes'), ('token', 'over', now() - interval '24 hours 11 minutes')`)
  await run()
  expect(await names('revocation', 'target')).toEqual(['a day ago'])
})

describe('an API key', () => {
  const clients = ['shop', 'demo-service']
  beforeAll(async () => {
    for (const id of clients)
      await createClient(own.database.prisma, { id, type: 'service' }, [], { now: new Date(), actor: { kind: 'cli' } })
  })
  afterAll(() => query('DELETE FROM client'))
  const keys = () => names('api_key', 'name')

  test('is kept for three months after it expired or was revoked, then leaves with its values and APIs', async () => {
    await apiKey('living', '1 day')
    await apiKey('eternal', null)
    await apiKey('expired', '-89 days')
    await apiKey('revoked', '-89 days', { revoked_at: new Date(Date.now() - 89 * 86_400_000) }, [null])
    await apiKey('expired long ago', '-91 days')
    await apiKey('revoked long ago', '-91 days', { revoked_at: new Date(Date.now() - 91 * 86_400_000) }, [
      null,
      '1 day',
    ])
    expect((await run()).rows).toMatchObject({ api_key: 2, api_key_value: 0 })
    expect(await keys()).toEqual(['eternal', 'expired', 'living', 'revoked'])
    expect(await names('api_key_value', `convert_from(hash, 'UTF8')`)).toEqual(
      ['eternal', 'expired', 'living', 'revoked'].map((name) => `${name} 1`),
    )
  })

  test('loses the values that were replaced as long ago, and never its newest', async () => {
    await apiKey('rotated', null, {}, ['-91 days', '-89 days', null])
    await apiKey('expired', '-80 days', {}, ['-92 days', '-91 days'])
    expect((await run()).rows).toMatchObject({ api_key: 0, api_key_value: 2 })
    expect(await names('api_key_value', `convert_from(hash, 'UTF8')`)).toEqual(['expired 2', 'rotated 2', 'rotated 3'])
  })

  test('that the release before rotated, so that its row names an end that is none, stays', async () => {
    await apiKey('rotated', '-91 days', {}, ['-91 days', '1 day'])
    await apiKey('for ever', '-91 days', {}, ['-91 days', null])
    expect((await run()).rows.api_key).toBe(0)
    expect(await keys()).toEqual(['for ever', 'rotated'])
  })

  test('of the demo client stays: the next start would make its value anew, which somebody revoked', async () => {
    await apiKey('demo', '-1 year', { client_id: 'demo-service', revoked_at: new Date(0) }, [null])
    expect((await run()).rows.api_key).toBe(0)
  })

  test('that was made, rotated, revoked as they are names its end', async () => {
    const change = { now: new Date(), actor: { kind: 'cli' } } as const
    const { prisma } = own.database
    const input = { name: 'k', owner: { clientId: 'shop' }, apis: { 'https://api.example.com': [] } }
    const endOf = async (id: string) => (await prisma.apiKey.findUniqueOrThrow({ where: { id } })).endsAt
    const later = (hours: number) => new Date(change.now.getTime() + hours * 3_600_000)
    await createApi(prisma, { identifier: 'https://api.example.com', name: 'A', scopes: {} }, change)
    const eternal = await createApiKey(prisma, { ...input, expiresAt: null }, change)
    expect(await endOf(eternal.id)).toBeNull()
    await rotateApiKey(prisma, eternal.id, { expiresAt: later(5), overlapHours: 3 }, change)
    expect(await endOf(eternal.id)).toEqual(later(5))
    await rotateApiKey(prisma, eternal.id, { expiresAt: later(1), overlapHours: 24 }, change)
    expect(await endOf(eternal.id), 'the value before ends last').toEqual(later(5))
    await rotateApiKey(prisma, eternal.id, { expiresAt: null }, change)
    expect(await endOf(eternal.id)).toBeNull()
    await revokeApiKey(prisma, eternal.id, change)
    expect(await endOf(eternal.id)).toEqual(change.now)
    const usual = await createApiKey(prisma, input, change)
    expect(await endOf(usual.id)).toEqual(later(90 * 24))
  })

  test('that is rotated while a sweep takes it is not there: the caller hears that, and nothing else', async () => {
    const id = await apiKey('taken', '-91 days')
    const client = await own.database.pool.connect()
    try {
      await client.query('BEGIN')
      await client.query(sweepStatement('api_key'), ['-infinity', new Date(), 90 * 86_400, 10])
      const rotating = rotateApiKey(own.database.prisma, id, {}, { now: new Date(), actor: { kind: 'cli' } })
      const refused = expect(rotating).rejects.toBeInstanceOf(ApiKeyNotFound)
      for (let n = 0; n < 200; n++) {
        const [{ waiting }] = await query('SELECT count(*)::int AS waiting FROM pg_locks WHERE NOT granted')
        if (waiting > 0) break
        await delay(10)
      }
      await client.query('COMMIT')
      await refused
    } finally {
      client.release()
    }
    expect(await names('api_key_value', 'key_id')).toEqual([])
  })

  test('that is being rotated while a sweep looks at it stays', async () => {
    const id = await apiKey('rotated', '-91 days')
    await own.database.prisma.$transaction(async (tx) => {
      await rotateApiKey(tx, id, {}, { now: new Date(), actor: { kind: 'cli' } })
      expect((await run()).rows.api_key).toBe(0)
    })
    expect((await run()).rows.api_key).toBe(0)
    expect(await names('api_key_value', 'version')).toEqual(['2'])
  })
})

test('an origin leaves when no session and no grant is from there', async () => {
  for (const name of ['of a session', 'of a grant', 'of nobody']) await origin(name)
  await origin('seen just now', '-1 minute')
  await session('s', '1 day', { origin_id: Buffer.from('of a session') })
  await grant('g', '1 day', { origin_id: Buffer.from('of a grant') })
  expect((await run()).rows.origin).toBe(1)
  expect(await names('origin', `convert_from(id, 'UTF8')`)).toEqual(['of a grant', 'of a session', 'seen just now'])
})

test('a sweep looks at a bounded number of origins, and several sweeps at all of them', async () => {
  await query(
    `INSERT INTO origin (id, first_seen_at) SELECT sha256(int4send(i)), now() - interval '1 day' FROM generate_series(1, 3000) i`,
  )
  expect((await run()).rows.origin).toBe(1_000)
  for (let sweeps = 0; sweeps < 4; sweeps++) await run()
  expect(await names('origin', 'id')).toEqual([])
})

test('origins that are still somebody’s do not keep the sweep from those behind them', async () => {
  const ids = `SELECT '\\x00'::bytea || sha256(int4send(i)) AS id FROM generate_series(1, 1500) i`
  await query(`INSERT INTO origin (id, first_seen_at) SELECT id, now() - interval '1 day' FROM (${ids}) ids`)
  await query(
    `INSERT INTO session (uid, cookie_hash, payload, origin_id) SELECT id::text, id, '{}', id FROM (${ids}) ids`,
  )
  await query(`INSERT INTO origin (id, first_seen_at) VALUES ('\\xff', now() - interval '1 day')`)
  let gone = 0
  for (let sweeps = 0; sweeps < 3; sweeps++) gone += (await run()).rows.origin
  expect(gone).toBe(1)
})

test('a clock that runs ahead deletes nothing early: the database has to agree', async () => {
  await token('living', '1 hour')
  expect((await run({ now: new Date(Date.now() + 86_400_000) })).rows.token).toBe(0)
})

test('it goes on in batches until nothing is left', async () => {
  await manyTokens(10_000)
  const sizes = await sizesOf(() => run())
  expect(sizes.reduce((sum, size) => sum + size)).toBe(10_000)
  expect(sizes.length).toBeGreaterThan(1)
})

test('batches grow slowly while they are quick and shrink at once when they are slow, between ten rows and 5,000', () => {
  expect(nextSize(200, 0.009)).toBe(250)
  expect(nextSize(200, 0.015)).toBe(200)
  expect(nextSize(200, 0.021)).toBe(100)
  expect(nextSize(4_900, 0.009)).toBe(5_000)
  expect(nextSize(12, 3)).toBe(10)
})

test('a slow batch is followed by one of half its size', async () => {
  await manyTokens(1_000)
  await slowly(async () =>
    expect((await sizesOf(() => run({ maxBatches: 4 }))).slice(0, 4)).toEqual([200, 100, 50, 25]),
  )
})

/** While deleting a token takes two milliseconds. */
async function slowly(work: () => Promise<unknown>): Promise<void> {
  await query(
    `CREATE FUNCTION be_slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.002); RETURN OLD; END'`,
  )
  await query('CREATE TRIGGER slow BEFORE DELETE ON token FOR EACH ROW EXECUTE FUNCTION be_slow()')
  try {
    await work()
  } finally {
    await query('DROP FUNCTION be_slow CASCADE')
  }
}

test('it ends after the batches, the time or the signal it was given, and says that something is left', async () => {
  await manyTokens(5_000)
  expect(await run({ maxBatches: 2 })).toMatchObject({ batches: 2, finished: false })
  expect(await run({ maxSeconds: 0 })).toMatchObject({ batches: 0, finished: false })
  const stop = new AbortController()
  const swept = await run({ signal: stop.signal, onBatch: () => stop.abort() })
  expect(swept).toMatchObject({ batches: 1, finished: false })
  expect(await run({ signal: AbortSignal.abort() })).toMatchObject({ batches: 0, finished: false })
})

test('a table with a long way to go leaves time for the others', async () => {
  await manyTokens(1_000)
  await session('s', '-1 hour')
  await slowly(async () => {
    const swept = await run({ maxSeconds: 4 })
    expect(swept).toMatchObject({ rows: { session: 1 }, finished: false })
    expect(swept.rows.token).toBeLessThan(1_000)
  })
})

test('it steps over a row that a commit holds, waits for nobody, and takes the row the next time', async () => {
  await manyTokens(1_000)
  const client = await own.database.pool.connect()
  try {
    await client.query('BEGIN')
    await client.query('SELECT FROM token ORDER BY expires_at LIMIT 3 FOR UPDATE')
    expect(await run()).toMatchObject({ rows: { token: 997 }, finished: true })
    await client.query('COMMIT')
  } finally {
    client.release()
  }
  expect((await run()).rows.token).toBe(3)
})

test('rows of one moment that may not leave do not keep it from the rows behind them', async () => {
  await query(`INSERT INTO oauth_grant (id, user_id, client_id, payload, expires_at)
    SELECT i, gen_random_uuid(), 'shop', '{}', '2020-01-01' FROM generate_series(1, 5100) i`)
  await query(
    `INSERT INTO token (id, kind, grant_id, payload) SELECT i::text::bytea, 2, i, '{}' FROM generate_series(1, 5100) i`,
  )
  await grant('behind', '-1 hour')
  expect(await run({ maxSeconds: 8 })).toMatchObject({ rows: { oauth_grant: 1 }, finished: true })
})

test('two sweeps at once take each row once', async () => {
  await manyTokens(5_000)
  const [one, other] = await Promise.all([run(), run()])
  expect(one.rows.token + other.rows.token).toBe(5_000)
  expect(await names('token', 'id')).toEqual([])
})

test('the lag is the age of the oldest row that may leave; rows that have to stay are none', async () => {
  const lag = async () =>
    Object.fromEntries((await sweepLagSeconds(own.database)).map((row) => [row.table, row.seconds]))
  await token('over', '-1 hour')
  await token('eternal', null)
  await grant('kept', '-2 hours')
  await token('its token', '1 day', { grant_id: 'kept' })
  const before = await lag()
  expect(before.token).toBeGreaterThanOrEqual(3_000)
  expect(before.token).toBeLessThan(3_060)
  expect(before).toMatchObject({ oauth_grant: 0, session: 0, replay: 0, interaction: 0, setup_code: 0, revocation: 0 })
  await run()
  expect((await lag()).token).toBe(0)
})

test('table sizes are told for everything that grows', async () => {
  await manyTokens(1_000)
  await query('ANALYZE token')
  const sizes = await tableSizes(own.database)
  expect(sizes.map(({ table }) => table)).toEqual([
    'address_proof',
    'api_key',
    'api_key_value',
    'audit_event',
    'consent',
    'decision_receipt',
    'guess_limit',
    'idempotent_request',
    'interaction',
    'invitation',
    'mail',
    'oauth_grant',
    'one_time_code',
    'origin',
    'out_of_band_message',
    'passkey_challenge',
    'push_approval',
    'remembered_device',
    'replay',
    'revocation',
    'session',
    'setup_code',
    'token',
    'webhook_event',
  ])
  const size = sizes.find(({ table }) => table === 'token')
  expect(size?.rows).toBe(1_000)
  expect(size?.bytes).toBeGreaterThan(100_000)
  expect(size?.indexBytes).toBeGreaterThan(50_000)
})

test('a batch does not wait for the disk, and leaves nothing of that to whoever has the connection next', async () => {
  await manyTokens(5)
  const single = openDatabase(own.url, { poolSize: 1, onError: () => undefined })
  try {
    await single.pool.query(`SET synchronous_commit = 'on'`) // the servers of the tests wait for nothing
    // What a commit waits for is decided inside the statement.
    expect(sweepStatement('token')).toContain(`set_config('synchronous_commit', 'off', true)`)
    expect((await sweep(single, { now: new Date() })).rows.token).toBe(5)
    expect((await single.pool.query('SHOW synchronous_commit')).rows).toEqual([{ synchronous_commit: 'on' }])
  } finally {
    await closeDatabase(single)
  }
})
