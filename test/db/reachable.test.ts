import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'
import { untilReachable } from '#src/db/reachable.ts'
import { createLog } from '#src/log.ts'
import { createTestDatabase } from '#test/support/database.ts'
import { freePort } from '#test/support/processes.ts'

const log = createLog({ logLevel: 'silent' })

async function withDatabase<T>(url: string, work: (database: Database) => Promise<T>): Promise<T> {
  const database = openDatabase(url, { poolSize: 1, onError: () => undefined })
  return work(database).finally(() => closeDatabase(database))
}

test('a database that comes up late is waited for', async () => {
  const { url, drop } = await createTestDatabase()
  const socket = join(new URL(url).searchParams.get('host') ?? '', '.s.PGSQL.5432')
  const door = createServer((client) => {
    client.pipe(connect(socket)).pipe(client)
  })
  const port = await freePort()
  const late = new URL(url)
  late.search = ''
  late.host = `127.0.0.1:${port}`
  const opens = delay(700).then(() => door.listen(port, '127.0.0.1'))
  await withDatabase(late.href, (database) => untilReachable(database, { log }))
  await opens
  door.close()
  await drop()
})

test('one that stays away is given up after the time, with its place and without its password', async () => {
  const waiting = withDatabase('postgresql://user:hunter2@127.0.0.1:1/shop', (database) =>
    untilReachable(database, { log, timeoutMs: 600 }),
  )
  await expect(waiting).rejects.toThrow(
    'The database at 127.0.0.1:1/shop did not answer within 0.6 s (ECONNREFUSED). Start it, or correct DATABASE_URL.',
  )
})

test('a wrong password is not tried again', async () => {
  const { url, drop } = await createTestDatabase()
  const wrong = new URL(url)
  wrong.password = 'hunter2'
  const refused = withDatabase(wrong.href, (database) => untilReachable(database, { log }))
  await expect(refused).rejects.toThrow(
    /refused the connection: password authentication failed for user "sallyport"\. Check DATABASE_URL\.$/,
  )
  await drop()
})

test('a stop signal ends the wait', async () => {
  const waiting = withDatabase('postgresql://user@127.0.0.1:1/shop', (database) =>
    untilReachable(database, { log, signal: AbortSignal.timeout(100) }),
  )
  await expect(waiting).rejects.toThrow(/^Stopped while waiting for the database at 127\.0\.0\.1:1\/shop/)
})
