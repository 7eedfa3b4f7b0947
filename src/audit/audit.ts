// The append-only record of who did what. Rows are written in the same commit as their effect: inside a request through the
// unit of work (src/tokens/unit-of-work.ts), elsewhere through recordAudit in the caller's transaction. Never a secret in `detail`.
//
// What becomes of a row: committed -> sealed within a second (seal.ts) -> signed within a minute (checkpoints.ts) -> streamed (stream.ts), searched
// (search.ts), exported (export.ts), verified (verify.ts) -> removed (retention.ts).
import type { Db } from '#src/db/database.ts'
import type { AuditEventName } from './events.ts'

export type AuditEntry = {
  event: AuditEventName
  outcome: 'success' | 'failure'
  /** user | client | cli | system, and its id */
  actor?: { kind: 'user' | 'client' | 'api_key' | 'cli' | 'system'; id?: string | undefined }
  target?: { kind: string; id: string }
  clientId?: string | undefined
  /** Ids and numbers only. */
  detail?: Record<string, string | number | boolean | null | string[]>
}

/** Where a request came from; entries of one request share it. */
export type AuditOrigin = {
  address?: string | undefined
  userAgent?: string | undefined
  requestId?: string | undefined
  /** The X-Decision-Id of the refusal that was answered. */
  decisionId?: string | undefined
}

export type AuditRow = {
  event: string
  outcome: string
  actorKind: string | null
  actorId: string | null
  targetKind: string | null
  targetId: string | null
  clientId: string | null
  address: string | null
  userAgent: string | null
  requestId: string | null
  decisionId: string | null
  detail: object
}

export function auditRow(entry: AuditEntry, origin: AuditOrigin = {}): AuditRow {
  return {
    event: entry.event,
    outcome: entry.outcome,
    actorKind: entry.actor?.kind ?? null,
    actorId: entry.actor?.id ?? null,
    targetKind: entry.target?.kind ?? null,
    targetId: entry.target?.id ?? null,
    clientId: entry.clientId ?? null,
    address: origin.address ?? null,
    userAgent: origin.userAgent?.slice(0, 256) ?? null,
    requestId: origin.requestId ?? null,
    decisionId: origin.decisionId ?? null,
    detail: entry.detail ?? {},
  }
}

/** For paths outside a request (CLI, bootstrap, sweeps): call it in the transaction that has the effect. */
export async function recordAudit(db: Db, entry: AuditEntry, origin?: AuditOrigin): Promise<void> {
  await db.auditEvent.create({ data: auditRow(entry, origin) })
}
