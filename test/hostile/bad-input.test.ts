// Grammar fuzzing of every parameter of every endpoint: whatever arrives, the answer is a 4xx (or an ordinary one), well-formed,
// with every header, and without a word about the inside; the process and its database go on.
import { randomUUID } from 'node:crypto'
import { connect } from 'node:net'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { orders } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let j: Journey
let person: Person
let tokens: Awaited<ReturnType<Journey['tokensFor']>>
let loginUrl: string
let csrf: string

beforeAll(async () => {
  server = await startServer()
  j = await startJourney(server)
  tokens = await j.tokensFor()
  person = tokens.person
  const page = await person.open((await j.begin({ prompt: 'login' })).address)
  loginUrl = new URL(page.url).pathname
  csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
})
afterAll(() => server.stop())

/** Nothing that was thrown at the server may have been a surprise to it. */
afterEach(async () => {
  const surprises = server.logged.filter(
    // What Node's own parser finds broken in the middle of a body is not a failure of ours.
    (line) => /"event":"(request\.failed|commit\.failed|audit\.lost)"/.test(line),
  )
  expect(surprises).toEqual([])
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200)
})

const insides =
  /node_modules|\bat [\w.<>]+ \(|\.ts:\d|\/src\/|file:\/\/|PrismaClient|postgres|ECONN|undefined is not|Cannot read/i

async function expectSound(response: Response, what: string): Promise<void> {
  const text = await response.text()
  const about = `${what} -> ${response.status} ${text.slice(0, 300)}`
  expect(response.status, about).toBeLessThan(500)
  expect(text.replaceAll(server.url, ''), about).not.toMatch(insides)
  const { headers } = response
  expect(headers.get('x-content-type-options'), about).toBe('nosniff')
  expect(headers.get('content-security-policy'), about).toMatch(/default-src 'none'.*frame-ancestors 'none'/)
  expect(headers.get('content-security-policy'), about).not.toMatch(/unsafe/)
  expect(headers.get('referrer-policy'), about).toBe('no-referrer')
  if (/^\/(oauth|api)\//.test(new URL(response.url).pathname) && [400, 401, 403].includes(response.status))
    expect(headers.get('x-decision-id'), about).toBeTruthy()
  const type = headers.get('content-type') ?? ''
  if (/json/.test(type)) expect(() => JSON.parse(text), about).not.toThrow()
  else if (response.status === 303) expect(text, about).not.toContain('<')
  else if (/html/.test(type)) expect(text.trim(), about).toMatch(/^<!doctype html>[\s\S]*<\/html>$/i)
  else expect(text === '' || /^text\/plain/.test(type), about).toBe(true)
}

/** Text that has broken somebody: control characters, halves of characters, other spellings, names of JavaScript and SQL. */
const spiteful = fc.oneof(
  { weight: 3, arbitrary: fc.string({ unit: 'binary', maxLength: 40 }) },
  { weight: 3, arbitrary: fc.string({ maxLength: 60 }) },
  fc.constantFrom(
    '',
    ' ',
    '\0',
    'a\0b',
    '\ud800',
    '\udfff\ud800',
    '\u202e',
    '\ufeff',
    '\r\nSet-Cookie: a=b',
    '\u001b[31m',
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    '[object Object]',
    'null',
    'undefined',
    'NaN',
    '-1',
    '1e309',
    '9'.repeat(400),
    "' OR 1=1 --",
    '{{7*7}}<%= 7*7 %>',
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    '../../../../etc/passwd',
    '%00%0d%0a%ff%c0%af',
    '%',
    '{}',
    '[]',
    '{"__proto__":{"polluted":true}}',
    'urn:ietf:params:oauth:request_uri:__proto__',
    'e30.e30.e30',
    'eyJhbGciOiJub25lIn0.e30.',
    `${'e30'.repeat(500)}.${'.'.repeat(50)}`,
    'https://shop.example/cb\\@evil.example',
    'A'.repeat(3000),
    '😀'.repeat(200),
    'sp_rt_',
    'sp_at___proto__',
    '00000000-0000-0000-0000-000000000000',
  ),
)

const parameters: Record<string, readonly string[]> = {
  '/oauth/authorize': (
    'client_id redirect_uri response_type response_mode scope state nonce prompt max_age ui_locales login_hint id_token_hint ' +
    'acr_values code_challenge code_challenge_method resource request request_uri claims registration display dpop_jkt __proto__ ' +
    'authorization_details web_message_uri claims_locales'
  ).split(' '),
  '/oauth/par':
    'client_id client_secret redirect_uri response_type scope state nonce prompt code_challenge code_challenge_method resource request request_uri client_assertion client_assertion_type max_age __proto__'.split(
      ' ',
    ),
  '/oauth/token':
    'grant_type code redirect_uri code_verifier refresh_token scope resource client_id client_secret client_assertion client_assertion_type audience username password device_code __proto__ constructor'.split(
      ' ',
    ),
  '/oauth/revoke': ['token', 'token_type_hint', 'client_id', 'client_secret', '__proto__'],
  '/oauth/introspect': ['token', 'token_type_hint', 'client_id', 'client_secret', '__proto__'],
  '/oauth/userinfo': ['access_token', 'scope', '__proto__'],
  '/oauth/logout': 'id_token_hint post_logout_redirect_uri state client_id ui_locales logout_hint __proto__'.split(' '),
  '/oauth/logout/confirm': ['csrf', 'xsrf', 'decision', 'logout'],
  '/oauth/logout/success': ['client_id'],
  '/admin/setup': ['csrf', 'code', 'email', 'name', 'password', 'lang'],
  '/api/v1/clients': ['limit', 'after', 'q', '__proto__'],
  '/api/v1/users': ['limit', 'after', '__proto__'],
  '/nowhere': ['lang', 'x'],
}

/** Sound values, so that some requests get far before they break. */
async function soundValues(): Promise<Record<string, string>> {
  const { address, verifier } = await j.begin()
  return {
    ...Object.fromEntries(new URLSearchParams(address.split('?')[1])),
    code_verifier: verifier,
    token: tokens.access_token,
    access_token: tokens.access_token,
    refresh_token: 'sp_rt_unknown',
    code: 'sp_ac_unknown',
    grant_type: 'client_credentials',
    id_token_hint: tokens.id_token ?? '',
    post_logout_redirect_uri: 'https://shop.example/bye',
    decision: 'logout',
    resource: orders,
    token_type_hint: 'access_token',
    csrf,
  }
}

/** application/x-www-form-urlencoded as an attacker writes it: any bytes, escaped or not. */
function encode(name: string, value: string, how: number): string {
  const written = (text: string) =>
    how === 0
      ? encodeURIComponent(text.toWellFormed())
      : Buffer.from(text, 'utf16le')
          .toString('latin1')
          .replace(
            /[^\x21\x24\x27-\x2a\x2c-\x3c\x3e-\x7e]/g,
            (byte) => `%${byte.charCodeAt(0).toString(16).padStart(2, '0')}`,
          )
  return `${name}=${written(value)}`
}

const pathsUnderTest = Object.keys(parameters)
const attack = fc.record({
  path: fc.constantFrom(...pathsUnderTest),
  method: fc.constantFrom('GET', 'POST'),
  /** Which parameters are spoilt, by position, and with what. */
  spoilt: fc.array(fc.tuple(fc.nat(30), spiteful, fc.nat(1)), { minLength: 1, maxLength: 3 }),
  left: fc.nat(5),
  repeated: fc.boolean(),
  signedIn: fc.boolean(),
  accept: fc.constantFrom('text/html', 'application/json', '*/*', '', 'x', ','),
  authorization: fc.oneof(
    { weight: 4, arbitrary: fc.constant('basic') },
    fc.constantFrom(null, 'bearer', 'Basic', 'Basic ====', 'Bearer', 'DPoP x', 'Basic Og==', 'x y z'),
  ),
})

test('any value in any parameter of any endpoint', async () => {
  const sound = await soundValues()
  const run = fc.asyncProperty(
    attack,
    async ({ path, method, spoilt, left, repeated, signedIn, accept, authorization }) => {
      const names = parameters[path] ?? []
      const pairs = names
        .filter((name, index) => Object.hasOwn(sound, name) && (left === 0 || index % left !== 1))
        .map((name) => encode(name, sound[name] ?? '', 0))
      for (const [at, value, how] of spoilt) {
        const name = names[at % names.length] ?? 'x'
        const index = pairs.findIndex((pair) => pair.startsWith(`${name}=`))
        if (index >= 0 && !repeated) pairs.splice(index, 1)
        pairs.push(encode(name, value, how))
      }
      const text = pairs.join('&')
      const headers: Record<string, string> = { Accept: accept }
      if (authorization === 'basic') headers.Authorization = j.basic('shop-web')
      else if (authorization === 'bearer') headers.Authorization = `Bearer ${tokens.access_token}`
      else if (authorization !== null) headers.Authorization = authorization
      const init: RequestInit = { method, headers, redirect: 'manual' }
      if (method === 'POST') {
        headers['Content-Type'] = 'application/x-www-form-urlencoded'
        init.body = text
      }
      const address = method === 'GET' ? `${path}?${text}` : path
      const response = signedIn ? await new Sent(person).fetch(address, init) : await fetch(server.url + address, init)
      await expectSound(response, `${method} ${path} ${text.slice(0, 400)} (${authorization})`)
    },
  )
  await fc.assert(run, { numRuns: 2500, endOnFailure: true })
}, 90_000)

/** Sends a person's cookies and forgets what comes back: every case begins in the same place. */
class Sent {
  readonly #person: Person
  constructor(from: Person) {
    this.#person = new Person(server.url)
    for (const [key, value] of from.cookies) this.#person.cookies.set(key, value)
  }
  fetch(address: string, init: RequestInit) {
    return this.#person.fetch(address, init)
  }
}

test('any field of the login form', async () => {
  const fields = fc.record({
    identifier: spiteful,
    decision: fc.option(spiteful, { nil: undefined }),
    how: fc.nat(1),
    extra: spiteful,
  })
  const run = fc.asyncProperty(fields, async ({ identifier, decision, how, extra }) => {
    // No password: what costs a hash is not what is looked for here.
    const pairs = [encode('csrf', csrf, 0), encode('identifier', identifier, how), encode('extra', extra, how)]
    if (decision !== undefined && decision !== 'deny') pairs.push(encode('decision', decision, how))
    const response = await new Sent(person).fetch(loginUrl, {
      method: 'POST',
      body: pairs.join('&'),
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
    })
    await expectSound(response, `login ${pairs.join('&').slice(0, 300)}`)
    expect(response.status, 'the sign-in never advances').not.toBe(303)
  })
  await fc.assert(run, { numRuns: 250, endOnFailure: true })
})

test('any path', async () => {
  const part = fc.oneof(
    spiteful.map((text) => encodeURIComponent(text.toWellFormed()).slice(0, 300)),
    fc.constantFrom(
      'oauth',
      'authorize',
      'interaction',
      'api',
      'v1',
      'clients',
      '..',
      '.',
      '%2e%2e',
      '%2f',
      ';',
      '',
      'login',
      'authz',
      'assets',
      'admin',
    ),
  )
  const run = fc.asyncProperty(
    fc.array(part, { maxLength: 5 }),
    fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'HEAD'),
    async (parts, method) => {
      const raw = await send(
        `${method} /${parts.join('/')} HTTP/1.1\r\nHost: ${new URL(server.url).host}\r\nContent-Length: 0`,
      )
      expect(raw.status, parts.join('/')).toBeLessThan(500)
      expect(raw.status).toBeGreaterThanOrEqual(200)
      expect(raw.text.split('\r\n\r\n')[1] ?? '').not.toMatch(insides)
    },
  )
  await fc.assert(run, { numRuns: 400, endOnFailure: true })
})

describe('a body', () => {
  const endpoints = [
    '/oauth/token',
    '/oauth/par',
    '/oauth/introspect',
    '/oauth/revoke',
    '/oauth/authorize',
    '/oauth/userinfo',
    '/oauth/logout/confirm',
    '/admin/setup',
  ]

  test.each(endpoints)('of a megabyte is refused by %s', async (path) => {
    const body = `token=${'a'.repeat(1 << 20)}`
    const response = await fetch(server.url + path, {
      method: 'POST',
      body,
      headers: { 'Content-Type': 'application/x-www-form-urlencoded', Authorization: j.basic('shop-web') },
    })
    expect([400, 413]).toContain(response.status)
    await expectSound(response, path)
  })

  test.each(endpoints)('of other types and bytes is refused by %s', async (path) => {
    const cases: [string, BodyInit][] = [
      ['application/json', '{"grant_type":["client_credentials"],"__proto__":{"x":1}}'],
      ['application/json', '{'],
      ['application/json', '['.repeat(5000)],
      ['text/plain', 'token=x'],
      ['application/x-www-form-urlencoded; charset=utf-16', 'token=x'],
      ['application/x-www-form-urlencoded', new Uint8Array([0x74, 0x3d, 0xff, 0xfe, 0xc0, 0xaf])],
      ['application/x-www-form-urlencoded', new Uint8Array(2000).fill(0)],
      ['application/x-www-form-urlencoded', 'token[]=a&token[b]=c&grant_type[$ne]=x'],
      ['application/x-www-form-urlencoded', '&'.repeat(5000)],
      ['application/x-www-form-urlencoded', Array.from({ length: 900 }, (_, n) => `p${n}=1`).join('&')],
      ['application/x-www-form-urlencoded', '%=%&%%%'],
      ['multipart/form-data; boundary=x', '--x\r\n\r\n'],
      ['', 'token=x'],
      ['a/b; c="', 'token=x'],
    ]
    for (const [type, body] of cases) {
      const headers = { 'Content-Type': type, Authorization: j.basic('shop-web') }
      const response = await fetch(server.url + path, { method: 'POST', body, headers, redirect: 'manual' })
      await expectSound(response, `${path} ${type} ${String(body).slice(0, 60)}`)
      if (!type.includes('charset')) expect(response.status, `${path} ${type}`).not.toBe(200)
    }
  })

  test('in gzip is not unpacked: no bomb', async () => {
    const { gzipSync } = await import('node:zlib')
    const bomb = gzipSync(`token=${'a'.repeat(20 << 20)}`)
    for (const path of endpoints) {
      const response = await fetch(server.url + path, {
        method: 'POST',
        body: bomb,
        headers: {
          'Content-Type': 'application/x-www-form-urlencoded',
          'Content-Encoding': 'gzip',
          Authorization: j.basic('shop-web'),
        },
      })
      expect(response.status, path).toBeGreaterThanOrEqual(400)
      await expectSound(response, path)
    }
  })
})

/** Raw bytes: what a library would repair or refuse to send. */
function send(head: string, body: string | Buffer = ''): Promise<{ status: number; text: string }> {
  return new Promise((resolve) => {
    const socket = connect(server.port, 'localhost')
    let text = ''
    const finish = () => resolve({ status: Number(text.split(' ')[1] ?? 0), text })
    socket.setTimeout(3000, () => socket.destroy())
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
    })
    socket.on('error', finish)
    socket.on('close', finish)
    socket.write(Buffer.from(`${head}\r\nConnection: close\r\n\r\n`, 'latin1'))
    if (body.length > 0) socket.write(body)
  })
}

