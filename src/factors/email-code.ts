// A code by mail in the place of the password (EMAIL_SIGN_IN=on). It goes to the verified address of a person and nowhere else, and is
// taken only in the request where it was asked for. It is never a second factor (docs/decisions/028).
//
// An address that nobody has, or a person who may not sign in by mail, takes the same steps with a code that is never right (ASVS 6.3.8).
import type { Change } from '#src/audit/change.ts'
import type { Database } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { nothing } from '#src/mail/letters.ts'
import { MailLimitReached, queueMail } from '#src/mail/outbox.ts'
import { findUser, findUserByEmail, type UserRecord } from '#src/users/users.ts'
import { type Locale, toLocale } from '#src/words.ts'
import { answerProof, beginProof, takeProof } from './address-proof.ts'

const purpose = 'email_code'

/** @param ask.email one that users.checkEmail passed. @param ask.locale of the page; a person's own comes first.
 *  @throws MailLimitReached, for everybody alike; then nothing has changed, and an earlier code stays good. */
export function beginEmailCode(
  { prisma }: Pick<Database, 'prisma'>,
  ask: { uid: string; email: string; locale: Locale },
  { now, origin }: Change,
  secretKeys: SecretKeys,
): Promise<void> {
  const { uid, email, locale } = ask
  return prisma.$transaction(async (tx) => {
    const user = await findUserByEmail(tx, email)
    const may = user !== null && maySignIn(user)
    const code = await beginProof(
      tx,
      { purpose, uid },
      {
        email,
        userId: may ? user.id : undefined,
        data: { address: may ? user.email : email, generation: String(may ? user.generation : 0) },
        isNobody: !may,
      },
      { secretKeys, now },
    )
    const addressee = { to: may ? user.email : email, askedFrom: origin?.address ?? '' }
    const queued = await queueMail(
      tx,
      may
        ? {
            template: 'email_code',
            ...addressee,
            locale: toLocale(user.locale ?? '') ?? locale,
            data: { code },
            userId: user.id,
          }
        : { template: nothing, ...addressee, locale, data: {} },
      { secretKeys, now },
    )
    if (!queued) throw new MailLimitReached()
  })
}

/** With the code. A wrong try counts. @returns who signs in. */
export function finishEmailCode(
  { prisma }: Pick<Database, 'prisma'>,
  { uid, code }: { uid: string; code: string },
  { now }: Change,
  secretKeys: SecretKeys,
): Promise<{ userId: string } | 'wrong' | 'over'> {
  const [key, deps] = [{ purpose, uid } as const, { secretKeys, now }]
  return prisma.$transaction(async (tx) => {
    const verdict = await answerProof(tx, key, code, deps)
    if (verdict !== 'right') return verdict
    const proof = await takeProof(tx, key, deps)
    const user = proof?.userId === undefined ? null : await findUser(tx, proof.userId)
    // Changed in these minutes: another address, switched off, their sessions ended.
    if (!proof || !user || !maySignIn(user) || user.email !== proof.data.address) return 'over'
    return String(user.generation) === proof.data.generation ? { userId: user.id } : 'over'
  })
}

function maySignIn({ disabledAt, emailVerifiedAt }: UserRecord): boolean {
  return disabledAt === null && emailVerifiedAt !== null
}
