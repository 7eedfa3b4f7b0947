// Whoever owns the tables can change them. What they did is found.
import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { ChainContradicted, careForChain, isChainDue, signCheckpoint } from '#src/audit/checkpoints.ts'
import { endOfRetention, removeOldEvents } from '#src/audit/retention.ts'
import { readChain, sealAll } from '#src/audit/seal.ts'
import { verifyDatabase } from '#src/audit/verify.ts'
import { rotateSigningKeys } from '#src/keys/key-rotation.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { ensureSigningKeys } from '#src/keys/signing-keys.ts'
import { createStatementSigner, statementKeys } from '#src/keys/statement-signer.ts'
import { clearAudit, tamper } from '#test/support/audit.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

const secretKeys = createSecretKeys([randomBytes(32)])
const now = () => new Date()
let own: TestDatabase
let chain: Parameters<typeof careForChain>[0]
beforeAll(async () => {
  own = await createTestDatabase()
  await ensureSigningKeys(own.database, secretKeys, now())
  chain = {
    database: own.database,
    sign: createStatementSigner(own.database, secretKeys),
    issuer: 'https://id.example.com',
  }
})
afterAll(() => own.drop())
afterEach(() => clearAudit(own.database))

const write = (count: number, at = 'now()') =>
  own.database.pool.query(
    `INSERT INTO audit_event (event, outcome, actor_kind, actor_id, at, detail)
      SELECT 'login.failed', 'failure', 'user', 'somebody', ${at}, jsonb_build_object('n', n) FROM generate_series(1, $1::int) n`,
    [count],
  )
const verify = async (witness?: { position: number; hash: string }) =>
  verifyDatabase(own.database, { keys: await statementKeys(own.database, secretKeys), witness })
const problems = async () => (await verify()).findings.map(({ problem, position }) => `${problem} ${position ?? '-'}`)
const idAt = async (position: number) =>
  (await own.database.pool.query('SELECT event_id AS id FROM audit_seal WHERE position = $1', [position])).rows[0].id

/** Ten rows, signed up to the eighth. */
async function eightSignedOfTen(): Promise<void> {
  await clearAudit(own.database)
  await write(8)
  await careForChain(chain, { now: now() })
  await write(2)
  await sealAll(own.database)
}

