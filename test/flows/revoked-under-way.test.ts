// A revocation that meets a token request under way. The request read before it; what it would hand out is refused by everybody who asks
// us from then on, so it must not leave, or else the feed of revocations must name it for those who do not ask (docs/decisions/018).
import { setTimeout as delay } from 'node:timers/promises'
import { decodeJwt } from 'jose'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { readFeed } from '#src/tokens/feed.ts'
import { revoke } from '#src/tokens/revoke.ts'
import { deleteUser, setPassword, setUserDisabled } from '#src/users/users.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Answer, type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
let other: pg.Client

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  other = new pg.Client({ connectionString: server.database.pool.options.connectionString })
  await other.connect()
})
afterAll(async () => {
  await other.end()
  await server.stop()
})
afterEach(() => other.query('ROLLBACK'))

const prisma = () => server.database.prisma
const sql = async (text: string, values: unknown[] = []) => (await server.database.pool.query(text, values)).rows
const personal = () => j.tokensFor({ scope: 'openid orders:read', resource: orders }, undefined, { resource: orders })
const service = () =>
  j.post('/oauth/token', { grant_type: 'client_credentials', scope: 'orders:read' }, { as: 'reports' })
const tokens = async () => (await sql('SELECT count(*)::int AS n FROM token'))[0].n

/** Lets the request read, holds its commit back until `meanwhile` is done. */
async function between(request: () => Promise<Answer>, meanwhile: () => Promise<unknown>): Promise<Answer> {
  await other.query('BEGIN')
  await other.query('LOCK TABLE token IN EXCLUSIVE MODE') // read by everybody, written by nobody
  const answer = request()
  await expect
    .poll(() => sql(`SELECT 1 FROM pg_locks WHERE relation = 'token'::regclass AND NOT granted`))
    .toHaveLength(1)
  await meanwhile()
  await other.query('COMMIT')
  return answer
}

