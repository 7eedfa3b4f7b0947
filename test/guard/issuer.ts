// An issuer that can be made to sign and to answer anything: what is judged in these tests is the guard.
import { createServer, type IncomingMessage } from 'node:http'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose'
import type { GuardRequest } from '#src/guard/guard.ts'
import { close, listen } from './apps.ts'

export const audience = 'https://api.example.com/orders'

type Asked = { path: string; headers: IncomingMessage['headers']; body: string }
type Reply = { status?: number; body?: unknown; headers?: Record<string, string> }

/** `answers` says what a path answers; `asked` is what came. */
export async function startIssuer() {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const jwk: JWK = { ...(await exportJWK(publicKey)), kid: 'k1', use: 'sig', alg: 'ES256' }
  const asked: Asked[] = []
  const answers = new Map<string, (asked: Asked) => Reply>()
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const path = request.url?.split('?')[0] ?? ''
    const question = { path, headers: request.headers, body: Buffer.concat(chunks).toString() }
    asked.push(question)
    const { status = 200, body = {}, headers = {} } = answers.get(path)?.(question) ?? { status: 404 }
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
  })
  const url = `http://localhost:${await listen(server)}`
  const document = { issuer: url, jwks_uri: `${url}/jwks`, introspection_endpoint: `${url}/oauth/introspect` }
  answers.set('/.well-known/oauth-authorization-server', () => ({ body: document }))
  answers.set('/jwks', () => ({ body: { keys: [jwk] } }))

  const claims = (): JWTPayload => ({
    iss: url,
    aud: audience,
    sub: 'alice',
    client_id: 'shop',
    scope: 'orders:read',
    jti: 'j',
    iat: epoch(),
    exp: epoch() + 60,
  })
  /** A good token, but for what is changed; undefined removes a claim. */
  const sign = (change: Record<string, unknown> = {}, header: object = {}, key: CryptoKey = privateKey) =>
    new SignJWT({ ...claims(), ...change } as JWTPayload)
      .setProtectedHeader({ alg: 'ES256', kid: 'k1', typ: 'at+jwt', ...header })
      .sign(key)
  const countOf = (path: string) => asked.filter((one) => one.path === path).length

  return { url, document, jwk, answers, asked, countOf, claims, sign, stop: () => close(server) }
}

export const epoch = () => Math.floor(Date.now() / 1000)

export function requestWith(
  headers: Record<string, string | string[]>,
  more: Partial<GuardRequest> = {},
): GuardRequest {
  return { method: 'GET', target: '/orders', header: (name) => [headers[name] ?? []].flat(), ...more }
}

/** What came of it: who it is, or the refusal as status, code and challenge. */
export async function outcome(work: Promise<unknown> | (() => unknown)): Promise<Record<string, unknown>> {
  try {
    const result = await (typeof work === 'function' ? work() : work)
    return typeof result === 'object' && result !== null ? { status: 200, ...result } : { status: 200, result }
  } catch (error) {
    const {
      status,
      error: code,
      headers,
      message,
    } = error as Record<string, unknown> & { headers: Record<string, string> }
    if (status === undefined) throw error
    return { status, code, message, challenge: headers['www-authenticate'], retryAfter: headers['retry-after'] }
  }
}
