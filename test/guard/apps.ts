// One small API, written for each framework as its documents would: two doors, then a handler.
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { Hono } from 'hono'
import Koa from 'koa'
import { expressGuard } from '#src/guard/express.ts'
import { honoGuard, protect as protectFetch } from '#src/guard/fetch.ts'
import type { Caller, Guard } from '#src/guard/guard.ts'
import { koaGuard } from '#src/guard/koa.ts'
import { protect as protectNode } from '#src/guard/node.ts'

export type Api = Readonly<{ url: string; stop(): Promise<void> }>

/** What each path asks of its caller. `/mine/:owner` has one object, which belongs to `:owner`. */
export const needs = {
  '/read': { scopes: ['orders:read'] },
  '/delete': { scopes: ['orders:delete'] },
  '/strong': { scopes: ['orders:read'], acr: 'urn:sallyport:acr:2fa', maxAge: 300 },
} as const
type Path = keyof typeof needs

const ownerIn = (path: string) => (path.startsWith('/mine/') ? path.slice('/mine/'.length) : undefined)
const find = (owner: string) => (owner === 'nobody' ? undefined : { id: '88', owner })
const answer = ({ id, type, authMethod }: Caller) => ({ caller: id, type, authMethod })

function own(guard: Guard, caller: Caller | undefined, owner: string) {
  return guard.requireOwner(caller, find(owner), (row) => row.owner)
}

export const frameworks: Record<
  string,
  (guard: Guard) => (request: IncomingMessage, response: ServerResponse) => void
> = {
  Koa(guard) {
    const app = new Koa()
    const doors = koaGuard(guard)
    app.use(doors.metadata)
    app.use(doors.authenticate)
    app.use(async (ctx, next) => {
      const owner = ownerIn(ctx.path)
      if (owner !== undefined) ctx.body = own(guard, ctx.state.caller, owner)
      else await doors.authorize(needs[ctx.path as Path] ?? {})(ctx, next)
    })
    app.use((ctx) => {
      ctx.body = answer(ctx.state.caller)
    })
    return app.callback()
  },

  Express(guard) {
    const app = express()
    const doors = expressGuard(guard)
    app.use(doors.metadata)
    app.use(express.urlencoded({ extended: false }))
    app.use(doors.authenticate)
    for (const [path, requirements] of Object.entries(needs)) app.use(path, doors.authorize(requirements))
    app.get('/mine/:owner', async (request, response) => {
      response.json(own(guard, response.locals.caller, request.params.owner))
    })
    app.use((_request, response) => {
      response.json(answer(response.locals.caller))
    })
    app.use(doors.refusals)
    return app
  },

  Hono(guard) {
    const app = new Hono<{ Variables: { caller: Caller } }>()
    const doors = honoGuard(guard)
    app.use(doors.metadata)
    app.use(doors.authenticate)
    for (const [path, requirements] of Object.entries(needs)) app.use(path, doors.authorize(requirements))
    app.get('/mine/:owner', (c) => c.json(own(guard, c.get('caller'), c.req.param('owner'))))
    app.all('*', (c) => c.json(answer(c.get('caller'))))
    return overHttp((request) => app.fetch(request))
  },

  fetch: (guard) =>
    overHttp(
      protectFetch(guard, (request, caller) => {
        const { pathname } = new URL(request.url)
        const owner = ownerIn(pathname)
        if (owner !== undefined) return Response.json(own(guard, caller, owner))
        guard.authorize(caller, needs[pathname as Path] ?? {})
        return Response.json(answer(caller))
      }),
    ),

  'node:http': (guard) =>
    protectNode(guard, (request, response, caller) => {
      const path = request.url?.split('?')[0] ?? ''
      const owner = ownerIn(path)
      const body = owner === undefined ? answer(caller) : own(guard, caller, owner)
      guard.authorize(caller, needs[path as Path] ?? {})
      response.setHeader('content-type', 'application/json').end(JSON.stringify(body))
    }),
}

export async function startApi(listener: (request: IncomingMessage, response: ServerResponse) => void): Promise<Api> {
  const server = createServer(listener)
  return { url: `http://localhost:${await listen(server)}`, stop: () => close(server) }
}

export function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, 'localhost', () => resolve((server.address() as AddressInfo).port))
  })
}

export function close(server: Server): Promise<void> {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(() => resolve()))
}

export type Answer = {
  status: number
  challenge: string | undefined
  headers: IncomingMessage['headers']
  body: unknown
}

/** Every header line is sent as it is written, two of one name included. */
export function ask(
  url: string,
  options: { method?: string; headers?: readonly (readonly [string, string])[]; body?: string } = {},
): Promise<Answer> {
  const { method = 'GET', headers = [], body } = options
  return new Promise((resolve, reject) => {
    const lines = ['host', new URL(url).host, ...headers.flat()]
    if (body !== undefined) lines.push('content-length', String(Buffer.byteLength(body)))
    const message = request(url, { method, headers: lines }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        resolve({
          status: response.statusCode ?? 0,
          challenge: response.headers['www-authenticate'],
          headers: response.headers,
          body: text.startsWith('{') ? JSON.parse(text) : text,
        })
      })
    })
    message.on('error', reject)
    message.end(body)
  })
}

/** As the runtimes that speak Fetch do it: headers of one name are joined. */
function overHttp(handler: (request: Request) => Response | Promise<Response>) {
  return async (message: IncomingMessage, response: ServerResponse) => {
    const headers = new Headers()
    for (let n = 0; n < message.rawHeaders.length; n += 2)
      headers.append(message.rawHeaders[n] ?? '', message.rawHeaders[n + 1] ?? '')
    const url = `http://${message.headers.host}${message.url}`
    const answer = await handler(new Request(url, { method: message.method ?? 'GET', headers }))
    response.writeHead(answer.status, Object.fromEntries(answer.headers))
    response.end(Buffer.from(await answer.arrayBuffer()))
  }
}
