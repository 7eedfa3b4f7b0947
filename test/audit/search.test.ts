// Looking things up: what is found is what was asked for, page by page, and finding it reads about as many rows as it shows.
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { searchAudit } from '#src/audit/find.ts'
import { namesOf } from '#src/audit/names.ts'
import { sealAll } from '#src/audit/seal.ts'
import { type AuditRecord, readSearch, type SearchParameters, UnknownSearch } from '#src/audit/search.ts'
import type { Database } from '#src/db/database.ts'
import { createUser } from '#src/users/users.ts'
import { clearAudit } from '#test/support/audit.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { change } from '#test/support/installation.ts'
import { explain, nodesOf, type Statement } from '#test/support/plans.ts'

const size = 40_000
const batch = 4_000
let own: TestDatabase
let all: AuditRecord[]
let withoutBitmaps: pg.Pool // as searches are
beforeAll(async () => {
  own = await createTestDatabase()
  await clearAudit(own.database)
  for (let first = 1; first <= size; first += batch)
    await own.database.pool.query(
      `INSERT INTO audit_event (event, outcome, actor_kind, actor_id, target_kind, target_id, client_id, address, request_id, decision_id, at)
        SELECT (ARRAY['login.succeeded','login.failed','token.refused','user.updated'])[1 + n % 4],
          CASE WHEN n % 4 IN (1, 2) THEN 'failure' ELSE 'success' END,
          CASE WHEN n % 5 = 0 THEN 'client' ELSE 'user' END, 'actor ' || n % 900,
          CASE WHEN n % 3 = 0 THEN 'user' END, CASE WHEN n % 3 = 0 THEN 'target ' || n % 700 END,
          CASE WHEN n % 2 = 0 THEN 'client ' || n % 40 END,
          CASE WHEN n % 7 = 0 THEN '::ffff:192.0.2.' || n % 250 WHEN n % 7 = 1 THEN 'unix' WHEN n % 7 = 2 THEN NULL ELSE '10.1.' || n % 200 || '.' || n % 31 END,
          'request ' || n / 3, CASE WHEN n % 4 = 2 THEN 'decision ' || n END,
          -- Two rows of one moment now and then: the id decides.
          '2026-11-01T00:00:00Z'::timestamptz + n / 2 * interval '7 seconds'
        FROM generate_series($1::int, $2::int) n`,
      [first, first + batch - 1],
    )
  await own.database.pool.query(
    `INSERT INTO audit_event (event, outcome, actor_kind, actor_id, at) SELECT 'key.activated', 'success', 'system', 'schedule', '2025-01-01T00:00:00Z' FROM generate_series(1, 3)`,
  )
  await own.database.pool.query('VACUUM ANALYZE audit_event')
  withoutBitmaps = new pg.Pool({
    connectionString: own.url,
    max: 1,
    options: '-c enable_bitmapscan=off -c enable_seqscan=off',
  })
  await sealAll(own.database)
  all = (await searchAudit(own.database, {}, { limit: size * 2 })).records
}, 120_000)
afterAll(async () => {
  await withoutBitmaps.end()
  await own.drop()
})

async function walk(parameters: SearchParameters, limit: number, most = Number.POSITIVE_INFINITY) {
  const search = readSearch(parameters)
  const found: AuditRecord[] = []
  let after: string | undefined
  do {
    const { records, next } = await searchAudit(own.database, search, { after, limit })
    expect(records.length).toBeLessThanOrEqual(limit)
    found.push(...records)
    after = next ?? undefined
  } while (after !== undefined && found.length < most)
  return found
}

