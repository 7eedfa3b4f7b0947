// Who acted as a person, for the person.
import type { Db } from '#src/db/database.ts'

export type Impersonated = {
  /** An address; null: they are gone. */
  by: string | null
  reason: string
  from: Date
  /** Null: it may still be going on. */
  to: Date | null
}

/** Newest first. */
export async function listImpersonations(db: Db, userId: string, now: Date, limit = 20): Promise<Impersonated[]> {
  const rows = await db.impersonation.findMany({
    where: { userId, begunAt: { not: null } },
    orderBy: { askedAt: 'desc' },
    take: limit,
    select: {
      reason: true,
      begunAt: true,
      askedAt: true,
      endedAt: true,
      expiresAt: true,
      impersonator: { select: { email: true } },
    },
  })
  return rows.map(({ reason, begunAt, askedAt, endedAt, expiresAt, impersonator }) => ({
    by: impersonator?.email ?? null,
    reason,
    from: begunAt ?? askedAt,
    to: endedAt ?? (expiresAt <= now ? expiresAt : null),
  }))
}
