// The statement that finds a key, in an installation with many of them; and keys from before they had an identity.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { findApiKey } from '#src/access/api-keys/reads.ts'
import { formatApiKey, hashApiKey } from '#src/access/api-keys/values.ts'
import { createTestDatabase, hasPostgres15, type TestDatabase } from '#test/support/database.ts'
import { explain, nodesOf, type Statement } from '#test/support/plans.ts'

const servers = ['embedded' as const, ...(hasPostgres15() ? [15 as const] : [])]
const api = 'https://api.example.com'

describe.each(servers)('on PostgreSQL %s with 20,000 people, each with a role and a key', (server) => {
  let own: TestDatabase
  beforeAll(async () => {
    own = await createTestDatabase({ server })
    const pool = new pg.Pool({ connectionString: own.url })
    await pool.query(`
      INSERT INTO api (identifier, name) VALUES ('${api}', 'Api');
      INSERT INTO scope (api_identifier, name, description, by_role) SELECT '${api}', 's' || n, 's', true FROM generate_series(1, 200) n;
      INSERT INTO role (name) SELECT 'r' || n FROM generate_series(1, 200) n;
      INSERT INTO role_permission (role_name, permission) SELECT 'r' || r, 's' || s FROM generate_series(1, 200) r, generate_series(1, 20) s;
      INSERT INTO users (id, email, email_key) SELECT md5('u' || n)::uuid, n || '@x', n || '@x' FROM generate_series(1, 20000) n;
      INSERT INTO user_role (user_id, role_name) SELECT md5('u' || n)::uuid, 'r' || (n % 200 + 1) FROM generate_series(1, 20000) n;
      INSERT INTO client (id, name, type, grant_types, redirect_uris, post_logout_redirect_uris, scopes, token_endpoint_auth_method)
        SELECT 'c' || n, 'c', 'service', '{}', '{}', '{}', '{}', 'client_secret_basic' FROM generate_series(1, 2000) n;
      INSERT INTO client_scope (client_id, api_identifier, scope_name) SELECT 'c' || n, '${api}', 's' || (n % 200 + 1) FROM generate_series(1, 2000) n;
      INSERT INTO api_key (id, name, user_id, owner_generation) SELECT md5('k' || n)::uuid, 'k', md5('u' || n)::uuid, 0 FROM generate_series(1, 20000) n;
      INSERT INTO api_key_api (key_id, api_identifier, api_generation, scopes) SELECT md5('k' || n)::uuid, '${api}', 0, '{s1,s30}' FROM generate_series(1, 20000) n;
      INSERT INTO api_key_value (hash, key_id, version, hint) SELECT sha256(('v' || n)::bytea), md5('k' || n)::uuid, 1, 'h' FROM generate_series(1, 20000) n;`)
    await pool.query('ANALYZE')
    await pool.end()
  })
  afterAll(() => own.drop())

  test.each([false, true])('finding one reads no table that grows as a whole (generic plan: %s)', async (generic) => {
    const caught: Statement[] = []
    const pool = {
      async query({ name, text, values }: Statement) {
        caught.push({ name, text, values })
        return { rows: [] }
      },
    } as unknown as pg.Pool
    await findApiKey({ pool }, formatApiKey(new Uint8Array(32)), new Date())
    const [statement] = caught
    if (!statement) throw new Error('nothing was asked')
    const { Plan } = await explain(own.database.pool, statement, { generic })
    const whole = nodesOf(Plan).filter(
      (node) => node['Node Type'] === 'Seq Scan' && !['api', 'role'].includes(String(node['Relation Name'])), // of which there are few
    )
    expect(whole.map((node) => node['Relation Name'])).toEqual([])
    expect(nodesOf(Plan).some((node) => node['Index Name'] === 'api_key_value_pkey')).toBe(true)
  })

  test('and finds it, with what the role permits', async () => {
    const value = formatApiKey(new Uint8Array(32).fill(1))
    await own.database.pool.query(`UPDATE api_key_value SET hash = $1 WHERE hash = sha256('v7'::bytea)`, [
      hashApiKey(value),
    ])
    expect((await findApiKey(own.database, value, new Date()))?.apis).toEqual({ [api]: ['s1'] })
  })
})

test('a key from before it had an identity is found by the same value, with its scopes, end and last use', async () => {
  const folder = join(import.meta.dirname, '../../prisma/migrations')
  const names = readdirSync(folder)
    .filter((name) => /^\d/.test(name))
    .sort()
  const at = names.findIndex((name) => name.endsWith('_api_keys'))
  const run = async (pool: pg.Pool, some: string[]) => {
    for (const name of some) await pool.query(readFileSync(join(folder, name, 'migration.sql'), 'utf8'))
  }
  const own = await createTestDatabase({ migrated: false })
  try {
    const pool = new pg.Pool({ connectionString: own.url })
    const [person, client] = [formatApiKey(new Uint8Array(32).fill(2)), formatApiKey(new Uint8Array(32).fill(3))]
    await run(pool, names.slice(0, at))
    await pool.query(`
      INSERT INTO api (identifier, name, generation) VALUES ('${api}', 'Api', 5);
      INSERT INTO scope (api_identifier, name, description) VALUES ('${api}', 'a', 'a');
      INSERT INTO role (name) VALUES ('r'); INSERT INTO role_permission (role_name, permission) VALUES ('r', 'a');
      INSERT INTO users (id, email, email_key, generation) VALUES (md5('u')::uuid, 'a@x', 'a@x', 3);
      INSERT INTO user_role (user_id, role_name) VALUES (md5('u')::uuid, 'r');
      INSERT INTO client (id, name, type, grant_types, redirect_uris, post_logout_redirect_uris, scopes, token_endpoint_auth_method, generation)
        VALUES ('c', 'c', 'service', '{}', '{}', '{}', '{}', 'client_secret_basic', 9);
      INSERT INTO client_scope (client_id, api_identifier, scope_name) VALUES ('c', '${api}', 'a')`)
    const insert = `INSERT INTO api_key (id, hint, name, api_identifier, scopes, user_id, client_id, expires_at)
      VALUES ($1, 'sp_key_', 'old', '${api}', '{a}', $2, $3, '2999-01-01')`
    await pool.query(insert, [hashApiKey(person), (await pool.query('SELECT id FROM users')).rows[0].id, null])
    await pool.query(insert, [hashApiKey(client), null, 'c'])
    await run(pool, names.slice(at))
    const ends = await pool.query('SELECT DISTINCT ends_at FROM api_key')
    expect(ends.rows).toEqual([{ ends_at: new Date('2999-01-01') }])
    await pool.end()
    for (const value of [person, client])
      expect(await findApiKey(own.database, value, new Date())).toMatchObject({
        name: 'old',
        version: 1,
        apis: { [api]: ['a'] },
        expiresAt: new Date('2999-01-01'),
      })
  } finally {
    await own.drop()
  }
})