const searches: [SearchParameters, (record: AuditRecord) => boolean][] = [
  [{}, () => true],
  [{ event: 'login.failed' }, ({ event }) => event === 'login.failed'],
  [{ event: 'login.' }, ({ event }) => event.startsWith('login.')],
  [{ event: 'key.activated,token.refused' }, ({ event }) => event === 'key.activated' || event === 'token.refused'],
  [{ outcome: 'failure' }, ({ outcome }) => outcome === 'failure'],
  [{ actor: 'user:actor 17' }, ({ actorKind, actorId }) => actorKind === 'user' && actorId === 'actor 17'],
  [{ target: 'user:target 3' }, ({ targetId }) => targetId === 'target 3'],
  [{ client: 'client 8' }, ({ clientId }) => clientId === 'client 8'],
  [{ address: '192.0.2.49' }, ({ address }) => address === '::ffff:192.0.2.49'],
  [{ address: '10.1.6.0/24' }, ({ address }) => address?.startsWith('10.1.6.') ?? false],
  [{ request: 'request 77' }, ({ requestId }) => requestId === 'request 77'],
  [{ decision: 'decision 1002' }, ({ decisionId }) => decisionId === 'decision 1002'],
  [
    { from: '2026-11-02', to: '2026-11-02T03:00:00+01:00' },
    ({ at }) => at >= new Date('2026-11-02') && at < new Date('2026-11-02T02:00:00Z'),
  ],
  // Several at once, of which one is rare, or none; and what is rarely so together.
  [{ event: 'key.activated', outcome: 'success' }, ({ event }) => event === 'key.activated'],
  [{ event: 'login.failed,login.succeeded', outcome: 'success' }, ({ event }) => event === 'login.succeeded'],
  [{ address: '10.0.0.0/8' }, ({ address }) => address?.startsWith('10.') ?? false],
  [
    { address: '10.1.0.0/16', outcome: 'failure' },
    ({ address, outcome }) => (address?.startsWith('10.1.') ?? false) && outcome === 'failure',
  ],
  [
    { address: '192.0.2.0/24', client: 'client 8' },
    ({ address, clientId }) => clientId === 'client 8' && (address?.startsWith('::ffff:192.0.2.') ?? false),
  ],
  [
    { outcome: 'success', from: '2026-11-02' },
    ({ outcome, at }) => outcome === 'success' && at >= new Date('2026-11-02'),
  ],
  [
    { request: 'request 77', outcome: 'failure' },
    ({ requestId, outcome }) => requestId === 'request 77' && outcome === 'failure',
  ],
  [
    { event: 'login.', actor: 'client:actor 5', from: '2026-11-02' },
    ({ event, actorKind, actorId, at }) =>
      event.startsWith('login.') && actorKind === 'client' && actorId === 'actor 5' && at >= new Date('2026-11-02'),
  ],
]

describe('each question', () => {
  test.each(searches)('%j: all of it, once, the newest first, in pages', async (parameters, matches) => {
    const expected = all.filter(matches).map(({ id }) => id)
    expect(expected.length).toBeGreaterThan(0)
    const found = await walk(parameters, 50, 1_000)
    expect(found.map(({ id }) => id)).toEqual(expected.slice(0, found.length))
    expect(found.length).toBeGreaterThanOrEqual(Math.min(expected.length, 1_000))
  })

  test.each(searches)('%j: a page reads no more than a step, wherever it begins', async (parameters, matches) => {
    const matching = all.filter(matches)
    const middle = matching[Math.floor(matching.length / 2)]
    for (const after of [undefined, middle && `${middle.at.getTime()}-${middle.id}`]) {
      const statements: Statement[] = []
      const pool = {
        async connect() {
          const connection = await own.database.pool.connect()
          const query = (text: string, values: unknown[] = []) => {
            if (text.startsWith('SELECT')) statements.push({ name: '', text, values })
            return connection.query(text, values)
          }
          return { query, release: () => connection.release(true) }
        },
      } as unknown as Database['pool']
      await searchAudit({ pool }, readSearch(parameters), { after, limit: 50 })
      expect(statements.length).toBeGreaterThan(0)
      for (const statement of statements) {
        const { Plan } = await explain(withoutBitmaps, statement, { analyze: true })
        const scans = nodesOf(Plan).filter((node) => /Scan/.test(node['Node Type']) && node['Relation Name'])
        const read = scans.map(
          (node) =>
            (Number(node['Actual Rows'] ?? 0) + Number(node['Rows Removed by Filter'] ?? 0)) *
            Number(node['Actual Loops'] ?? 1),
        )
        expect(Math.max(...read), JSON.stringify(Plan)).toBeLessThanOrEqual(10_000) // of 40,000: a step, or a count along another index than that of what is counted
        expect(scans.map((node) => node['Node Type'])).not.toContain('Seq Scan')
      }
    }
  })
})

