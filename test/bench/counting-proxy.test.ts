import pg from 'pg'
import { afterEach, expect, test } from 'vitest'
import { type CountingProxy, startCountingProxy } from '../../bench/counting-proxy.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'

let database: TestDatabase
let proxy: CountingProxy
afterEach(async () => {
  proxy.stop()
  await database.drop()
})

test('counts one round trip for each statement, plain or prepared, however long', async () => {
  database = await createTestDatabase({ migrated: false })
  proxy = await startCountingProxy(database.url)
  const client = new pg.Client({ connectionString: proxy.url })
  await client.connect()
  const before = proxy.roundTrips()
  await client.query('SELECT 1')
  for (let n = 0; n < 3; n++) await client.query({ name: 'named', text: 'SELECT $1::int', values: [n] })
  const { rows } = await client.query('SELECT length($1) AS length', ['S'.repeat(300_000)])
  expect(rows).toEqual([{ length: 300_000 }])
  expect(proxy.roundTrips() - before).toBe(5)
  await client.end()
})
