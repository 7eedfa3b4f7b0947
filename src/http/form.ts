// The body of a hosted form, read strictly: one content type, one size, one value a field.
import { isUtf8 } from 'node:buffer'
import type { Context } from 'koa'
import { HttpError, safeName } from './http-error.ts'
import { findControlCharacter, parseUrlencoded } from './request-checks.ts'

const usualLimit = 64 * 1024

export type Form = Readonly<{
  get(name: string): string | undefined
  /** The values of a field that the caller listed as repeatable. */
  all(name: string): readonly string[]
}>

/** @param options.repeatable fields that may occur more than once (the checkboxes of consent). Any other repeat is refused: of two
 *  values, one party would check the first and another use the last. @throws HttpError 400, 413, 415 */
export async function readForm(ctx: Context, options: { repeatable?: readonly string[] } = {}): Promise<Form> {
  return formOf(await readPairs(ctx), options)
}

/** @throws HttpError 400 for a repeat. */
export function formOf(
  pairs: readonly (readonly [string, string])[],
  options: { repeatable?: readonly string[] } = {},
): Form {
  const fields = new Map<string, string[]>()
  for (const [name, value] of pairs) {
    const values = fields.get(name)
    if (values && !options.repeatable?.includes(name)) throw badRequest(`The field ${safeName(name)} is repeated.`)
    if (values) values.push(value)
    else fields.set(name, [value])
  }
  return { get: (name) => fields.get(name)?.[0], all: (name) => fields.get(name) ?? [] }
}

/** The fields in order, repeats included, for requests that are passed on.
 *  @param options.lines fields whose text may have several lines and tabs; their line breaks become one character.
 *  @param options.limit bytes. @throws HttpError 400, 413, 415 */
export async function readPairs(
  ctx: Context,
  { lines = [], limit = usualLimit }: { lines?: readonly string[]; limit?: number } = {},
): Promise<[string, string][]> {
  if (!ctx.request.is('application/x-www-form-urlencoded'))
    throw new HttpError({
      status: 415,
      error: 'invalid_request',
      description: 'Send this form as application/x-www-form-urlencoded.',
    })
  const body = await readBody(ctx, 'form', limit)
  if (!isUtf8(body)) throw badRequest('The form is not valid UTF-8.')
  const parsed = parseUrlencoded(body.toString('utf8'))
  if ('malformed' in parsed) throw badRequest(`The field ${parsed.malformed} is not valid percent-encoded UTF-8.`)
  const isText = (name: string) => lines.includes(name)
  const checked = parsed.pairs.map(
    ([name, value]) => [name, isText(name) ? value.replace(/[\r\n\t]/g, '') : value] as const,
  )
  const control = findControlCharacter(checked)
  if (control !== undefined) throw badRequest(`The field ${control} contains a control character.`)
  return parsed.pairs.map(([name, value]) => [name, isText(name) ? value.replace(/\r\n?/g, '\n') : value])
}

/** @param what names the body in what is said about it. @param limit bytes. @throws HttpError 413, 415 */
export async function readBody(ctx: Context, what = 'form', limit = usualLimit): Promise<Buffer> {
  const encoding = ctx.get('Content-Encoding')
  if (encoding && encoding !== 'identity')
    throw new HttpError({
      status: 415,
      error: 'invalid_request',
      description: `Send this ${what} without Content-Encoding.`,
    })
  if (Number(ctx.get('Content-Length')) > limit) throw tooLarge(what, limit)
  const chunks: Buffer[] = []
  let size = 0
  // Leaving the loop early must not take the socket from the request: Koa asks it whether the answer may set secure cookies.
  // Node discards the rest of the body.
  for await (const chunk of ctx.req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > limit) throw tooLarge(what, limit)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function tooLarge(what: string, limit: number): HttpError {
  return new HttpError({
    status: 413,
    error: 'invalid_request',
    description: `A ${what} may hold at most ${limit / 1024} KiB.`,
  })
}

function badRequest(description: string): HttpError {
  return new HttpError({ status: 400, error: 'invalid_request', description })
}
