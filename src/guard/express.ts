// Express 5 (and 4). Refusals go the way of errors: `refusals` stands below every route.
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller, Guard, Requirements } from './guard.ts'
import { answerRefusal, fromNode, type NodeOptions, setHeaders } from './node.ts'

/** What is used of Express; its types are not needed. */
type ExpressRequest = IncomingMessage & { originalUrl: string; path: string; body?: unknown }
type ExpressResponse = ServerResponse & { locals: Record<string, unknown>; json(body: unknown): unknown }
type Next = (error?: unknown) => void

/** The caller is in `res.locals.caller`. */
export function expressGuard(guard: Guard, options: NodeOptions = {}) {
  return {
    authenticate: (request: ExpressRequest, response: ExpressResponse, next: Next): void => {
      const { originalUrl: target, body: form } = request
      guard.authenticate(fromNode(request, { target, form, certificate: options.certificate?.(request) })).then(
        (caller) => {
          response.locals.caller = caller
          setHeaders(response, guard.headersFor(caller))
          next()
        },
        (error: unknown) => next(error),
      )
    },

    authorize: (requirements: Requirements) => (_request: ExpressRequest, response: ExpressResponse, next: Next) => {
      guard.authorize(response.locals.caller as Caller | undefined, requirements)
      next()
    },

    /** The RFC 9728 document; stands above `authenticate`. */
    metadata: (request: ExpressRequest, response: ExpressResponse, next: Next): void => {
      if (request.method === 'GET' && guard.resource && request.path === guard.resource.path)
        response.json(guard.resource.body)
      else next()
    },

    refusals: (error: unknown, _request: ExpressRequest, response: ExpressResponse, next: Next): void => {
      if (response.headersSent || !answerRefusal(response, error)) next(error)
    },
  }
}
