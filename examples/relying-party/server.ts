// A web application that signs people in with Sallyport. What happens, in this order:
//   1. GET  /login     makes state, nonce and a PKCE verifier, keeps them for this browser, 303 to the issuer
//   2. GET  /callback  checks state, `iss`, nonce and the verifier, changes the code for tokens, starts a fresh session
//   3. GET  /          shows who signed in: the claims of the ID token and of the userinfo endpoint
//   4. POST /refresh   changes the refresh token for new tokens; a refusal means: sign in again
//   5. POST /logout    ends our session first, then 303 to the issuer's logout (OpenID Connect RP-Initiated Logout 1.0)
// Start: DEMO_CLIENT_SECRET=… npx node examples/relying-party/server.ts
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import * as oidc from 'openid-client'

const issuer = new URL(process.env.ISSUER_URL ?? 'http://localhost:3000')
const port = Number(process.env.PORT ?? 4000)
const baseUrl = process.env.BASE_URL ?? `http://localhost:${port}`
const clientId = process.env.CLIENT_ID ?? 'demo-web'
const clientSecret = process.env.DEMO_CLIENT_SECRET ?? process.env.CLIENT_SECRET
const scope = process.env.SCOPE ?? 'openid profile email'
if (!clientSecret) {
  console.error('Set DEMO_CLIENT_SECRET to the secret that `npm start` printed for the client demo-web.')
  process.exit(2)
}

/** What this browser started and has not finished: worth nothing in any other browser. */
type Attempt = { state: string; nonce: string; codeVerifier: string }
type SignedIn = { claims: Record<string, unknown>; subject: string; idToken: string; refreshToken: string | undefined }
type Session = { attempt?: Attempt; signedIn?: SignedIn }

const sessions = new Map<string, Session>()
const secure = baseUrl.startsWith('https:')
const cookieName = secure ? '__Host-rp' : 'rp'

const config = await oidc.discovery(
  issuer,
  clientId,
  undefined,
  oidc.ClientSecretBasic(clientSecret),
  // Plain http is for an issuer on this machine only; the library refuses it unless told.
  issuer.protocol === 'http:' ? { execute: [oidc.allowInsecureRequests] } : {},
)

const server = createServer((request, response) => {
  handle(request, response).catch((error: unknown) => {
    console.error(error instanceof Error ? `${error.name}: ${error.message}` : error)
    if (!response.headersSent) page(response, 500, '<h1>Something went wrong here</h1>')
  })
})
server.listen(port, 'localhost', () => console.log(`relying party on ${baseUrl}`))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => server.close())

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', baseUrl)
  // Another site must not press our buttons: SameSite=Lax keeps the cookie back, and this refuses the rest.
  if (request.method === 'POST' && !['same-origin', 'none', undefined].includes(fetchSite(request)))
    return page(response, 403, '<h1>This form was sent from another site</h1>')
  switch (`${request.method} ${url.pathname}`) {
    case 'GET /':
      return home(request, response)
    case 'GET /login':
      return login(response)
    case 'GET /callback':
      return callback(request, response, url)
    case 'POST /refresh':
      return refresh(request, response)
    case 'POST /logout':
      return logout(request, response)
    default:
      return page(response, 404, '<h1>No such page</h1>')
  }
}

async function login(response: ServerResponse): Promise<void> {
  const attempt: Attempt = {
    state: oidc.randomState(),
    nonce: oidc.randomNonce(),
    codeVerifier: oidc.randomPKCECodeVerifier(),
  }
  startSession(response, { attempt })
  redirect(
    response,
    oidc.buildAuthorizationUrl(config, {
      redirect_uri: `${baseUrl}/callback`,
      scope,
      state: attempt.state,
      nonce: attempt.nonce,
      code_challenge: await oidc.calculatePKCECodeChallenge(attempt.codeVerifier),
      code_challenge_method: 'S256',
    }),
  )
}

async function callback(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
  const attempt = endSession(request)?.attempt
  if (!attempt) return page(response, 400, '<h1>This sign-in was not started here</h1><a href="/login">Start again</a>')
  try {
    // Checks state, `iss` (RFC 9207: the answer is from the server that we asked), the ID token's signature, audience,
    // nonce and times; sends the PKCE verifier.
    const tokens = await oidc.authorizationCodeGrant(config, url, {
      pkceCodeVerifier: attempt.codeVerifier,
      expectedState: attempt.state,
      expectedNonce: attempt.nonce,
      idTokenExpected: true,
    })
    const idToken = tokens.claims()
    if (!idToken || !tokens.id_token) throw new Error('no ID token')
    // Profile claims come from userinfo; its `sub` must be the ID token's (OpenID Connect Core 5.3.2).
    const profile = await oidc.fetchUserInfo(config, tokens.access_token, idToken.sub)
    startSession(response, {
      signedIn: {
        claims: { ...idToken, ...profile },
        subject: idToken.sub,
        idToken: tokens.id_token,
        refreshToken: tokens.refresh_token,
      },
    })
    redirect(response, new URL(baseUrl))
  } catch (error) {
    page(
      response,
      400,
      `<h1>You are not signed in</h1><p>${escapeHtml(reason(error))}</p><a href="/login">Try again</a>`,
    )
  }
}

