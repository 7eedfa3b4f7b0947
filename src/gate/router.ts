// Decisions for others: AuthZEN (OpenID Authorization API 1.0). Every route passes the two doors of this server's own API first: 401 and 403
// are about whoever asks, never about whom the question is.
import Router from '@koa/router'
import type { Context, Middleware } from 'koa'
import { HttpError } from '#src/http/http-error.ts'
import { Refusal } from '#src/refusal.ts'
import { answerEvaluation, answerEvaluations, type EvaluationDeps } from './evaluation.ts'
import { answerGateway, type ForwardDeps } from './forward.ts'
import { type ReceiptDeps, showReceipt } from './receipt.ts'
import { searchAction, searchResource, searchSubject } from './search.ts'

export type GateDeps = EvaluationDeps & ReceiptDeps & ForwardDeps

export function createGateRouter(deps: GateDeps): Router {
  const router = new Router()
  const asked = (answer: (deps: GateDeps, ctx: Context) => Promise<void>): Middleware => {
    return async (ctx) => {
      repeatRequestId(ctx)
      ctx.set('Cache-Control', 'no-store')
      await deps.doors.enter(ctx, { scopes: ['access:evaluate'] })
      try {
        await answer(deps, ctx)
      } catch (error) {
        // 10.1.2 knows no other status for a request that is wrong, be it its content type.
        const wrong = error instanceof Refusal || (error instanceof HttpError && error.status === 415)
        if (!wrong) throw error
        const description = error instanceof HttpError ? error.description : error.message
        throw new HttpError({ status: 400, error: 'invalid_request', description })
      }
    }
  }
  router.post('/access/v1/evaluation', asked(answerEvaluation))
  router.post('/access/v1/evaluations', asked(answerEvaluations))
  // Whatever the method: a gateway asks with its own or with that of the request in front of it.
  router.all('/authz/forward', (ctx) => answerGateway(deps, ctx, 'forward'))
  router.all('/authz/nginx', (ctx) => answerGateway(deps, ctx, 'nginx'))
  router.all('/authz/envoy/{*path}', (ctx) => answerGateway(deps, ctx, 'envoy'))
  router.get('/authz/start', (ctx) => deps.sessions.start(ctx))
  router.post('/access/v1/search/subject', asked(searchSubject))
  router.post('/access/v1/search/resource', asked(searchResource))
  router.post('/access/v1/search/action', asked(searchAction))
  router.get('/d/:id', (ctx) => showReceipt(deps, ctx))
  router.get('/.well-known/authzen-configuration', (ctx) => {
    ctx.set('Cache-Control', 'public, max-age=3600')
    ctx.body = metadata(deps.issuer)
  })
  return router
}

/** Authorization API 1.0, 9. */
function metadata(issuer: string) {
  return {
    policy_decision_point: issuer,
    access_evaluation_endpoint: `${issuer}/access/v1/evaluation`,
    access_evaluations_endpoint: `${issuer}/access/v1/evaluations`,
    search_subject_endpoint: `${issuer}/access/v1/search/subject`,
    search_resource_endpoint: `${issuer}/access/v1/search/resource`,
    search_action_endpoint: `${issuer}/access/v1/search/action`,
  }
}

/** The caller finds its own id on the answer, an arbitrary string (10.1.3); ours stays in the log. Node lets no line break into a header. */
function repeatRequestId(ctx: Context): void {
  const theirs = ctx.get('X-Request-ID')
  if (theirs !== '') ctx.set('X-Request-Id', theirs)
}
