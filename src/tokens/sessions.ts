// The browser sessions of one person, as that person sees them: which are open, since when, from where; ending one, or all but one.
// How the engine keeps a session is oauth/adapter/session-store.ts, what ending means for tokens is revoke.ts.
import type { Change } from '#src/audit/change.ts'
import type { Database, Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { isUserId } from '#src/users/users.ts'
import { isStoredId, revoke, SessionNotFound } from './revoke.ts'

export type OpenSession = {
  uid: string
  beganAt: Date
  loginAt: Date | null
  lastUsedAt: Date
  expiresAt: Date | null
  /** Where it began. */
  address: string | null
  userAgent: string | null
  acr: string | null
}

/** More than anybody looks through; the most recently used come first. */
const mostListed = 100

type Whose = { userId: string; idleSeconds: number; now: Date }

export async function listSessions(db: Db, { userId, idleSeconds, now }: Whose): Promise<OpenSession[]> {
  if (!isUserId(userId)) return []
  return db.$queryRaw<OpenSession[]>`
    SELECT s.uid, s.created_at AS "beganAt", s.login_at AS "loginAt", s.last_used_at AS "lastUsedAt", s.acr, s.expires_at AS "expiresAt",
      o.address, o.user_agent AS "userAgent"
    FROM session s JOIN users u ON u.id = s.user_id LEFT JOIN origin o ON o.id = s.origin_id
    WHERE s.user_id = ${userId}::uuid AND s.ended_at IS NULL AND u.disabled_at IS NULL AND u.generation = s.user_generation
      AND (s.expires_at IS NULL OR s.expires_at > ${now}) AND s.last_used_at > ${new Date(now.getTime() - idleSeconds * 1000)}
      AND COALESCE(s.login_at, s.created_at) >= COALESCE((SELECT not_before FROM token_epoch), '-infinity')
    ORDER BY s.last_used_at DESC, s.uid LIMIT ${mostListed}`
}

/** As far as sessions are still kept. */
export async function hasSignedIn(db: Db, userId: string): Promise<boolean> {
  return (await db.session.findFirst({ where: { userId }, select: { uid: true } })) !== null
}

/** The session with every grant given in it. Somebody else's is not there.
 *  @throws SessionNotFound */
export function endOwnSession(db: Db, session: { userId: string; uid: string }, change: Change): Promise<void> {
  const { userId, uid } = session
  return atomically(db, async (tx) => {
    if (!isStoredId(uid) || (await tx.session.count({ where: { uid, userId, endedAt: null } })) === 0)
      throw new SessionNotFound(uid)
    await revoke(tx, { kind: 'session', uid }, change)
  })
}

/** @returns how many were ended. */
export function endOtherSessions(db: Db, kept: { userId: string; uid: string }, change: Change): Promise<number> {
  return atomically(db, async (tx) => {
    const others = await tx.session.findMany({
      where: { userId: kept.userId, endedAt: null, uid: { not: kept.uid } },
      select: { uid: true },
      orderBy: { uid: 'asc' },
    })
    for (const { uid } of others) await revoke(tx, { kind: 'session', uid }, change)
    return others.length
  })
}

/** Not part of a request's commit: nothing depends on it, and two requests of one session must not wait for each other. */
export async function touchSession({ pool }: Pick<Database, 'pool'>, uid: string): Promise<void> {
  await pool.query({
    name: 'session_used',
    text: 'UPDATE session SET last_used_at = now() WHERE uid = $1 AND ended_at IS NULL AND last_used_at < now()',
    values: [uid],
  })
}
