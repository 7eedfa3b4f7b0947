// A password that was forgotten. Whoever reads the mails of a person's address may set a new one, and nothing more: it ends every
// session and token, and the sign-in goes on as one by password, so a second factor is asked as always (ASVS 6.4.3).
//
// An address that nobody has, or a person who may not recover, takes the same steps with a code that is never right (ASVS 6.3.8).
import { ownerRole } from '#src/access/roles.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { nothing } from '#src/mail/letters.ts'
import { MailLimitReached, queueMail } from '#src/mail/outbox.ts'
import { carrySessionOver } from '#src/tokens/revoke.ts'
import { findUser, findUserByEmail, setPassword, type UserRecord } from '#src/users/users.ts'
import { type Locale, toLocale } from '#src/words.ts'
import { beginProof, takeProof } from './address-proof.ts'
import { lockCredentials } from './credentials.ts'

const purpose = 'recovery'

/** @param ask.email one that users.checkEmail passed. @param ask.locale of the page; a person's own comes first.
 *  @throws MailLimitReached, for everybody alike; then nothing has changed. */
export function beginRecovery(
  { prisma }: Pick<Database, 'prisma'>,
  ask: { uid: string; email: string; locale: Locale },
  change: Change,
  secretKeys: SecretKeys,
): Promise<void> {
  const { uid, email, locale } = ask
  const { now, origin } = change
  return prisma.$transaction(async (tx) => {
    const user = await findUserByEmail(tx, email)
    const may = user !== null && mayRecover(user)
    const code = await beginProof(
      tx,
      { purpose, uid },
      { email, userId: may ? user.id : undefined, data: { address: may ? user.email : email }, isNobody: !may },
      { secretKeys, now },
    )
    const addressee = { to: may ? user.email : email, askedFrom: origin?.address ?? '' }
    const queued = await queueMail(
      tx,
      may
        ? {
            template: 'recovery_code',
            ...addressee,
            locale: toLocale(user.locale ?? '') ?? locale,
            data: { code },
            userId: user.id,
          }
        : { template: nothing, ...addressee, locale, data: {} },
      { secretKeys, now },
    )
    if (!queued) throw new MailLimitReached()
    await recordAudit(
      tx,
      {
        event: 'recovery.requested',
        outcome: 'success',
        ...(may ? { target: { kind: 'user', id: user.id } } : {}),
      },
      origin,
    )
  })
}

/** After the code. @returns who signs in next; undefined when nothing was proven in this request, or not any more.
 *  @param ask.passwordHash of factors/password.ts, of a password that password-rules.ts passed. @param ask.sessionUid of this browser:
 *  the pending request hangs from it, and the sign-in that follows gives it a new id. */
export function finishRecovery(
  { prisma }: Pick<Database, 'prisma'>,
  ask: { uid: string; passwordHash: string; locale: Locale; sessionUid: string | undefined },
  change: Change,
  secretKeys: SecretKeys,
): Promise<string | undefined> {
  const { uid, passwordHash, locale, sessionUid } = ask
  const { now, origin } = change
  return prisma.$transaction(async (tx) => {
    const proof = await takeProof(tx, { purpose, uid }, { secretKeys, now })
    const user = proof?.userId === undefined ? null : await findUser(tx, proof.userId)
    // Changed in these minutes: another address, switched off.
    if (!proof || !user || !mayRecover(user) || user.email !== proof.data.address) return undefined
    const by: Change = { ...change, actor: { kind: 'user', id: user.id } }
    if (user.emailVerifiedAt === null) {
      // Nobody had shown before that the address is theirs. Whatever was left in the account may be somebody else's trap for its owner
      // (CVE-2026-53516): they begin with their new password and nothing besides. Not with what is being added at this moment, either.
      await lockCredentials(tx, user.id)
      await tx.credential.deleteMany({ where: { userId: user.id } })
      await tx.apiKey.deleteMany({ where: { userId: user.id } })
      await tx.consent.deleteMany({ where: { userId: user.id } })
      await tx.user.update({ where: { id: user.id }, data: { emailVerifiedAt: now } })
      const verified = { event: 'email.verified', outcome: 'success', actor: by.actor } as const
      await recordAudit(tx, { ...verified, target: { kind: 'user', id: user.id } }, origin)
    }
    await setPassword(tx, user.id, passwordHash, by)
    if (sessionUid !== undefined) await carrySessionOver(tx, { uid: sessionUid, userId: user.id })
    await queueMail(
      tx,
      {
        template: 'password_changed',
        to: user.email,
        locale: toLocale(user.locale ?? '') ?? locale,
        data: {},
        userId: user.id,
      },
      { secretKeys, now },
    )
    return user.id
  })
}

/** The address of an owner that was never verified may be a slip of the pen, and its mailbox a stranger's: they recover by command
 *  line (docs/decisions/023). */
function mayRecover(user: UserRecord): boolean {
  if (user.disabledAt !== null) return false
  return user.emailVerifiedAt !== null || !user.roles.some(({ roleName }) => roleName === ownerRole)
}
