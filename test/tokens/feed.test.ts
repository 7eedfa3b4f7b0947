// The feed of revocations: what the database writes of its own accord, and that a reader misses none of it.
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createApi, deleteApi, endApiTokens, updateApi } from '#src/apis/apis.ts'
import { createClient, deleteClient, endClientTokens, setClientDisabled, updateClient } from '#src/clients/clients.ts'
import { closeDatabase, openDatabase } from '#src/db/database.ts'
import { createLog } from '#src/log.ts'
import { adoptRestoredRows, feedHead, readFeed } from '#src/tokens/feed.ts'
import { formatCursor, nothingSeen, parseCursor, UnknownCursor } from '#src/tokens/feed-cursor.ts'
import { watchRevocations } from '#src/tokens/propagation.ts'
import { revoke } from '#src/tokens/revoke.ts'
import { createUser, deleteUser, endUserTokens, setPassword, setUserDisabled, updateUser } from '#src/users/users.ts'
import { changeAt } from '#test/support/change.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const change = changeAt()
const log = createLog({ logLevel: 'silent' })
let created: TestDatabase
let prisma: TestDatabase['database']['prisma']
let pool: TestDatabase['database']['pool']
let from: string

beforeAll(async () => {
  created = await createTestDatabase()
  ;({ prisma, pool } = created.database)
})
afterAll(() => created.drop())
beforeEach(async () => {
  from = await feedHead({ pool })
})

const news = async (after = from) => (await readFeed({ pool }, after, 100)).data
const named = async () => (await news()).map(({ kind, target }) => `${kind} ${target}`)
let count = 0
const person = async () => (await createUser(prisma, { email: `p${count++}@example.com` }, change)).id
const client = async () => (await createClient(prisma, { id: `c${count++}`, type: 'service' }, [], change)).id
const api = async () =>
  (await createApi(prisma, { identifier: `https://api${count++}.example`, name: 'A' }, change)).identifier
const session = async (userId: string) => {
  const uid = `s${count++}`
  await prisma.session.create({ data: { uid, cookieHash: randomBytes(32), userId, amr: [], payload: {} } })
  return uid
}
const grant = async (userId: string, clientId: string, more: { sessionUid?: string; payload?: string } = {}) => {
  const id = `g${count++}`
  await pool.query(
    `INSERT INTO oauth_grant (id, user_id, client_id, session_uid, scopes, rejected_scopes, payload) VALUES ($1, $2, $3, $4, '{}', '{}', $5)`,
    [id, userId, clientId, more.sessionUid ?? null, more.payload ?? '{}'],
  )
  return id
}
const token = async (id: Buffer) => {
  await prisma.token.create({ data: { id: new Uint8Array(id), kind: 1, clientId: 'x', payload: {} } })
  return id
}

