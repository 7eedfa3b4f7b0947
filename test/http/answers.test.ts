// What every answer carries, and how an error is told: a page for a browser, JSON for a program, nothing that helps an attacker.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { problemDetails } from '#src/admin/api/problem-details.ts'
import { renderProtocolError } from '#src/http/error-page.ts'
import { HttpError } from '#src/http/http-error.ts'
import { allowFormRedirect } from '#src/http/security-headers.ts'
import { type Hosted, pendingInteraction, startHosted } from '#test/pages/hosted.ts'

const secret = 'canary-7f3a'
let hosted: Hosted
beforeAll(async () => {
  hosted = await startHosted({
    issuerUrl: 'https://id.example.com',
    routes(ctx, renderer) {
      if (ctx.path === '/boom') throw new Error(`connection string with ${secret}`)
      if (ctx.path === '/late') {
        ctx.set({ Location: 'https://shop.example', 'Set-Cookie': 'a=b', ETag: '"x"' })
        throw new Error(secret)
      }
      if (ctx.path === '/away') throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
      if (ctx.path === '/contended') throw contended()
      if (ctx.path === '/api/contended') return problemDetails()(ctx, () => Promise.reject(contended()))
      if (ctx.path === '/teapot') ctx.throw(418, `short and ${secret}`)
      if (ctx.path === '/refused')
        throw new HttpError({ status: 403, error: 'no', description: 'No.', detail: 'because' })
      if (ctx.path === '/json') ctx.body = { fine: true }
      if (ctx.path === '/html') {
        ctx.type = 'html'
        ctx.body = '<p>as the engine would write it</p>'
      }
      if (ctx.path === '/form') {
        allowFormRedirect(ctx, String(ctx.query.to))
        ctx.type = 'html'
        ctx.body = 'x'
      }
      if (ctx.path === '/protocol') {
        ctx.status = Number(ctx.query.status)
        const cause = Object.assign(new Error(secret), ctx.query.name ? { name: String(ctx.query.name) } : {})
        renderProtocolError(
          ctx,
          renderer,
          { error: String(ctx.query.error), error_description: String(ctx.query.description ?? '') },
          ctx.query.cause === 'away' ? Object.assign(cause, { code: '57P01' }) : cause,
        )
      }
    },
  })
})
afterAll(() => hosted.stop())

/** As Prisma tells a deadlock (test/db/locks.test.ts). */
const contended = () => Object.assign(new Error(secret), { code: 'P2034' })

async function get(path: string, accept = 'text/html') {
  // undici lets nobody choose Host: /authz is exempt from the host rule, everything else goes through node:http
  const { request } = await import('node:http')
  return new Promise<{ status: number; headers: Record<string, string | undefined>; text: string }>(
    (resolve, reject) => {
      request(hosted.origin + path, { headers: { Host: 'id.example.com', Accept: accept } }, (response) => {
        let text = ''
        response.on('data', (chunk) => {
          text += chunk
        })
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers as Record<string, string>, text }),
        )
      })
        .on('error', reject)
        .end()
    },
  )
}

describe('every answer', () => {
  it.each(['/json', '/html', '/boom', '/late', '/nowhere', '/refused', '/interaction/x', '/x%00', '/assets/none.css'])(
    '(%s) carries the security headers',
    async (path) => {
      for (const accept of ['text/html', 'application/json']) {
        const { headers } = await get(path, accept)
        expect(headers).toMatchObject({
          'x-content-type-options': 'nosniff',
          'x-frame-options': 'DENY',
          'referrer-policy': 'no-referrer',
          'cross-origin-resource-policy': 'same-origin',
          'strict-transport-security': 'max-age=31536000; includeSubDomains',
          'x-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/),
        })
        if (headers['content-type']?.startsWith('text/html'))
          expect(headers).toMatchObject({
            'cross-origin-opener-policy': 'same-origin',
            'permissions-policy': expect.stringContaining('camera=()'),
          })
        expect(headers['content-security-policy']).toMatch(/^default-src 'none'/)
        expect(headers['content-security-policy']).toContain("frame-ancestors 'none'")
        expect(headers['content-security-policy']).not.toMatch(/unsafe|\*/)
        expect(headers['x-powered-by']).toBeUndefined()
      }
    },
  )

  it('that is a page is not kept by any cache, and allows what it needs and no more', async () => {
    for (const path of ['/html', '/nowhere', '/boom']) {
      const { headers } = await get(path)
      expect(headers['cache-control']).toBe('no-store')
      expect(headers['content-security-policy']).toBe(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'",
      )
    }
  })
})

