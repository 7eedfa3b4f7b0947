// An orders API that verifies tokens by hand, and can be told to have one fault. Without one it answers every row of the contract's table.
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, type JWTPayload, jwtVerify } from 'jose'

export type Fault =
  | 'reads anybody’s'
  | 'deletes anybody’s'
  | 'asks nobody'
  | 'believes a gateway'
  | 'knows people by the headers of a gateway'
  | 'takes any word'
  | 'takes an empty Bearer'
  | 'forgets exp'
  | 'forgets signatures'
  | 'believes alg none'
  | 'forgets aud'
  | 'forgets scopes'
  | 'forgets roles'
  | '401 for a missing role'
  | 'forgets fresh sign-ins'
  | 'no word about fresh sign-ins'
  | 'takes tokens in the address'
  | 'takes keys in the address'
  | 'takes the first of two'
  | '403 for strangers'
  | '403 for expired tokens'
  | '401 for a missing scope'
  | '401 for somebody else'
  | 'no challenge for strangers'
  | 'no challenge for a missing scope'
  | 'another challenge'
  | 'an error where nothing was sent'
  | 'no error where a token was'
  | 'fails on alg none'
  | 'another issuer'
  | 'redirects strangers'
  | '403 for everything'
  | '404 for everything'
  | 'wants a body first'
  | 'is busy'
  | 'says nothing'
  | 'asks nobody, and never ends'
  | 'says very much'

export type BrokenApi = {
  url: string
  fault: Fault | undefined
  /** Everything that was asked, as `GET /orders/1`. */
  asked: string[]
  /** Called with each request, before it is answered. */
  onRequest: (request: IncomingMessage) => void
  /** What is said about an order that was made. */
  onMade: (id: string) => { body: unknown; location?: string }
  /** Whose objects there are. */
  orders: Map<string, string>
  stop(): Promise<void>
}

type Refusal = { status: number; challenge?: string }

