// A backend for a browser app: tokens stay here, the browser has a cookie that scripts cannot read. What happens, in this order:
//   1. GET  /login     state, nonce and PKCE verifier are kept for this browser, 303 to the issuer
//   2. GET  /callback  state, `iss`, nonce and verifier are checked, the code becomes tokens, a fresh session begins
//   3. GET  /me        who is signed in: a name and nothing else
//   4. /api/…          a request of the list below goes on to the API, with the access token in place of the cookie
//   5. POST /logout    the session ends here first, then at the issuer
// A cookie goes along with whatever another site makes the browser send. So 3 to 5 want a header that only our own page can send, and the
// cookie is SameSite=Strict. Start: CLIENT_SECRET=… npx node examples/bff/server.ts
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import * as oidc from 'openid-client'

const issuer = new URL(process.env.ISSUER_URL ?? 'http://localhost:3000')
const port = Number(process.env.PORT ?? 4003)
const baseUrl = process.env.BASE_URL ?? `http://localhost:${port}`
const apiUrl = process.env.API_URL ?? 'http://localhost:4001'
const resource = process.env.API_IDENTIFIER ?? 'https://api.example.com/orders'
const clientSecret = process.env.CLIENT_SECRET
if (!clientSecret) {
  console.error('Set CLIENT_SECRET to the secret of the client shop-web.')
  process.exit(2)
}

/** What the page may ask of the API. Everything else is not passed on: a proxy for any path is a way to any path. */
const passedOn = [/^GET \/orders$/, /^POST \/orders$/, /^(?:GET|DELETE) \/orders\/[\w-]+$/]

type Attempt = { state: string; nonce: string; codeVerifier: string }
type Session = {
  name: string
  idToken: string
  accessToken: string
  refreshToken: string | undefined
  /** One at a time: two that spend the same refresh token look like a theft. */
  refreshing?: Promise<void> | undefined
}

const attempts = new Map<string, Attempt>()
const sessions = new Map<string, Session>()
const secure = baseUrl.startsWith('https:')
/** `__Host-`: only this host may set it, over TLS, for all paths. No neighbour's page under the same domain can plant one. */
const cookieNames = {
  attempt: secure ? '__Host-attempt' : 'attempt',
  session: secure ? '__Host-session' : 'session',
}
const page = readFileSync(new URL('app.html', import.meta.url))
const script = readFileSync(new URL('app.js', import.meta.url))
const config = await oidc.discovery(
  issuer,
  process.env.CLIENT_ID ?? 'shop-web',
  undefined,
  oidc.ClientSecretBasic(clientSecret),
  // Plain http is for an issuer on this machine only; the library refuses it unless told.
  issuer.protocol === 'http:' ? { execute: [oidc.allowInsecureRequests] } : {},
)

const server = createServer((request, response) => {
  handle(request, response).catch((error: unknown) => {
    console.error(error instanceof Error ? `${error.name}: ${error.message}` : error)
    if (!response.headersSent) answer(response, 502, { error: 'bad_gateway' })
  })
})
server.listen(port, 'localhost', () => console.log(`browser app on ${baseUrl}`))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => server.close())

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', baseUrl)
  switch (`${request.method} ${url.pathname}`) {
    case 'GET /':
      return send(response, 200, 'text/html; charset=utf-8', page)
    case 'GET /app.js':
      return send(response, 200, 'text/javascript; charset=utf-8', script)
    case 'GET /login':
      return login(response)
    case 'GET /callback':
      return callback(request, response, url)
  }
  if (!isOwnPage(request)) return answer(response, 403, { error: 'forbidden', error_description: 'Not from this app.' })
  const session = sessions.get(cookieOf(request, cookieNames.session))
  if (!session) return answer(response, 401, { error: 'unauthorized' })
  if (url.pathname === '/me' && request.method === 'GET') return answer(response, 200, { name: session.name })
  if (url.pathname === '/logout' && request.method === 'POST') return logout(request, response, session)
  const path = url.pathname.startsWith('/api/') ? url.pathname.slice('/api'.length) : undefined
  if (path && passedOn.some((route) => route.test(`${request.method} ${path}`)))
    return passOn(request, response, session, path)
  answer(response, 404, { error: 'not_found' })
}