describe('a form may lead to', () => {
  const formAction = async (to: string) =>
    /form-action ([^;]*);/.exec(
      (await get(`/form?to=${encodeURIComponent(to)}`)).headers['content-security-policy'] ?? '',
    )?.[1]

  it.each([
    ['https://shop.example', "'self' https://shop.example"],
    ['https://shop.example:8443/cb?x=1', "'self' https://shop.example:8443"],
    ['http://127.0.0.1:4711/cb', "'self' http://127.0.0.1:4711"],
    ['http://[::1]:4711/cb', "'self' http:"],
    ['com.example.app:/cb', "'self' com.example.app:"],
    ['https://shop.example; script-src *', "'self'"],
    ["https://shop.example 'unsafe-inline'", "'self'"],
    ['https://*', "'self'"],
    ['https://*.example', "'self'"],
    ['https://user:pass@shop.example', "'self'"],
    ['javascript:alert(1)', "'self'"],
    ['data:text/html,x', "'self'"],
    ['nothing', "'self'"],
  ])('%s -> %s', async (to, expected) => {
    expect(await formAction(to)).toBe(expected)
  })
})

describe('an error', () => {
  it('of ours is told in words, without its cause', async () => {
    const page = await get('/boom')
    expect(page.status).toBe(500)
    expect(page.text).toContain('Something went wrong on our side')
    expect(page.text).toContain(page.headers['x-request-id'])
    const json = await get('/boom', 'application/json')
    expect(JSON.parse(json.text)).toEqual({
      error: 'server_error',
      error_description: 'Something went wrong on our side. It has been recorded.',
      request_id: json.headers['x-request-id'],
    })
    for (const { text } of [page, json, await get('/teapot')]) expect(text).not.toMatch(/canary|\bat .*\.ts/)
  })

  it('takes back the headers of the answer it replaces', async () => {
    const { headers } = await get('/late')
    expect([headers.location, headers['set-cookie'], headers.etag]).toEqual([undefined, undefined, undefined])
  })

  it('of the database is 503 with Retry-After', async () => {
    const { status, headers, text } = await get('/away')
    expect([status, headers['retry-after']]).toEqual([503, '5'])
    expect(text).toContain('Back in a moment')
  })

  it('of two that met at the same rows is 503, for a person and for a caller of the admin API', async () => {
    const page = await get('/contended')
    expect([page.status, page.headers['retry-after']]).toEqual([503, '5'])
    expect(page.text).toContain('Back in a moment')
    const { status, headers, text } = await get('/api/contended', 'application/json')
    expect([status, headers['retry-after'], headers['content-type']]).toEqual([503, '1', 'application/problem+json'])
    expect(JSON.parse(text)).toMatchObject({
      error: 'temporarily_unavailable',
      detail: expect.stringContaining('nothing was done'),
    })
  })

  it('gives a program JSON and a browser a page', async () => {
    expect((await get('/nowhere', '*/*')).headers['content-type']).toMatch(/json/)
    expect((await get('/nowhere', 'application/json')).headers['content-type']).toMatch(/json/)
    const browser = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'
    expect((await get('/nowhere', browser)).headers['content-type']).toMatch(/html/)
  })

  it.each([
    [400, 'invalid_client', 'client is invalid', 'We do not know this application'],
    [400, 'invalid_redirect_uri', 'redirect_uri did not match', 'We cannot send you back safely'],
    [400, 'invalid_request', 'redirect_uri must be an absolute URI', 'We cannot send you back safely'],
    [400, 'invalid_scope', 'none of it', 'The application made a mistake'],
    [400, 'invalid_request', 'could not find logout details', 'This sign-in has ended'],
    [400, 'access_denied', '', 'You said no'],
    [404, 'invalid_request', 'unrecognized route', 'There is nothing here'],
    [500, 'server_error', 'oops', 'Something went wrong on our side'],
  ])('of the protocol (%i %s, %s) is explained: %s', async (status, error, description, words) => {
    const page = await get(`/protocol?${new URLSearchParams({ status: String(status), error, description })}`)
    expect(page.status).toBe(status)
    expect(page.text).toContain(words)
    expect(page.text).toContain(`<code>${error}</code>`)
    expect(page.text).not.toContain(secret)
  })

  it('of an authorization request that is gone says so, and one of the database is 503', async () => {
    const gone = await get('/protocol?status=400&error=invalid_request&name=SessionNotFound')
    expect(gone.text).toContain('This sign-in has ended')
    const away = await get('/protocol?status=500&error=server_error&cause=away')
    expect([away.status, away.headers['retry-after']]).toEqual([503, '5'])
  })
})