describe('an entry appears', () => {
  test('for each way of ending a person’s tokens, once, and for nothing else about them', async () => {
    const id = await person()
    await updateUser(prisma, id, { name: 'P' }, change)
    await setUserDisabled(prisma, id, false, change)
    expect(await named()).toEqual([])
    await endUserTokens(prisma, id, change)
    await setPassword(prisma, id, 'hash', change)
    await setUserDisabled(prisma, id, true, change)
    await setUserDisabled(prisma, id, true, change)
    await deleteUser(prisma, id, change)
    expect(await named()).toEqual(Array(4).fill(`user ${id}`))
  })

  test('for each way of ending a client’s tokens', async () => {
    const id = await client()
    await updateClient(prisma, id, { type: 'service' }, change)
    expect(await named()).toEqual([])
    await endClientTokens(prisma, id, change)
    await setClientDisabled(prisma, id, true, change)
    await deleteClient(prisma, id, change)
    expect(await named()).toEqual(Array(3).fill(`client ${id}`))
  })

  test('for an API, by its identifier', async () => {
    const identifier = await api()
    await updateApi(prisma, identifier, { name: 'B' }, change)
    expect(await named()).toEqual([])
    await endApiTokens(prisma, identifier, change)
    await deleteApi(prisma, identifier, change)
    expect(await named()).toEqual(Array(2).fill(`api ${identifier}`))
  })

  test('for a JWT, by its jti; not for an opaque token, which nobody can check by himself', async () => {
    const jwt = await token(randomBytes(16))
    const opaque = await token(randomBytes(32))
    for (const id of [jwt, opaque]) await revoke(prisma, { kind: 'token', id }, change)
    expect(await named()).toEqual([`token ${jwt.toString('base64url')}`])
  })

  test('for each grant of a session, once, whatever ends it', async () => {
    const userId = await person()
    const [one, two] = [await session(userId), await session(userId)]
    const first = await grant(userId, 'shop', { sessionUid: one })
    const second = await grant(userId, 'shop', { sessionUid: two })
    await revoke(prisma, { kind: 'session', uid: one }, change)
    expect(await named()).toEqual([`grant ${first}`])
    await pool.query('UPDATE session SET generation = generation + 1 WHERE uid = $1', [two])
    expect(await named()).toEqual([`grant ${first}`, `grant ${second}`])
  })

  test('for a moment: the last whole second before it, as a token’s iat is compared', async () => {
    await revoke(prisma, { kind: 'before', moment: new Date('2026-01-01T00:00:10.500Z') }, change)
    await revoke(prisma, { kind: 'before', moment: new Date('2026-01-01T00:00:20.000Z') }, change)
    const at = Date.parse('2026-01-01T00:00:00Z') / 1000
    expect((await news()).map(({ kind, target, issuedBefore }) => [kind, target, issuedBefore - at])).toEqual([
      ['all', '*', 10], // a token of second 10 may have been issued before .500
      ['all', '*', 19], // one of second 20 was not issued before it began
    ])
  })

  test('also when the grant holds what jsonb cannot: a revocation never fails for a payload', async () => {
    const id = await grant(await person(), 'shop', { payload: '{"claims":["\\u0000 \\ud800"]}' })
    await revoke(prisma, { kind: 'grant', id }, change)
    expect(await named()).toEqual([`grant ${id}`])
  })

  test('with the second in which it happened, which counts as before', async () => {
    const { rows } = await pool.query<{ now: number }>(
      'SELECT floor(extract(epoch FROM clock_timestamp()))::float8 AS now',
    )
    await endUserTokens(prisma, await person(), change)
    const [entry] = await news()
    expect(entry?.issuedBefore).toBeGreaterThanOrEqual(rows[0]?.now ?? Number.NaN)
    expect(entry?.issuedBefore).toBeLessThanOrEqual((rows[0]?.now ?? 0) + 2)
  })

  test('only when the revocation was committed', async () => {
    const id = await person()
    await expect(
      prisma.$transaction(async (tx) => {
        await revoke(tx, { kind: 'user', id }, change)
        throw new Error('changed my mind')
      }),
    ).rejects.toThrow('changed my mind')
    expect(await named()).toEqual([])
  })
})

