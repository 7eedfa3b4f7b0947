// The form in which a row is hashed, and the hash. Both are written down in docs/audit.md so that a stranger can compute them; a change here
// is a change of every proof that was ever handed out.
//
//   event      the fields of the row that have a value, as JSON in the canonical form of RFC 8785
//   hash(n)    SHA-256 of the canonical form of [hash(n - 1), n, event(n)], in hexadecimal; hash(0) is 64 zeros

import { createHash } from 'node:crypto'
import type { AuditRow } from './audit.ts'

/** What a place of the chain is known by. */
export type Place = Readonly<{ position: number; hash: string }>

export const firstPlace: Place = Object.freeze({ position: 0, hash: '0'.repeat(64) })

/** A row of audit_event as it is read for hashing. `id` is a decimal number: beyond 2^53 JSON has no exact ones. */
export type EventRow = Omit<AuditRow, 'detail'> & { id: string; at: Date; detail: unknown }

export const eventColumns = `e.id::text AS id, e.at, e.event, e.outcome, e.actor_kind AS "actorKind", e.actor_id AS "actorId",
  e.target_kind AS "targetKind", e.target_id AS "targetId", e.client_id AS "clientId", e.address, e.user_agent AS "userAgent",
  e.request_id AS "requestId", e.decision_id AS "decisionId", e.detail`

/** What is hashed and exported. A field without a value is left out, so a column that is added one day changes no hash of today. */
export function chainedEvent(row: EventRow): Record<string, unknown> {
  const { id, at, event, outcome, clientId, address, userAgent, requestId, decisionId, detail } = row
  const fields = {
    id,
    at: at.toISOString(),
    event,
    outcome,
    actor: entity(row.actorKind, row.actorId),
    target: entity(row.targetKind, row.targetId),
    clientId,
    address,
    userAgent,
    requestId,
    decisionId,
    detail,
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null))
}

function entity(kind: string | null, id: string | null): Record<string, string> | null {
  if (kind === null && id === null) return null
  return { ...(kind === null ? {} : { kind }), ...(id === null ? {} : { id }) }
}

/** @param event as chainedEvent makes it, or as it stands in an export. */
export function linkHash(previous: string, position: number, event: unknown): string {
  return createHash('sha256')
    .update(canonical([previous, position, event]))
    .digest('hex')
}

/** RFC 8785. JSON.stringify writes strings and numbers as the RFC wants them (it took ECMAScript's rules); what is left is the order of names. */
export function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(',')}}`
}
