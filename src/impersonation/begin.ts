// The browser that asked begins it: once, within a minute, by whoever may still. The person is told in the same commit.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { queueMail } from '#src/mail/outbox.ts'
import { findUser } from '#src/users/users.ts'
import { toLocale } from '#src/words.ts'
import { impersonationSeconds } from './mark.ts'
import { parties, standing } from './standing.ts'

/** @param by who is signed in, in the session that asked.
 *  @returns as whom; undefined: it was never asked for by them, has begun, is too long ago, or is not allowed any more. */
export function beginImpersonation(
  db: Db,
  { id, by }: { id: string; by: { userId: string; sessionUid: string } },
  { now, origin }: Pick<Change, 'now' | 'origin'>,
  { secretKeys }: { secretKeys: SecretKeys },
): Promise<{ userId: string } | undefined> {
  return atomically(db, async (tx) => {
    const expiresAt = new Date(now.getTime() + impersonationSeconds * 1000)
    const [begun] = await tx.$queryRawUnsafe<{ userId: string; reason: string }[]>(
      `UPDATE impersonation SET begun_at = $1, expires_at = $2
      WHERE id = (SELECT i.id FROM impersonation i ${parties}
        WHERE i.id::text = $3 AND i.impersonator_id = $4::uuid AND i.from_session_uid = $5 AND ${standing} = 'underway')
        AND begun_at IS NULL RETURNING user_id AS "userId", reason`,
      ...[now, expiresAt, id, by.userId, by.sessionUid],
    )
    if (!begun) return undefined
    const { userId, reason } = begun
    const [person, impersonator] = [await findUser(tx, userId), await findUser(tx, by.userId)]
    if (!person || !impersonator) return undefined
    const minutes = impersonationSeconds / 60
    const data = { by: impersonator.email, reason, minutes }
    const locale = toLocale(person.locale ?? '') ?? 'en'
    await queueMail(tx, { template: 'impersonation', to: person.email, locale, data, userId }, { secretKeys, now })
    await recordAudit(
      tx,
      {
        event: 'user.impersonation_started',
        outcome: 'success',
        actor: { kind: 'user', id: by.userId },
        target: { kind: 'user', id: userId },
        detail: { impersonation: id, reason, minutes },
      },
      origin,
    )
    return { userId }
  })
}
