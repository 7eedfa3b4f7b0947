import { afterAll, beforeAll, expect, test } from 'vitest'
import { commit, type TokenWrite } from '#src/tokens/statements.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

let own: TestDatabase
beforeAll(async () => {
  own = await createTestDatabase()
  const { pool } = own.database
  await pool.query(
    `INSERT INTO client (id, name, type, token_endpoint_auth_method) VALUES ('shop', 'Shop', 'web', 'none')`,
  )
  await pool.query(
    `INSERT INTO oauth_grant (id, user_id, client_id, payload) VALUES ('g', gen_random_uuid(), 'shop', '{}')`,
  )
})
afterAll(() => own.drop())

const id = (generation: number) => `\\x${generation.toString(16).padStart(64, '0')}`
const refreshToken = (generation: number): TokenWrite => ({
  id: id(generation),
  kind: 2,
  clientId: 'shop',
  userId: null,
  grantId: 'g',
  sessionUid: 's',
  resource: null,
  scope: 'openid',
  userCodeHash: null,
  issuedAt: Date.now() / 1000,
  expiresAt: Date.now() / 1000 + 3600,
  salt: '\\x01',
  predecessorId: generation > 1 ? id(generation - 1) : null,
  grantGeneration: 0,
  sessionGeneration: 0,
  userGeneration: 0,
  clientGeneration: 0,
  apiGeneration: 0,
  payload: { rotations: generation, nonce: 'n', jkt: 'the key', expiresWithSession: true },
})
const use = (generation: number) =>
  commit(own.database.pool, [
    {
      consume: [
        {
          id: id(generation),
          predecessorId: generation > 1 ? id(generation - 1) : null,
          successorId: id(generation + 1),
          leeway: 30,
          address: null,
          userAgent: null,
          requestId: null,
        },
      ],
      token: [refreshToken(generation + 1)],
    },
  ])
const row = async (generation: number) =>
  (
    await own.database.pool.query(
      'SELECT consumed_at IS NOT NULL AS used, salt, successor_id, payload, scope, grant_id FROM token WHERE id = $1::bytea',
      [id(generation)],
    )
  ).rows[0]

test('a generation whose successor was used gives up all but what a second use is judged and bound by', async () => {
  await commit(own.database.pool, [{ token: [refreshToken(1)] }])
  await use(1)
  expect(await row(1)).toMatchObject({ used: true, payload: { rotations: 1, nonce: 'n' } }) // its lost answer may be asked for again
  expect((await row(1)).salt).not.toBeNull()
  await use(2)
  expect(await row(1)).toEqual({
    used: true,
    salt: null,
    successor_id: null,
    payload: { jkt: 'the key', expiresWithSession: true },
    scope: null,
    grant_id: 'g',
  })
  expect(await use(1)).toEqual(['reused']) // RFC 9700 4.14.2
})

test('a code that was used gives up all but what the engine looks at before it sees that it was (RFC 6749 10.5)', async () => {
  const code = {
    ...refreshToken(100),
    kind: 3,
    salt: null,
    payload: {
      codeChallenge: 'c',
      codeChallengeMethod: 'S256',
      redirectUri: 'r',
      nonce: 'n',
      amr: ['pwd'],
      authTime: 1,
    },
  }
  const use = {
    id: id(100),
    predecessorId: null,
    successorId: null,
    leeway: 0,
    address: null,
    userAgent: null,
    requestId: null,
  }
  await commit(own.database.pool, [{ token: [code] }])
  expect(await commit(own.database.pool, [{ consume: [use] }])).toEqual([undefined])
  const given = await own.database.pool.query(
    'SELECT payload, scope, resource, session_uid, grant_id, client_id, consumed_at IS NOT NULL AS used FROM token WHERE id = $1::bytea',
    [id(100)],
  )
  expect(given.rows[0]).toEqual({
    payload: { codeChallenge: 'c', redirectUri: 'r' },
    scope: null,
    resource: null,
    session_uid: null,
    grant_id: 'g',
    client_id: 'shop',
    used: true,
  })
  expect(await commit(own.database.pool, [{ consume: [use] }])).toEqual(['reused'])
})