describe('a record of ten rows, eight of them signed', () => {
  beforeEach(eightSignedOfTen)

  test('holds, and says how far it is signed', async () => {
    expect(await verify()).toEqual({
      ok: true,
      rows: 10,
      from: 1,
      to: 10,
      signedTo: 8,
      checkpoints: 1,
      unknownKeys: 0,
      findings: [],
      more: 0,
    })
  })

  test.each([
    ['event', `'login.succeeded'`],
    ['outcome', `'success'`],
    ['at', `at + interval '1 millisecond'`],
    ['actor_kind', 'NULL'],
    ['actor_id', `'somebody else'`],
    ['target_kind', `'user'`],
    ['target_id', `'x'`],
    ['client_id', `'shop'`],
    ['address', `'192.0.2.1'`],
    ['user_agent', `''`],
    ['request_id', `'r'`],
    ['decision_id', `'d'`],
    ['detail', `'{"n": 6}'`],
    ['id', '999999'],
  ])('another %s in one row breaks the chain there', async (column, value) => {
    const id = await idAt(5)
    const follow = column === 'id' ? `; UPDATE audit_seal SET event_id = 999999 WHERE position = 5` : ''
    await tamper(own.database, `UPDATE audit_event SET ${column} = ${value} WHERE id = ${id}${follow}`)
    expect((await verify()).findings).toEqual([
      {
        problem: 'link_broken',
        position: 5,
        eventId: column === 'id' ? '999999' : String(id),
        text: expect.stringContaining('breaks at place 5'),
      },
    ])
  })

  test('a row less', async () => {
    await tamper(own.database, `DELETE FROM audit_event WHERE id = ${await idAt(3)}`)
    expect(await problems()).toEqual(['row_missing 3'])
  })

  test('a row less with its seal', async () => {
    await tamper(
      own.database,
      `DELETE FROM audit_event WHERE id = ${await idAt(3)}; DELETE FROM audit_seal WHERE position = 3`,
    )
    expect(await problems()).toEqual(['place_missing 3'])
  })

  test('a row less, and those behind it moved up', async () => {
    await tamper(
      own.database,
      `DELETE FROM audit_event WHERE id = ${await idAt(3)}; DELETE FROM audit_seal WHERE position = 3;
        UPDATE audit_seal SET position = position - 1001 WHERE position > 3; UPDATE audit_seal SET position = position + 1000 WHERE position < 0;
        UPDATE audit_chain SET position = 9`,
    )
    expect(await problems()).toContain('link_broken 3')
  })

  test('a row more, past the sealer', async () => {
    await tamper(
      own.database,
      `INSERT INTO audit_event (event, outcome, transaction) VALUES ('login.succeeded', 'success', '3')`,
    )
    await sealAll(own.database)
    const [finding] = (await verify()).findings
    expect(finding).toMatchObject({ problem: 'row_unsealed', eventId: expect.any(String) })
  })

  test('two rows in each other’s place', async () => {
    const [one, other] = [await idAt(4), await idAt(6)]
    await tamper(
      own.database,
      `UPDATE audit_seal SET event_id = -1 WHERE position = 4; UPDATE audit_seal SET event_id = ${one} WHERE position = 6;
        UPDATE audit_seal SET event_id = ${other} WHERE position = 4`,
    )
    expect(await problems()).toEqual(['link_broken 4', 'link_broken 6'])
  })

  test('another seal', async () => {
    await tamper(own.database, `UPDATE audit_seal SET hash = decode(repeat('ab', 32), 'hex') WHERE position = 6`)
    expect(await problems()).toEqual(['link_broken 6', 'link_broken 7'])
  })

  test('an end that was cut off contradicts the head of the chain, and what was signed', async () => {
    const cut = (from: number) =>
      `DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_seal WHERE position >= ${from});
        DELETE FROM audit_seal WHERE position >= ${from}`
    await tamper(own.database, cut(9))
    expect(await problems()).toEqual(['cut_off 8'])
    await eightSignedOfTen()
    // The head taken back with it: below what was signed that shows, too.
    const { rows } = await own.database.pool.query(
      `SELECT encode(hash, 'hex') AS hash FROM audit_seal WHERE position = 6`,
    )
    await tamper(
      own.database,
      `${cut(7)}; UPDATE audit_chain SET position = 6, hash = decode('${rows[0].hash}', 'hex')`,
    )
    expect(await problems()).toEqual(['cut_off 8'])
    // Only what was never signed can be cut off unseen from inside, for at most a minute. A witness sees it.
    await eightSignedOfTen()
    const { position, hash } = await readChain(own.database.pool)
    const eighth = (
      await own.database.pool.query(`SELECT encode(hash, 'hex') AS hash FROM audit_seal WHERE position = 8`)
    ).rows[0]
    await tamper(own.database, `${cut(9)}; UPDATE audit_chain SET position = 8, hash = decode('${eighth.hash}', 'hex')`)
    expect(await problems()).toEqual([])
    expect((await verify({ position, hash })).findings).toMatchObject([
      { problem: 'witness_contradicted', position: 10 },
    ])
  })

  test('a record that was rewritten with all its hashes contradicts what was signed, and is not signed again', async () => {
    await tamper(
      own.database,
      `UPDATE audit_event SET outcome = 'success' WHERE id = ${await idAt(2)};
        DELETE FROM audit_seal; UPDATE audit_chain SET position = 0, hash = decode(repeat('00', 32), 'hex'), seen = '1:1:'`,
    )
    expect(await sealAll(own.database)).toBe(10)
    expect(await problems()).toEqual(['checkpoint_contradicted 8'])
    await write(1)
    await expect(careForChain(chain, { now: new Date(Date.now() + 61_000) })).rejects.toThrow(ChainContradicted)
  })

  test('a checkpoint that somebody else signed', async () => {
    const theirs = createSecretKeys([randomBytes(32)])
    const elsewhere = await createTestDatabase()
    await ensureSigningKeys(elsewhere.database, theirs, now())
    const { statement } = await createStatementSigner(elsewhere.database, theirs)('audit-checkpoint+jwt', {
      position: 8,
      hash: 'ab'.repeat(32),
      start: { position: 0, hash: '0'.repeat(64) },
    })
    await elsewhere.drop()
    await tamper(own.database, `UPDATE audit_checkpoint SET statement = '${statement}'`)
    expect(await problems()).toEqual(['checkpoint_contradicted 8', 'unsigned -'])
    // A signature that does not fit its words.
    await eightSignedOfTen()
    await tamper(
      own.database,
      `UPDATE audit_checkpoint SET statement = split_part(statement, '.', 1) || '.' || '${statement.split('.')[1]}' || '.' || split_part(statement, '.', 3)`,
    )
    expect(await problems()).toEqual(['signature_bad 8', 'unsigned -'])
  })

  test('a front that was taken away without retention', async () => {
    await tamper(
      own.database,
      `UPDATE audit_chain SET start_position = 3, start_hash = (SELECT hash FROM audit_seal WHERE position = 3);
        DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_seal WHERE position <= 3); DELETE FROM audit_seal WHERE position <= 3`,
    )
    expect(await problems()).toEqual(['start_contradicted 3'])
  })

  test('signs once a minute at most, and whatever is there for an export', async () => {
    expect(await isChainDue(own.database, now())).toBe(false)
    expect((await careForChain(chain, { now: now() })).signed).toBeUndefined()
    const later = new Date(Date.now() + 61_000)
    expect(await isChainDue(own.database, later)).toBe(true)
    expect((await careForChain(chain, { now: later })).signed).toMatchObject({ position: 10 })
    expect(await isChainDue(own.database, new Date(Date.now() + 200_000))).toBe(false)
    await write(1)
    await sealAll(own.database)
    expect(await signCheckpoint(chain, now())).toMatchObject({ position: 11 })
    expect(await signCheckpoint(chain, now())).toBeUndefined()
    expect(await verify()).toMatchObject({ ok: true, signedTo: 11, checkpoints: 3 })
  })

  test('two that sign at once sign once, and a key that follows another goes on', async () => {
    const later = new Date(Date.now() + 61_000)
    await Promise.all([careForChain(chain, { now: later }), careForChain(chain, { now: later })])
    expect(await verify()).toMatchObject({ ok: true, checkpoints: 2 })
    const change = { now: now(), actor: { kind: 'system' as const } }
    await rotateSigningKeys(own.database, secretKeys, { afterSeconds: 0, unannounced: true, change })
    await careForChain(chain, { now: new Date(Date.now() + 200_000) })
    // Once the old key has left, what it signed is compared and no longer checked.
    await own.database.pool.query(`DELETE FROM signing_key WHERE state = 'retired'`)
    expect(await verify()).toMatchObject({ ok: true, signedTo: 19, checkpoints: 3, unknownKeys: 2 })
  })
})

