// The end of an impersonation: its row, its session and every token that hangs from it, in one commit with its record. Whatever made it over by
// itself (time, a role, a session that was ended elsewhere) is noticed at once by whoever looks (underway.ts); the job here writes it down, and
// tells the verifiers of JWTs, who do not ask.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database, Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { revoke } from '#src/tokens/revoke.ts'
import { askedSeconds } from './ask.ts'
import { markOf } from './mark.ts'
import { parties, standing } from './standing.ts'

/** @param because for the record: who ended it, or what made it over. @returns false: it was over before. */
export function endImpersonation(db: Db, id: string, because: string, change: Change): Promise<boolean> {
  return atomically(db, async (tx) => {
    const { count } = await tx.impersonation.updateMany({
      where: { id, endedAt: null },
      data: { endedAt: change.now, endedBecause: because },
    })
    const row = count > 0 && (await tx.impersonation.findUnique({ where: { id } }))
    if (!row) return false
    const { userId, impersonatorId } = row
    const sessions = await tx.session.findMany({
      where: { userId, acr: markOf(id) },
      select: { uid: true },
      orderBy: { uid: 'asc' },
    })
    for (const { uid } of sessions) await revoke(tx, { kind: 'session', uid }, change)
    if (row.begunAt)
      await recordAudit(
        tx,
        {
          event: 'user.impersonation_ended',
          outcome: 'success',
          actor: change.actor,
          target: { kind: 'user', id: userId },
          detail: { impersonation: id, impersonator: impersonatorId, because },
        },
        change.origin,
      )
    return true
  })
}

/** Of one person, after they ended sessions of theirs. */
export async function settleOf(db: Db, userId: string, change: Change): Promise<void> {
  const open = await db.impersonation.findMany({
    where: { userId, endedAt: null, begunAt: { not: null } },
    select: { id: true },
  })
  for (const { id } of open) {
    const sessions = await db.session.findMany({ where: { userId, acr: markOf(id) }, select: { endedAt: true } })
    if (sessions.length > 0 && sessions.every(({ endedAt }) => endedAt !== null))
      await endImpersonation(db, id, 'session_ended', change)
  }
}

export async function isSettlingDue({ pool }: Pick<Database, 'pool'>): Promise<boolean> {
  const { rows } = await pool.query('SELECT FROM impersonation WHERE ended_at IS NULL LIMIT 1')
  return rows.length > 0
}

/** Ends what is over. @param allowed false: the setting is off, and so is every one. @returns how many. */
export async function settleImpersonations(
  { prisma, pool }: Database,
  { allowed }: { allowed: boolean },
  change: Change,
): Promise<number> {
  const { rows } = await pool.query<{ id: string; because: string; hasSession: boolean; sessionOpen: boolean }>({
    name: 'impersonation_settle',
    text: `SELECT i.id, ${standing} AS because, count(s.uid) > 0 AS "hasSession",
        COALESCE(bool_or(s.ended_at IS NULL AND s.user_generation = u.generation), false) AS "sessionOpen"
      FROM impersonation i ${parties} LEFT JOIN session s ON s.user_id = i.user_id AND s.acr = $2 || i.id::text
      WHERE i.ended_at IS NULL AND (i.begun_at IS NOT NULL OR i.asked_at < $1::timestamptz - make_interval(secs => ${2 * askedSeconds}))
      GROUP BY i.id, a.id, u.id ORDER BY i.id LIMIT 200`,
    values: [change.now, markOf('')],
  })
  let ended = 0
  for (const { id, because, hasSession, sessionOpen } of rows) {
    const over = !allowed
      ? 'switched_off'
      : because !== 'underway'
        ? because
        : hasSession && !sessionOpen
          ? 'session_ended'
          : undefined
    if (over !== undefined && (await endImpersonation(prisma, id, over, change))) ended++
  }
  return ended
}
