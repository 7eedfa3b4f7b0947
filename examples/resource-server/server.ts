// An orders API behind Sallyport. What happens to a request, in this order:
//   1. credentials: exactly one bearer token in the Authorization header, or 400 (malformed) or 401 (none)
//   2. who are you: the token is a JWT access token (RFC 9068) of our issuer, for us, in date, rightly signed, or 401
//   3. may you do this: the token has the scope of the route, or 403 insufficient_scope
//   4. may you do this to that: the order belongs to the subject of the token, or 403
// Only then does a handler run. Start: npx node examples/resource-server/server.ts
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import { followRevocations } from './revocations.ts'

const issuer = process.env.ISSUER_URL ?? 'http://localhost:3000'
const audience = process.env.API_IDENTIFIER ?? 'https://api.example.com/orders'
const port = Number(process.env.PORT ?? 4001)

type Caller = { subject: string; scopes: string[] }
type Order = { id: string; owner: string; item: string }

/** @param challenge RFC 6750 3: the part of WWW-Authenticate after `Bearer`; absent where no other token would help. */
class Refused extends Error {
  readonly status: number
  readonly code: string
  readonly challenge: string | undefined
  constructor(status: number, code: string, message: string, challenge?: string) {
    super(message)
    this.status = status
    this.code = code
    this.challenge = challenge
  }
}

const keys = createRemoteJWKSet(new URL(await discoverJwksUri()), { timeoutDuration: 3_000 })
// Without it a revoked token is taken until it expires, a quarter of an hour at most unless the API says otherwise.
const key = process.env.REVOCATIONS_KEY
const revocations = key === undefined ? undefined : await followRevocations(issuer, key)
const orders = new Map<string, Order>([['1', { id: '1', owner: 'somebody-else', item: 'a lantern' }]])
let nextId = 2

const server = createServer((request, response) => {
  handle(request, response).catch((error: unknown) => refuse(response, error))
})
server.listen(port, 'localhost', () => {
  const address = server.address()
  console.log(`orders API on http://localhost:${address && typeof address === 'object' ? address.port : port}`)
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => server.close())

async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://localhost')
  const caller = await authenticate(bearerToken(request, url))
  const route = `${request.method} ${url.pathname.replace(/^\/orders\/[^/]+$/, '/orders/:id')}`
  const id = url.pathname.split('/')[2] ?? ''

  switch (route) {
    case 'GET /orders':
      requireScope(caller, 'orders:read')
      return reply(response, 200, { orders: [...orders.values()].filter((order) => order.owner === caller.subject) })
    case 'POST /orders': {
      requireScope(caller, 'orders:write')
      const order = { id: String(nextId++), owner: caller.subject, item: 'a compass' }
      orders.set(order.id, order)
      return reply(response, 201, order)
    }
    case 'GET /orders/:id':
      requireScope(caller, 'orders:read')
      return reply(response, 200, ownOrder(caller, id))
    case 'DELETE /orders/:id':
      requireScope(caller, 'orders:delete')
      orders.delete(ownOrder(caller, id).id)
      return reply(response, 200, { deleted: id })
    default:
      throw new Refused(404, 'not_found', 'No such resource.')
  }
}

/** RFC 6750 2.1. Tokens in a query string end up in logs (RFC 9700 4.3.2): refused even when they are good. */
function bearerToken(request: IncomingMessage, url: URL): string {
  const headers = request.headersDistinct.authorization ?? []
  const credentials = headers.length + (request.headersDistinct['x-api-key'] ?? []).length
  if (url.searchParams.has('access_token'))
    throw malformed('Send the token in the Authorization header, not in the URL.')
  if (credentials > 1) throw malformed('Send one credential, not several.')
  const [scheme = '', token, ...rest] = (headers[0] ?? '').split(' ')
  // RFC 6750 3.1: no error code where no credential of a kind we take was sent.
  if (scheme.toLowerCase() !== 'bearer') throw new Refused(401, 'unauthorized', 'A bearer token is needed.', '')
  if (!token || rest.length > 0 || !/^[\w.~+/-]+=*$/.test(token)) throw malformed('The bearer token is malformed.')
  return token
}

