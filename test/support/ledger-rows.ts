// Token rows as the product writes them, in numbers: what an installation with people and services holds. Twenty rows belong together:
// nine of services, eleven of one person's grant. Payloads, ids and lengths are those of real rows.
import { createHash } from 'node:crypto'
import type pg from 'pg'

/** By position in its twenty. */
export const rowKinds = [
  { name: 'service, JWT', from: 0, to: 6 },
  { name: 'service, opaque', from: 7, to: 8 },
  { name: 'person, JWT', from: 9, to: 11 },
  { name: 'person, opaque', from: 12, to: 13 },
  { name: 'code, used', from: 14, to: 14 },
  { name: 'refresh, current', from: 15, to: 15 },
  { name: 'refresh, used last', from: 16, to: 16 },
  { name: 'refresh, used before', from: 17, to: 19 },
] as const

/** The id of an opaque token, code or refresh token, by its number. */
export const opaqueId = (number: number): Buffer => createHash('sha256').update(`t${number}`).digest()

const twenty = (number: number) => Math.floor(number / 20)
const text43 = (prefix: string, number: number) =>
  createHash('sha256')
    .update(`${prefix}${twenty(number)}`)
    .digest('base64url')
export const grantIdOf = (number: number): string => text43('g', number).slice(0, 22)
export const sessionUidOf = (number: number): string => text43('s', number)

const base64url = (bytes: string) => `rtrim(translate(encode(${bytes}, 'base64'), E'+/=\\n', '-_'), '')`
const users = 50_000
const userOf = (number: string) =>
  `('00000000-0000-4000-8000-' || lpad(to_hex((${number} / 20) % ${users}), 12, '0'))::uuid`

/** What the tokens hang from: five APIs, a hundred clients, people. */
export async function furnishLedger(pool: pg.Pool): Promise<void> {
  await pool.query(
    `INSERT INTO api (identifier, name) SELECT 'https://api.example.com/orders-' || i, 'Orders' FROM generate_series(0, 4) i`,
  )
  await pool.query(
    `INSERT INTO client (id, name, type, token_endpoint_auth_method) SELECT 'client-' || i, 'Client', 'web', 'client_secret_basic' FROM generate_series(0, 99) i`,
  )
  await pool.query(
    `INSERT INTO users (id, email, email_key) SELECT ${userOf('i * 20')}, i || '@example.com', i || '@example.com' FROM generate_series(0, ${users - 1}) i`,
  )
}

