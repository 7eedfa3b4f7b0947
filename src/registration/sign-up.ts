// Creating one's own account. There is none before the address is proven: what was typed waits, sealed, in the row of the pending
// request, so nobody can leave an account with a password of theirs under an address of somebody else (CVE-2026-53516). An address
// that has an account takes the same steps; its owner, and nobody else, is told by mail.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database } from '#src/db/database.ts'
import { answerProof, beginProof, takeProof } from '#src/factors/address-proof.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { MailLimitReached, queueMail } from '#src/mail/outbox.ts'
import { createUser, EmailTaken, findUserByEmail } from '#src/users/users.ts'
import { type Locale, toLocale } from '#src/words.ts'

const purpose = 'sign_up'

/** @param ask.email, ask.name that users.ts passed. @param ask.passwordHash of factors/password.ts, made for everybody: it is the
 *  part that takes time. @throws MailLimitReached, for everybody alike; then nothing has changed. */
export function beginSignUp(
  { prisma }: Pick<Database, 'prisma'>,
  ask: { uid: string; email: string; name: string; passwordHash: string; locale: Locale },
  { now, origin }: Change,
  secretKeys: SecretKeys,
): Promise<void> {
  const { uid, email, name, passwordHash, locale } = ask
  return prisma.$transaction(async (tx) => {
    const user = await findUserByEmail(tx, email)
    const code = await beginProof(
      tx,
      { purpose, uid },
      { email, data: { name, passwordHash, locale }, isNobody: user !== null },
      { secretKeys, now },
    )
    const askedFrom = origin?.address ?? ''
    const queued = await queueMail(
      tx,
      user
        ? {
            template: 'account_exists',
            to: user.email,
            locale: toLocale(user.locale ?? '') ?? locale,
            data: {},
            userId: user.id,
            askedFrom,
          }
        : { template: 'sign_up_code', to: email, locale, data: { code }, askedFrom },
      { secretKeys, now },
    )
    if (!queued) throw new MailLimitReached()
    await recordAudit(
      tx,
      {
        event: 'sign_up.requested',
        outcome: 'success',
        ...(user ? { target: { kind: 'user', id: user.id } } : {}),
      },
      origin,
    )
  })
}

/** With the code. Nothing of it happens unless all of it does; a wrong try counts. `taken`: somebody created an account with the
 *  address in these minutes. */
export async function finishSignUp(
  { prisma }: Pick<Database, 'prisma'>,
  { uid, code }: { uid: string; code: string },
  change: Change,
  secretKeys: SecretKeys,
): Promise<{ userId: string } | 'wrong' | 'over' | 'taken'> {
  const [key, deps] = [{ purpose, uid } as const, { secretKeys, now: change.now }]
  try {
    return await prisma.$transaction(async (tx) => {
      const verdict = await answerProof(tx, key, code, deps)
      if (verdict !== 'right') return verdict
      const proof = await takeProof(tx, key, deps)
      if (!proof) return 'over'
      const { name, passwordHash, locale } = proof.data
      const { id } = await createUser(
        tx,
        { email: proof.email, emailVerified: true, name, passwordHash, locale },
        change,
      )
      return { userId: id }
    })
  } catch (error) {
    if (error instanceof EmailTaken) return 'taken'
    throw error
  }
}
