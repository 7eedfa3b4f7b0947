// Koa. `authenticate` answers what is refused below it as well, so it stands above every handler that it is for.
import type { IncomingMessage } from 'node:http'
import { type Caller, type Guard, Refused, type Requirements } from './guard.ts'
import { fromNode, type NodeOptions } from './node.ts'

/** What is used of Koa's context; its types are not needed. */
type KoaContext = {
  req: IncomingMessage
  request: object
  originalUrl: string
  path: string
  method: string
  // biome-ignore lint/suspicious/noExplicitAny: Koa's own type of it
  state: any
  status: number
  body: unknown
  set(headers: Record<string, string>): void
}
type Next = () => Promise<unknown>

/** The caller is in `ctx.state.caller`. */
export function koaGuard(guard: Guard, options: NodeOptions = {}) {
  return {
    authenticate: async (ctx: KoaContext, next: Next): Promise<void> => {
      try {
        const form = 'body' in ctx.request ? ctx.request.body : undefined
        const certificate = options.certificate?.(ctx.req)
        const caller = await guard.authenticate(fromNode(ctx.req, { target: ctx.originalUrl, form, certificate }))
        ctx.state.caller = caller
        ctx.set({ ...guard.headersFor(caller) })
        await next()
      } catch (error) {
        if (!(error instanceof Refused)) throw error
        ctx.status = error.status
        ctx.set({ ...error.headers })
        ctx.body = error.body
      }
    },

    authorize:
      (requirements: Requirements) =>
      async (ctx: KoaContext, next: Next): Promise<void> => {
        guard.authorize(ctx.state.caller as Caller | undefined, requirements)
        await next()
      },

    /** The RFC 9728 document; stands above `authenticate`. */
    metadata: async (ctx: KoaContext, next: Next): Promise<void> => {
      if (ctx.method === 'GET' && guard.resource && ctx.path === guard.resource.path) ctx.body = guard.resource.body
      else await next()
    },
  }
}
