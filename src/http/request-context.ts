// Gives every request an id of our own making and one log line when it ends. Never the query or a body: both carry codes and passwords.
import { randomUUID } from 'node:crypto'
import type { Context, Middleware } from 'koa'
import type { Log } from '#src/log.ts'

export type RequestContext = { requestId: string; log: Log }

/** The outermost middleware. An X-Request-Id from outside is ignored: a stranger must not choose what our logs are searched by. */
export function requestContext(deps: { log: Log }): Middleware {
  return async (ctx, next) => {
    const requestId = randomUUID()
    const log = deps.log.child({ requestId })
    ctx.state.requestId = requestId
    ctx.state.log = log
    ctx.set('X-Request-Id', requestId)
    const startedAt = performance.now()
    const method = ctx.method
    const path = loggedPath(ctx.path)
    try {
      await next()
    } finally {
      const ms = Math.round((performance.now() - startedAt) * 10) / 10
      log.info({ event: 'request.completed', method, path, status: ctx.status, ms })
    }
  }
}

export function requestOf(ctx: Context): RequestContext {
  return { requestId: ctx.state.requestId, log: ctx.state.log }
}

/** Parts of a path that look like a key to something (an interaction, a receipt) are left out. */
function loggedPath(path: string): string {
  return path
    .slice(0, 200)
    .split('/')
    .map((part) => (/^[A-Za-z0-9_-]{16,}$/.test(part) && /[0-9A-Z_]/.test(part) ? ':id' : part))
    .join('/')
}
