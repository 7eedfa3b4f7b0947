// The Host header and its relatives against the whole server, byte by byte: nothing it publishes, signs or sends a browser to is
// built from what a stranger said about the host (GHSA-2wmj-46rj-qm2w).
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
let host: string
beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  host = new URL(server.url).host
})
afterAll(() => server.stop())

function send(lines: string[], body = ''): Promise<{ status: number; head: string; text: string }> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, 'localhost')
    let answer = ''
    socket.setTimeout(5000, () => socket.destroy())
    socket.on('data', (chunk) => {
      answer += chunk
    })
    socket.on('error', reject)
    socket.on('close', () => {
      const end = answer.indexOf('\r\n\r\n')
      resolve({ status: Number(answer.split(' ')[1] ?? 0), head: answer.slice(0, end), text: answer.slice(end + 4) })
    })
    const length = body ? [`Content-Length: ${body.length}`, 'Content-Type: application/x-www-form-urlencoded'] : []
    socket.write(`${[...lines, ...length, 'Connection: close', '', ''].join('\r\n')}${body}`)
  })
}

const paths = [
  '/.well-known/openid-configuration',
  '/.well-known/oauth-authorization-server',
  '/oauth/jwks',
  '/oauth/authorize',
  '/oauth/logout',
  '/interaction/x',
  '/admin/setup',
  '/api/v1/clients',
  '/nowhere',
  '/',
]

describe.each(paths)('%s', (path) => {
  test('answers 421 to any host but the issuer’s, and repeats none of it', async () => {
    for (const wrong of [
      'evil.example',
      `evil.example:${server.port}`,
      `${host}.evil.example`,
      `evil.example#${host}`,
      `${host}@evil.example`,
      'localhost',
      'localhost:1',
      `127.0.0.1:${server.port}`,
      `[::1]:${server.port}`,
      `${host}.`,
      `${host},evil.example`,
      `${host} evil.example`,
      `${host}/evil`,
      '*',
      '',
    ]) {
      const answer = await send([`GET ${path} HTTP/1.1`, `Host: ${wrong}`])
      expect([400, 421], wrong).toContain(answer.status)
      expect(answer.head + answer.text, wrong).not.toContain('evil')
      expect(answer.head, wrong).not.toMatch(/^(location|set-cookie):/im)
    }
  })

  test('answers 421 to two hosts, none, or an absolute target', async () => {
    const heads = [
      [`GET ${path} HTTP/1.1`, `Host: ${host}`, 'Host: evil.example'],
      [`GET ${path} HTTP/1.1`, 'Host: evil.example', `Host: ${host}`],
      [`GET ${path} HTTP/1.1`, `Host: ${host}`, `hOSt: ${host}`],
      [`GET ${path} HTTP/1.0`],
      [`GET http://evil.example${path} HTTP/1.1`, `Host: ${host}`],
      [`GET ${server.url}${path} HTTP/1.1`, `Host: ${host}`],
      [`GET //evil.example${path} HTTP/1.1`, 'Host: evil.example'],
    ]
    for (const head of heads) {
      const answer = await send(head)
      expect([400, 421], head.join(' | ')).toContain(answer.status)
      expect(answer.text).not.toContain('evil')
    }
  })
})

const forwarded = [
  'X-Forwarded-Host: evil.example',
  'X-Forwarded-Proto: https',
  'X-Forwarded-Port: 443',
  'X-Forwarded-Prefix: /evil',
  'X-Forwarded-Server: evil.example',
  'X-Forwarded-Scheme: https',
  'X-Forwarded-For: 203.0.113.9',
  'Forwarded: host=evil.example;proto=https',
  'X-Host: evil.example',
  'X-Original-URL: /evil',
  'X-Original-Host: evil.example',
  'X-Rewrite-URL: /evil',
  'X-HTTP-Host-Override: evil.example',
  'Front-End-Https: on',
]

describe('what an unlisted peer forwards', () => {
  test.each(forwarded)('%s never appears in what is published', async (line) => {
    for (const path of paths.slice(0, 3)) {
      const plain = await send([`GET ${path} HTTP/1.1`, `Host: ${host}`])
      const told = await send([`GET ${path} HTTP/1.1`, `Host: ${host}`, line])
      expect([told.status, told.text]).toEqual([200, plain.text])
    }
  })

  test('changes no redirect, no cookie, no page and no address in the record', async () => {
    const { address } = await j.begin()
    const answer = await send([`GET ${address} HTTP/1.1`, `Host: ${host}`, ...forwarded])
    expect(answer.status).toBe(303)
    expect(/^location: (.*)$/im.exec(answer.head)?.[1]).toMatch(/^\/interaction\//)
    expect(answer.head).not.toMatch(/evil|domain=|; secure/i)
    const body = 'grant_type=client_credentials&scope=orders:write'
    const authorization = `Authorization: ${j.basic('reports')}`
    await send(['POST /oauth/token HTTP/1.1', `Host: ${host}`, authorization, ...forwarded], body)
    const { rows } = await server.database.pool.query(
      `SELECT DISTINCT address FROM audit_event WHERE event = 'token.refused'`,
    )
    expect(rows.length).toBeGreaterThan(0)
    for (const row of rows) expect(row.address).toMatch(/^(::1|127\.0\.0\.1)$/)
  })

  test('signs nothing: iss of a token is the issuer’s', async () => {
    const body = 'grant_type=client_credentials&scope=orders:read'
    const authorization = `Authorization: ${j.basic('reports')}`
    const answer = await send(['POST /oauth/token HTTP/1.1', `Host: ${host}`, authorization, ...forwarded], body)
    const { access_token } = JSON.parse(
      answer.text.slice(answer.text.indexOf('{'), answer.text.lastIndexOf('}') + 1),
    ) as { access_token: string }
    const claims = JSON.parse(Buffer.from(access_token.split('.')[1] ?? '', 'base64url').toString()) as { iss: string }
    expect(claims.iss).toBe(server.url)
  })
})

test('health is told to whoever asks under whatever name, and tells nothing of it', async () => {
  for (const path of ['/healthz', '/readyz']) {
    const answer = await send([`GET ${path} HTTP/1.1`, 'Host: evil.example', ...forwarded])
    expect([200, 503]).toContain(answer.status)
    expect(answer.head + answer.text).not.toContain('evil')
  }
})
