// The family of a token: who was issued for whom, and why each is over. What people are told must be what the doors do.
import { randomBytes, randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { tokenKinds } from '#src/tokens/kinds.ts'
import { type Family, findFamily, findFamilyById } from '#src/tokens/lineage.ts'
import { candidateRowIds, parseRowId, rowIdOfValue, rowIdText, TokenNotFound } from '#src/tokens/row-ids.ts'
import { readSessionByUid, readToken } from '#src/tokens/statements.ts'
import { orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let pool: TestServer['database']['pool']
let j: Journey
beforeAll(async () => {
  server = await startServer()
  pool = server.database.pool
  j = await startJourney(server)
})
afterAll(() => server.stop())

const familyOf = (value: string) => findFamily(server.database, [rowIdOfValue(value)])
const sql = async (text: string, values: unknown[] = []) => (await pool.query(text, values)).rows
const idOf = (value: string) => rowIdText(rowIdOfValue(value))

/** kind, generation and state of each, below what it was issued for. */
function outline({ tokens }: Family): string[] {
  const depth = (id: string | null): number => {
    const token = tokens.find((each) => each.id === id)
    return token ? 1 + depth(token.parent) : 0
  }
  return tokens.map(
    ({ kind, generation, state, format, parent }) =>
      `${'  '.repeat(depth(parent))}${kind}${generation === null ? '' : ` ${generation}`}${format === 'jwt' ? ' jwt' : ''}: ${state}`,
  )
}

test('from any token of it: session, grant, code, each refresh generation, and the access tokens each was used for', async () => {
  const { code, verifier } = await j.codeFor({
    scope: 'openid offline_access orders:read',
    prompt: 'consent',
    resource: orders,
  })
  const first = (await j.redeem(code, verifier, { resource: orders })).body
  const second = (await j.refresh(first.refresh_token ?? '', { resource: orders })).body
  const third = (await j.refresh(second.refresh_token ?? '', { resource: orders })).body
  const family = await familyOf(first.access_token)
  expect(outline(family)).toEqual([
    'authorization_code: used',
    '  access_token jwt: live',
    '  refresh_token 1: used',
    '    access_token jwt: live',
    '    refresh_token 2: used',
    '      access_token jwt: live',
    '      refresh_token 3: live',
  ])
  expect(family.asked).toBe(idOf(first.access_token))
  expect(family.session).toMatchObject({ state: 'live', userId: j.alice.id, endedAt: null })
  expect(family.grant).toMatchObject({ state: 'live', userId: j.alice.id, clientId: 'shop-web', revokedAt: null })
  const [live] = family.tokens.slice(-1)
  expect(live).toMatchObject({
    id: idOf(third.refresh_token ?? ''),
    clientId: 'shop-web',
    userId: j.alice.id,
    format: 'opaque',
    consumedAt: null,
    repeats: 0,
  })
  for (const value of [code, second.refresh_token ?? '', third.access_token])
    expect(await familyOf(value)).toEqual({ ...family, asked: idOf(value) })

  // A second use of an old one: the tree says what it did to the family.
  await pool.query(`UPDATE token SET consumed_at = consumed_at - interval '1 hour' WHERE consumed_at IS NOT NULL`)
  expect((await j.refresh(first.refresh_token ?? '', { resource: orders })).status).toBe(400)
  const after = await familyOf(third.access_token)
  expect(after.grant).toMatchObject({ state: 'revoked', revokedAt: expect.any(Date) })
  expect(outline(after).map((line) => line.split(': ')[1])).toEqual([
    'used',
    'grant_revoked',
    'revoked', // the one that came a second time
    'grant_revoked',
    'used',
    'grant_revoked',
    'grant_revoked',
  ])
})

test('a repeat within the leeway is a second access token of the same generation', async () => {
  const { refresh } = await j.tokensFor({ scope: 'openid offline_access', prompt: 'consent' })
  for (let n = 0; n < 3; n++) await j.refresh(refresh)
  const family = await familyOf(refresh)
  expect(outline(family).slice(2)).toEqual([
    '  refresh_token 1: used',
    '    access_token: live',
    '    access_token: live',
    '    access_token: live',
    '    refresh_token 2: live',
  ])
  expect(family.tokens.find((token) => token.generation === 1)?.repeats).toBe(2)
})

test('where session and grant came from', async () => {
  const { access_token } = await j.tokensFor()
  const { session, grant } = await familyOf(access_token)
  const origin = Buffer.from('origin')
  await sql(
    `INSERT INTO origin (id, address, user_agent) VALUES ($1, '203.0.113.9', 'Browser/1') ON CONFLICT DO NOTHING`,
    [origin],
  )
  await sql('UPDATE session SET origin_id = $1 WHERE uid = $2', [origin, session?.uid])
  await sql('UPDATE oauth_grant SET origin_id = $1 WHERE id = $2', [origin, grant?.id])
  const known = { origin: { address: '203.0.113.9', userAgent: 'Browser/1' } }
  expect(await familyOf(access_token)).toMatchObject({ session: known, grant: known })
})

test('a token without a grant is a family of one', async () => {
  const { body } = await j.post(
    '/oauth/token',
    { grant_type: 'client_credentials', scope: 'stock:read' },
    { as: 'reports' },
  )
  expect(await familyOf(body.access_token)).toMatchObject({
    session: null,
    grant: null,
    more: false,
    tokens: [
      {
        kind: 'access_token',
        format: 'opaque',
        clientId: 'reports',
        userId: null,
        scopes: ['stock:read'],
        parent: null,
      },
    ],
  })
})

test('rows from before parents were written stand under their grant, generations of one', async () => {
  const { refresh } = await j.tokensFor({ scope: 'openid offline_access', prompt: 'consent' })
  await j.refresh(refresh)
  const { grant } = await familyOf(refresh)
  await sql('UPDATE token SET predecessor_id = NULL WHERE grant_id = $1', [grant?.id])
  for (const token of (await familyOf(refresh)).tokens) expect(token).toMatchObject({ parent: null })
})

test('a family of thousands shows its newest part, and the token that was asked about', async () => {
  const { access_token } = await j.tokensFor()
  const { grant } = await familyOf(access_token)
  await sql(
    `INSERT INTO token (id, kind, grant_id, client_id, issued_at, payload)
     SELECT sha256(('big' || n)::bytea), 1, $1, 'shop-web', now() + n * interval '1 second', '{}' FROM generate_series(1, 1500) n`,
    [grant?.id],
  )
  const family = await familyOf(access_token)
  expect(family.more).toBe(true)
  expect(family.tokens).toHaveLength(1001)
  expect(family.tokens.map((token) => token.id)).toContain(idOf(access_token))
})

describe('an id', () => {
  test('is found as it was printed and in no other spelling; what it opens is nothing', async () => {
    const { access_token } = await j.tokensFor({ scope: 'openid' })
    const id = idOf(access_token)
    expect((await findFamilyById(server.database, id)).asked).toBe(id)
    expect((await j.userinfo(id)).status).toBe(401)
    const other = `${id.slice(0, -1)}${String.fromCharCode(id.charCodeAt(id.length - 1) + 1)}`
    for (const wrong of [
      '',
      'x',
      `${id}=`,
      ` ${id}`,
      other,
      access_token,
      id.slice(1),
      rowIdText(randomBytes(32)),
      '\0'.repeat(43),
    ])
      await expect(findFamilyById(server.database, wrong)).rejects.toBeInstanceOf(TokenNotFound)
  })

  test('of a JWT is its jti, which also finds it when the rest is garbled; what is no JWT is a value like any other', () => {
    const jti = randomBytes(16).toString('base64url')
    const jwt = (payload: unknown) => `e30.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.c2ln`
    expect(rowIdText(rowIdOfValue(jwt({ jti })))).toBe(jti)
    for (const other of [
      jwt({}),
      jwt(null),
      jwt({ jti: 5 }),
      jwt({ jti: `${jti}A` }),
      jwt([]),
      'e30.!.x',
      'e30.AAAA.x',
      `e30.${jti}`,
      jti,
    ])
      expect(rowIdOfValue(other)).toHaveLength(32)
    expect(candidateRowIds(jti).map((id) => id.length)).toEqual([32, 16])
    expect(parseRowId(jti)?.toString('base64url')).toBe(jti)
  })

  test('that is unknown is refused without repeating it: it may be a token', async () => {
    const error = await familyOf('sp_at_secret').catch((thrown: Error) => thrown)
    expect(error).toBeInstanceOf(TokenNotFound)
    expect(String(error)).not.toContain('secret')
  })
})

// Every way a row can be over, alone and with others: `state` says live exactly when the doors say so.
describe('the state that is told agrees with what is enforced', () => {
  const past = `now() - interval '1 hour'`
  const ways: [name: string, state: string, statement?: string][] = [
    ['nothing', 'live'],
    ['revoked', 'revoked', `UPDATE token SET revoked_at = now() WHERE id = $1`],
    [
      'grant ended',
      'grant_revoked',
      `UPDATE oauth_grant SET revoked_at = now(), generation = generation + 1 WHERE id = $2`,
    ],
    ['grant generation', 'grant_revoked', `UPDATE oauth_grant SET generation = generation + 1 WHERE id = $2`],
    ['grant swept', 'grant_gone', `DELETE FROM oauth_grant WHERE id = $2`],
    ['session generation', 'session_revoked', `UPDATE session SET generation = generation + 1 WHERE uid = $3`],
    ['session swept', 'live', `DELETE FROM session WHERE uid = $3`],
    ['session ended, token not bound to it', 'live', `UPDATE session SET ended_at = now() WHERE uid = $3`],
    ['user generation', 'user_revoked', `UPDATE users SET generation = generation + 1 WHERE id = $4`],
    ['user disabled', 'user_disabled', `UPDATE users SET disabled_at = now() WHERE id = $4`],
    ['user deleted', 'user_deleted', `DELETE FROM users WHERE id = $4`],
    ['client generation', 'client_revoked', `UPDATE client SET generation = generation + 1 WHERE id = $5`],
    ['client disabled', 'client_disabled', `UPDATE client SET disabled_at = now() WHERE id = $5`],
    ['client deleted', 'client_deleted', `DELETE FROM client WHERE id = $5`],
    ['api generation', 'api_revoked', `UPDATE api SET generation = generation + 1 WHERE identifier = $6`],
    ['api deleted', 'api_deleted', `DELETE FROM api WHERE identifier = $6`],
    ['issued before the epoch', 'before_epoch', `UPDATE token SET issued_at = timestamptz '2019-12-31' WHERE id = $1`],
    [
      'issued in the second of the epoch',
      'live',
      `UPDATE token SET issued_at = timestamptz '2020-01-01' WHERE id = $1`,
    ],
  ]
  const make = async () => {
    const [id, grant, session, user, client, api] = [
      randomBytes(32),
      randomUUID(),
      randomUUID(),
      randomUUID(),
      randomUUID(),
      `https://${randomUUID()}.example`,
    ]
    await sql(`INSERT INTO users (id, email, email_key, updated_at) VALUES ($1, $2, $2, now())`, [
      user,
      `${user}@example.com`,
    ])
    await sql(
      `INSERT INTO client (id, name, type, grant_types, redirect_uris, post_logout_redirect_uris, scopes, token_endpoint_auth_method, updated_at)
       VALUES ($1, 'C', 'web', '{}', '{}', '{}', '{}', 'none', now())`,
      [client],
    )
    await sql(
      `INSERT INTO api (identifier, name, access_token_format, accept, updated_at) VALUES ($1, 'A', 'opaque', '{oauth}', now())`,
      [api],
    )
    await sql(`INSERT INTO session (uid, cookie_hash, user_id, amr, payload) VALUES ($1, $2, $3, '{}', '{}')`, [
      session,
      randomBytes(32),
      user,
    ])
    await sql(
      `INSERT INTO oauth_grant (id, user_id, client_id, session_uid, scopes, rejected_scopes, payload) VALUES ($1, $2, $3, $4, '{}', '{}', '{}')`,
      [grant, user, client, session],
    )
    await sql(
      `INSERT INTO token (id, kind, client_id, user_id, grant_id, session_uid, resource, expires_at, payload)
       VALUES ($1, ${tokenKinds.AccessToken}, $2, $3, $4, $5, $6, now() + interval '1 hour', '{}')`,
      [id, client, user, grant, session, api],
    )
    return [id, grant, session, user, client, api] as const
  }
  beforeAll(() => sql(`INSERT INTO token_epoch (not_before) VALUES ('2020-01-01T00:00:00Z') ON CONFLICT DO NOTHING`))

  test.each(ways)('%s', async (_name, state, statement) => {
    const names = await make()
    const place = Number(/\$(\d)/.exec(statement ?? '')?.[1])
    if (statement) await sql(statement.replace(`$${place}`, '$1'), [names[place - 1]])
    const { tokens, session } = await findFamily(server.database, [names[0]])
    expect(tokens[0]?.state).toBe(state)
    expect(tokens[0]?.state === 'live').toBe((await readToken(pool, names[0]))?.live)
    expect(session === null ? false : session.state === 'live').toBe(
      (await readSessionByUid(pool, names[2])) !== undefined,
    )
  })

  test.each([
    ['used', `UPDATE token SET consumed_at = now() WHERE id = $1`],
    ['expired', `UPDATE token SET expires_at = ${past} WHERE id = $1`],
  ])('%s is said beside: the engine looks at it by itself', async (state, text) => {
    const [id] = await make()
    await sql(text, [id])
    expect((await findFamily(server.database, [id])).tokens[0]?.state).toBe(state)
  })

  test.each([
    ['ended', `UPDATE session SET ended_at = now() WHERE uid = $1`],
    ['expired', `UPDATE session SET expires_at = ${past} WHERE uid = $1`],
    ['before_epoch', `UPDATE session SET login_at = '2019-01-01' WHERE uid = $1`],
  ])('of a session: %s, and the tokens that are bound to it with it', async (state, text) => {
    const [id, , uid] = await make()
    await sql(`UPDATE token SET payload = '{"expiresWithSession":true}' WHERE id = $1`, [id])
    expect((await findFamily(server.database, [id])).tokens[0]?.state).toBe('live')
    await sql(text, [uid])
    const { session, tokens } = await findFamily(server.database, [id])
    expect([session?.state, tokens[0]?.state]).toEqual([state, 'session_ended'])
  })
})
