// Every refusal of the protocol and of our APIs carries an opaque id, so that whoever was refused can ask and an operator can find
// the record; it says nothing by itself.
import type { Middleware } from 'koa'
import { requestOf } from '#src/http/request-context.ts'

const covered = /^\/(oauth|api|access|authz)(\/|$)/
const refusals = new Set([400, 401, 403])

export function decisionIds(): Middleware {
  return async (ctx, next) => {
    await next()
    if (refusals.has(ctx.status) && covered.test(ctx.path) && !ctx.response.get('X-Decision-Id'))
      ctx.set('X-Decision-Id', requestOf(ctx).requestId)
  }
}
