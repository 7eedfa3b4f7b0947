// Gives every request an id of our own making and one log line when it ends. Never the query or a body: both carry codes and passwords.
import { randomUUID } from 'node:crypto'
import type { Context, Middleware } from 'koa'
import type { Log, ServerLog } from '#src/log.ts'

export type RequestContext = { readonly requestId: string; readonly log: Log }

/** The outermost middleware. An X-Request-Id from outside is ignored: a stranger must not choose what our logs are searched by. */
export function requestContext(deps: { log: ServerLog }): Middleware {
  return async (ctx, next) => {
    const requestId = randomUUID()
    ctx.state.request = createRequest(requestId, deps.log)
    ctx.set('X-Request-Id', requestId)
    const startedAt = performance.now()
    const method = ctx.method
    const path = loggedPath(ctx.path)
    try {
      await next()
    } finally {
      const ms = Math.round((performance.now() - startedAt) * 10) / 10
      deps.log.requestCompleted({ requestId, method, path, status: ctx.status, ms })
    }
  }
}

export function requestOf(ctx: Context): RequestContext {
  return ctx.state.request
}

/** Most requests log nothing of their own. */
function createRequest(requestId: string, parent: Log): RequestContext {
  let log: Log | undefined
  return {
    requestId,
    get log() {
      log ??= parent.child({ requestId })
      return log
    },
  }
}

/** What was asked, fit for a log and for a record. */
export function endpointOf(ctx: Context): string {
  return `${ctx.method} ${loggedPath(ctx.path)}`
}

const plainPath = /^(?:\/[a-z.-]{0,40}){1,6}$/

/** Parts of a path that look like a key to something (an interaction, a receipt) are left out. */
function loggedPath(path: string): string {
  if (plainPath.test(path)) return path
  return path
    .slice(0, 200)
    .split('/')
    .map((part) => (/^[A-Za-z0-9_-]{16,}$/.test(part) && /[0-9A-Z_]/.test(part) ? ':id' : part))
    .join('/')
}