/** Ten thousand rows in each of the tables beside. */
export async function fillNeighbours(pool: pg.Pool): Promise<void> {
  const row = `SELECT sha256(int4send(i)), '{}', now() + i * interval '1 second' FROM generate_series(1, 10000) i`
  await pool.query(`INSERT INTO interaction (id, payload, expires_at) ${row}`)
  await pool.query(`INSERT INTO replay (id, payload, expires_at) ${row}`)
  await pool.query(
    `INSERT INTO guess_limit (subject, device, factor, failures, failed_at, expires_at)
      SELECT sha256(int4send(i)), '', 'password', 1, now(), now() + interval '1 day' FROM generate_series(1, 10000) i`,
  )
  await pool.query(
    `INSERT INTO decision_receipt (id, endpoint, allowed, reason, expires_at)
      SELECT gen_random_uuid(), 'GET /', false, 'none', now() + i * interval '1 second' FROM generate_series(1, 10000) i`,
  )
  await pool.query(
    `INSERT INTO remembered_device (id, user_id, user_generation, factors, expires_at)
      SELECT sha256(id::text::bytea), id, 0, '', now() + interval '1 day' FROM users LIMIT 10000`,
  )
  await pool.query(
    `INSERT INTO idempotent_request (id, request, expires_at)
      SELECT sha256(int4send(i)), 'a', now() + interval '1 day' FROM generate_series(1, 10000) i`,
  )
  await pool.query(
    `INSERT INTO api_key (id, name, user_id, owner_generation, ends_at)
      SELECT id, 'k', id, 0, now() - interval '1 year' + random() * interval '2 years' FROM users LIMIT 10000`,
  )
  await pool.query(
    `INSERT INTO api_key_value (hash, key_id, version, hint, expires_at)
      SELECT sha256((id::text || n)::bytea), id, n, '', ends_at FROM api_key, generate_series(1, 3) n`,
  )
  await pool.query(
    `INSERT INTO webhook_event (id, type, at, body, expires_at)
      SELECT gen_random_uuid(), 'user.created', now(), '', now() + i * interval '1 second' FROM generate_series(1, 10000) i`,
  )
  await pool.query(
    `INSERT INTO revocation (kind, target, known_at) SELECT 'token', i, now() FROM generate_series(1, 10000) i`,
  )
  await pool.query(
    `INSERT INTO passkey_challenge (id, purpose, flow, expires_at)
      SELECT sha256(int4send(i)), 'sign_in', 'f', now() + interval '1 day' FROM generate_series(1, 10000) i`,
  )
  await pool.query(
    `INSERT INTO origin (id, address) SELECT sha256(int4send(i)), '192.0.2.1' FROM generate_series(1, 10000) i`,
  )
  await pool.query(
    `INSERT INTO consent (user_id, client_id, scopes) SELECT id, 'client-1', '{openid}' FROM users LIMIT 10000`,
  )
  await pool.query(`UPDATE session SET origin_id = cookie_hash WHERE uid < 'M'`)
  await pool.query(`UPDATE oauth_grant SET origin_id = id::bytea WHERE id < 'M'`)
}

/** Token rows `first` to `first + count - 1`, issued evenly over `seconds` up to `until`, with their grants and sessions.
 *  @param options.heads refresh tokens are all current, as when they were just issued.
 *  @param options.table a copy of `token`; grants and sessions are then left out. options.kinds positions within twenty. */
