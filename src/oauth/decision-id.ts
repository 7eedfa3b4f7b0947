// Every refusal of the protocol and of our APIs carries an opaque id, so that whoever was refused can ask and an operator can find
// the record; it says nothing by itself.
import type { Context, Middleware } from 'koa'
import { requestOf } from '#src/http/request-context.ts'

const covered = /^\/(oauth|api|access|authz)(\/|$)/
const refusals = new Set([400, 401, 403])

/** Refusals that carry an id, and so have a receipt. What nginx is told as a 401 may be a redirect (gate/forward.ts). */
export function isRefusal(ctx: Context): boolean {
  return refusals.has(ctx.status) && covered.test(ctx.path) && ctx.response.get('X-Sallyport-Status') !== '303'
}

/** The id of this refusal: the request's own, unless whoever decided gave it another. */
export function decisionIdOf(ctx: Context): string {
  return ctx.response.get('X-Decision-Id') || requestOf(ctx).requestId
}

export function decisionIds(): Middleware {
  return async (ctx, next) => {
    await next()
    if (isRefusal(ctx)) ctx.set('X-Decision-Id', decisionIdOf(ctx))
  }
}