describe('the log', () => {
  it('has one line a request, without query, body or anything that opens a door', async () => {
    hosted.lines.length = 0
    await get(`/json?code=${secret}`)
    await get(`/interaction/${pendingInteraction().uid}?code=${secret}`)
    const completed = hosted.lines.map((line) => JSON.parse(line)).filter(({ event }) => event === 'request.completed')
    expect(completed).toMatchObject([
      { method: 'GET', path: '/json', status: 200, requestId: expect.any(String), ms: expect.any(Number) },
      { method: 'GET', path: '/interaction/:id', status: 410 },
    ])
    expect(hosted.lines.join('')).not.toMatch(new RegExp(`${secret}|${pendingInteraction().uid}`))
  })

  it('has the cause of a failure under the id that the page shows', async () => {
    hosted.lines.length = 0
    const { headers } = await get('/boom')
    const failed = hosted.lines.map((line) => JSON.parse(line)).find(({ event }) => event === 'request.failed')
    expect(failed).toMatchObject({ requestId: headers['x-request-id'], err: { type: 'Error' } })
    expect(failed.err.stack.length).toBeGreaterThan(1)
  })
})

describe('assets', () => {
  const stylesheet = async () =>
    /href="(\/assets\/sallyport\.[\w-]+\.css)"/.exec((await get('/nowhere')).text)?.[1] ?? ''

  it('are kept for a year under a name that changes with them', async () => {
    const { status, headers, text } = await get(await stylesheet())
    expect(status).toBe(200)
    expect(headers['cache-control']).toBe('public, max-age=31536000, immutable')
    expect(headers['content-type']).toBe('text/css; charset=utf-8')
    expect(text).toContain('color-scheme')
  })

  it.each(['/assets/sallyport.css', '/assets/sallyport.AAAAAAAAAAAA.css', '/assets/../layout.eta', '/assets/'])(
    '%s is none',
    async (path) => {
      expect((await get(path)).status).toBe(404)
    },
  )

  it('a browser that asks for /favicon.ico gets the mark', async () => {
    expect((await get('/favicon.ico')).headers['content-type']).toBe('image/svg+xml; charset=utf-8')
  })

  it('weigh less than 50 kB together with the page that needs them', async () => {
    hosted.pending = pendingInteraction()
    const { text } = await get(`/interaction/${hosted.pending.uid}/login`)
    const parts = [...new Set([...text.matchAll(/(?:src|href)="(\/assets\/[^"#]+)/g)].map(([, url = '']) => url))]
    expect(parts.length).toBeGreaterThan(4)
    const sizes = await Promise.all(parts.map(async (url) => (await get(url)).text.length))
    expect(text.length + sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(50_000)
  })
})
