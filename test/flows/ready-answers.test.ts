// Discovery and keys leave as bytes that were written once. Whoever asks must not notice, whatever they ask with.
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.stop())

const paths = ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server', '/oauth/jwks']

/** Everything an answer says but what differs from request to request. */
async function ask(path: string, init?: RequestInit) {
  const response = await fetch(server.url + path, init)
  const headers = Object.fromEntries(response.headers)
  for (const name of ['date', 'connection', 'keep-alive', 'x-request-id', 'vary', 'access-control-expose-headers'])
    delete headers[name]
  return { status: response.status, headers, text: await response.text() }
}

describe.each(paths)('%s', (path) => {
  test('is the same from the application and as ready bytes', async () => {
    const first = await ask(path, { headers: { origin: 'https://verifier.example' } })
    const second = await ask(path)
    const throughTheApplication = await ask(`${path}?x=1`)
    first.headers['access-control-allow-origin'] = '*'
    delete throughTheApplication.headers['access-control-allow-origin']
    expect(second).toEqual(first)
    expect(second.headers).toMatchObject({
      etag: expect.stringMatching(/^"[\w-]{27}"$/),
      'cache-control': 'public, max-age=300',
      'access-control-allow-origin': '*',
      'x-content-type-options': 'nosniff',
    })
    const { 'access-control-allow-origin': _cors, ...headers } = second.headers
    expect(throughTheApplication).toEqual({ ...second, headers })
  })

  test('is not sent again to whoever has it', async () => {
    const { headers } = await ask(path)
    for (const address of [path, `${path}?x=1`]) {
      const again = await ask(address, { headers: { 'if-none-match': headers.etag ?? '' } })
      expect([again.status, again.text, again.headers.etag]).toEqual([304, '', headers.etag])
    }
    expect((await ask(path, { headers: { 'if-none-match': '"another"' } })).status).toBe(200)
  })

  test('by HEAD is the head of it', async () => {
    await ask(path)
    const head = await ask(path, { method: 'HEAD' })
    expect([head.status, head.text]).toEqual([200, ''])
  })

  test.each([
    ['another host', [`GET ${path} HTTP/1.1`, 'Host: evil.example']],
    ['two hosts', [`GET ${path} HTTP/1.1`, 'Host: HOST', 'Host: evil.example']],
    ['the same host twice', [`GET ${path} HTTP/1.1`, 'Host: HOST', 'hOsT: HOST']],
    ['no host', [`GET ${path} HTTP/1.0`]],
    ['an absolute address of another', [`GET http://evil.example${path} HTTP/1.1`, 'Host: HOST']],
  ])('asked of %s is misdirected, ready or not', async (_name, lines) => {
    await ask(path)
    expect(await raw(lines)).toMatch(/^HTTP\/1\.1 421 /)
  })
})

test('each request has an id of its own and a line in the log', async () => {
  await ask('/oauth/jwks')
  const ids = await Promise.all(
    [1, 2].map(async () => (await fetch(`${server.url}/oauth/jwks`)).headers.get('x-request-id')),
  )
  expect(new Set(ids).size).toBe(2)
  for (const id of ids)
    expect(server.logged.map((line) => JSON.parse(line)).find(({ requestId }) => requestId === id)).toMatchObject({
      level: 'info',
      event: 'request.completed',
      method: 'GET',
      path: '/oauth/jwks',
      status: 200,
    })
})

test('a changed configuration is answered as soon as it is known', async () => {
  const { headers } = await ask('/oauth/jwks')
  const { prisma } = server.database
  const next = await prisma.signingKey.findFirstOrThrow({ where: { alg: 'ES256', state: 'next' } })
  await prisma.$transaction(async (tx) => {
    await tx.signingKey.delete({ where: { kid: next.kid } })
    await raiseConfigurationVersion(tx, new Date())
  })
  await server.settle()
  const after = await ask('/oauth/jwks')
  expect(after.text).not.toContain(next.kid)
  expect(after.headers.etag).not.toBe(headers.etag)
  expect((await ask('/oauth/jwks', { headers: { 'if-none-match': headers.etag ?? '' } })).status).toBe(200)
})

function raw(lines: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, 'localhost')
    let answer = ''
    socket.setEncoding('latin1')
    socket.on('data', (chunk) => {
      answer += chunk
    })
    socket.on('error', reject)
    socket.on('close', () => resolve(answer))
    socket.end(`${lines.join('\r\n').replaceAll('HOST', `localhost:${server.port}`)}\r\nConnection: close\r\n\r\n`)
  })
}
