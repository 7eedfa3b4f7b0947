// The JSON body of a request, read strictly: one type, one size, the fields its schema names and no others. A misspelt
// `dryRun` that was ignored would revoke for real.
import { isUtf8 } from 'node:buffer'
import type { Context } from 'koa'
import type { z } from 'zod'
import { quote } from '#src/refusal.ts'
import { readBody } from './form.ts'
import { HttpError } from './http-error.ts'
import { flawOfJson } from './json-text.ts'

/** @param options.limit bytes, for lists. @throws HttpError 400 that names the field, 413, 415 */
export async function readJson<T>(ctx: Context, schema: z.ZodType<T>, options: { limit?: number } = {}): Promise<T> {
  if (!ctx.request.is('application/json'))
    throw new HttpError({ status: 415, error: 'invalid_request', description: 'Send the body as application/json.' })
  return checkShape(parse(await readBody(ctx, 'JSON body', options.limit)), schema)
}

/** For what was read before. @throws HttpError 400 that names the field */
export function checkShape<T>(value: unknown, schema: z.ZodType<T>): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  throw badRequest(describeIssues(result.error))
}

/** Sentences that name the fields. */
export function describeIssues({ issues }: z.ZodError): string {
  return [...new Set(issues.flatMap(describeIssue))].join(' ')
}

function parse(body: Buffer): unknown {
  if (!isUtf8(body)) throw badRequest('The body is not valid UTF-8.')
  const text = body.toString('utf8')
  try {
    const value = JSON.parse(text)
    const flaw = flawOfJson(text)
    if (flaw !== undefined) throw badRequest(flaw)
    return value
  } catch (error) {
    if (error instanceof SyntaxError) throw badRequest('The body is not JSON.')
    throw error
  }
}

function describeIssue(issue: z.core.$ZodIssue): string[] {
  const path = issue.path.map(String).join('.')
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => `The field ${quote(path === '' ? key : `${path}.${key}`)} is not known here.`)
  if (issue.code === 'custom') return [issue.message]
  if (path === '') return ['The body must be a JSON object.']
  if (issue.input === undefined && issue.code === 'invalid_type' && issue.message.endsWith('received undefined'))
    return [`The field ${quote(path)} is missing.`]
  return [`The field ${quote(path)} has the wrong form.`]
}

const badRequest = (description: string): HttpError =>
  new HttpError({ status: 400, error: 'invalid_request', description })