/** @param options.introspect the API asks the issuer about every token, as `client:secret`. */
export async function startBrokenApi(options: {
  issuer: string
  audience: string
  introspect?: string
}): Promise<BrokenApi> {
  const { issuer, audience, introspect } = options
  const keys = createRemoteJWKSet(new URL(`${issuer}/oauth/jwks`))
  const api: BrokenApi = {
    url: '',
    fault: undefined,
    asked: [],
    onRequest: () => undefined,
    onMade,
    orders: new Map(),
    stop,
  }
  const has = (fault: Fault) => api.fault === fault

  const server = createServer(async (request, response) => {
    const path = request.url?.split('?')[0] ?? ''
    api.asked.push(`${request.method} ${path}`)
    api.onRequest(request)
    if (has('says nothing') && request.headers.authorization) return
    if (has('asks nobody, and never ends')) {
      response.writeHead(200).write('event')
      return
    }
    if (has('says very much')) {
      response.writeHead(401, { 'WWW-Authenticate': 'Bearer' })
      for (let sent = 0; sent < 50 && !response.destroyed; sent++) response.write('x'.repeat(65_536))
      response.end()
      return
    }
    try {
      const [status, body, location] = await answer(request, path)
      const headers = { 'Content-Type': 'application/json', ...(location !== undefined && { Location: location }) }
      response.writeHead(status, headers).end(JSON.stringify(body))
    } catch (error) {
      const { status = 500, challenge } = error as Partial<Refusal>
      const location = has('redirects strangers') && status === 401
      if (location) response.writeHead(302, { Location: `${api.url}/login` }).end()
      else response.writeHead(status, challenge === undefined ? {} : { 'WWW-Authenticate': challenge }).end('{}')
    }
  })

  /** Whoever made the first order, whatever was sent. */
  const anybody = () => ({ sub: [...api.orders.values()][0] ?? 'somebody', scope: 'orders:read orders:write' })

  async function answer(request: IncomingMessage, path: string): Promise<[number, unknown, string?]> {
    if (has('403 for everything')) throw { status: 403 } satisfies Refusal
    if (has('404 for everything')) throw { status: 404 } satisfies Refusal
    if (has('is busy')) throw { status: 429 } satisfies Refusal
    if (path === '/health') return [200, { ok: true }]
    if (has('asks nobody') && path !== '/orders') return [200, {}]
    if (has('believes a gateway') && request.headers['x-sallyport-user']) return [200, {}]
    if (has('knows people by the headers of a gateway') && request.headers['x-sallyport-user']) throw { status: 403 }
    if (has('wants a body first') && request.method === 'POST') throw { status: 400 } satisfies Refusal
    const claims = await authenticate(request)
    const id = /^\/orders\/([^/]+)$/.exec(path)?.[1]
    const needed = request.method === 'GET' ? 'orders:read' : 'orders:write'
    if (
      !has('forgets scopes') &&
      !String(claims.scope ?? '')
        .split(' ')
        .includes(needed)
    )
      throw withoutScope(needed)
    if (request.method === 'POST' && path === '/orders') {
      const made = String(api.orders.size + 1)
      api.orders.set(made, String(claims.sub))
      const { body, location } = api.onMade(made)
      return [201, body, location]
    }
    if (request.method === 'GET' && path === '/orders') return [200, []]
    if (path === '/reports') return [200, forSupport()]
    if (path === '/payouts') return [200, forTheFreshlySignedIn()]
    const owner = id === undefined ? undefined : api.orders.get(id)
    if (id === undefined || owner === undefined) throw { status: 404 } satisfies Refusal
    const isTheirs = owner === claims.sub
    if (request.method === 'GET') {
      if (!isTheirs && !has('reads anybody’s'))
        throw { status: has('401 for somebody else') ? 401 : 403, challenge: 'Bearer' }
      return [200, { id }]
    }
    if (isTheirs || has('deletes anybody’s')) api.orders.delete(id)
    return [204, '']
  }

  function forSupport(): unknown {
    if (has('forgets roles')) return []
    throw has('401 for a missing role') ? { status: 401, challenge: 'Bearer error="invalid_token"' } : { status: 403 }
  }

  function forTheFreshlySignedIn(): unknown {
    if (has('forgets fresh sign-ins')) return []
    const error = has('no word about fresh sign-ins') ? 'invalid_token' : 'insufficient_user_authentication'
    throw { status: 401, challenge: `Bearer error="${error}", max_age="300"` } satisfies Refusal
  }

  function withoutScope(scope: string): Refusal {
    if (has('401 for a missing scope')) return { status: 401, challenge: 'Bearer error="invalid_token"' }
    if (has('no challenge for a missing scope')) return { status: 403 }
    return { status: 403, challenge: `Bearer error="insufficient_scope", scope="${scope}"` }
  }

  async function authenticate(request: IncomingMessage): Promise<JWTPayload> {
    const query = new URL(request.url ?? '', 'http://localhost').searchParams
    const sent = request.headersDistinct.authorization ?? []
    if (has('takes any word') && sent[0] !== undefined && !sent[0].includes('.') && sent[0] !== 'Bearer')
      return anybody()
    if (sent[0] === 'Bearer') {
      if (has('takes an empty Bearer')) return anybody()
      throw { status: 400 } satisfies Refusal
    }
    if (request.headersDistinct['x-api-key'] && sent.length > 0 && !has('takes the first of two')) throw { status: 400 }
    if (sent.length > 1 && !has('takes the first of two')) throw { status: 400 }
    if (has('takes keys in the address') && query.has('api_key')) return anybody()
    const inAddress = has('takes tokens in the address') ? query.get('access_token') : null
    const token = inAddress ?? /^Bearer (.+)$/.exec(sent[0] ?? '')?.[1]
    if (token === undefined) throw stranger()
    try {
      return introspect === undefined ? await verify(token) : await ask(token, introspect)
    } catch (error) {
      if (has('fails on alg none') && token.endsWith('.')) throw { status: 500 }
      throw refused(error)
    }
  }

  function stranger(): Refusal {
    if (has('403 for strangers')) return { status: 403 }
    if (has('no challenge for strangers')) return { status: 401 }
    if (has('another challenge')) return { status: 401, challenge: 'Basic realm="orders"' }
    return {
      status: 401,
      challenge: `Bearer realm="orders"${has('an error where nothing was sent') ? ', error="invalid_token"' : ''}`,
    }
  }

  function refused(error: unknown): Refusal {
    if (has('403 for expired tokens') && (error as { code?: string }).code === 'ERR_JWT_EXPIRED') return { status: 403 }
    return { status: 401, challenge: has('no error where a token was') ? 'Bearer' : 'Bearer error="invalid_token"' }
  }

  async function verify(token: string): Promise<JWTPayload> {
    if (has('forgets signatures') && decodeProtectedHeader(token).alg === 'ES256') return checked(decodeJwt(token))
    if (has('believes alg none') && decodeProtectedHeader(token).alg === 'none') return checked(decodeJwt(token))
    const { payload } = await jwtVerify(token, keys, {
      issuer: has('another issuer') ? 'https://elsewhere.example' : issuer,
      typ: 'at+jwt',
      ...(has('forgets aud') ? {} : { audience }),
      ...(has('forgets exp') ? { currentDate: new Date(0) } : {}),
    })
    return payload
  }

  function checked(claims: JWTPayload): JWTPayload {
    if (claims.aud !== audience || (claims.exp ?? 0) * 1000 < Date.now()) throw new Error('not for us, or not any more')
    return claims
  }

  async function ask(token: string, credentials: string): Promise<JWTPayload> {
    const response = await fetch(`${issuer}/oauth/introspect`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(credentials)}` },
      body: new URLSearchParams({ token }),
    })
    const claims = (await response.json()) as JWTPayload & { active: boolean }
    if (!claims.active || (claims.aud !== audience && !has('forgets aud'))) throw new Error('not active, or not for us')
    return claims
  }

  function stop(): Promise<void> {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(() => resolve()))
  }

  await new Promise<void>((resolve) => server.listen(0, 'localhost', resolve))
  api.url = `http://localhost:${(server.address() as AddressInfo).port}`
  return api
}

export const onMade: BrokenApi['onMade'] = (id) => ({ body: { id: Number(id) } })

/** What it says about itself. */
export const brokenDocument = `openapi: 3.1.0
security: [{ oauth: ["orders:read"] }]
paths:
  /health: { get: { security: [] } }
  /orders:
    get: {}
    post: { security: [{ oauth: ["orders:write"] }] }
  /orders/{id}:
    get: {}
    delete: { security: [{ oauth: ["orders:write"] }] }
components: { securitySchemes: { oauth: { type: oauth2 } } }
`

/** And what it has for a few, and for those who were there just now. */
export const conditionalDocument = brokenDocument.replace(
  '  /orders:\n',
  `  /reports: { get: { x-sallyport-roles: [support] } }
  /payouts: { get: { x-sallyport-max-age: 300 } }
  /orders:
`,
)
