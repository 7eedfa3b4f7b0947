// A code by mail as a factor. It goes to the verified address of a person and nowhere else, and is taken only where it was asked for.
// It proves control of a mailbox, like recovery does: somebody who recovers by mail has not proven a second thing with it, so the
// sign-in decides what it counts for.
import type { Change } from '#src/audit/change.ts'
import type { Database } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { MailLimitReached, queueMail } from '#src/mail/outbox.ts'
import { emailKey, findUser } from '#src/users/users.ts'
import { type Locale, toLocale } from '#src/words.ts'
import { accountKey, type Reservation, reserveGuess } from './guessing.ts'
import { type CodeBinding, type CodeFlow, issueCode, redeemCode } from './one-time-code.ts'

/** @returns false for a person without a verified address. @throws MailLimitReached; an earlier code then stays good. */
export function issueEmailCode(
  { prisma }: Pick<Database, 'prisma'>,
  ask: { userId: string; flow: CodeFlow; locale: Locale },
  { now, origin }: Change,
  secretKeys: SecretKeys,
): Promise<boolean> {
  const { userId, flow, locale } = ask
  return prisma.$transaction(async (tx) => {
    const user = await findUser(tx, userId)
    if (!user?.emailVerifiedAt || user.disabledAt) return false
    const code = await issueCode(tx, bindingOf(userId, flow, user.email), { secretKeys, now })
    const queued = await queueMail(
      tx,
      {
        template: 'email_code',
        to: user.email,
        locale: toLocale(user.locale ?? '') ?? locale,
        data: { code },
        userId,
        askedFrom: origin?.address ?? '',
      },
      { secretKeys, now },
    )
    if (!queued) throw new MailLimitReached()
    return true
  })
}

export type EmailCodeVerdict =
  | { ok: true }
  /** `over`: no code waits there any more, a new one is needed. */
  | { ok: false; reason: 'wrong' | 'over'; reservation: Reservation }
  | { ok: false; reason: 'limited'; retryAfterSeconds: number }

/** Counts the try at the limits on guessing before it is looked at. */
export async function verifyEmailCode(
  database: Database,
  ask: {
    userId: string
    flow: CodeFlow
    code: string
    address: string | undefined
    device?: Buffer | undefined
    now: Date
  },
  secretKeys: SecretKeys,
): Promise<EmailCodeVerdict> {
  const { userId, flow, code, address, device, now } = ask
  const user = await findUser(database.prisma, userId)
  const account = accountKey(secretKeys, emailKey(user?.email ?? '') ?? '')
  const reservation = await reserveGuess(database, { factor: 'email_code', account, address, device, now })
  if (!reservation.allowed) return { ok: false, reason: 'limited', retryAfterSeconds: reservation.retryAfterSeconds }
  const verdict = await redeemCode(database.prisma, bindingOf(userId, flow, user?.email ?? ''), code, {
    secretKeys,
    now,
  })
  if (verdict !== 'right' || !user || user.disabledAt)
    return { ok: false, reason: verdict === 'over' ? 'over' : 'wrong', reservation }
  await reservation.succeed()
  return { ok: true }
}

/** To the address as well: a code that went to an old one proves nothing about the new one. */
function bindingOf(userId: string, flow: CodeFlow, email: string): CodeBinding {
  return { purpose: 'email_code', flow, subject: `${userId} ${emailKey(email)}` }
}
