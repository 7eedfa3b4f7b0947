// Every hot statement finds its rows by an index, and goes on doing so however the server came to its plan: with the values in sight
// or, as a prepared statement after a few calls, without.

import pg from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createTestDatabase, hasPostgres15, type TestDatabase } from '#test/support/database.ts'
import { fillLedger, fillNeighbours, furnishLedger } from '#test/support/ledger-rows.ts'
import { explain, hotStatements, wholeTables } from '#test/support/plans.ts'

const servers = ['embedded' as const, ...(hasPostgres15() ? [15 as const] : [])]

describe.each(servers)('on PostgreSQL %s with 100,000 tokens', (server) => {
  let own: TestDatabase
  beforeAll(async () => {
    own = await createTestDatabase({ server })
    const pool = new pg.Pool({ connectionString: own.url }) // without the limits of ours: filling takes longer
    await furnishLedger(pool)
    await fillLedger(pool, { first: 0, count: 100_000, until: new Date(), seconds: 600 })
    await fillNeighbours(pool)
    await pool.query('ANALYZE')
    await pool.end()
  })
  afterAll(() => own.drop())

  test.each([false, true])(
    'no hot statement reads a table that grows as a whole (generic plan: %s)',
    async (generic) => {
      const statements = await hotStatements(2_000)
      expect(statements.length).toBeGreaterThan(25)
      const found: Record<string, string[]> = {}
      for (const statement of statements) {
        const whole = wholeTables(await explain(own.database.pool, statement, { generic }))
        if (whole.length > 0) found[statement.name] = whole
      }
      expect(found).toEqual({})
    },
  )

  test('the check sees a table that is read as a whole', async () => {
    const statement = { name: '', text: 'SELECT count(*) FROM token WHERE client_id = $1', values: ['client-1'] }
    expect(wholeTables(await explain(own.database.pool, statement))).toEqual(['token'])
  })
})
