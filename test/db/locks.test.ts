// Rows that somebody keeps locked, and rows that two want in another order: who waits gets an answer in time, and no connection goes
// back to the others in the middle of something.
import pg from 'pg'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  closeDatabase,
  type Database,
  isContended,
  isUnavailable,
  openDatabase,
  type Prisma,
} from '#src/db/database.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { waitingForLocks } from '#test/support/locks.ts'

let own: TestDatabase
let single: Database
beforeEach(async () => {
  own = await createTestDatabase()
  single = openDatabase(own.url, { poolSize: 1, onError: () => undefined })
  await own.database.pool.query(
    `INSERT INTO setting (name, value, updated_at) VALUES ('one', '1', now()), ('two', '2', now())`,
  )
})
afterEach(async () => {
  await closeDatabase(single)
  await own.drop()
})

const write = (database: Database, name: string, value: string) =>
  database.pool.query('UPDATE setting SET value = $2 WHERE name = $1', [name, value])
const stored = async () =>
  Object.fromEntries(
    (await own.database.pool.query('SELECT name, value FROM setting')).rows.map((row) => [row.name, row.value]),
  )
const hold = async (name: string) => {
  const connection = new pg.Client({ connectionString: own.url })
  connection.on('error', () => undefined) // the database is dropped under it when a test fails
  await connection.connect()
  await connection.query("SET deadlock_timeout = '1h'") // whoever meets it is the one to be ended
  await connection.query('BEGIN')
  await connection.query('SELECT FROM setting WHERE name = $1 FOR UPDATE', [name])
  return {
    want: (other: string) => connection.query('SELECT FROM setting WHERE name = $1 FOR UPDATE', [other]),
    letGo: () => connection.query('COMMIT').then(() => connection.end()),
  }
}
const transaction = (database: Database, ...names: string[]) =>
  database.prisma.$transaction(async (tx) => {
    for (const name of names) await tx.setting.update({ where: { name }, data: { value: '9' } })
  })

test('a transaction that waits for a row somebody keeps is ended by the database, and told as unavailable', async () => {
  const { letGo } = await hold('two')
  const error = await transaction(single, 'one', 'two').catch((error: unknown) => error)
  expect(String((error as Error).message)).toMatch(/lock timeout/)
  expect(isUnavailable(error)).toBe(true)
  await write(single, 'one', '3')
  await letGo()
  expect(await stored(), 'nothing of it, and what came after on the same connection').toEqual({ one: '3', two: '2' })
})

test('a connection whose ROLLBACK was given up on serves nobody else: what others write is kept', async () => {
  await single.pool.query('SET lock_timeout = 0') // the database says nothing for longer than anybody waits: a disk that stalls, say
  const { letGo } = await hold('one')
  const error = await transaction(single, 'one').catch((error: unknown) => error)
  expect(isUnavailable(error), String(error)).toBe(true)
  await letGo()
  await write(single, 'two', '3')
  await expect.poll(stored).toEqual({ one: '1', two: '3' })
})

test.each([
  ['its client', (tx: Prisma.TransactionClient) => tx.setting.update({ where: { name: 'two' }, data: { value: '9' } })],
  ['plain SQL', (tx: Prisma.TransactionClient) => tx.$executeRaw`UPDATE setting SET value = '9' WHERE name = 'two'`],
])(
  'of two that wait for each other one is ended, and that is told from a fault of ours: Prisma by %s',
  async (_, write) => {
    const { want, letGo } = await hold('two')
    let wanted: Promise<unknown> = Promise.resolve()
    const error = await single.prisma
      .$transaction(async (tx) => {
        await tx.setting.update({ where: { name: 'one' }, data: { value: '9' } })
        wanted = want('one')
        await expect.poll(() => waitingForLocks(own.database)).toBe(1)
        await write(tx)
      })
      .catch((error: unknown) => error)
    expect(isContended(error), String(error)).toBe(true)
    expect(isUnavailable(error)).toBe(false)
    await wanted
    await letGo()
  },
)
