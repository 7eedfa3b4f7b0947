import { EventEmitter, once } from 'node:events'
import { type RequestListener, request } from 'node:http'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { createListener, type Listener } from '#src/http/listener.ts'

const listeners: Listener[] = []
afterEach(async () => {
  for (const listener of listeners.splice(0)) await listener.drain(0)
})

async function serve(callback: RequestListener = (_, response) => response.end('hello')) {
  const arrivals = new EventEmitter()
  const listener = createListener((incoming, response) => {
    callback(incoming, response)
    arrivals.emit('request')
  })
  listeners.push(listener)
  return { ...listener, arrivals, port: await listener.listen({ host: '127.0.0.1', port: 0 }) }
}

/** Sends bytes and returns all that comes back until the server closes. */
async function raw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.write(bytes)
  return text(socket)
}

test.each([
  ['what is not HTTP', 'hello\r\n\r\n', '400 Bad Request'],
  ['an unknown method', 'GRAB / HTTP/1.1\r\nHost: a\r\n\r\n', '400 Bad Request'],
  [
    'two lengths (RFC 9112 6.3)',
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    '400 Bad Request',
  ],
  [
    'a length and chunks (RFC 9112 6.1)',
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    '400 Bad Request',
  ],
  ['a control character in a header', 'GET / HTTP/1.1\r\nHost: a\r\nX: a\u0000b\r\n\r\n', '400 Bad Request'],
  [
    'headers over 16 KiB',
    `GET / HTTP/1.1\r\nHost: a\r\nCookie: ${'a'.repeat(17_000)}\r\n\r\n`,
    '431 Request Header Fields Too Large',
  ],
  ['an address over 16 KiB', `GET /${'a'.repeat(17_000)} HTTP/1.1\r\nHost: a\r\n\r\n`, '414 URI Too Long'],
])('refuses %s with one clean answer and closes', async (_what, bytes, status) => {
  const { port } = await serve()
  const [head = '', body] = (await raw(port, bytes)).split('\r\n\r\n')
  expect(head.split('\r\n')).toEqual([
    `HTTP/1.1 ${status}`,
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${status.length - 3}`,
    'Cache-Control: no-store',
    'X-Content-Type-Options: nosniff',
    'Connection: close',
  ])
  expect(body).toBe(`${status.slice(4)}\n`)
})

test('answers a long line that is within the limit', async () => {
  const { port } = await serve()
  expect(await raw(port, `GET /${'a'.repeat(15_000)} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)).toMatch(
    /^HTTP\/1.1 200 OK/,
  )
})

test('gives a client that sends its headers too slowly 408, not for ever', async () => {
  const { port } = await serve()
  expect(await raw(port, 'GET / HTTP/1.1\r\nHost:')).toMatch(/^HTTP\/1\.1 408 Request Timeout\r\n/)
}, 20_000)

test('a port in use is one sentence that says what to do', async () => {
  const { port } = await serve()
  await expect(createListener(() => undefined).listen({ host: '127.0.0.1', port })).rejects.toThrow(
    `Port ${port} on 127.0.0.1 is in use by another program. Stop it, or set PORT (and ISSUER_URL with it).`,
  )
})

test('drains: the request in flight finishes, silent connections close, new ones are refused', async () => {
  let release = () => undefined as unknown
  const { drain, arrivals, port } = await serve((_, response) => {
    release = () => response.end('finished')
  })
  const silent = connect(port, '127.0.0.1')
  await once(silent, 'connect')
  const inFlight = connect(port, '127.0.0.1')
  inFlight.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n') // kept alive, as by default
  await once(arrivals, 'request')

  const drained = drain(10_000)
  await once(silent, 'close')
  await expect(raw(port, '')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  expect(await Promise.race([drained, delay(200, 'waiting')])).toBe('waiting')
  release()
  const answer = await text(inFlight) // ends because the server closes
  expect(answer).toMatch(/\r\nConnection: close\r\n[\s\S]*finished/)
  expect(await drained).toBe(true)
})

test('drains: an answer that is already under way finishes, and its connection closes after it', async () => {
  let release = () => undefined as unknown
  const { drain, port } = await serve((_, response) => {
    response.writeHead(200).write('first ')
    release = () => response.end('last')
  })
  const inFlight = connect(port, '127.0.0.1')
  inFlight.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await once(inFlight, 'readable')
  const drained = drain(10_000)
  release()
  expect(await text(inFlight)).toMatch(/first [\s\S]*last/)
  expect(await drained).toBe(true)
})

test('cuts what is still running when the time is over', async () => {
  const { drain, arrivals, port } = await serve(() => undefined)
  const stuck = request({ port, host: '127.0.0.1' }).end()
  const cut = once(stuck, 'error')
  await once(arrivals, 'request')
  expect(await drain(100)).toBe(false)
  expect((await cut)[0]).toMatchObject({ code: 'ECONNRESET' })
})

test('an answer that leaves before a too large body was read does not block the connection for the next request', async () => {
  const { port } = await serve(async (incoming, response) => {
    if (incoming.url === '/large') for await (const _chunk of incoming.iterator({ destroyOnReturn: false })) break // enough to refuse it
    response.end(incoming.url)
  })
  const chunk = `4000\r\n${'a'.repeat(0x4000)}\r\n`
  const answers = await raw(
    port,
    `POST /large HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunk.repeat(20)}0\r\n\r\n` +
      'GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
  )
  expect(answers.match(/\/large|\/next/g)).toEqual(['/large', '/next'])
}, 5_000)
