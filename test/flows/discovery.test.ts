// What is published, and that it is true (OIDC Discovery 1.0, RFC 8414).
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
beforeAll(async () => {
  server = await startServer()
})
afterAll(() => server.stop())

const json = async (path: string) => {
  const response = await fetch(server.url + path)
  expect(response.status).toBe(200)
  return {
    body: (await response.json()) as Record<string, unknown> & { keys: Record<string, unknown>[] },
    headers: response.headers,
  }
}

test('the OpenID document equals the RFC 8414 document', async () => {
  const { body } = await json('/.well-known/openid-configuration')
  expect((await json('/.well-known/oauth-authorization-server')).body).toEqual(body)
  expect(body).toMatchObject({
    issuer: server.url,
    response_types_supported: ['code'],
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true,
    grant_types_supported: [
      'authorization_code',
      'refresh_token',
      'client_credentials',
      'urn:ietf:params:oauth:grant-type:token-exchange',
    ],
  })
})

test('every advertised endpoint is ours and answers; nothing else of the engine does', async () => {
  const { body } = await json('/.well-known/openid-configuration')
  const endpoints = Object.entries(body).filter(([name]) => name.endsWith('_endpoint') || name === 'jwks_uri')
  expect(endpoints.length).toBeGreaterThanOrEqual(8)
  for (const [name, url] of endpoints) {
    expect(String(url).startsWith(`${server.url}/oauth/`), name).toBe(true)
    for (const method of ['GET', 'POST']) {
      const { status } = await fetch(String(url), { method, redirect: 'manual' })
      if (status !== 404) break
      if (method === 'POST') throw new Error(`${name} does not answer`)
    }
  }
  for (const path of [
    '/oauth/register',
    '/oauth/device',
    '/device',
    '/oauth/backchannel',
    '/oauth/challenge',
    '/reg',
    '/me',
    '/token',
    '/auth',
    '/session/end',
  ])
    for (const method of ['GET', 'POST'])
      expect([path, (await fetch(server.url + path, { method })).status]).toEqual([path, 404])
})

test('keys hold nothing private, and a next key stands beside each current one', async () => {
  const { body } = await json('/oauth/jwks')
  for (const key of body.keys)
    for (const member of ['d', 'p', 'q', 'dp', 'dq', 'qi', 'k']) expect(key).not.toHaveProperty(member)
  for (const alg of ['ES256', 'EdDSA', 'RS256']) expect(body.keys.filter((key) => key.alg === alg)).toHaveLength(2)
})

test('both may be cached for a while', async () => {
  for (const path of ['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server', '/oauth/jwks'])
    expect((await json(path)).headers.get('cache-control')).toMatch(/^public, max-age=\d+$/)
})

test('a preflight is answered for everybody and nobody in particular', async () => {
  const answer = await fetch(`${server.url}/oauth/token`, {
    method: 'OPTIONS',
    headers: { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'POST' },
  })
  expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([204, '*'])
  expect(answer.headers.get('access-control-allow-credentials')).toBeNull()
})
