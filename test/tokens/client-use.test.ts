// What clients used is remembered from the tokens that the sweep takes away, and from those that are still there.
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createClient, deleteClient } from '#src/clients/clients.ts'
import { readClientUse } from '#src/tokens/client-use.ts'
import { tokenKinds } from '#src/tokens/kinds.ts'
import { sweep } from '#src/tokens/sweep.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

let own: TestDatabase
beforeAll(async () => {
  own = await createTestDatabase()
})
afterAll(() => own.drop())
beforeEach(() => query('TRUNCATE token, client_use'))

const query = async (text: string, values: unknown[] = []) => (await own.database.pool.query(text, values)).rows
let made = 0
type Columns = { kind?: number; client?: string | null; api?: string | null; scope?: string | null; consumed?: boolean }
/** Issued so many minutes ago, and over for a quarter of an hour unless it is living. */
const token = (minutes: number, columns: Columns = {}, living = false) => {
  const {
    kind = tokenKinds.AccessToken,
    client = 'shop',
    api = 'https://a.example',
    scope = 'read',
    consumed = false,
  } = columns
  return query(
    `INSERT INTO token (id, kind, client_id, resource, scope, issued_at, consumed_at, expires_at, payload)
      VALUES (int4send($1), $2, $3, $4, $5, date_trunc('minute', now()) - make_interval(mins => $6),
        CASE WHEN $7 THEN date_trunc('minute', now()) - make_interval(mins => $6) END,
        now() + CASE WHEN $8 THEN interval '1 minute' ELSE interval '-15 minutes' END, '{}')`,
    [++made, kind, client, api, scope, minutes, consumed, living],
  )
}
const run = () => sweep(own.database, { now: new Date() })
/** `<api> <what>` -> minutes ago */
async function used(...clients: string[]) {
  const rows = await readClientUse(own.database, clients)
  return Object.fromEntries(
    rows
      .map(({ api, what, lastAt }) => [`${api} ${what}`, Math.floor((Date.now() - lastAt.getTime()) / 60_000)])
      .sort(),
  )
}

test('each scope of an access token, at its API, when it was last issued', async () => {
  await token(500, { scope: 'read write' })
  await token(100)
  await token(300, { scope: 'read', api: 'https://b.example' })
  await token(50, { client: 'other' })
  await run()
  expect(await query('SELECT count(*)::int AS n FROM token')).toEqual([{ n: 0 }])
  expect(await used('shop')).toEqual({
    'https://a.example read': 100,
    'https://a.example write': 500,
    'https://b.example read': 300,
  })
  await token(20, {}, true) // not over yet
  expect(await used('shop')).toMatchObject({ 'https://a.example read': 20 })
  expect(await used('nobody')).toEqual({})
})

test('grant types by what was consumed: a refresh token that nobody used shows no refreshing', async () => {
  for (const [kind, consumed] of [
    [tokenKinds.AuthorizationCode, true],
    [tokenKinds.RefreshToken, false],
    [tokenKinds.DeviceCode, false],
  ] as const)
    await token(200, { kind, consumed, api: null, scope: null })
  await token(200, { kind: tokenKinds.ClientCredentials, client: 'robot' })
  await run()
  expect(await used('shop')).toEqual({ ' authorization_code': 200 })
  expect(await used('robot')).toEqual({ ' client_credentials': 200, 'https://a.example read': 200 })
  await token(100, { kind: tokenKinds.RefreshToken, consumed: true, api: null, scope: null })
  await run()
  expect(Object.keys(await used('shop'))).toEqual([' authorization_code', ' refresh_token'])
})

test('a row is written once an hour, never back in time, and tokens that name nobody or nothing leave none', async () => {
  for (const minutes of [200, 150, 300]) {
    await token(minutes)
    await run()
  }
  expect(await used('shop')).toEqual({ 'https://a.example read': 200 })
  await token(100)
  await token(0, { client: null })
  await token(0, { api: null })
  await token(0, { scope: null })
  await token(0, { scope: '' })
  await token(0, { scope: ' ' })
  expect((await run()).rows.token).toBe(6)
  expect(await query('SELECT what FROM client_use')).toEqual([{ what: 'read' }])
  expect(await used('shop')).toEqual({ 'https://a.example read': 100 })
})

test('a client that is deleted takes its record along', async () => {
  await createClient(own.database.prisma, { id: 'shop', type: 'service' }, [], changeAt())
  await token(100)
  await run()
  await deleteClient(own.database.prisma, 'shop', changeAt())
  expect(await query('SELECT 1 FROM client_use')).toEqual([])
})