describe('a reader', () => {
  /** Everything after a cursor, in pages. */
  async function walk(
    cursor: string,
    size: number,
    between: (page: number) => Promise<unknown> = async () => undefined,
  ) {
    const seen: string[] = []
    let pages = 0
    for (let at = cursor; ; ) {
      const { data, next } = await readFeed({ pool }, at, size)
      expect(data.length).toBeLessThanOrEqual(size)
      seen.push(...data.map((entry) => entry.target))
      if (next === at) return { seen, end: at }
      at = next
      await between(++pages)
    }
  }

  test('sees everything once, in pages of any size', async () => {
    const ids = await Promise.all(Array.from({ length: 7 }, person))
    for (const id of ids) await endUserTokens(prisma, id, change)
    for (const size of [1, 2, 3, 7, 8]) expect((await walk(from, size)).seen).toEqual(ids)
  })

  test('keeps its place when there is nothing new', async () => {
    expect((await readFeed({ pool }, from, 10)).next).toBe(from)
    const first = await readFeed({ pool }, undefined, 1)
    expect(first.next).not.toBe('')
  })

  test('never misses one that commits late, and does not wait for it', async () => {
    const [early, late] = [await person(), await person()]
    const slow = new pg.Client({ connectionString: created.url })
    await slow.connect()
    await slow.query('BEGIN')
    await slow.query('UPDATE users SET generation = generation + 1 WHERE id = $1', [late])
    await endUserTokens(prisma, early, change) // has a higher number, and is committed first
    const before = await walk(from, 10)
    expect(before.seen).toEqual([early])
    expect((await walk(before.end, 10)).seen).toEqual([])
    await slow.query('COMMIT')
    await slow.end()
    expect((await walk(before.end, 10)).seen).toEqual([late])
  })

  test('does not miss one that commits between two of its pages, wherever that would stand', async () => {
    const ids = await Promise.all(Array.from({ length: 5 }, person))
    const slow = new pg.Client({ connectionString: created.url })
    await slow.connect()
    await slow.query('BEGIN')
    await slow.query('UPDATE users SET generation = generation + 1 WHERE id = $1', [ids[0]])
    for (const id of ids.slice(1, 4)) await endUserTokens(prisma, id, change)
    const { seen } = await walk(from, 1, async (page) => {
      if (page === 2) {
        await slow.query('COMMIT')
        await endUserTokens(prisma, ids[4] ?? '', change)
      }
    })
    await slow.end()
    expect(seen).toEqual([...ids.slice(1, 4), ids[0], ids[4]])
  })

  test('whose cursor is from a future that never was starts over: the database is a copy of an older day', async () => {
    const id = await person()
    await endUserTokens(prisma, id, change)
    const future = formatCursor({ seen: `${2n ** 40n + 3n}:${2n ** 40n + 3n}:` })
    const all = (await readFeed({ pool }, undefined, 1000)).data.map((entry) => entry.target)
    expect(all).toContain(id)
    expect((await readFeed({ pool }, future, 1000)).data.map((entry) => entry.target)).toEqual(all)
  })

  test('sees rows that came with a copy of another server, which has counted further', async () => {
    const id = await person()
    await pool.query(
      `INSERT INTO revocation (transaction, kind, target) VALUES (((pg_snapshot_xmax(pg_current_snapshot())::text)::bigint + 1000000)::text::xid8, 'user', $1)`,
      [id],
    )
    expect(await named()).toEqual([])
    expect(await adoptRestoredRows({ pool })).toBe(1)
    expect(await named()).toEqual([`user ${id}`])
    expect(await adoptRestoredRows({ pool })).toBe(0)
  })

  test('is given cursors that say exactly what PostgreSQL said', () => {
    const walking = { seen: '10:20:10,13,19', until: '18446744073:18446744099:', transaction: '17', id: '5' }
    for (const cursor of [
      { seen: nothingSeen },
      { seen: '730:731:730' },
      walking,
      { seen: `${2n ** 62n + 3n}:${2n ** 62n + 5n}:` },
    ])
      expect(parseCursor(formatCursor(cursor))).toEqual(cursor)
    const many = `1000000000:1000002000:${Array.from({ length: 500 }, (_, n) => 1000000000 + 3 * n).join(',')}`
    expect(formatCursor({ seen: many }).length).toBeLessThan(2000)
  })

  test.each([
    '',
    'x',
    '0.5',
    '5',
    '5.',
    '5.-1',
    '5.2.2',
    '5.4.1.1',
    '5.4.2.1',
    '5.4.1~5.4',
    '5.4~5.4~1',
    '5.4~5.4~1.2.3',
    '5.4~5.4~1.2~',
    'zzzzzzzzzzzzz.0',
    '1y2p0ij32e8e7.1',
    '1z141z4.0', // 2^32: half of the numbers there are, and no transaction
    '5.4;1',
    "5.4'",
    '5:6:',
  ])('with %j for a cursor is refused', async (cursor) => {
    await expect(readFeed({ pool }, cursor, 1)).rejects.toBeInstanceOf(UnknownCursor)
  })

  test.each(['1y2p0ij32e8e7.0', '1.1y2p0ij32e8e6', '5.4.0.1.2.3', '5.4~5.4~0.0', '3.0'])(
    'with %s, well formed, is answered',
    async (cursor) => {
      await expect(readFeed({ pool }, cursor, 1)).resolves.toHaveProperty('next')
    },
  )

  test('is answered from the index, also with a long history behind the cursor', async () => {
    await pool.query(
      `INSERT INTO revocation (kind, target, known_at) SELECT 'user', n::text, now() FROM generate_series(1, 20000) n`,
    )
    await pool.query('ANALYZE revocation')
    // The statement as it is sent: on a pool of one connection it is still prepared there.
    const single = openDatabase(created.url, { poolSize: 1, onError: () => undefined })
    const head = await feedHead(single)
    await readFeed(single, head, 200)
    const { rows } = await single.pool.query<{ 'QUERY PLAN': string }>(
      `EXPLAIN EXECUTE revocations_after('${parseCursor(head).seen}', NULL, '0', '0', '200')`,
    )
    await closeDatabase(single)
    const plan = rows.map((row) => row['QUERY PLAN']).join('\n')
    expect(plan).toMatch(/Index Scan using revocation_transaction_id_idx/)
    expect(plan).toMatch(/Index Cond: .*transaction >= pg_snapshot_xmin/)
    expect(plan).not.toMatch(/Sort|Seq Scan/)
    await pool.query(`DELETE FROM revocation WHERE target ~ '^[0-9]+$'`)
  })
})

