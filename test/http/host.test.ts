// Which hosts are answered, and whose word about the client counts. Raw sockets: an HTTP library would repair what is wrong here.
import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Hosted, startHosted } from '#test/pages/hosted.ts'

type Answer = {
  status: number
  body: string
  json: { ip: string; host: string; origin: string; headers: Record<string, string> }
}

function send(hosted: Hosted, head: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(hosted.origin).port), 'localhost')
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    socket.on('error', reject)
    socket.on('close', () => {
      const body = text.slice(text.indexOf('\r\n\r\n') + 4)
      const json = body.trimStart().startsWith('{') ? JSON.parse(body) : {}
      resolve({ status: Number(text.split(' ')[1]), body, json })
    })
    socket.end(`${head}\r\nConnection: close\r\n\r\n`)
  })
}

describe('a server whose issuer is https://id.example.com', () => {
  let hosted: Hosted
  beforeAll(async () => {
    hosted = await startHosted({ issuerUrl: 'https://id.example.com' })
  })
  afterAll(() => hosted.stop())
  const get = (...headers: string[]) => send(hosted, ['GET /resumed HTTP/1.1', ...headers].join('\r\n'))

  it.each(['id.example.com', 'ID.Example.COM', 'id.example.com:443'])('answers for %s', async (host) => {
    expect((await get(`Host: ${host}`)).status).toBe(200)
  })

  it.each([
    'evil.example',
    'id.example.com.evil.example',
    'evil.example#id.example.com',
    'id.example.com@evil.example',
    'id.example.com:80',
    'id.example.com:8443',
    'id.example.com.',
    'id.example.com, evil.example',
    'id.example.com:0443',
    '',
  ])('refuses the host "%s" with 421', async (host) => {
    const answer = await get(`Host: ${host}`)
    expect(answer.status).toBe(421)
    expect(answer.body).not.toContain('evil')
  })

  it('refuses two Host headers, whichever comes first', async () => {
    expect((await get('Host: id.example.com', 'Host: evil.example')).status).toBe(421)
    expect((await get('Host: evil.example', 'Host: id.example.com')).status).toBe(421)
    expect((await get('Host: id.example.com', 'hOST: id.example.com')).status).toBe(421)
  })

  it('refuses a request without Host', async () => {
    expect((await send(hosted, 'GET /resumed HTTP/1.0')).status).toBe(421)
  })

  it('refuses an absolute-form target, even for the right host (RFC 9112 3.2.2)', async () => {
    for (const target of ['http://id.example.com/resumed', 'https://evil.example/resumed'])
      expect((await send(hosted, `GET ${target} HTTP/1.1\r\nHost: id.example.com`)).status).toBe(421)
  })

  it.each(['/healthz', '/readyz', '/authz/forward'])('lets %s through for any host, pinned', async (path) => {
    const answer = await send(hosted, `GET ${path} HTTP/1.1\r\nHost: 10.0.0.7:3000`)
    expect(answer.status).toBe(404) // nothing is mounted there in this test; what counts is that it is not 421
  })

  it.each(['/healthz/', '/healthzz', '/authz', '/authzx/forward', '//authz/forward', '/x?/authz/forward'])(
    'does not take %s for one of them',
    async (path) => {
      expect((await send(hosted, `GET ${path} HTTP/1.1\r\nHost: 10.0.0.7:3000`)).status).toBe(421)
    },
  )

  it('builds nothing from what a stranger forwards', async () => {
    const { json } = await get(
      'Host: id.example.com',
      'X-Forwarded-Host: evil.example',
      'X-Forwarded-Proto: http',
      'X-Forwarded-For: 203.0.113.9',
      'X-Forwarded-Prefix: /evil',
      'X-Real-IP: 203.0.113.9',
      'Forwarded: for=203.0.113.9;host=evil.example',
      'X-Client-Cert: MIIB',
      'X-SSL-Client-Verify: SUCCESS',
      'X-User-Id: admin',
      'X-Original-URL: /admin',
    )
    expect(json.origin).toBe('https://id.example.com')
    expect(json.host).toBe('id.example.com')
    expect(json.ip).toMatch(/^(::1|127\.0\.0\.1)$/)
    expect(Object.keys(json.headers).filter((name) => /^x-(?!forwarded-(proto|for)$)|^forwarded$/.test(name))).toEqual(
      [],
    )
  })
})

describe('behind listed proxies', () => {
  let hosted: Hosted
  beforeAll(async () => {
    hosted = await startHosted({
      issuerUrl: 'https://id.example.com',
      trustProxy: ['127.0.0.1', '::1', '10.0.0.0/8', '2001:db8:1::/48'],
    })
  })
  afterAll(() => hosted.stop())
  const addressFor = async (...lines: string[]) =>
    (await send(hosted, ['GET /resumed HTTP/1.1', 'Host: id.example.com', ...lines].join('\r\n'))).json.ip

  it.each([
    ['198.51.100.7', '198.51.100.7'],
    ['203.0.113.9, 198.51.100.7', '198.51.100.7'], // the left one is what the client claimed
    ['198.51.100.7, 10.1.2.3', '198.51.100.7'],
    ['203.0.113.9, 198.51.100.7, 10.1.2.3, 10.9.9.9', '198.51.100.7'],
    ['198.51.100.7:41234', '198.51.100.7'],
    ['::ffff:198.51.100.7', '198.51.100.7'],
    ['2001:db8:2::9, 2001:db8:1::5', '2001:db8:2::9'],
    ['[2001:db8:2::9]:41234', '2001:db8:2::9'],
    ['10.1.2.3, 10.4.5.6', '10.1.2.3'], // a client inside the trusted range
    ['198.51.100.7, garbage, 10.1.2.3', '10.1.2.3'], // nothing left of what cannot be read is believed
  ])('takes the client of "X-Forwarded-For: %s" to be %s', async (value, expected) => {
    expect(await addressFor(`X-Forwarded-For: ${value}`)).toBe(expected)
  })

  it('reads two header lines as one list', async () => {
    expect(await addressFor('X-Forwarded-For: 203.0.113.9', 'X-Forwarded-For: 198.51.100.7')).toBe('198.51.100.7')
  })

  it('uses the peer when nothing is forwarded', async () => {
    expect(await addressFor()).toMatch(/^(::1|127\.0\.0\.1)$/)
  })

  it('still does not let a proxy choose host or scheme', async () => {
    const { json } = await send(
      hosted,
      'GET /resumed HTTP/1.1\r\nHost: id.example.com\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: http',
    )
    expect([json.origin, json.host]).toEqual(['https://id.example.com', 'id.example.com'])
  })
})
