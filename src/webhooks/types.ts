// What the world is told: the public names of events, and which audit events are behind each. The names on the left are a promise to receivers
// and never change; the audit record may rename its own. Told is who did what to what, in ids: no addresses of people or networks, no browser,
// and of the details only those that are listed here. Every audit event stands in one of the two lists: whoever adds one decides.
import type { AuditEventName } from '#src/audit/events.ts'

type PublicType = Readonly<{
  from: readonly AuditEventName[]
  /** Of the audit event's details: names of factors and fields, scopes, numbers. */
  detail?: readonly string[]
}>

export const publicTypes = {
  'user.created': { from: ['user.created'] },
  'user.updated': { from: ['user.updated'], detail: ['fields'] },
  'user.disabled': { from: ['user.disabled'] },
  'user.enabled': { from: ['user.enabled'] },
  'user.deletion_requested': { from: ['user.deletion_requested'], detail: ['graceDays'] },
  'user.deleted': { from: ['user.deleted'] },
  'user.email_verified': { from: ['email.verified'] },
  'user.email_changed': { from: ['user.email_changed'] },
  'user.password_changed': { from: ['user.password_changed'] },
  'user.factor_added': { from: ['factor.added'], detail: ['factor'] },
  'user.factor_removed': { from: ['factor.removed'], detail: ['factor'] },
  'user.factors_reset': { from: ['user.factors_reset'] },
  'user.data_exported': { from: ['user.data_exported'] },
  'user.signed_in': { from: ['login.succeeded'], detail: ['amr'] },
  'user.signed_out': { from: ['logout.completed'] },
  'user.sign_in_limited': { from: ['login.limited'], detail: ['factor'] },
  'user.unlocked': { from: ['user.unlocked'] },
  'user.impersonation_started': { from: ['user.impersonation_started'], detail: ['impersonation', 'minutes'] },
  'user.impersonation_ended': { from: ['user.impersonation_ended'], detail: ['impersonation', 'because'] },
  'invitation.created': { from: ['invitation.created'] },
  'invitation.accepted': { from: ['invitation.accepted'] },
  'session.ended': { from: ['session.ended'] },
  'consent.granted': { from: ['consent.granted'], detail: ['scopes'] },
  'consent.denied': { from: ['consent.denied'] },
  'consent.withdrawn': { from: ['consent.withdrawn'] },
  'grant.revoked': { from: ['grant.revoked'] },
  'token.revoked': { from: ['token.revoked'], detail: ['every'] },
  'token.reuse_detected': { from: ['code.reuse_detected', 'refresh.reuse_detected'] },
  'client.created': { from: ['client.created'] },
  'client.updated': { from: ['client.updated', 'client.scopes_removed'] },
  'client.deleted': { from: ['client.deleted'] },
  'client.secret_added': { from: ['client.secret_added'], detail: ['secretId'] },
  'client.secret_removed': { from: ['client.secret_removed'], detail: ['secretId'] },
  'api.created': { from: ['api.created'] },
  'api.updated': { from: ['api.updated'] },
  'api.deleted': { from: ['api.deleted'] },
  'role.created': { from: ['role.created'] },
  'role.updated': { from: ['role.updated'] },
  'role.deleted': { from: ['role.deleted'] },
  'policy.created': { from: ['policy.created'], detail: ['version'] },
  'policy.updated': { from: ['policy.updated', 'policy_schema.updated'], detail: ['version'] },
  'policy.deleted': { from: ['policy.deleted'], detail: ['version'] },
  'relations.changed': { from: ['relations.changed'], detail: ['written', 'deleted'] },
  'route.created': { from: ['route.created'] },
  'route.updated': { from: ['route.updated'] },
  'route.deleted': { from: ['route.deleted'] },
  'route.reordered': { from: ['route.reordered'], detail: ['moved'] },
  'api_key.created': { from: ['api_key.created'] },
  'api_key.rotated': { from: ['api_key.rotated'], detail: ['version'] },
  'api_key.revoked': { from: ['api_key.revoked'] },
  'api_key.reported': { from: ['api_key.reported'] },
  'signing_key.created': { from: ['key.created'], detail: ['alg'] },
  'signing_key.activated': { from: ['key.activated'], detail: ['alg'] },
  'signing_key.retired': { from: ['key.retired'], detail: ['alg'] },
  'signing_key.removed': { from: ['key.removed'], detail: ['alg'] },
  'configuration.applied': { from: ['configuration.applied'] },
  'setting.changed': { from: ['setting.changed'], detail: ['names'] },
  'mail.given_up': { from: ['mail.given_up'], detail: ['template'] },
  'access_review.created': { from: ['access_review.created'] },
  'access_review.completed': { from: ['access_review.completed'] },
  'webhook.created': { from: ['webhook.created'] },
  'webhook.updated': { from: ['webhook.updated'] },
  'webhook.deleted': { from: ['webhook.deleted'] },
  'webhook.secret_rotated': { from: ['webhook.secret_rotated'] },
  'webhook.failing': { from: ['webhook.failing'] },
  'webhook.disabled': { from: ['webhook.disabled'], detail: ['because'] },
} as const satisfies Record<string, PublicType>

