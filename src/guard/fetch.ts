// Whatever speaks the Fetch standard: Hono, and handlers from Request to Response. Headers of one name arrive joined there, and two
// credentials joined with a comma are not one.
import { type Caller, type Guard, type GuardRequest, Refused, type Requirements } from './guard.ts'

export type FetchOptions = Readonly<{
  /** DER of the client certificate of this connection. Only what the runtime, or a proxy that it believes, has verified. */
  certificate?: (request: Request) => Uint8Array | undefined
}>

/** @returns a handler that lets identified callers through, answers what the guard refuses, and serves the RFC 9728 document. */
export function protect(
  guard: Guard,
  handler: (request: Request, caller: Caller) => Response | Promise<Response>,
  options: FetchOptions = {},
): (request: Request) => Promise<Response> {
  return async (request) => {
    const document = metadataFor(guard, request)
    if (document) return document
    let more: Readonly<Record<string, string>> = {}
    try {
      const caller = await guard.authenticate(fromFetch(request, options))
      more = guard.headersFor(caller)
      return withHeaders(await handler(request, caller), more)
    } catch (error) {
      if (error instanceof Refused) return withHeaders(error.getResponse(), more)
      throw error
    }
  }
}

/** What is used of Hono's context; its types are not needed. */
type HonoContext = {
  req: { raw: Request }
  get(name: 'caller'): unknown
  set(name: 'caller', value: Caller): void
  header(name: string, value: string): void
}
type Next = () => Promise<void>

/** The caller is in `c.get('caller')`. Refusals are thrown; Hono's own error handler answers them. An `onError` of the application does so
 *  with `error.getResponse()`. */
export function honoGuard(guard: Guard, options: FetchOptions = {}) {
  return {
    authenticate: async (context: HonoContext, next: Next): Promise<void> => {
      const caller = await guard.authenticate(fromFetch(context.req.raw, options))
      context.set('caller', caller)
      for (const [name, value] of Object.entries(guard.headersFor(caller))) context.header(name, value)
      await next()
    },

    authorize:
      (requirements: Requirements) =>
      async (context: HonoContext, next: Next): Promise<void> => {
        guard.authorize(context.get('caller') as Caller | undefined, requirements)
        await next()
      },

    /** The RFC 9728 document; stands above `authenticate`. */
    metadata: async (context: HonoContext, next: Next): Promise<Response | undefined> => {
      const document = metadataFor(guard, context.req.raw)
      if (!document) await next()
      return document
    },
  }
}

export function fromFetch(request: Request, options: FetchOptions = {}): GuardRequest {
  const { pathname, search } = new URL(request.url)
  return {
    method: request.method,
    target: pathname + search,
    header: (name) => {
      const value = request.headers.get(name)
      return value === null ? [] : [value]
    },
    certificate: options.certificate?.(request),
  }
}

/** What the handler said itself stands. A response that came from elsewhere, such as a redirect, has headers that cannot be changed. */
function withHeaders(response: Response, more: Readonly<Record<string, string>>): Response {
  const missing = Object.entries(more).filter(([name]) => !response.headers.has(name))
  if (missing.length === 0) return response
  const { status, statusText } = response
  return new Response(response.body, { status, statusText, headers: [...response.headers, ...missing] })
}

function metadataFor({ resource }: Guard, { method, url }: Request): Response | undefined {
  if (method !== 'GET' || !resource || new URL(url).pathname !== resource.path) return undefined
  return Response.json(resource.body)
}
