// Signs a person in: authorization code with PKCE (RFC 7636). Node 24 or newer, nothing to install.
// Environment: ISSUER_URL, CLIENT_ID, CLIENT_SECRET (empty where there is none), REDIRECT_URI, SCOPE.
import { createHash, randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import { env } from 'node:process'

const { ISSUER_URL = '', CLIENT_ID = '', CLIENT_SECRET = '', REDIRECT_URI = '', SCOPE = 'openid' } = env

// In a web application these two belong to the browser's session.
const state = randomBytes(32).toString('base64url')
const verifier = randomBytes(32).toString('base64url')

const query = new URLSearchParams({
  response_type: 'code',
  client_id: CLIENT_ID,
  redirect_uri: REDIRECT_URI,
  scope: SCOPE,
  state,
  code_challenge: createHash('sha256').update(verifier).digest('base64url'),
  code_challenge_method: 'S256',
})

async function redeem(code: string): Promise<Record<string, unknown>> {
  const form = new URLSearchParams({
    grant_type: 'authorization_code',
    code,
    code_verifier: verifier,
    redirect_uri: REDIRECT_URI,
    ...(CLIENT_SECRET ? {} : { client_id: CLIENT_ID }),
  })
  const pair = [CLIENT_ID, CLIENT_SECRET].map(encodeURIComponent).join(':')
  const response = await fetch(`${ISSUER_URL}/oauth/token`, {
    method: 'POST',
    headers: CLIENT_SECRET ? { authorization: `Basic ${btoa(pair)}` } : {},
    body: form,
    signal: AbortSignal.timeout(10_000),
  })
  const tokens = (await response.json()) as { id_token?: string; error?: string }
  if (!response.ok || !tokens.id_token) throw new Error(`no token: ${response.status} ${tokens.error}`)
  // It came straight from the issuer, so its signature need not be checked (OpenID Connect 3.1.3.7).
  return JSON.parse(Buffer.from(tokens.id_token.split('.')[1] ?? '', 'base64url').toString())
}

const server = createServer(async (request, response) => {
  const url = new URL(request.url ?? '', REDIRECT_URI)
  if (url.pathname !== new URL(REDIRECT_URI).pathname) return response.writeHead(404).end()
  // RFC 6749 10.12: an answer that we did not ask for is nobody's.
  if (url.searchParams.get('state') !== state) return response.writeHead(400).end('This answer is not ours.')
  const claims = await redeem(url.searchParams.get('code') ?? '')
  response.end('You are signed in. This page can be closed.')
  console.log('Signed in:', JSON.stringify(claims))
  server.close()
})
const { hostname, port } = new URL(REDIRECT_URI)
server.listen(Number(port), hostname, () => {
  console.log(`Open ${ISSUER_URL}/oauth/authorize?${query}`)
})
