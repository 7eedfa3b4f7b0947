import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findControlCharacter, parseUrlencoded } from '#src/http/request-checks.ts'
import { type Hosted, startHosted } from '#test/pages/hosted.ts'

let hosted: Hosted
beforeAll(async () => {
  hosted = await startHosted()
})
afterAll(() => hosted.stop())

const get = async (path: string) => {
  const response = await fetch(hosted.origin + path)
  return { status: response.status, text: await response.text() }
}

describe('an address', () => {
  it.each(['nonce=a%00b', 'nonce=a%0Ab', 'nonce=%1b%5b31m', 'nonce=%7f', 'nonce=%C2%85', 'x=1&nonce=%00'])(
    'with a control character (%s) is refused, naming the parameter',
    async (query) => {
      const { status, text } = await get(`/resumed?${query}`)
      expect(status).toBe(400)
      expect(JSON.parse(text).error_description).toBe('The parameter nonce contains a control character.')
    },
  )

  it('with a control character in a name is refused without repeating it', async () => {
    const { status, text } = await get('/resumed?a%00%22%3Cb%3E=1')
    expect(status).toBe(400)
    expect(JSON.parse(text).error_description).toBe('The parameter a??<b> contains a control character.')
  })

  it.each(['state=100%', 'state=%zz', 'state=%C3', 'state=%ff%fe', 'state=%ED%A0%80', 'state=%c0%af'])(
    'that is not percent-encoded UTF-8 (%s) is refused, naming the parameter',
    async (query) => {
      const { status, text } = await get(`/resumed?${query}`)
      expect(status).toBe(400)
      expect(JSON.parse(text).error_description).toContain('The parameter state')
    },
  )

  it.each(['/a%00b', '/%0d%0aX-Evil:1', '/%', '/%ff'])('with a bad path (%s) is refused', async (path) => {
    const { status, text } = await get(path)
    expect(status).toBe(400)
    expect(JSON.parse(text).error_description).toMatch(/^The path /)
  })

  it('may use every other character', async () => {
    expect((await get('/resumed?state=%E2%82%AC%20%F0%9F%98%80+%3Cb%3E%27%22%25&empty&=x&&a=b=c')).status).toBe(200)
  })

  it('of more than 8192 characters is refused with 414, one of 8192 is not', async () => {
    const path = '/resumed?state='
    expect((await get(path + 'a'.repeat(8192 - path.length))).status).toBe(200)
    expect((await get(path + 'a'.repeat(8193 - path.length))).status).toBe(414)
  })
})

it.each(['TRACE', 'PROPFIND', 'PURGE'])(
  '%s is not a method here: 405 and the list of those that are',
  async (method) => {
    const { request } = await import('node:http')
    const answer = await new Promise<{ status: number | undefined; allow: string | undefined }>((resolve, reject) => {
      request(hosted.origin, { method }, (response) => {
        response.resume()
        resolve({ status: response.statusCode, allow: response.headers.allow })
      })
        .on('error', reject)
        .end()
    })
    expect(answer).toEqual({ status: 405, allow: 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS' })
  },
)

it('finds control characters in parameters that were parsed elsewhere, repeated ones included', () => {
  expect(findControlCharacter([['a', 'b']])).toBeUndefined()
  expect(
    findControlCharacter([
      ['a', 1],
      ['b', undefined],
    ]),
  ).toBeUndefined()
  expect(findControlCharacter([['scope', ['openid', 'x\u0000']]])).toBe('scope')
  expect(findControlCharacter(Object.entries({ nonce: 'a\u009b' }))).toBe('nonce')
})

it('parses forms like a browser writes them', () => {
  const text = 'a=1+2&b=%26%3D&a=&c'
  expect(parseUrlencoded(text)).toEqual({ pairs: [...new URLSearchParams(text)] })
})