async function refresh(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const session = findSession(request)
  const signedIn = session?.signedIn
  if (!session || !signedIn?.refreshToken) return redirect(response, new URL('/login', baseUrl))
  try {
    const tokens = await oidc.refreshTokenGrant(config, signedIn.refreshToken)
    const profile = await oidc.fetchUserInfo(config, tokens.access_token, signedIn.subject)
    session.signedIn = {
      subject: signedIn.subject,
      claims: { ...signedIn.claims, ...tokens.claims(), ...profile },
      idToken: tokens.id_token ?? signedIn.idToken,
      // The old one is spent: whoever keeps using it ends the whole family (RFC 9700 4.14.2).
      refreshToken: tokens.refresh_token ?? signedIn.refreshToken,
    }
    redirect(response, new URL(baseUrl))
  } catch (error) {
    if (!(error instanceof oidc.ResponseBodyError) || error.error !== 'invalid_grant') throw error
    endSession(request)
    redirect(response, new URL('/login', baseUrl))
  }
}

function logout(request: IncomingMessage, response: ServerResponse): void {
  const signedIn = endSession(request)?.signedIn
  response.setHeader('set-cookie', cookie('', 0))
  const home = new URL(baseUrl)
  redirect(
    response,
    signedIn
      ? oidc.buildEndSessionUrl(config, { id_token_hint: signedIn.idToken, post_logout_redirect_uri: home.href })
      : home,
  )
}

function home(request: IncomingMessage, response: ServerResponse): void {
  const signedIn = findSession(request)?.signedIn
  if (!signedIn) {
    page(response, 200, '<h1>You are not signed in</h1><a href="/login">Sign in</a>')
    return
  }
  const rows = Object.entries(signedIn.claims)
    .map(([name, value]) => `<tr><th>${escapeHtml(name)}</th><td>${escapeHtml(JSON.stringify(value))}</td></tr>`)
    .join('')
  page(
    response,
    200,
    `<h1>You are signed in</h1><table>${rows}</table>
<form method="post" action="/refresh"><button>Refresh</button></form>
<form method="post" action="/logout"><button>Sign out</button></form>`,
  )
}

/** Always a new id: an id that somebody planted before the sign-in must not be the one that is signed in. */
function startSession(response: ServerResponse, session: Session): void {
  const id = randomBytes(32).toString('base64url')
  sessions.set(id, session)
  const oldest = sessions.keys().next().value
  if (sessions.size > 10_000 && oldest !== undefined) sessions.delete(oldest)
  response.setHeader('set-cookie', cookie(id, 8 * 3600))
}

function findSession(request: IncomingMessage): Session | undefined {
  return sessions.get(sessionId(request))
}

function endSession(request: IncomingMessage): Session | undefined {
  const session = findSession(request)
  sessions.delete(sessionId(request))
  return session
}

function sessionId(request: IncomingMessage): string {
  const pairs = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim().split('='))
  return pairs.find(([name]) => name === cookieName)?.[1] ?? ''
}

function cookie(value: string, maxAge: number): string {
  return `${cookieName}=${value}; Path=/; Max-Age=${maxAge}; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`
}

function fetchSite(request: IncomingMessage): string | undefined {
  const value = request.headers['sec-fetch-site']
  return Array.isArray(value) ? value[0] : value
}

function reason(error: unknown): string {
  if (error instanceof oidc.AuthorizationResponseError) return `The issuer said: ${error.error}`
  if (error instanceof oidc.ResponseBodyError) return `The issuer refused the code: ${error.error}`
  return 'The answer of the issuer could not be trusted.'
}

function redirect(response: ServerResponse, to: URL): void {
  response.writeHead(303, { location: to.href, 'cache-control': 'no-store' })
  response.end()
}

function page(response: ServerResponse, status: number, body: string): void {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
    // The logout form is answered by a redirect to the issuer: browsers hold redirects of a form to form-action as well.
    'content-security-policy': `default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self' ${issuer.origin}`,
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  })
  response.end(`<!doctype html><html lang="en"><title>Relying party</title><main>${body}</main></html>`)
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