describe('on the wire', () => {
  const host = () => `Host: ${new URL(server.url).host}`
  const form = 'Content-Type: application/x-www-form-urlencoded'

  test.each<[string, string[], string]>([
    ['Content-Length that is no number', ['Content-Length: x'], ''],
    ['a negative Content-Length', ['Content-Length: -1'], ''],
    ['two Content-Lengths', ['Content-Length: 5', 'Content-Length: 6'], 'a=bcd'],
    ['a huge Content-Length', ['Content-Length: 99999999999999999999'], 'a=b'],
    [
      'Content-Length and Transfer-Encoding (smuggling)',
      ['Content-Length: 3', 'Transfer-Encoding: chunked'],
      '0\r\n\r\n',
    ],
    ['an unknown Transfer-Encoding', ['Transfer-Encoding: x'], 'a=b'],
    ['a chunk that is no number', ['Transfer-Encoding: chunked'], 'zz\r\na=b\r\n0\r\n\r\n'],
    ['a header with a NUL', ['X: a\0b', 'Content-Length: 0'], ''],
    ['a header name with a space', ['X Y: a', 'Content-Length: 0'], ''],
    ['a folded header', ['X: a', ' b', 'Content-Length: 0'], ''],
  ])('%s is a 4xx', async (_name, headers, body) => {
    const answer = await send(['POST /oauth/token HTTP/1.1', host(), form, ...headers].join('\r\n'), body)
    expect(answer.status).toBeGreaterThanOrEqual(400)
    expect(answer.status).toBeLessThan(500)
    expect(answer.text).not.toMatch(insides)
  })

  test.each([
    'GET /oauth/authorize?state=\xff HTTP/1.1',
    'GET /\xc3\xa9 HTTP/1.1',
    'GET  / HTTP/1.1',
    'GET / HTTP/9.9',
    'get / HTTP/1.1',
    '\0\0\0\0',
    'PRI * HTTP/2.0',
    'OPTIONS * HTTP/1.1',
    'CONNECT evil.example:443 HTTP/1.1',
  ])('the request line %j is a 4xx, or no answer at all', async (line) => {
    const answer = await send(`${line}\r\n${host()}`)
    expect(answer.status === 0 || (answer.status >= 400 && answer.status < 500), answer.text.slice(0, 80)).toBe(true)
    expect(answer.text).not.toMatch(insides)
  })

  test('a hundred cookies, a cookie of 8 KB and cookies that are no cookies', async () => {
    const values = [
      Array.from({ length: 100 }, (_, n) => `c${n}=x`).join('; '),
      `sallyport_session=${'a'.repeat(8000)}`,
      'sallyport_session=\xff\xfe; sallyport_session.sig=\x80',
      '=; ;;; __proto__=x; sallyport_csrf=%%%',
      'sallyport_session=a; sallyport_session=b; sallyport_session=c',
      `sallyport_language=${encodeURIComponent('<script>')}`,
      'sallyport_language=__proto__',
    ]
    const { address } = await j.begin()
    for (const value of values)
      for (const path of [address, '/oauth/logout', '/nowhere', loginUrl]) {
        const answer = await send(`GET ${path} HTTP/1.1\r\n${host()}\r\nAccept: text/html\r\nCookie: ${value}`)
        expect(answer.status, `${path} ${value.slice(0, 40)}`).toBeGreaterThanOrEqual(200)
        expect(answer.status, `${path} ${value.slice(0, 40)}`).toBeLessThan(500)
        expect(answer.text).not.toMatch(/<script>|Polluted/)
      }
  })

  test('languages and types nobody speaks', async () => {
    for (const value of ['*', 'x'.repeat(5000), ',,,;q=;', '__proto__', 'en;q=9e999', '\xff', 'de-'.repeat(900)])
      for (const name of [
        'Accept',
        'Accept-Language',
        'Accept-Encoding',
        'Accept-Charset',
        'Origin',
        'Referer',
        'User-Agent',
        'X-Request-Id',
        'If-None-Match',
        'Range',
        'Sec-Fetch-Site',
      ]) {
        const answer = await send(`GET /nowhere HTTP/1.1\r\n${host()}\r\n${name}: ${value}`)
        expect(answer.status, `${name}: ${value.slice(0, 20)}`).toBe(404)
      }
  })
})

test('nothing of it changed what a prototype holds', () => {
  expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  expect(Object.keys(Object.prototype)).toEqual([])
})

test('a client whose id is a name of JavaScript is unknown, like any other', async () => {
  for (const id of ['__proto__', 'constructor', 'toString', 'hasOwnProperty', randomUUID()]) {
    const answer = await j.post(
      '/oauth/token',
      { grant_type: 'client_credentials' },
      { as: null, headers: { Authorization: j.basic(id, 'x'.repeat(40)) } },
    )
    expect([answer.status, answer.body.error]).toEqual([401, 'invalid_client'])
  }
})
