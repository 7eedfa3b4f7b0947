// Plain node:http. koa.ts and express.ts read requests the same way, because both are node:http below.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Caller, type Guard, type GuardRequest, Refused } from './guard.ts'

export type NodeOptions<Request extends IncomingMessage = IncomingMessage> = Readonly<{
  /** DER of the client certificate of this connection. Only what this process, or a proxy that it believes, has verified. */
  certificate?: (request: Request) => Uint8Array | undefined
}>

type Handler = (request: IncomingMessage, response: ServerResponse, caller: Caller) => void | Promise<void>

/** @param options.onError told what else went wrong in the handler; the answer is 500 then. Default: a warning of the process.
 *  @returns a listener that lets identified callers through to `handler`, answers what the guard refuses, there or later in the handler,
 *  and serves the RFC 9728 document. */
export function protect(
  guard: Guard,
  handler: Handler,
  options: NodeOptions & { onError?: (error: unknown) => void } = {},
) {
  const { onError = (error: unknown) => process.emitWarning(error instanceof Error ? error : String(error)) } = options
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { resource } = guard
    if (resource && request.method === 'GET' && request.url?.split('?')[0] === resource.path)
      return writeJson(response, 200, resource.body)
    try {
      const caller = await guard.authenticate(fromNode(request, { certificate: options.certificate?.(request) }))
      setHeaders(response, guard.headersFor(caller))
      await handler(request, response, caller)
    } catch (error) {
      if (response.headersSent) response.destroy()
      else if (!answerRefusal(response, error)) writeJson(response, 500, { error: 'server_error' })
      if (!(error instanceof Refused)) onError(error)
    }
  }
}

/** @param more.target where a framework has changed `url`. */
export function fromNode(
  request: IncomingMessage,
  more: { target?: string; form?: unknown; certificate?: Uint8Array | undefined } = {},
): GuardRequest {
  const { rawHeaders } = request
  return {
    method: request.method ?? '',
    target: more.target ?? request.url ?? '/',
    // Node keeps the first of two Authorization headers: what counts is what was sent.
    header: (name) => {
      const values: string[] = []
      for (let n = 0; n < rawHeaders.length; n += 2)
        if (rawHeaders[n]?.length === name.length && rawHeaders[n]?.toLowerCase() === name)
          values.push(rawHeaders[n + 1] ?? '')
      return values
    },
    form: isForm(request) && typeof more.form === 'object' && more.form !== null ? { ...more.form } : undefined,
    certificate: more.certificate,
  }
}

/** @returns whether the error was a refusal of the guard; it is answered then. */
export function answerRefusal(response: ServerResponse, error: unknown): boolean {
  if (!(error instanceof Refused)) return false
  setHeaders(response, error.headers)
  writeJson(response, error.status, error.body)
  return true
}

export function setHeaders(response: ServerResponse, headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
}

function writeJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify(body))
}

function isForm(request: IncomingMessage): boolean {
  return /^application\/x-www-form-urlencoded\b/i.test(request.headers['content-type'] ?? '')
}