describe('retention', () => {
  const remove = (options: Partial<Parameters<typeof removeOldEvents>[1]> = {}) =>
    removeOldEvents(chain, { before: endOfRetention(now(), 30), keepUnstreamed: false, now: now(), ...options })

  test('whole days by UTC', () => {
    expect(endOfRetention(new Date('2026-03-01T00:30:00Z'), 1).toISOString()).toBe('2026-02-28T00:00:00.000Z')
    expect(endOfRetention(new Date('2026-03-01T23:30:00-02:00'), 0).toISOString()).toBe('2026-03-02T00:00:00.000Z')
  })

  test('the oldest rows leave in batches, it is recorded, and what is left is proven from there on', async () => {
    await write(25, `now() - interval '40 days'`)
    await careForChain(chain, { now: now() })
    await write(5)
    await sealAll(own.database)
    expect(await remove({ batchRows: 10 })).toBe(25)
    await sealAll(own.database)
    const { rows } = await own.database.pool.query(
      `SELECT event, outcome, actor_id AS actor, detail FROM audit_event WHERE event = 'audit.removed' ORDER BY id`,
    )
    const before = endOfRetention(now(), 30).toISOString()
    expect(rows).toEqual(
      [
        [1, 10],
        [11, 20],
        [21, 25],
      ].map(([from, to]) => ({
        event: 'audit.removed',
        outcome: 'success',
        actor: 'retention',
        detail: { from, to, before },
      })),
    )
    expect(await verify()).toMatchObject({ ok: true, rows: 8, from: 26, to: 33, signedTo: 30, findings: [] })
    expect(await remove()).toBe(0)
    // Each of the two ends of the cut is held by the signature.
    await tamper(own.database, 'UPDATE audit_chain SET start_hash = decode(repeat($$ab$$, 32), $$hex$$)')
    expect(await problems()).toEqual(['link_broken 26', 'start_contradicted 25'])
  })

  test('an old row behind a young one stays until that one leaves: the chain has no holes', async () => {
    await write(2, `now() - interval '40 days'`)
    await write(1)
    await sealAll(own.database)
    await write(2, `now() - interval '40 days'`)
    await sealAll(own.database)
    expect(await remove()).toBe(2)
    await sealAll(own.database)
    expect(await verify()).toMatchObject({ ok: true, from: 3, rows: 4 })
  })

  test('what was not sent yet stays, however old', async () => {
    await write(5, `now() - interval '40 days'`)
    await sealAll(own.database)
    expect(await remove({ keepUnstreamed: true })).toBe(0)
    await own.database.pool.query('UPDATE audit_chain SET streamed_position = 2')
    expect(await remove({ keepUnstreamed: true })).toBe(2)
  })

  test('two at once remove each row once', async () => {
    await write(50, `now() - interval '40 days'`)
    await careForChain(chain, { now: now() })
    const removed = await Promise.all([remove({ batchRows: 10 }), remove({ batchRows: 10 })])
    while ((await remove({ batchRows: 10 })) > 0);
    expect(removed[0] + removed[1]).toBeLessThanOrEqual(50)
    await sealAll(own.database)
    expect(await verify()).toMatchObject({ ok: true, from: 51 })
  })
})
