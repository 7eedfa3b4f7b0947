// Showing that the address of an account is its owner's, while they sign in (EMAIL_VERIFICATION=required). The password was right
// already; the row of address-proof.ts remembers that for ten minutes, under the generation of the person: what ends their sessions
// ends this too.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { MailLimitReached, queueMail } from '#src/mail/outbox.ts'
import { findUser, type UserRecord } from '#src/users/users.ts'
import { type Locale, toLocale } from '#src/words.ts'
import { answerProof, beginProof, takeProof } from './address-proof.ts'

const purpose = 'email_verification'

/** @throws MailLimitReached; then nothing has changed. */
export function beginVerification(
  { prisma }: Pick<Database, 'prisma'>,
  ask: { uid: string; user: UserRecord; locale: Locale },
  { now, origin }: Change,
  secretKeys: SecretKeys,
): Promise<void> {
  const { uid, user, locale } = ask
  return prisma.$transaction(async (tx) => {
    const code = await beginProof(
      tx,
      { purpose, uid },
      { email: user.email, userId: user.id, data: { generation: String(user.generation) } },
      { secretKeys, now },
    )
    const queued = await queueMail(
      tx,
      {
        template: 'verification_code',
        to: user.email,
        locale: toLocale(user.locale ?? '') ?? locale,
        data: { code },
        userId: user.id,
        askedFrom: origin?.address ?? '',
      },
      { secretKeys, now },
    )
    if (!queued) throw new MailLimitReached()
  })
}

/** With the code. @returns who signs in, whose address is now verified. A wrong try counts. */
export function finishVerification(
  { prisma }: Pick<Database, 'prisma'>,
  { uid, code }: { uid: string; code: string },
  { now, origin }: Change,
  secretKeys: SecretKeys,
): Promise<{ userId: string } | 'wrong' | 'over'> {
  const [key, deps] = [{ purpose, uid } as const, { secretKeys, now }]
  return prisma.$transaction(async (tx) => {
    const verdict = await answerProof(tx, key, code, deps)
    if (verdict !== 'right') return verdict
    const proof = await takeProof(tx, key, deps)
    const user = proof?.userId === undefined ? null : await findUser(tx, proof.userId)
    if (!proof || !user || user.disabledAt || String(user.generation) !== proof.data.generation) return 'over'
    // The address that was proven, and no other that took its place in the meantime.
    const { count } = await tx.user.updateMany({
      where: { id: user.id, email: proof.email },
      data: { emailVerifiedAt: user.emailVerifiedAt ?? now, updatedAt: now },
    })
    if (count === 0) return 'over'
    const person = { kind: 'user', id: user.id } as const
    await recordAudit(tx, { event: 'email.verified', outcome: 'success', actor: person, target: person }, origin)
    return { userId: user.id }
  })
}
