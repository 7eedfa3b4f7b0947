// What the engine tells us, turned into audit rows (committed with the request) and log lines (after the commit). Ids only.
// Issued tokens need no row of their own: each has its row in `token`, written in the same commit.

import type Provider from 'oidc-provider'
import type { KoaContextWithOIDC } from 'oidc-provider'
import type { Log } from '#src/log.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { RateLimited } from './client-limits.ts'

export function recordEvents(provider: Provider, log: Log): void {
  const refused = (ctx: KoaContextWithOIDC, error: Error & { error?: string; error_detail?: string }) => {
    if (error instanceof RateLimited) return // a line a minute is enough: http/rate-limits.ts
    const clientId = ctx.oidc.client?.clientId
    const detail = {
      route: ctx.oidc.route,
      error: error.error ?? error.message,
      reason: (error.error_detail ?? '').slice(0, 200),
    }
    log.info({ event: 'token.refused', clientId, ...detail })
    // A row only for a client that is known: strangers must not be able to fill the table.
    if (clientId)
      currentUnit().audit({
        event: 'token.refused',
        outcome: 'failure',
        actor: { kind: 'client', id: clientId },
        clientId,
        detail,
      })
  }
  provider.on('grant.error', (ctx, error) => {
    refused(ctx, error)
    recordReuse(ctx, log)
  })
  provider.on('introspection.error', refused)
  provider.on('revocation.error', refused)
  provider.on('pushed_authorization_request.error', refused)
  provider.on('authorization.error', (ctx, error) => {
    log.info({
      event: 'authorization.refused',
      clientId: ctx.oidc.client?.clientId,
      error: error.message,
      reason: error.error_detail,
    })
  })
  provider.on('userinfo.error', (ctx, error) => {
    log.info({
      event: 'userinfo.refused',
      clientId: ctx.oidc.client?.clientId,
      error: error.message,
      reason: error.error_detail,
    })
  })

  provider.on('grant.revoked', (ctx, grantId) => {
    const clientId = ctx.oidc.client?.clientId
    currentUnit().audit(
      {
        event: 'grant.revoked',
        outcome: 'success',
        clientId,
        target: { kind: 'grant', id: grantId },
        detail: { route: ctx.oidc.route },
      },
      { withRefusal: true },
    )
  })
  const destroyed = (token: { kind: string; clientId?: string | undefined; grantId?: string | undefined }) => {
    const target = token.grantId ? { target: { kind: 'grant', id: token.grantId } } : {}
    currentUnit().audit(
      {
        event: 'token.revoked',
        outcome: 'success',
        clientId: token.clientId,
        ...target,
        detail: { kind: token.kind },
      },
      { withRefusal: true },
    )
  }
  provider.on('access_token.destroyed', destroyed)
  provider.on('client_credentials.destroyed', destroyed)
  provider.on('refresh_token.destroyed', destroyed)
  provider.on('end_session.success', (ctx) => {
    const { session, client } = ctx.oidc
    const actor = session?.accountId ? { actor: { kind: 'user' as const, id: session.accountId } } : {}
    currentUnit().audit({
      event: 'logout.completed',
      outcome: 'success',
      clientId: client?.clientId,
      ...actor,
      ...(session && { target: { kind: 'session', id: session.uid } }),
    })
  })

  // The engine answers by itself, sometimes with a redirect: the commit must still know that this request failed.
  provider.on('server_error', (ctx, error) => {
    currentUnit().failure = error
    log.error({ event: 'request.failed', route: ctx.oidc?.route, err: error })
  })
}

/** A token request that is refused and has revoked a grant was a second use: the engine does that for nothing else. Uses at the
 *  same moment are found by the commit and recorded in oauth/commit-boundary.ts. */
function recordReuse(ctx: KoaContextWithOIDC, log: Log): void {
  const unit = currentUnit()
  const event = ctx.oidc.params?.grant_type === 'refresh_token' ? 'refresh.reuse_detected' : 'code.reuse_detected'
  for (const id of unit.rows.grantEnd.keys()) {
    const clientId = ctx.oidc.client?.clientId
    unit.audit({ event, outcome: 'failure', clientId, target: { kind: 'grant', id } })
    log.warn({ event, clientId, grantId: id })
  }
}
