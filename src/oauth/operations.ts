// What program endpoints answered, counted: grants, introspections, revocations, and why an answer was "not now".
import type { Context, Middleware, Next } from 'koa'
import type { KoaContextWithOIDC } from 'oidc-provider'
import type { LimitObserver } from '#src/http/rate-limits.ts'

export type UnavailableReason = 'database' | 'commit_queue' | 'hash_queue'

export type OperationCounters = {
  /** @param operation a grant type, `introspection` or `revocation`. @param outcome `success` or the error code answered. */
  tokenOperation(operation: string, outcome: string): void
  unavailable(reason: UnavailableReason): void
  requestLimited: LimitObserver
}

const operations = new Map<string, (ctx: Context) => string>([
  ['/oauth/token', (ctx) => String((ctx as unknown as KoaContextWithOIDC).oidc?.params?.grant_type ?? 'unknown')],
  ['/oauth/introspect', () => 'introspection'],
  ['/oauth/revoke', () => 'revocation'],
])

/** Outside of the commit: what counts is what leaves. */
export function countOperations(counters: OperationCounters): Middleware {
  return async (ctx: Context, next: Next) => {
    await next()
    if (ctx.status === 503) counters.unavailable(ctx.state.unavailable ?? 'database')
    const operation = operations.get(ctx.path)
    if (operation && ctx.method === 'POST') counters.tokenOperation(operation(ctx), outcomeOf(ctx))
  }
}

function outcomeOf(ctx: Context): string {
  const body = (ctx.body ?? {}) as { active?: boolean; error?: string }
  if (ctx.status === 200) return body.active === false ? 'inactive' : 'success'
  return body.error ?? 'other'
}
