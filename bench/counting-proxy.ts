// Stands between a server and PostgreSQL and counts what the server asks for. A round trip is a message after which the client
// waits for "ready": Sync, or a simple Query (PostgreSQL protocol 3, chapter 54.7).
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'

export type CountingProxy = { url: string; roundTrips(): number; stop(): void }

/** @param url of a database behind a unix socket, as the embedded PostgreSQL gives it. */
export async function startCountingProxy(url: string): Promise<CountingProxy> {
  const target = new URL(url)
  const folder = target.searchParams.get('host')
  if (!folder) throw new Error('expected the address of a unix socket')
  const sockets = new Set<Socket>()
  let count = 0
  const server = createServer((client) => {
    const database = connect(join(folder, '.s.PGSQL.5432'))
    const read = frontendMessages((type) => {
      if (type === 'S' || type === 'Q') count++
    })
    client.on('data', read)
    client.pipe(database).pipe(client)
    for (const socket of [client, database]) {
      sockets.add(socket)
      socket.on('error', () => undefined) // the other end tells its user
      socket.on('close', () => {
        sockets.delete(socket)
        client.destroy()
        database.destroy()
      })
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  target.searchParams.delete('host')
  target.hostname = '127.0.0.1'
  target.port = String((server.address() as AddressInfo).port)
  return {
    url: target.href,
    roundTrips: () => count,
    stop() {
      server.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}

/** The first message of a connection has no type byte, every other one has: type, length (itself included), body. */
function frontendMessages(onMessage: (type: string) => void): (chunk: Buffer) => void {
  let pending: Buffer = Buffer.alloc(0)
  let started = false
  return (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    for (;;) {
      const typed = started ? 1 : 0
      if (pending.length < typed + 4) return
      const end = typed + pending.readUInt32BE(typed)
      if (pending.length < end) return
      if (started) onMessage(String.fromCharCode(pending[0] ?? 0))
      started = true
      pending = pending.subarray(end)
    }
  }
}