describe('it is refused, and nothing of it stays, when between its reads and its commit', () => {
  test.each<[string, (its: { grant: string; session: string }) => Promise<unknown>, (() => Promise<unknown>)?]>([
    ['its grant is revoked', ({ grant }) => revoke(prisma(), { kind: 'grant', id: grant }, change())],
    ['its session is revoked', ({ session }) => revoke(prisma(), { kind: 'session', uid: session }, change())],
    [
      'the generation of its session is raised',
      ({ session }) => sql('UPDATE session SET generation = generation + 1 WHERE uid = $1', [session]),
    ],
    ['the person is revoked', () => revoke(prisma(), { kind: 'user', id: j.alice.id }, change())],
    ['the password changes', async () => setPassword(prisma(), j.alice.id, await passwordHash(), change())],
    [
      'the person is disabled',
      () => setUserDisabled(prisma(), j.alice.id, true, change()),
      () => setUserDisabled(prisma(), j.alice.id, false, change()),
    ],
    ['the client is revoked', () => revoke(prisma(), { kind: 'client', id: 'shop-web' }, change())],
    ['the API is revoked', () => revoke(prisma(), { kind: 'api', identifier: orders }, change())],
    [
      'everything issued before now is revoked',
      () => revoke(prisma(), { kind: 'before', moment: 'now' }, change()),
      () => sql('DELETE FROM token_epoch'),
    ],
  ])('%s', async (_, end, undo) => {
    const { access_token, refresh } = await personal()
    const [{ grant, session }] = await sql(
      'SELECT grant_id AS grant, session_uid AS session FROM token WHERE id = sha256($1)',
      [Buffer.from(refresh)],
    )
    const before = await tokens()
    try {
      const answer = await between(
        () => j.refresh(refresh, { resource: orders }),
        () => end({ grant, session }),
      )
      expect(answer.body).toMatchObject({ error: 'invalid_grant' })
      expect(answer.status).toBe(400)
      expect(await tokens()).toBe(before)
      expect(await sql('SELECT consumed_at FROM token WHERE id = sha256($1)', [Buffer.from(refresh)])).toEqual([
        { consumed_at: null },
      ])
      expect((await j.introspect(access_token, 'orders-api')).body).toEqual({ active: false })
    } finally {
      await undo?.()
      await server.settle()
    }
  })
  const passwordHash = async () =>
    (await sql(`SELECT secret FROM credential WHERE user_id = $1 AND kind = 'password'`, [j.alice.id]))[0].secret

  test('the client is switched off: 401 invalid_client (RFC 6749 5.2)', async () => {
    const before = await tokens()
    // Past the rooms, so that no process hears of it.
    const answer = await between(service, () => sql(`UPDATE client SET disabled_at = now() WHERE id = 'reports'`))
    await sql(`UPDATE client SET disabled_at = NULL WHERE id = 'reports'`)
    expect(answer.body).toMatchObject({ error: 'invalid_client' })
    expect(answer.status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toMatch(/^Basic /)
    expect(await tokens()).toBe(before)
  })

  test('the API is deleted: 400 invalid_target (RFC 8707 2)', async () => {
    const before = await tokens()
    const gone = `UPDATE api SET identifier = $2 WHERE identifier = $1`
    const answer = await between(service, () => sql(gone, [orders, 'https://elsewhere.example']))
    await sql(gone, ['https://elsewhere.example', orders])
    expect(answer.body).toMatchObject({ error: 'invalid_target' })
    expect(answer.status).toBe(400)
    expect(await tokens()).toBe(before)
  })
})

test('a client that was revoked meanwhile gets a new token that is good: it was asked after nothing', async () => {
  const answer = await between(service, () => revoke(prisma(), { kind: 'client', id: 'reports' }, change()))
  expect(answer.status).toBe(200)
  expect((await j.introspect(answer.body.access_token, 'reports')).body.active).toBe(true)
})

describe('it is named by the feed when it was committed before the revocation could be seen, however long that took', () => {
  const entry = async (after: string | undefined, kind: string) =>
    (await readFeed(server.database, after, 1000)).data.findLast((one) => one.kind === kind)
  const late = async (statement: string, values: unknown[]) => {
    await other.query('BEGIN')
    await other.query(statement, values)
    await delay(1_100) // into another second than the one in which the entry was written
  }

  test('of a person', async () => {
    const { refresh } = await personal()
    await late('UPDATE users SET generation = generation + 1 WHERE id = $1', [j.alice.id])
    const { status, body } = await j.refresh(refresh, { resource: orders })
    expect(status).toBe(200)
    await other.query('COMMIT')
    expect((await j.introspect(body.access_token, 'orders-api')).body).toEqual({ active: false })
    const named = await entry(undefined, 'user')
    expect(named?.target).toBe(j.alice.id)
    expect(named?.issuedBefore).toBeGreaterThanOrEqual(Number(decodeJwt(body.access_token).iat))
  })

  test('of a client', async () => {
    await late(`UPDATE client SET generation = generation + 1 WHERE id = 'reports'`, [])
    const { body } = await service()
    await other.query('COMMIT')
    expect((await j.introspect(body.access_token, 'reports')).body).toEqual({ active: false })
    expect((await entry(undefined, 'client'))?.issuedBefore).toBeGreaterThanOrEqual(
      Number(decodeJwt(body.access_token).iat),
    )
  })

  test('and to every reader alike: the moment does not move again', async () => {
    await revoke(prisma(), { kind: 'user', id: j.alice.id }, change())
    const first = await entry(undefined, 'user')
    await delay(1_100)
    expect(await entry(undefined, 'user')).toMatchObject({ issuedBefore: first?.issuedBefore })
  })
})

test('a deleted person: whoever reads the feed hears of what was under way (the last test, for she does not come back)', async () => {
  const { refresh } = await personal()
  const answer = await between(
    () => j.refresh(refresh, { resource: orders }),
    () => deleteUser(prisma(), j.alice.id, change()),
  )
  expect(answer.body.error).toBe('invalid_grant')
})
