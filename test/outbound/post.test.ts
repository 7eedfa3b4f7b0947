// A POST to somewhere else, over real sockets: where it goes, and what it reads.
import type { LookupAddress } from 'node:dns'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { guardAddresses } from '#src/outbound/networks.ts'
import { NotPosted, type PostOptions, post, type Resolve } from '#src/outbound/post.ts'

let server: Server
let requests: string[]
let answer: Parameters<typeof createServer>[1]
let port: number

beforeEach(async () => {
  requests = []
  answer = (_request, response) => void response.end('ok')
  server = createServer((request, response) => {
    requests.push(request.headers.host ?? '')
    answer?.(request, response)
  })
  // On every address, so that whatever gets through is seen.
  await new Promise<void>((resolve) => server.listen(0, '::', resolve))
  port = (server.address() as AddressInfo).port
})
afterEach(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

const send = (url: string, options: Partial<PostOptions> = {}) =>
  post(url, '{}', { headers: {}, milliseconds: 2_000, answerBytes: 512, ...options })
const failure = async (sending: Promise<unknown>) => {
  const error = await sending.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toBeInstanceOf(NotPosted)
  const { reason, mayHaveLeft } = error as NotPosted
  return [reason, mayHaveLeft]
}
const means =
  (...answers: LookupAddress[][]): Resolve =>
  (_name, done) =>
    done(null, answers.length > 1 ? (answers.shift() ?? []) : (answers[0] ?? []))
const v4 = (address: string) => ({ address, family: 4 })
const v6 = (address: string) => ({ address, family: 6 })

describe('with a guard, nothing reaches', () => {
  const guard = guardAddresses([])

  it.each([
    '127.0.0.1',
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '127.1',
    '0',
    '[::1]',
    '[::]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[0:0:0:0:0:ffff:7f00:0001]',
    '１２７.０.０.１',
  ])('loopback, written %s', async (host) => {
    expect(await failure(send(`http://${host}:${port}/`, { guard }))).toEqual(['address_not_allowed', false])
    expect(requests).toEqual([])
  })

  it('loopback by its name, as the resolver of the system has it', async () => {
    expect(await failure(send(`http://localhost:${port}/`, { guard }))).toEqual(['address_not_allowed', false])
    expect(requests).toEqual([])
  })

  it.each([
    ['a private address', [v4('127.0.0.1')]],
    ['a private address of IPv6', [v6('::1')]],
    ['a private address in the other form', [v6('::ffff:127.0.0.1')]],
    ['a public and a private address', [v4('8.8.8.8'), v4('127.0.0.1')]],
    ['a private and a public address', [v6('::1'), v6('2606:4700::1111')]],
  ])('a name that stands for %s', async (_what, addresses) => {
    const sending = send(`https://hooks.example:${port}/`, { guard, resolve: means(addresses) })
    expect(await failure(sending)).toEqual(['address_not_allowed', false])
    expect(requests).toEqual([])
  })

  it('plain http to a public address', async () => {
    const sending = send(`http://hooks.example:${port}/`, { guard, resolve: means([v4('8.8.8.8')]) })
    expect(await failure(sending)).toEqual(['address_not_allowed', false])
  })
})

it('a name is looked up once: what it means a moment later is not asked, and not connected to', async () => {
  const guard = guardAddresses(['127.0.0.1'])
  let asked = 0
  const resolve: Resolve = (_name, done) => done(null, [asked++ === 0 ? v4('127.0.0.1') : v4('127.0.0.2')])
  expect(await send(`http://hooks.example:${port}/`, { guard, resolve })).toMatchObject({ status: 200, answer: 'ok' })
  expect(asked).toBe(1)
  expect(requests).toEqual([`hooks.example:${port}`])
  // Each attempt asks anew: what has become private meanwhile is refused.
  expect(await failure(send(`http://hooks.example:${port}/`, { guard, resolve }))).toEqual([
    'address_not_allowed',
    false,
  ])
})

it('follows no redirect', async () => {
  answer = (_request, response) => void response.writeHead(307, { Location: `http://127.0.0.1:${port}/secret` }).end()
  expect(await send(`http://127.0.0.1:${port}/`)).toMatchObject({ status: 307 })
  expect(requests).toHaveLength(1)
})

describe('of the answer', () => {
  it('keeps how it begins, however much there is', async () => {
    let written = 0
    answer = (_request, response) => {
      const more = () => {
        while (!response.destroyed && written < 1e9) {
          written += 65_536
          if (!response.write('x'.repeat(65_536))) return
        }
      }
      response.on('drain', more)
      more()
    }
    expect((await send(`http://127.0.0.1:${port}/`)).answer).toBe('x'.repeat(512))
    expect(written).toBeLessThan(50e6)
  })

  it('waits no longer than for the rest of the time: the status has been said', async () => {
    answer = (_request, response) => void response.writeHead(200).write('slow')
    expect(await send(`http://127.0.0.1:${port}/`, { milliseconds: 300 })).toMatchObject({
      status: 200,
      answer: 'slow',
    })
  })

  it('makes text that can be stored', async () => {
    answer = (_request, response) => void response.end(Buffer.from([0x61, 0, 0xff, 0x62, 0xe2, 0x82]))
    expect((await send(`http://127.0.0.1:${port}/`)).answer).toBe('a\ufffd\ufffdb')
  })

  it('takes no headers without end', async () => {
    answer = (_request, response) => void response.writeHead(200, { 'X-Long': 'x'.repeat(40_000) }).end()
    expect(await failure(send(`http://127.0.0.1:${port}/`))).toEqual(['HPE_HEADER_OVERFLOW', true])
  })
})

it('gives up on a server that says nothing', async () => {
  answer = () => undefined
  expect(await failure(send(`http://127.0.0.1:${port}/`, { milliseconds: 200 }))).toEqual(['timeout', true])
})

it('tells what cannot have left from what may have', async () => {
  const closed = createTcpServer((socket) => void socket.destroy())
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve))
  const url = `127.0.0.1:${(closed.address() as AddressInfo).port}/`
  expect(await failure(send(`http://${url}`))).toEqual([expect.stringMatching(/ECONNRESET|EPIPE/), true])
  expect(await failure(send(`https://${url}`))).toEqual([expect.stringMatching(/ECONNRESET|EPIPE/), false])
  await new Promise((resolve) => closed.close(resolve))
  expect(await failure(send(`http://${url}`))).toEqual(['ECONNREFUSED', false])
})

it('goes through no proxy of the environment, and says no address in what it throws', async () => {
  const resolve: Resolve = (_name, done) => done(Object.assign(new Error('x'), { code: 'ENOTFOUND' }), [])
  const sending = send('https://hooks.example/?token=canary', { resolve })
  await expect(sending).rejects.toThrow('not posted: ENOTFOUND')
  await expect(sending).rejects.not.toThrow('canary')
})
