// Where a request is looked at before the engine: its body is read here and handed on, since the engine insists on parsing for itself.
import type { Context } from 'koa'
import { HttpError } from '#src/http/http-error.ts'

/** The engine's own. */
const limit = 56 * 1024

/** @returns the bytes, to be given to `passOn`; one piece more than the engine takes when the body is too large, so that it refuses it.
 *  Undefined, with nothing read, when the engine would not read it either. @throws HttpError 400, the engine's words. */
export async function readAhead(ctx: Context): Promise<Buffer | undefined> {
  if (!ctx.request.is('application/x-www-form-urlencoded') || (ctx.request.length ?? 0) > limit) return undefined
  const chunks: Buffer[] = []
  let size = 0
  try {
    // The socket stays with the request, as in http/form.ts.
    for await (const chunk of ctx.req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      size += chunk.length
      if (size > limit) break
    }
  } catch (cause) {
    const problem = { status: 400, error: 'invalid_request', description: 'failed to parse the request body' }
    throw new HttpError({ ...problem, detail: String(cause) })
  }
  return Buffer.concat(chunks)
}

/** Gives the engine this body to read in place of the one that was read here. */
export function passOn(ctx: Context, body: Buffer): void {
  ctx.req.headers['content-length'] = String(body.length)
  delete ctx.req.headers['transfer-encoding']
  Object.defineProperties(ctx.req, { readable: { value: true }, iterator: { value: () => [body] } })
}