/** Too many, or as many as a stranger likes, or of use to nobody outside. */
type Untold =
  | 'login.failed'
  | 'factor.failed'
  | 'factor.code_sent'
  | 'factor.push_sent'
  | 'factor.push_answered'
  | 'factor.renamed'
  | 'recovery_codes.created'
  | 'device.remembered'
  | 'device.forgotten'
  | 'code.issued'
  | 'token.issued'
  | 'token.refused'
  | 'refresh.rotated'
  | 'refresh.repeated'
  | 'client.authentication_failed'
  | 'api_key.exchanged'
  | 'setup.code_issued'
  | 'setup.completed'
  | 'setup.failed'
  | 'sign_up.requested'
  | 'recovery.requested'
  | 'probe.started'
  | 'probe.ended'
  | 'audit.exported'
  | 'audit.removed'
  | 'audit_view.created'
  | 'audit_view.deleted'
  | 'access_review.decided'
  | 'access_review.exported'
  | 'mail.hurried'
  | 'job.requested'
  | 'backup.recorded'
  | 'secret_key.rows_moved'
  | 'secret_key.rows_discarded'
  | 'webhook.tested'
  | 'webhook.resent'

export type WebhookType = keyof typeof publicTypes
type Told = (typeof publicTypes)[WebhookType]['from'][number]

/** Does not type-check while an audit event is in neither list. */
type Undecided = Exclude<AuditEventName, Told | Untold>
const nothingIsUndecided: Undecided extends never ? true : never = true
void nothingIsUndecided

/** Of an endpoint that asks for a test. */
export const testType = 'webhook.test'

export const webhookTypes = Object.keys(publicTypes) as WebhookType[]
const groups = [...new Set(webhookTypes.map((type) => type.slice(0, type.indexOf('.'))))]

/** What an endpoint may ask for: types, every type of a group, everything. */
export const isTypeFilter = (filter: string): boolean =>
  filter === '*' || Object.hasOwn(publicTypes, filter) || groups.some((group) => filter === `${group}.*`)

export function wants(filters: readonly string[], type: string): boolean {
  return filters.includes('*') || filters.includes(type) || filters.includes(`${type.slice(0, type.indexOf('.'))}.*`)
}

const byAuditEvent = new Map<string, { type: WebhookType; detail: readonly string[] }>(
  Object.entries<PublicType>(publicTypes).flatMap(([type, { from, detail = [] }]) =>
    from.map((event) => [event, { type: type as WebhookType, detail }] as const),
  ),
)

export type AuditFacts = Readonly<{
  event: string
  outcome: string
  at: Date
  actorKind: string | null
  actorId: string | null
  targetKind: string | null
  targetId: string | null
  clientId: string | null
  requestId: string | null
  detail: Readonly<Record<string, unknown>>
}>

/** @returns undefined for what nobody is told. */
export function publish(facts: AuditFacts): { type: WebhookType; body: string } | undefined {
  const found = byAuditEvent.get(facts.event)
  if (!found) return undefined
  const { actorKind, actorId, targetKind, targetId, clientId, requestId, outcome } = facts
  const shown = found.detail.map((name) => [name, facts.detail[name]]) // what is not there is not written
  const data = {
    outcome,
    actor: actorKind === null ? null : { kind: actorKind, id: actorId },
    target: targetKind === null ? null : { kind: targetKind, id: targetId },
    clientId,
    requestId,
    detail: Object.fromEntries(shown),
  }
  return { type: found.type, body: bodyOf(found.type, facts.at, data) }
}

/** Standard Webhooks 1.0: type, timestamp, data. */
export const bodyOf = (type: string, at: Date, data: object): string =>
  JSON.stringify({ type, timestamp: at.toISOString(), data })