describe('watching', () => {
  test('tells of each revocation once, soon, and of none that came before it began', async () => {
    const [before, during] = [await person(), await person()]
    await endUserTokens(prisma, before, change)
    const observed: number[] = []
    const watch = watchRevocations({ database: { pool }, log, observe: (seconds) => observed.push(seconds) })
    await new Promise((resolve) => setTimeout(resolve, 1_500)) // it has looked where the record stands
    expect(observed).toEqual([])
    await endUserTokens(prisma, during, change)
    await revoke(prisma, { kind: 'before', moment: new Date('2026-01-02T00:00:00Z') }, change)
    await expect.poll(() => observed.length, { timeout: 5_000 }).toBe(2)
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(observed).toHaveLength(2)
    for (const seconds of observed) expect(seconds).toBeGreaterThanOrEqual(0)
    await watch.stop()
    await endUserTokens(prisma, during, change)
    await new Promise((resolve) => setTimeout(resolve, 500))
    expect(observed).toHaveLength(2)
  })

  test('goes on after an outage, which is logged once', async () => {
    const lines: string[] = []
    let away = true
    const observed: number[] = []
    const halting = {
      query: (...args: unknown[]) =>
        away ? Promise.reject(new Error('away')) : (pool.query as (...args: unknown[]) => unknown)(...args),
    } as unknown as typeof pool
    const watch = watchRevocations({
      database: { pool: halting },
      log: createLog({ logLevel: 'info' }, { write: (line: string) => void lines.push(line) }),
      observe: (seconds) => observed.push(seconds),
    })
    await new Promise((resolve) => setTimeout(resolve, 1_000))
    expect(lines.filter((line) => line.includes('revocations.poll_failed'))).toHaveLength(1)
    away = false
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    await endUserTokens(prisma, await person(), change)
    await expect.poll(() => observed.length, { timeout: 5_000 }).toBe(1)
    await watch.stop()
  })
})
