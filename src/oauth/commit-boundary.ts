// Where a request becomes durable: the one place that knows both the status of the answer and the unit of work. Nothing leaves
// before its commit; an answer whose commit failed is replaced by one that says so.
//
// What a status keeps (docs/decisions/008):
//   2xx, 3xx   everything
//   4xx        revocations, ended sessions, seen identifiers, audit. Not consumption, not new tokens: a typo in `resource` must
//              not burn a refresh token.
//   5xx, and whatever the engine calls server_error, redirect or not: the audit rows of failures
import type { Context, Middleware } from 'koa'
import { type Database, isUnavailable } from '#src/db/database.ts'
import { requestOf } from '#src/http/request-context.ts'
import { CommitQueueFull } from '#src/tokens/group-commit.ts'
import type { Verdict } from '#src/tokens/statements.ts'
import { createUnit, type Keep, runUnit, type Unit } from '#src/tokens/unit-of-work.ts'
import { decisionIdOf, isRefusal } from './decision-id.ts'
import { dpopAlgorithms } from './possession.ts'
import type { Receipts } from './receipts.ts'

/** @param refuse answers a browser with a page or a program with JSON, for a request that lost its commit. */
export function commitBoundary(deps: {
  database: Database
  sessionCookie: string
  receipts: Pick<Receipts, 'writeForAnswer'>
  refuse: (ctx: Context, error: { status: number; error: string; description: string }, cause: unknown) => void
}): Middleware {
  const { database, sessionCookie, receipts, refuse } = deps
  return (ctx, next) => {
    const { requestId } = requestOf(ctx)
    const unit = createUnit(database, { address: ctx.ip, userAgent: ctx.get('user-agent') || undefined, requestId })
    return runUnit(unit, async () => {
      await next()
      await settle(ctx, unit)
    })
  }

  async function settle(ctx: Context, unit: Unit): Promise<void> {
    if (unit.failure && isUnavailable(unit.failure)) return unavailable(ctx, unit.failure) // no second wait for the same database
    const keep = keepFor(ctx.status, unit.failure)
    refusing(ctx, unit)
    // The cookie of a session that will not be saved would sign the person out.
    if (keep !== 'all') dropCookies(ctx, sessionCookie)
    try {
      const verdict = await unit.commit(keep)
      if (verdict) await lose(ctx, unit, verdict)
    } catch (error) {
      if (keep === 'audit') return requestOf(ctx).log.error({ event: 'audit.lost', err: error })
      requestOf(ctx).log.error({ event: 'commit.failed', err: error })
      if (isUnavailable(error)) unavailable(ctx, error)
      else {
        dropCookies(ctx)
        refuse(
          ctx,
          {
            status: 500,
            error: 'server_error',
            description: 'Something went wrong on our side. It has been recorded.',
          },
          error,
        )
      }
    }
  }

  /** Somebody else used it first, or it was used before: what hangs from it dies, in a second unit (RFC 6749 10.5, RFC 9700 4.14.2). */
  async function lose(ctx: Context, unit: Unit, verdict: Verdict): Promise<void> {
    const { log } = requestOf(ctx)
    // The lost commit kept them: once more, and this request would find its own identifiers and lose its record to them.
    unit.rows.replay.clear()
    if (verdict === 'reused')
      for (const id of unit.rows.consume.keys()) {
        const row = unit.tokens.get(id)?.row
        if (!row?.grantId) continue
        unit.rows.grantEnd.set(row.grantId, { id: row.grantId, ends: true })
        const event = row.salt ? 'refresh.reuse_detected' : 'code.reuse_detected'
        unit.audit({
          event,
          outcome: 'failure',
          clientId: row.clientId ?? undefined,
          target: { kind: 'grant', id: row.grantId },
        })
        unit.audit(
          {
            event: 'grant.revoked',
            outcome: 'success',
            clientId: row.clientId ?? undefined,
            target: { kind: 'grant', id: row.grantId },
          },
          { withRefusal: true },
        )
        log.warn({ event, clientId: row.clientId, grantId: row.grantId })
      }
    dropCookies(ctx)
    for (const name of ['X-Sallyport-Status', 'X-Sallyport-Location']) ctx.remove(name) // the redirect that did not come to be
    if (verdict === 'client_gone') ctx.set('WWW-Authenticate', `Basic realm="${ctx.origin}"`)
    // RFC 9449 7.1: of several requests with one proof these came second.
    if (verdict === 'replayed' && ctx.path === '/oauth/userinfo')
      ctx.set('WWW-Authenticate', `DPoP error="invalid_dpop_proof", algs="${dpopAlgorithms.join(' ')}"`)
    refuse(ctx, refusalFor(ctx, verdict), verdict)
    refusing(ctx, unit)
    await unit.commit('refusal')
  }

  function refusing(ctx: Context, unit: Unit): void {
    if (!isRefusal(ctx)) return
    unit.decisionId = decisionIdOf(ctx)
    receipts.writeForAnswer(ctx)
  }

  function unavailable(ctx: Context, cause: unknown): void {
    dropCookies(ctx)
    if (cause instanceof CommitQueueFull) ctx.state.unavailable = 'commit_queue'
    ctx.set('Retry-After', '5')
    refuse(
      ctx,
      {
        status: 503,
        error: 'temporarily_unavailable',
        description: 'The service cannot reach its database. Try again in a few seconds.',
      },
      cause,
    )
  }
}

function keepFor(status: number, failure: unknown): Keep {
  if (failure !== undefined || status >= 500) return 'audit'
  return status >= 400 ? 'refusal' : 'all'
}

function refusalFor(ctx: Context, verdict: Verdict): { status: number; error: string; description: string } {
  // RFC 6749 5.2, RFC 8707 2: the client or the API was taken away while the request was under way.
  if (verdict === 'client_gone')
    return { status: 401, error: 'invalid_client', description: 'client authentication failed' }
  if (verdict === 'api_gone')
    return { status: 400, error: 'invalid_target', description: 'resource indicator is missing, or unknown' }
  if (ctx.path === '/oauth/token')
    return { status: 400, error: 'invalid_grant', description: 'grant request is invalid' }
  if (verdict === 'replayed') return { status: 401, error: 'invalid_token', description: 'the proof was used before' }
  return { status: 400, error: 'invalid_request', description: 'this request was already used' }
}

function dropCookies(ctx: Context, onlyName?: string): void {
  const cookies = ctx.response.headers['set-cookie']
  if (!cookies) return
  const kept =
    onlyName === undefined
      ? []
      : [cookies]
          .flat()
          .map(String)
          .filter((cookie) => !cookie.startsWith(`${onlyName}=`) && !cookie.startsWith(`${onlyName}.sig=`))
  if (kept.length > 0) ctx.set('Set-Cookie', kept)
  else ctx.remove('Set-Cookie')
}
