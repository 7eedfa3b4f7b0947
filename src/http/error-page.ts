// The one place where an error becomes an answer: a page for a browser, JSON for a program, the same words in both. A person learns
// what happened and what to do; the operator finds the rest in the log under the request id; nobody sees a stack.
import type { Context, Middleware } from 'koa'
import { isContended, isUnavailable } from '#src/db/database.ts'
import { type ErrorScreen, HttpError } from './http-error.ts'
import { type Renderer, template } from './render.ts'
import { requestOf } from './request-context.ts'

export type ErrorPage = {
  screen: ErrorScreen
  /** For the person who reports it and the developer who reads it. */
  error: string
  description: string
  /** Offers to load the same address again. */
  retry: boolean
}

const errorPage = template<ErrorPage>('error')
const retryAfter = '5'

/** Goes outside every router and inside securityHeaders. */
export function errorPages(renderer: Renderer): Middleware {
  return async (ctx, next) => {
    try {
      await next()
      if (ctx.body == null && ctx.respond !== false) {
        if (ctx.status === 404) throw notFound()
        if (ctx.status === 405) throw methodNotAllowed()
      }
    } catch (error) {
      if (ctx.headerSent || ctx.respond === false) throw error
      answer(ctx, renderer, toHttpError(error), error)
    }
  }
}

/** For whoever finds out late that a request failed (its commit, say): replaces the answer.
 *  @param cause for the log. */
export function refuse(
  ctx: Context,
  renderer: Renderer,
  error: { status: number; error: string; description: string },
  cause: unknown,
): void {
  answer(ctx, renderer, new HttpError(error), cause)
}

/** The engine's `renderError`, which it calls for browsers only.
 *  @param out its own words, which may quote the request. @param error what was thrown. */
export function renderProtocolError(
  ctx: Context,
  renderer: Renderer,
  out: { error: string; error_description?: string | undefined },
  error: unknown,
): void {
  const limited = ctx.status === 429 // its Retry-After is its own
  if (!limited && (out.error === 'temporarily_unavailable' || isUnavailable(error) || isContended(error))) {
    ctx.set('Retry-After', retryAfter)
    renderErrorPage(ctx, renderer, 503, { screen: 'unavailable', error: 'temporarily_unavailable', description: '' })
    return
  }
  renderErrorPage(ctx, renderer, ctx.status, {
    screen: protocolScreen(ctx.status, out, error),
    error: out.error.slice(0, 64),
    description: (out.error_description ?? '').slice(0, 300),
  })
}

function answer(ctx: Context, renderer: Renderer, error: HttpError, cause: unknown): void {
  const { log, requestId } = requestOf(ctx)
  const { status, error: code, description } = error
  if (status >= 500) log.error({ event: 'request.failed', status, err: cause })
  else if (error.detail) log.info({ event: 'request.refused', status, error: code, reason: error.detail })

  for (const name of ['Location', 'ETag', 'Last-Modified', 'Content-Encoding', 'Content-Length']) ctx.remove(name)
  if (status >= 500) ctx.remove('Set-Cookie') // what it spoke of was not kept
  ctx.set(error.headers)
  if (status === 503 && !ctx.response.get('Retry-After')) ctx.set('Retry-After', retryAfter)
  ctx.set('Cache-Control', 'no-store')
  ctx.vary('Accept')
  if (ctx.accepts('json', 'html') === 'html') {
    const screen = error.screen ?? screenOfStatus(status)
    renderErrorPage(ctx, renderer, status, { screen, error: code, description })
  } else {
    ctx.status = status
    ctx.body = { error: code, error_description: description, request_id: requestId }
  }
}

function renderErrorPage(ctx: Context, renderer: Renderer, status: number, page: Omit<ErrorPage, 'retry'>): void {
  const again = ctx.method === 'GET' && ['unavailable', 'unexpected', 'busy'].includes(page.screen)
  renderer.renderPage(ctx, errorPage, { ...page, retry: again }, { status })
}

function toHttpError(error: unknown): HttpError {
  if (error instanceof HttpError) return error
  if (isUnavailable(error))
    return new HttpError({
      status: 503,
      error: 'temporarily_unavailable',
      description: 'The service cannot reach its database. Try again in a few seconds.',
    })
  if (isContended(error))
    return new HttpError({
      status: 503,
      error: 'temporarily_unavailable',
      description: 'Something else was changed at the same moment, so nothing was done. Try again in a few seconds.',
    })
  // Koa and its parts throw errors with a status and `expose` when the request is at fault (http-errors).
  const { status, expose, message } = (error ?? {}) as { status?: unknown; expose?: unknown; message?: unknown }
  if (expose === true && typeof status === 'number' && status >= 400 && status < 500)
    return status === 404
      ? notFound()
      : new HttpError({
          status,
          error: 'invalid_request',
          description: 'The request could not be understood.',
          detail: String(message),
        })
  return new HttpError({
    status: 500,
    error: 'server_error',
    description: 'Something went wrong on our side. It has been recorded.',
  })
}

function notFound(): HttpError {
  return new HttpError({ status: 404, error: 'not_found', description: 'There is nothing at this address.' })
}

function methodNotAllowed(): HttpError {
  return new HttpError({
    status: 405,
    error: 'method_not_allowed',
    description: 'This address does not take that method.',
  })
}

function screenOfStatus(status: number): ErrorScreen {
  const byStatus: Record<number, ErrorScreen> = {
    403: 'forbidden',
    404: 'notFound',
    405: 'methodNotAllowed',
    410: 'expired',
    413: 'tooLarge',
    414: 'tooLong',
    415: 'unsupportedMediaType',
    421: 'misdirected',
    429: 'busy',
    503: 'unavailable',
  }
  return byStatus[status] ?? (status >= 500 ? 'unexpected' : 'badRequest')
}

/** The engine tells most errors of an authorization request apart by their words only. */
function protocolScreen(
  status: number,
  out: { error: string; error_description?: string | undefined },
  error: unknown,
): ErrorScreen {
  if (status === 404 || status === 405 || status === 429 || status >= 500) return screenOfStatus(status)
  const description = out.error_description ?? ''
  if ((error instanceof Error && error.name === 'SessionNotFound') || /could not find logout details/.test(description))
    return 'expired'
  if (out.error === 'invalid_client') return 'unknownClient'
  if (out.error === 'invalid_redirect_uri' || /redirect_uri/.test(description)) return 'redirectUri'
  if (out.error === 'access_denied') return 'denied'
  return 'applicationMistake'
}
