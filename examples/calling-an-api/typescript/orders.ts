// Calls an API with a client_credentials token. Node 24 or newer, nothing to install.
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET, API_URL, API_IDENTIFIER.
import { env } from 'node:process'

// What a program holds after a quarter of an hour: a token that has died. A fresh program would start with none.
let token = 'expired'

/** 403: the API knows us and says no. Another token would be told the same. */
class NotAllowed extends Error {}

async function newToken(): Promise<string> {
  // RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
  const pair = [env.CLIENT_ID, env.CLIENT_SECRET].map((part) => encodeURIComponent(part ?? '')).join(':')
  const response = await fetch(`${env.ISSUER_URL}/oauth/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(pair)}` },
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      scope: 'orders:read',
      resource: env.API_IDENTIFIER ?? '',
    }),
    signal: AbortSignal.timeout(10_000),
  })
  const body = (await response.json()) as { access_token?: string; error?: string }
  if (!response.ok || !body.access_token) throw new Error(`no token: ${response.status} ${body.error}`)
  return body.access_token
}

async function call(method: string, path: string): Promise<Record<string, unknown>> {
  let response = await send(method, path)
  if (response.status === 401) {
    console.log('needs new token (401): trying once more with a fresh one')
    token = await newToken()
    response = await send(method, path)
  }
  if (response.status === 403) throw new NotAllowed(response.headers.get('www-authenticate') ?? 'no reason given')
  if (!response.ok) throw new Error(`${method} ${path}: ${response.status}`)
  return (await response.json()) as Record<string, unknown>
}

function send(method: string, path: string): Promise<Response> {
  return fetch(`${env.API_URL}${path}`, {
    method,
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(10_000),
  })
}

const { orders } = await call('GET', '/orders')
console.log('ok (200):', (orders as unknown[]).length, 'orders')
try {
  await call('DELETE', '/orders/1')
} catch (error) {
  if (!(error instanceof NotAllowed)) throw error
  console.log('not allowed (403):', error.message)
}