export async function fillLedger(
  pool: pg.Pool,
  options: {
    first: number
    count: number
    until: Date
    seconds: number
    refreshSeconds?: number
    heads?: boolean
    table?: string
    kind?: (typeof rowKinds)[number]
  },
): Promise<void> {
  const { first, count, until, seconds, refreshSeconds = 1_209_600, heads = false, table = 'token', kind } = options
  const values = [first, first + count - 1, until, seconds]
  const issued = `$3::timestamptz - make_interval(secs => $4 * ($2 - i)::double precision / ($2 - $1 + 1))`
  const position = kind ? `(${kind.from} + i % ${kind.to - kind.from + 1})` : '(i % 20)'
  const scope = `'openid profile email offline_access orders:read orders:write'`
  const resource = `'https://api.example.com/orders-' || (i / 20) % 5`
  const used = heads ? 'false' : 'p >= 16'
  const wiped = heads ? 'false' : 'p >= 17'
  await pool.query(
    `INSERT INTO ${table} (id, kind, client_id, user_id, grant_id, session_uid, resource, scope, issued_at, expires_at, consumed_at, consumed_address,
       salt, successor_id, predecessor_id, payload)
     SELECT
       CASE WHEN p < 7 OR p BETWEEN 9 AND 11
         THEN substr(int8send((extract(epoch FROM issued) * 1000)::bigint), 3) || substr(sha256(('t' || i)::bytea), 1, 10)
         ELSE sha256(('t' || i)::bytea) END,
       CASE WHEN p < 9 THEN 4 WHEN p < 14 THEN 1 WHEN p = 14 THEN 3 ELSE 2 END,
       'client-' || (i / 20) % 100,
       CASE WHEN p >= 9 THEN ${userOf('i')} END,
       CASE WHEN p >= 9 THEN left(${base64url(`sha256(('g' || i / 20)::bytea)`)}, 22) END,
       CASE WHEN p >= 9 AND p <> 14 THEN ${base64url(`sha256(('s' || i / 20)::bytea)`)} END,
       CASE WHEN p NOT BETWEEN 12 AND 14 THEN ${resource} END,
       CASE WHEN p < 12 THEN 'orders:read orders:write' WHEN p < 14 THEN 'openid profile email' WHEN p > 14 AND NOT ${wiped} THEN ${scope} END,
       issued,
       issued + make_interval(secs => CASE WHEN p < 14 THEN 900 WHEN p = 14 THEN 60 ELSE ${refreshSeconds} END),
       CASE WHEN p = 14 OR ${used} THEN issued + interval '5 seconds' END,
       CASE WHEN p = 14 OR ${used} THEN '198.51.100.24' END,
       CASE WHEN p >= 15 AND NOT ${wiped} THEN sha256(('salt' || i)::bytea) END,
       CASE WHEN ${used} AND NOT ${wiped} THEN sha256(('t' || i - 1)::bytea) END,
       CASE WHEN p BETWEEN 9 AND 13 OR p > 14 THEN sha256(('t' || i + 1)::bytea) END,
       (CASE WHEN p < 9 THEN '{}' WHEN p < 12 THEN '{"expiresWithSession":true}'
         WHEN p < 14 THEN '{"expiresWithSession":true,"gty":"authorization_code refresh_token"}'
         WHEN p = 14 THEN '{"codeChallenge":"7SdY-M4eVEeAhQncXOZXMdkV0nv8fpvudgP_CIkzGLk","redirectUri":"https://shop.example.com/signed-in"}'
         WHEN ${wiped} THEN '{"expiresWithSession":true}'
         ELSE '{"amr":["pwd"],"authTime":1795391369,"expiresWithSession":true,"iiat":1795391369,"gty":"authorization_code refresh_token","nonce":"8fq-2kP0aLx7sVbn3wQe1A","rotations":12}' END)::json
     FROM generate_series($1::bigint, $2::bigint) i, LATERAL (SELECT ${position} AS p, ${issued} AS issued) at`,
    values,
  )
  if (table !== 'token') return
  const grants = `generate_series(($1::bigint + 19) / 20, $2::bigint / 20) b, LATERAL (SELECT b * 20 AS i, $3::timestamptz - make_interval(secs => $4) AS begun) at`
  await pool.query(
    `INSERT INTO oauth_grant (id, user_id, client_id, session_uid, scopes, resource_scopes, payload, created_at, expires_at)
     SELECT left(${base64url(`sha256(('g' || b)::bytea)`)}, 22), ${userOf('i')}, 'client-' || b % 100, ${base64url(`sha256(('s' || b)::bytea)`)},
       '{openid,profile,email,offline_access}', jsonb_build_object(${resource}, '["orders:read","orders:write"]'::jsonb), '{}', begun,
       begun + make_interval(secs => ${refreshSeconds + 86_400}) FROM ${grants}`,
    values,
  )
  await pool.query(
    `INSERT INTO session (uid, cookie_hash, user_id, login_at, amr, clients, payload, created_at, expires_at)
     SELECT ${base64url(`sha256(('s' || b)::bytea)`)}, sha256(('c' || b)::bytea), ${userOf('i')}, begun, '{pwd}',
       jsonb_build_object('client-' || b % 100, jsonb_build_object('sid', ${base64url(`sha256(('d' || b)::bytea)`)}, 'grantId', 'the grant')),
       '{"iat":1795391368}', begun, begun + make_interval(secs => ${Math.min(refreshSeconds, 86_400)}) FROM ${grants}`,
    values,
  )
}
export const cookieHashOf = (number: number): Buffer =>
  createHash('sha256')
    .update(`c${twenty(number)}`)
    .digest()
export const userIdOf = (number: number): string =>
  `00000000-0000-4000-8000-${(twenty(number) % users).toString(16).padStart(12, '0')}`
