import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { sweepLagSeconds, tableSizes } from '#src/tokens/growth.ts'
import { type Batch, nextSize, sweep } from '#src/tokens/sweep.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

let own: TestDatabase
beforeAll(async () => {
  own = await createTestDatabase()
})
afterAll(() => own.drop())
beforeEach(() =>
  query(
    'TRUNCATE token, session, interaction, replay, oauth_grant, setup_code, passkey_challenge, one_time_code, mail, address_proof, invitation, guess_limit, revocation, origin, consent',
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
    one_time_code: 1,
    mail: 1,
    address_proof: 1,
    invitation: 1,
    guess_limit: 1,
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
    'audit_event',
    'consent',
    'guess_limit',
    'interaction',
    'invitation',
    'mail',
    'oauth_grant',
    'one_time_code',
    'origin',
    'passkey_challenge',
    'replay',
    'revocation',
    'session',
    'setup_code',
    'token',
  ])
  const size = sizes.find(({ table }) => table === 'token')
  expect(size?.rows).toBe(1_000)
  expect(size?.bytes).toBeGreaterThan(100_000)
  expect(size?.indexBytes).toBeGreaterThan(50_000)
})
