// A database that says why it will not serve: whichever way a room asked it, that is told from a fault of ours (503, not 500).
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { closeDatabase, type Database, isUnavailable, openDatabase } from '#src/db/database.ts'

let database: Database
let server: Server
afterEach(async () => {
  await closeDatabase(database)
  server.close()
})

/** Speaks just enough of PostgreSQL's protocol to refuse: ErrorResponse with severity, SQLSTATE and message. */
async function startRefusing(sqlState: string, message: string): Promise<string> {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${sqlState}\0M${message}\0\0`)
  const head = Buffer.from('E\0\0\0\0')
  head.writeUInt32BE(fields.length + 4, 1)
  server = createServer((socket: Socket) => {
    socket.on('error', () => socket.destroy())
    socket.once('data', () => socket.end(Buffer.concat([head, fields])))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `postgresql://sallyport@127.0.0.1:${(server.address() as AddressInfo).port}/sallyport`
}

test.each([
  ['57P03', 'the database system is starting up'],
  ['57P01', 'terminating connection due to administrator command'],
  ['53300', 'sorry, too many clients already'],
  ['08006', 'connection failure'],
])('SQLSTATE %s (%s) is unavailability, through the pool and through Prisma', async (sqlState, message) => {
  database = openDatabase(await startRefusing(sqlState, message), { poolSize: 1, onError: () => undefined })
  const direct = await database.pool.query('SELECT 1').catch((error: unknown) => error)
  expect(isUnavailable(direct), String(direct)).toBe(true)
  const throughPrisma = await database.prisma.user.count().catch((error: unknown) => error)
  expect(isUnavailable(throughPrisma), String(throughPrisma)).toBe(true)
})

test('a refusal that no waiting heals is none', async () => {
  database = openDatabase(await startRefusing('28P01', 'password authentication failed'), {
    poolSize: 1,
    onError: () => undefined,
  })
  for (const ask of [() => database.pool.query('SELECT 1'), () => database.prisma.user.count()])
    expect(isUnavailable(await ask().catch((error: unknown) => error))).toBe(false)
})
