// Takes a token for a service and calls an API with it. Node 24 or newer, nothing to install.
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET, SCOPE, API_IDENTIFIER, API_URL.
import { env } from 'node:process'

async function newToken(): Promise<string> {
  // RFC 6749 2.3.1: id and secret are form-encoded before they are joined.
  const pair = [env.CLIENT_ID, env.CLIENT_SECRET].map((part) => encodeURIComponent(part ?? '')).join(':')
  const response = await fetch(`${env.ISSUER_URL}/oauth/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(pair)}` },
    body: new URLSearchParams({
      grant_type: 'client_credentials',
      scope: env.SCOPE ?? '',
      resource: env.API_IDENTIFIER ?? '',
    }),
    signal: AbortSignal.timeout(10_000),
  })
  const body = (await response.json()) as { access_token?: string; error?: string }
  if (!response.ok || !body.access_token) throw new Error(`no token: ${response.status} ${body.error}`)
  return body.access_token
}

// Keep the token until it is refused (401) or expires_in has passed; do not take one for each call.
const token = await newToken()
const response = await fetch(env.API_URL ?? '', {
  headers: { authorization: `Bearer ${token}` },
  signal: AbortSignal.timeout(10_000),
})
console.log(response.status, await response.text())
