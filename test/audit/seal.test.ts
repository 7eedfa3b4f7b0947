import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { recordAudit } from '#src/audit/audit.ts'
import { chainedEvent, type EventRow, eventColumns, firstPlace, linkHash } from '#src/audit/chain.ts'
import { auditBacklog, isSealingDue, readChain, sealAll } from '#src/audit/seal.ts'
import type { Database } from '#src/db/database.ts'
import { clearAudit, tamper } from '#test/support/audit.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

let own: TestDatabase
let pool: Database['pool']
beforeAll(async () => {
  own = await createTestDatabase({ poolSize: 70 })
  pool = own.database.pool
})
afterAll(() => own.drop())
afterEach(() => clearAudit(own.database))

const write = (count: number) =>
  pool.query(
    `INSERT INTO audit_event (event, outcome, detail) SELECT 'login.failed', 'failure', jsonb_build_object('n', n) FROM generate_series(1, $1::int) n`,
    [count],
  )

/** Every row once, each hash over the one before. */
async function expectWholeChain(rows: number): Promise<void> {
  const { rows: sealed } = await pool.query<EventRow & { position: number; hash: string }>(
    `SELECT s.position::float8 AS position, encode(s.hash, 'hex') AS hash, ${eventColumns}
      FROM audit_seal s JOIN audit_event e ON e.id = s.event_id ORDER BY s.position`,
  )
  expect(sealed.map(({ position }) => position)).toEqual(Array.from({ length: rows }, (_, index) => index + 1))
  expect(new Set(sealed.map(({ id }) => id)).size).toBe(rows)
  let { hash } = firstPlace
  for (const row of sealed) {
    hash = linkHash(hash, row.position, chainedEvent(row))
    expect(row.hash).toBe(hash)
  }
  expect(await readChain(pool)).toMatchObject({ position: rows, hash })
}

test('every committed row gets a place, once, in the order of the commits', async () => {
  await write(7)
  expect(await isSealingDue(own.database)).toBe(true)
  expect(await sealAll(own.database)).toBe(7)
  expect(await isSealingDue(own.database)).toBe(false)
  expect(await sealAll(own.database)).toBe(0)
  await recordAudit(own.database.prisma, {
    event: 'user.updated',
    outcome: 'success',
    actor: { kind: 'cli', id: '0' },
    target: { kind: 'user', id: 'ü "\\ \u2028 😀' },
    detail: { fields: ['ä', 'b'], ok: true, none: null, share: 0.25 },
  })
  expect(await sealAll(own.database)).toBe(1)
  await expectWholeChain(8)
})

test('a row that is committed late, behind rows with greater ids, is sealed then', async () => {
  const late = await pool.connect()
  await late.query('BEGIN')
  await late.query(`INSERT INTO audit_event (event, outcome) VALUES ('user.updated', 'success')`)
  await write(3)
  expect(await sealAll(own.database)).toBe(3)
  await late.query('COMMIT')
  late.release()
  await write(1)
  expect(await sealAll(own.database)).toBe(2)
  await expectWholeChain(5)
})

test('what was undone is not sealed, and an open transaction holds nobody up', async () => {
  const open = await pool.connect()
  await open.query('BEGIN')
  await open.query(`INSERT INTO audit_event (event, outcome) VALUES ('user.updated', 'success')`)
  await write(2)
  expect(await sealAll(own.database)).toBe(2)
  await open.query('ROLLBACK')
  open.release()
  expect(await isSealingDue(own.database)).toBe(false)
  await expectWholeChain(2)
})

test('a walk in several steps takes what came meanwhile after it', async () => {
  await write(25)
  const late = await pool.connect()
  await late.query('BEGIN')
  await late.query(`INSERT INTO audit_event (event, outcome) VALUES ('user.updated', 'success')`)
  await write(25)
  const stop = new AbortController()
  const step = sealAll(own.database, { stepRows: 10, signal: stop.signal })
  stop.abort()
  expect(await step).toBe(10)
  await late.query('COMMIT')
  late.release()
  await write(5)
  expect(await sealAll(own.database, { stepRows: 10 })).toBe(46)
  await expectWholeChain(56)
})

test('64 writers with long transactions, two sealers at once: each row once, none missed', async () => {
  let writing = true
  const sealer = async () => {
    let sealed = 0
    while (writing) sealed += await sealAll(own.database, { stepRows: 50 })
    return sealed
  }
  const sealers = [sealer(), sealer()]
  const writer = async (number: number) => {
    const connection = await pool.connect()
    for (let round = 0; round < 6; round++) {
      await connection.query('BEGIN')
      for (let row = 0; row < 4; row++) {
        await connection.query(
          `INSERT INTO audit_event (event, outcome, target_id) VALUES ('user.updated', 'success', $1)`,
          [String(number)],
        )
        await connection.query('SELECT pg_sleep($1)', [Math.random() / 50])
      }
      await connection.query((number + round) % 5 === 0 ? 'ROLLBACK' : 'COMMIT')
    }
    connection.release()
  }
  await Promise.all(Array.from({ length: 64 }, (_, number) => writer(number)))
  writing = false
  const sealed = (await Promise.all(sealers)).reduce((sum, one) => sum + one, 0) + (await sealAll(own.database))
  const { rows } = await pool.query('SELECT count(*)::int AS count FROM audit_event')
  expect(rows[0].count).toBeGreaterThan(1_000)
  expect(sealed).toBe(rows[0].count)
  await expectWholeChain(rows[0].count)
}, 60_000)