/** No form of another site can set the header; a script of another site would have to be allowed to, which nobody here is. */
function isOwnPage({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site']
  return headers['x-requested-by'] === 'orders-app' && (site === undefined || site === 'same-origin')
}

async function login(response: ServerResponse): Promise<void> {
  const attempt = {
    state: oidc.randomState(),
    nonce: oidc.randomNonce(),
    codeVerifier: oidc.randomPKCECodeVerifier(),
  }
  // Lax: the issuer sends the browser back here, and that comes from another site.
  response.setHeader('set-cookie', cookie(cookieNames.attempt, keep(attempts, attempt), 600, 'Lax'))
  redirect(
    response,
    oidc.buildAuthorizationUrl(config, {
      redirect_uri: `${baseUrl}/callback`,
      scope: process.env.SCOPE ?? 'openid profile orders:read orders:write',
      resource,
      state: attempt.state,
      nonce: attempt.nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(attempt.codeVerifier),
      code_challenge_method: 'S256',
    }),
  )
}

async function callback(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
  const id = cookieOf(request, cookieNames.attempt)
  const attempt = attempts.get(id)
  attempts.delete(id)
  const over = cookie(cookieNames.attempt, '', 0, 'Lax')
  if (!attempt) return answer(response, 400, { error: 'not_started_here' })
  try {
    const tokens = await oidc.authorizationCodeGrant(config, url, {
      pkceCodeVerifier: attempt.codeVerifier,
      expectedState: attempt.state,
      expectedNonce: attempt.nonce,
      idTokenExpected: true,
    })
    // The first access token is for userinfo, which knows the name; those for the API are drawn from the same agreement.
    const subject = tokens.claims()?.sub ?? ''
    const { name = subject } = await oidc.fetchUserInfo(config, tokens.access_token, subject)
    const session: Session = {
      name,
      idToken: tokens.id_token ?? '',
      accessToken: '',
      refreshToken: tokens.refresh_token,
    }
    if (!(await renew(session))) throw new Error('the issuer gave no token for the API')
    // Always a new id: an id that somebody planted before the sign-in must not be the one that is signed in.
    response.setHeader('set-cookie', [over, cookie(cookieNames.session, keep(sessions, session), 8 * 3600, 'Strict')])
    // A page of our own that goes on by itself: after a redirect that began elsewhere a Strict cookie is not sent.
    send(response, 200, 'text/html; charset=utf-8', '<!doctype html><meta http-equiv="refresh" content="0;url=/">')
  } catch (error) {
    if (!(error instanceof oidc.AuthorizationResponseError || error instanceof oidc.ClientError || isRefusal(error)))
      throw error
    response.setHeader('set-cookie', over)
    answer(response, 400, { error: 'not_signed_in' })
  }
}

/** The cookie stays here, the token goes there; of the answer only the body comes back. */
async function passOn(
  request: IncomingMessage,
  response: ServerResponse,
  session: Session,
  path: string,
): Promise<void> {
  const body = request.method === 'POST' ? await bodyOf(request) : undefined
  const send = () =>
    fetch(apiUrl + path, {
      method: request.method ?? 'GET',
      headers: { authorization: `Bearer ${session.accessToken}`, 'content-type': 'application/json' },
      body: body ? new Uint8Array(body) : null,
      redirect: 'error',
      signal: AbortSignal.timeout(10_000),
    })
  let result = await send()
  // docs/after-a-refusal.md: a new token, once, and only where a new token can help.
  if (result.status === 401 && session.refreshToken && (await renew(session))) result = await send()
  if (result.status === 401) {
    sessions.delete(cookieOf(request, cookieNames.session))
    return answer(response, 401, { error: 'unauthorized' })
  }
  answer(response, result.status, (await result.json()) as object)
}

/** @returns false when the issuer says that it is over. */
async function renew(session: Session): Promise<boolean> {
  session.refreshing ??= oidc
    .refreshTokenGrant(config, session.refreshToken ?? '', { resource })
    .then((tokens) => {
      session.accessToken = tokens.access_token
      // The old one is spent: whoever keeps using it ends the whole family (RFC 9700 4.14.2).
      session.refreshToken = tokens.refresh_token ?? session.refreshToken
    })
    .finally(() => {
      session.refreshing = undefined
    })
  try {
    await session.refreshing
    return true
  } catch (error) {
    if (isRefusal(error)) return false
    throw error
  }
}

function logout(request: IncomingMessage, response: ServerResponse, session: Session): void {
  sessions.delete(cookieOf(request, cookieNames.session))
  response.setHeader('set-cookie', cookie(cookieNames.session, '', 0, 'Strict'))
  const to = oidc.buildEndSessionUrl(config, {
    id_token_hint: session.idToken,
    post_logout_redirect_uri: `${baseUrl}/`,
  })
  answer(response, 200, { location: to.href })
}

function isRefusal(error: unknown): boolean {
  return error instanceof oidc.ResponseBodyError && error.error === 'invalid_grant'
}

/** @returns the id under which it is kept; of more than 10,000 the oldest goes. */
function keep<Value>(shelf: Map<string, Value>, value: Value): string {
  const id = randomBytes(32).toString('base64url')
  shelf.set(id, value)
  const oldest = shelf.keys().next().value
  if (shelf.size > 10_000 && oldest !== undefined) shelf.delete(oldest)
  return id
}

function cookieOf(request: IncomingMessage, name: string): string {
  const pairs = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim().split('='))
  return pairs.find(([known]) => known === name)?.[1] ?? ''
}

function cookie(name: string, value: string, maxAge: number, sameSite: 'Lax' | 'Strict'): string {
  return `${name}=${value}; Path=/; Max-Age=${maxAge}; HttpOnly; SameSite=${sameSite}${secure ? '; Secure' : ''}`
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > 100_000) throw new Error('the body is too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function redirect(response: ServerResponse, to: URL): void {
  response.writeHead(303, { location: to.href, 'cache-control': 'no-store' })
  response.end()
}

function answer(response: ServerResponse, status: number, body: object): void {
  send(response, status, 'application/json', JSON.stringify(body))
}

function send(response: ServerResponse, status: number, type: string, body: string | Buffer): void {
  response.writeHead(status, {
    'content-type': type,
    'cache-control': 'no-store',
    'content-security-policy':
      "default-src 'none'; script-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  })
  response.end(body)
}
