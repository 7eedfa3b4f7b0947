// The record as one person reads it: what they did, and what was done to them. And as an administrator reads it of one thing.
import type { Db } from '#src/db/database.ts'
import type { AuditEventName } from './events.ts'

/** What means something to the person it is about. The rest is the operator's. */
export const personEvents = [
  'login.succeeded',
  'logout.completed',
  'session.ended',
  'consent.granted',
  'consent.denied',
  'consent.withdrawn',
  'token.revoked',
  'user.created',
  'user.updated',
  'user.disabled',
  'user.enabled',
  'user.password_changed',
  'user.email_changed',
  'user.factors_reset',
  'user.unlocked',
  'user.impersonation_started',
  'user.impersonation_ended',
  'factor.added',
  'factor.removed',
  'recovery_codes.created',
  'device.remembered',
  'device.forgotten',
  'user.data_exported',
  'user.deletion_requested',
  'api_key.created',
  'api_key.rotated',
  'api_key.revoked',
  'setup.completed',
] as const satisfies readonly AuditEventName[]

export type PersonEventName = (typeof personEvents)[number]

export type PersonEvent = {
  at: Date
  event: PersonEventName
  /** By somebody else: an administrator, the system. */
  byOthers: boolean
  clientId: string | null
  clientName: string | null
  address: string | null
  userAgent: string | null
}

/** Newest first. @param page.skip how many of the newest are left out. */
export function listPersonEvents(
  db: Db,
  userId: string,
  page: { skip: number; limit: number },
): Promise<PersonEvent[]> {
  const events: readonly string[] = personEvents
  const most = page.skip + page.limit
  // Two walks along an index, each as long as the page needs, not one over everything that was ever recorded.
  return db.$queryRaw<PersonEvent[]>`
    WITH mine AS (
      (SELECT * FROM audit_event WHERE actor_kind = 'user' AND actor_id = ${userId} AND event = ANY (${events}) ORDER BY at DESC, id DESC LIMIT ${most})
      UNION
      (SELECT * FROM audit_event WHERE target_kind = 'user' AND target_id = ${userId} AND event = ANY (${events}) ORDER BY at DESC, id DESC LIMIT ${most}))
    SELECT m.at, m.event, NOT (m.actor_kind = 'user' AND m.actor_id = ${userId}) IS TRUE AS "byOthers", m.client_id AS "clientId",
      c.name AS "clientName", m.address, m.user_agent AS "userAgent"
    FROM mine m LEFT JOIN client c ON c.id = m.client_id ORDER BY m.at DESC, m.id DESC OFFSET ${page.skip} LIMIT ${page.limit}`
}

export type TargetEvent = { at: Date; event: string; actorKind: string | null; actorId: string | null }

/** What was done to one thing, newest first. */
export function listTargetEvents(db: Db, target: { kind: string; id: string }, limit: number): Promise<TargetEvent[]> {
  return db.auditEvent.findMany({
    where: { targetKind: target.kind, targetId: target.id },
    orderBy: { id: 'desc' },
    take: limit,
    select: { at: true, event: true, actorKind: true, actorId: true },
  })
}
