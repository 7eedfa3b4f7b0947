// Prisma's adapter writes and reads moments without their offset, as if every session spoke UTC. Many servers do not by themselves.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'

let elsewhere: TestDatabase
const opened: Database[] = []
beforeAll(async () => {
  elsewhere = await createTestDatabase()
  const { pool } = elsewhere.database
  const { rows } = await pool.query('SELECT current_database() AS name')
  await pool.query(`ALTER DATABASE ${rows[0].name} SET timezone = 'Asia/Kolkata'`) // five and a half hours ahead
})
afterAll(async () => {
  await Promise.all(opened.map(closeDatabase))
  await elsewhere.drop()
})

const open = (url = elsewhere.url) => {
  const database = openDatabase(url, { poolSize: 2, onError: () => undefined })
  opened.push(database)
  return database
}

test('a moment is the same one to Prisma, to the pool and to the server, whatever time zone the server is set to', async () => {
  const { prisma, pool } = open()
  const expiresAt = new Date('2026-11-26T16:00:00.123Z')
  const id = new Uint8Array(32)
  await prisma.setupCode.create({ data: { id, expiresAt } })
  const { rows } = await pool.query('SELECT expires_at, extract(epoch FROM expires_at) AS epoch FROM setup_code')
  expect(rows).toEqual([{ expires_at: expiresAt, epoch: String(expiresAt.getTime() / 1000).padEnd(17, '0') }])
  await pool.query('UPDATE setup_code SET expires_at = $1', [new Date(expiresAt.getTime() + 1)])
  expect((await prisma.setupCode.findUniqueOrThrow({ where: { id } })).expiresAt.getTime()).toBe(
    expiresAt.getTime() + 1,
  )
  const [row] = await prisma.$queryRaw<{ now: Date }[]>`SELECT now() AS now`
  expect(Math.abs((row?.now.getTime() ?? 0) - Date.now())).toBeLessThan(60_000)
})

test('what DATABASE_URL asks of a session is asked as well', async () => {
  const url = new URL(elsewhere.url)
  url.searchParams.set('options', '-c work_mem=7MB')
  const { rows } = await open(url.href).pool.query(
    `SELECT current_setting('work_mem') AS work_mem, current_setting('timezone') AS timezone`,
  )
  expect(rows).toEqual([{ work_mem: '7MB', timezone: 'UTC' }])
})