test('a row says its place in the chain, and has none in the second before it is sealed', async () => {
  expect(all.every(({ position, hash }) => position !== null && /^[0-9a-f]{64}$/.test(hash ?? ''))).toBe(true)
  await own.database.pool.query(
    `INSERT INTO audit_event (event, outcome, at) VALUES ('setup.failed', 'failure', '2027-01-01')`,
  )
  expect(await walk({ event: 'setup.failed' }, 5)).toMatchObject([{ position: null, hash: null }])
})

test.each<[SearchParameters, RegExp]>([
  [{ event: 'login.faild' }, /event has "login.faild", which is no event/],
  [{ event: 'login' }, /which is no event/],
  [{ outcome: 'maybe' }, /outcome is neither/],
  [{ actor: 'alice' }, /actor is not a kind and an id/],
  [{ target: ':7' }, /target is not a kind and an id/],
  [{ address: '10.0.0.0/33' }, /address is neither/],
  [{ address: 'fe80::1%eth0' }, /address is neither/],
  [{ from: '2026-11-22T12:00:00' }, /from is not a time with its offset/],
  [{ to: '2026-02-31T00:00' }, /to is not a time/],
  [{ client: '' }, /client is empty/],
  [{ request: 'a\0b' }, /request is empty, or cannot be/],
])('%j is refused: a search that means nothing must not find everything', (parameters, said) => {
  expect(() => readSearch(parameters)).toThrow(said)
})

test('everything that is wrong is said at once, and a cursor that is none is refused', async () => {
  expect(() => readSearch({ event: 'x', outcome: 'y', actor: 'z' })).toThrow(/event .*\noutcome .*\nactor /)
  await expect(searchAudit(own.database, {}, { after: '1', limit: 1 })).rejects.toThrow(UnknownSearch)
})

test('what is far between is found step by step: a page may be empty and say where to go on', async () => {
  const never = readSearch({ event: 'login.failed', outcome: 'success' })
  let [after, pages]: [string | undefined, number] = [undefined, 0]
  do {
    const { records, next } = await searchAudit(own.database, never, { after, limit: 50 })
    expect(records).toEqual([])
    after = next ?? undefined
    pages += 1
  } while (after !== undefined)
  expect(pages).toBe(3) // of 10,000 rows, 5,000 each, and the end
})

test('what is rare among what is common is on the first page', async () => {
  const { records, next } = await searchAudit(
    own.database,
    readSearch({ event: 'key.activated', outcome: 'success', address: '0.0.0.0/0' }),
    { limit: 50 },
  )
  expect([records, next]).toEqual([[], null])
  const found = await searchAudit(own.database, readSearch({ event: 'key.activated', outcome: 'success' }), {
    limit: 50,
  })
  expect([found.records.length, found.next]).toEqual([3, null])
})

test('names of people, clients and keys are looked up for a page; what is gone has none', async () => {
  const person = await createUser(own.database.prisma, { email: 'ann@example.com' }, change())
  const row = { actorKind: 'user', actorId: person.id, targetKind: 'user', targetId: 'not even an id', clientId: null }
  const names = await namesOf(own.database, [row])
  expect(names.of('user', person.id)).toBe('ann@example.com')
  expect(names.of('user', 'not even an id')).toBeUndefined()
  expect(names.of('session', person.id)).toBeUndefined()
})
