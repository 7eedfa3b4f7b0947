// The receipt of a decision, in the commit of the request that it answers: what was asked, by whom, which gate stopped it. Its id is what
// the answer carries in X-Decision-Id. Whoever may read it reads it through access/receipts.ts.
import type { Context } from 'koa'
import type { Subject } from '#src/access/decide.ts'
import { type Decision, type Reason, type Refused, stopped } from '#src/access/gates.ts'
import type { DecisionFacts } from '#src/access/policies/facts.ts'
import type { EntityRef } from '#src/access/relations/relations.ts'
import { addressRange } from '#src/address-range.ts'
import type { Config } from '#src/config.ts'
import { createBuckets } from '#src/http/rate-limits.ts'
import { endpointOf, requestOf } from '#src/http/request-context.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'

/** Strangers must not be able to fill the table: of what was refused to nobody in particular an address gets so many receipts in each process, and
 *  they are gone after an hour. */
const strangersPerMinute = 120
const strangersSeconds = 3_600

export type Receipts = Readonly<{
  /** A refusal always, a permission as often as DECISION_RECEIPTS_PERMITTED says.
   *  @param options.id default: the request's own. */
  write(ctx: Context, decision: Decision, about: About, options?: { id?: string }): void
  /** For whatever was refused without a decision of ours: the engine's own answers. */
  writeForAnswer(ctx: Context): void
}>

export type About = Readonly<{
  subject?: Subject | undefined
  /** The client whose credential it was. */
  clientId?: string | undefined
  api?: string | undefined
  action?: string | undefined
  object?: EntityRef | undefined
  /** What policies could look at, where they were asked. Only called for a receipt that is kept. */
  facts?: (() => DecisionFacts) | undefined
}>

/** @param random from 0 up to 1 */
export function createReceipts(deps: {
  config: Pick<Config, 'decisionReceiptTtlDays' | 'decisionReceiptsPermitted'>
  now: () => Date
  random?: () => number
}): Receipts {
  const { config, now, random = Math.random } = deps
  const strangers = createBuckets(strangersPerMinute)

  const write: Receipts['write'] = (ctx, decision, about, { id = requestOf(ctx).requestId } = {}) => {
    if (decision.allowed && random() >= config.decisionReceiptsPermitted) return
    const unit = currentUnit()
    const { subject, object } = about
    const isStrangers = !subject && about.clientId === undefined
    const epoch = () => now().getTime()
    const ttl = config.decisionReceiptTtlDays * 86_400
    if (isStrangers && strangers.take(addressRange(unit.origin.address), epoch) > 0) return
    unit.rows.receipt.set(id, {
      id,
      expiresAt: Math.floor(epoch() / 1000) + (isStrangers ? Math.min(ttl, strangersSeconds) : ttl),
      endpoint: endpointOf(ctx),
      allowed: decision.allowed,
      gate: decision.gate,
      reason: decision.reason,
      needs: decision.needs,
      policies: decision.policies,
      subjectKind: subject?.kind ?? null,
      subjectId: subject?.id ?? null,
      method: subject?.credential?.method ?? null,
      clientId: about.clientId ?? subject?.credential?.clientId ?? null,
      api: about.api ?? null,
      action: about.action ?? null,
      objectType: object?.type ?? null,
      objectId: object?.id ?? null,
      address: unit.origin.address ?? null,
      userAgent: unit.origin.userAgent?.slice(0, 256) ?? null,
      facts: about.facts?.() ?? null,
    })
  }

  return {
    write,
    writeForAnswer(ctx) {
      if (currentUnit().rows.receipt.has(requestOf(ctx).requestId)) return
      const { error } = (ctx.body ?? {}) as { error?: unknown }
      const { client } = (ctx as Context & { oidc?: { client?: { clientId: string } } }).oidc ?? {}
      write(ctx, decisionOf(ctx.status, typeof error === 'string' ? error : undefined), { clientId: client?.clientId })
    },
  }
}

/** What the codes of the RFCs say in the words of the gates. */
const reasonOfError: Record<string, Reason> = {
  invalid_client: 'unknown',
  invalid_grant: 'grant_refused',
  invalid_token: 'unknown',
  invalid_dpop_proof: 'bound_to_key',
  use_dpop_nonce: 'bound_to_key',
  insufficient_scope: 'insufficient_scope',
  unauthorized_client: 'not_accepted',
  unauthorized: 'none',
}

function decisionOf(status: number, error: string | undefined): Refused {
  const reason = reasonOfError[error ?? '']
  if (reason) return stopped(reason)
  if (status === 401) return stopped('unknown')
  return stopped(status === 403 ? 'lacks_role' : 'malformed', error ? [error] : [])
}