test('a sealer that is cut off after any of its statements has done all of a step or nothing', async () => {
  await write(10)
  let rows = 10
  for (let cut = 1; cut <= 7; cut++) {
    const sealing = sealAll({ pool: breakingAfter(pool, cut) })
    if (cut < 7) await expect(sealing).rejects.toThrow(/Connection terminated|terminating connection|not queryable/)
    else expect(await sealing).toBeGreaterThan(0)
    await write(3)
    rows += 3
  }
  await sealAll(own.database)
  await expectWholeChain(rows)
})

/** The pool, whose connections are killed by the server before their n-th statement. */
function breakingAfter(real: Database['pool'], statements: number): Database['pool'] {
  return {
    async connect() {
      const connection = await real.connect()
      connection.on('error', () => undefined)
      const { rows } = await connection.query('SELECT pg_backend_pid() AS pid')
      let left = statements
      return new Proxy(connection, {
        get(target, name) {
          const value = Reflect.get(target, name)
          if (name !== 'query') return typeof value === 'function' ? value.bind(target) : value
          return async (...args: Parameters<pg.PoolClient['query']>) => {
            if (left-- === 0) {
              await real.query('SELECT pg_terminate_backend($1, 5000)', [rows[0].pid])
            }
            return (target.query as (...given: unknown[]) => unknown)(...args)
          }
        },
      })
    },
  } as unknown as Database['pool']
}

test('after a restore into a server that has not come so far, what has no seal gets one, and new rows go on', async () => {
  await write(4)
  await sealAll(own.database)
  await write(3)
  // As pg_restore leaves it: numbers of transactions that are still to come here.
  await tamper(
    own.database,
    `UPDATE audit_event SET transaction = (transaction::text::bigint + 1000000)::text::xid8; UPDATE audit_chain SET seen = '2000000:2000000:'`,
  )
  expect(await sealAll(own.database, { stepRows: 2 })).toBe(3)
  await write(2)
  expect(await sealAll(own.database)).toBe(2)
  expect(await sealAll(own.database)).toBe(0)
  await expectWholeChain(9)
})

test('the backlog is counted, and how long its oldest row waits', async () => {
  expect(await auditBacklog(own.database)).toEqual({
    unsealedRows: 0,
    unsealedSeconds: 0,
    unstreamedRows: 0,
    unstreamedSeconds: 0,
  })
  await pool.query(
    `INSERT INTO audit_event (event, outcome, at) VALUES ('login.failed', 'failure', now() - interval '1 minute')`,
  )
  await write(1)
  const waiting = await auditBacklog(own.database)
  expect(waiting).toMatchObject({ unsealedRows: 2, unstreamedRows: 0 })
  expect(waiting.unsealedSeconds).toBeGreaterThan(59)
  await sealAll(own.database)
  expect(await auditBacklog(own.database)).toMatchObject({ unsealedRows: 0, unsealedSeconds: 0, unstreamedRows: 2 })
})

describe('the database refuses', () => {
  test.each([
    ['a change', `UPDATE audit_event SET outcome = 'success'`],
    ['a change of nothing', `UPDATE audit_event SET outcome = 'success' WHERE false`],
    ['a removal', 'DELETE FROM audit_event'],
    ['emptying', 'TRUNCATE audit_event'],
    ['emptying along with others', 'TRUNCATE token, audit_event CASCADE'],
    ['another hash', `UPDATE audit_seal SET hash = '\\x00'`],
    ['a seal less', 'DELETE FROM audit_seal'],
    ['emptying the seals', 'TRUNCATE audit_seal'],
    ['a checkpoint less', 'DELETE FROM audit_checkpoint'],
    ['another checkpoint', `UPDATE audit_checkpoint SET position = 1`],
    ['a shorter chain', 'UPDATE audit_chain SET position = position - 1'],
    ['no chain', 'DELETE FROM audit_chain'],
    ['emptying the chain', 'TRUNCATE audit_chain'],
  ])('%s', async (_what, sql) => {
    await write(1)
    await sealAll(own.database)
    await pool.query(`INSERT INTO audit_checkpoint (position, statement) VALUES (1, 'x')`)
    await expect(pool.query(sql)).rejects.toMatchObject({
      code: '42501',
      message: expect.stringContaining('append-only'),
    })
    // Nor in a session that plays the replica, where ordinary triggers sleep.
    const connection = await pool.connect()
    await connection.query(`SET session_replication_role = 'replica'`)
    await expect(connection.query(sql)).rejects.toMatchObject({ code: '42501' })
    connection.release(true)
  })

  test('rows whose ids were taken from a foreign seal are not sealed twice', async () => {
    await write(1)
    await sealAll(own.database)
    await expect(
      pool.query(`INSERT INTO audit_seal (position, event_id, hash) SELECT 99, id, '\\x00' FROM audit_event`),
    ).rejects.toMatchObject({ code: '23505' })
  })
})
