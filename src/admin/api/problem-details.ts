// Errors of the admin API in the form of RFC 9457. What a room refuses becomes a status here and nowhere else.
import { STATUS_CODES } from 'node:http'
import type { Context, Middleware } from 'koa'
import { isContended, isUnavailable } from '#src/db/database.ts'
import { HttpError } from '#src/http/http-error.ts'
import { requestOf } from '#src/http/request-context.ts'
import { type Flaw, Refusal, type RefusalKind } from '#src/refusal.ts'

const statuses: Record<RefusalKind, [status: number, error: string]> = {
  invalid: [422, 'invalid_input'],
  missing: [404, 'not_found'],
  taken: [409, 'already_exists'],
  in_use: [409, 'in_use'],
  changed: [409, 'changed'],
}

export function problemDetails(): Middleware {
  return async (ctx, next) => {
    try {
      await next()
    } catch (error) {
      const problem = toProblem(error)
      // RFC 9110 15.5.13: what the caller named in If-Match is no longer so.
      if (problem?.error === 'changed' && ctx.get('If-Match') !== '') problem.status = 412
      if (!problem) throw error // a fault of ours: recorded and answered where all faults are
      answer(ctx, problem)
    }
  }
}

type ProblemDetails = {
  status: number
  error: string
  detail: string
  headers: Readonly<Record<string, string>>
  flaws?: readonly Flaw[]
}

function toProblem(error: unknown): ProblemDetails | undefined {
  if (error instanceof HttpError) {
    const { status, error: code, description, headers } = error
    return { status, error: code, detail: description, headers }
  }
  if (error instanceof Refusal) {
    const [status, code] = statuses[error.kind]
    return { status, error: code, detail: error.message, headers: {}, flaws: error.flaws }
  }
  if (isUnavailable(error))
    return {
      status: 503,
      error: 'temporarily_unavailable',
      detail: 'The service cannot reach its database. Try again in a few seconds.',
      headers: { 'Retry-After': '5' },
    }
  if (isContended(error))
    return {
      status: 503,
      error: 'temporarily_unavailable',
      detail: 'Something else was changed at the same moment, so nothing was done. Try again in a few seconds.',
      headers: { 'Retry-After': '1' },
    }
  return undefined
}

function answer(ctx: Context, { status, error, detail, headers, flaws }: ProblemDetails): void {
  const { log, requestId } = requestOf(ctx)
  log.info({ event: 'request.refused', status, error })
  ctx.status = status
  ctx.set(headers)
  ctx.set('Cache-Control', 'no-store')
  ctx.body = JSON.stringify({
    type: 'about:blank',
    title: STATUS_CODES[status],
    status,
    detail,
    error,
    ...(flaws ? { flaws } : {}),
    requestId,
  })
  ctx.type = 'application/problem+json'
}
