// The benchmark believes what this little client reads, so it is tested like anything else that is believed.
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { Connection, header, WrongAnswer } from '../../bench/connection.ts'

const opened: { close(): void }[] = []
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
})

/** @param reply what the server does for each request. */
async function connectTo(reply: (socket: Socket, request: string) => unknown) {
  const server = createServer((socket) => {
    socket.on('data', (data) => reply(socket, data.toString()))
    socket.on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const connection = await Connection.open((server.address() as AddressInfo).port)
  opened.push(connection, server)
  return connection
}

describe('the connection of the load', () => {
  test('reads an answer that arrives in pieces, by its length in bytes', async () => {
    const text = 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\ncontent-length: 6\r\n\r\nmüsli'
    const connection = await connectTo(async (socket) => {
      for (const byte of Buffer.from(text)) {
        socket.write(Buffer.from([byte]))
        await delay(0)
      }
    })
    const answer = await connection.get('/')
    expect(answer.status).toBe(200)
    expect(Buffer.from(answer.body, 'latin1').toString()).toBe('müsli')
  })

  test('takes a new connection after an answer that closes the one it has', async () => {
    const sockets = new Set<Socket>()
    const connection = await connectTo((socket) => {
      sockets.add(socket)
      const end = sockets.size === 1 ? 'Connection: close\r\n' : ''
      socket.end(`HTTP/1.1 200 OK\r\n${end}Content-Length: 1\r\n\r\n${sockets.size}`)
    })
    expect((await connection.get('/')).body).toBe('1')
    expect((await connection.get('/')).body).toBe('2')
  })

  test('keeps the connection: the second answer belongs to the second request', async () => {
    let count = 0
    const connection = await connectTo((socket) =>
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n${++count}`),
    )
    expect((await connection.get('/')).body).toBe('1')
    expect((await connection.post('/', '', 'a=b')).body).toBe('2')
  })

  test('a 204 has no body, whatever is said about its length', async () => {
    const connection = await connectTo((socket) => socket.write('HTTP/1.1 204 No Content\r\n\r\n'))
    expect(await connection.get('/')).toMatchObject({ status: 204, body: '' })
  })

  test.each([
    ['has no length', (socket: Socket) => socket.write('HTTP/1.1 200 OK\r\n\r\n')],
    ['never comes', (socket: Socket) => socket.destroy()],
    ['is cut off', (socket: Socket) => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1234')],
  ])('an answer that %s is a wrong answer', async (_, reply) => {
    const connection = await connectTo(reply)
    await expect(connection.get('/')).rejects.toThrow(WrongAnswer)
  })

  test('finds a header whatever its case, and not inside another one', () => {
    const head = 'HTTP/1.1 303 See Other\r\nX-Location: no\r\nLOCATION: /there\r\n'
    expect(header(head, 'location')).toBe('/there')
    expect(header(head, 'etag')).toBeUndefined()
  })
})