async function authenticate(token: string): Promise<Caller> {
  try {
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience, // a token for another API is worth nothing here (RFC 8707)
      typ: 'at+jwt', // an ID token is not an access token (RFC 9068 4)
      algorithms: ['ES256', 'EdDSA', 'RS256'], // never what the token itself proposes (RFC 8725 3.1)
      requiredClaims: ['sub', 'exp', 'iat', 'jti', 'client_id'],
      clockTolerance: 5,
    })
    // RFC 9449 7.1, RFC 8705 3: a token bound to a key is not a bearer token.
    if (payload.cnf !== undefined) throw invalidToken()
    if (revocations?.isBlind())
      throw new Refused(503, 'temporarily_unavailable', 'What was revoked cannot be read right now.')
    if (revocations?.isRevoked(payload)) throw invalidToken()
    return { subject: String(payload.sub), scopes: String(payload.scope ?? '').split(' ') }
  } catch (error) {
    if (error instanceof Refused) throw error
    // Our trouble in fetching keys is not the caller's: a 401 here would make every client throw a good token away.
    const aboutTheToken = error instanceof errors.JOSEError && error.code !== 'ERR_JOSE_GENERIC'
    if (aboutTheToken && !(error instanceof errors.JWKSTimeout) && !(error instanceof errors.JWKSInvalid))
      throw invalidToken()
    throw new Refused(503, 'temporarily_unavailable', 'The keys of the issuer cannot be read right now.')
  }
}

function requireScope(caller: Caller, scope: string): void {
  if (!caller.scopes.includes(scope))
    throw new Refused(403, 'insufficient_scope', `This needs ${scope}.`, `error="insufficient_scope", scope="${scope}"`)
}

/** A scope says what kind of thing a token may do; only the API knows to whom an order belongs. */
function ownOrder(caller: Caller, id: string): Order {
  const order = orders.get(id)
  if (!order) throw new Refused(404, 'not_found', 'No such order.')
  if (order.owner !== caller.subject) throw new Refused(403, 'access_denied', 'This order belongs to somebody else.')
  return order
}

function malformed(message: string): Refused {
  return new Refused(400, 'invalid_request', message, `error="invalid_request", error_description="${message}"`)
}

/** One text for every reason: which check failed helps only those who forge tokens. */
function invalidToken(): Refused {
  return new Refused(401, 'invalid_token', 'The token is not valid here.', 'error="invalid_token"')
}

function refuse(response: ServerResponse, error: unknown): void {
  if (!(error instanceof Refused)) {
    console.error(error)
    reply(response, 500, { error: 'server_error' })
    return
  }
  if (error.challenge !== undefined)
    response.setHeader('www-authenticate', ['Bearer realm="orders"', error.challenge].filter(Boolean).join(', '))
  if (error.status === 503) response.setHeader('retry-after', '1')
  reply(response, error.status, { error: error.code, error_description: error.message })
}

function reply(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  response.end(`${JSON.stringify(body)}\n`)
}

async function discoverJwksUri(): Promise<string> {
  const response = await fetch(`${issuer}/.well-known/oauth-authorization-server`).catch((cause) => {
    throw new Error(`${issuer} does not answer: is the server running?`, { cause })
  })
  if (!response.ok) throw new Error(`${issuer} answered ${response.status} to discovery: is ISSUER_URL right?`)
  const metadata = (await response.json()) as { issuer?: unknown; jwks_uri?: unknown }
  // RFC 8414 3.3: a document that names another issuer is not this issuer's.
  if (metadata.issuer !== issuer || typeof metadata.jwks_uri !== 'string')
    throw new Error(`The discovery document at ${issuer} is not that of ${issuer}.`)
  return metadata.jwks_uri
}
