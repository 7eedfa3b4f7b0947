// Invitations: an operator or a program names an address, a mail carries a link, and whoever reads that mailbox may create an account
// with that address and no other, once (CVE-2022-46145). The link is the proof of the address: 256 random bits, stored as a hash, so
// it needs no code besides.
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { RoleNotFound } from '#src/access/roles.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { MailLimitReached, queueMail } from '#src/mail/outbox.ts'
import { checkDistinct, Refusal } from '#src/refusal.ts'
import { checkEmail, createUser, EmailTaken, emailKey, findUserByEmail, InvalidUser } from '#src/users/users.ts'
import type { Locale } from '#src/words.ts'

export const invitationDays = { usual: 7, most: 30 } as const

export class InvitationsOff extends Refusal {
  constructor() {
    super('in_use', [
      {
        field: 'SIGN_UP',
        problem: 'is off, so nobody could accept an invitation',
        fix: 'Set SIGN_UP=invitation (or open) and start the server again.',
      },
    ])
  }
}

export class InvalidInvitation extends Refusal {
  constructor(field: string, problem: string, fix: string) {
    super('invalid', [{ field, problem, fix }])
  }
}

export type Invitation = { id: string; email: string; expiresAt: Date }

/** Mails the link; nobody is shown it. A second invitation of an address takes the place of the first.
 *  @throws InvalidUser, InvalidInvitation, EmailTaken, RoleNotFound, InvitationsOff, MailLimitReached */
export function invite(
  db: Db,
  ask: { email: string; roles?: readonly string[] | undefined; days?: number | undefined; locale?: Locale | undefined },
  change: Change,
  deps: { secretKeys: SecretKeys; signUp: 'off' | 'open' | 'invitation' },
): Promise<Invitation> {
  const { roles = [], days = invitationDays.usual, locale = 'en' } = ask
  return atomically(db, async (tx) => {
    if (deps.signUp === 'off') throw new InvitationsOff()
    const flaws = [...checkEmail('email', ask.email), ...checkDistinct('roles', [...roles])]
    if (flaws.length > 0) throw new InvalidUser(flaws)
    if (!Number.isInteger(days) || days < 1 || days > invitationDays.most)
      throw new InvalidInvitation('days', `is not from 1 to ${invitationDays.most}`, 'Write a whole number of days.')
    const email = ask.email.trim().normalize('NFC')
    if (await findUserByEmail(tx, email)) throw new EmailTaken()
    for (const [index, name] of roles.entries())
      if (!name.isWellFormed() || name.includes('\0') || (await tx.role.count({ where: { name } })) === 0)
        throw new RoleNotFound(name, `roles[${index}]`)

    const token = randomBytes(32).toString('base64url')
    const id = randomUUID()
    const fresh = {
      id,
      tokenHash: hashOf(token),
      email,
      roles: [...roles],
      createdAt: change.now,
      expiresAt: new Date(change.now.getTime() + days * 86_400_000),
    }
    const key = emailKey(email) ?? ''
    await tx.invitation.upsert({ where: { emailKey: key }, create: { emailKey: key, ...fresh }, update: fresh })
    const queued = await queueMail(
      tx,
      { template: 'invitation', to: email, locale, data: { token, days }, askedFrom: change.origin?.address },
      { secretKeys: deps.secretKeys, now: change.now },
    )
    if (!queued) throw new MailLimitReached()
    await recordAudit(
      tx,
      {
        event: 'invitation.created',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'invitation', id },
        detail: { roles: [...roles], days },
      },
      change.origin,
    )
    return { id, email, expiresAt: fresh.expiresAt }
  })
}

/** @returns undefined for a link that is not, or not any more, an invitation. */
export async function findInvitation(db: Db, token: string, now: Date): Promise<Invitation | undefined> {
  const row = await db.invitation.findUnique({ where: { tokenHash: hashOf(token) } })
  if (!row || row.expiresAt <= now) return undefined
  return { id: row.id, email: row.email, expiresAt: row.expiresAt }
}

/** @param ask.passwordHash, ask.name of what the person chose; the address is the invitation's.
 *  @returns undefined for a link that is not, or not any more, an invitation: of two that use one at once, one gets the account.
 *  @throws EmailTaken, InvalidUser; the invitation then stays. */
export function acceptInvitation(
  db: Db,
  ask: { token: string; name: string; passwordHash: string; locale: Locale },
  change: Change,
): Promise<{ userId: string } | undefined> {
  const { token, name, passwordHash, locale } = ask
  return atomically(db, async (tx) => {
    const tokenHash = hashOf(token)
    const row = await tx.invitation.findUnique({ where: { tokenHash } })
    const { count } = await tx.invitation.deleteMany({ where: { tokenHash, expiresAt: { gt: change.now } } })
    if (!row || count === 0) return undefined
    const held = await tx.role.findMany({ where: { name: { in: row.roles } }, select: { name: true } })
    const roles = held.map((role) => role.name) // one may have been deleted since
    const { id } = await createUser(
      tx,
      { email: row.email, emailVerified: true, name, passwordHash, locale, roles },
      change,
    )
    await recordAudit(
      tx,
      {
        event: 'invitation.accepted',
        outcome: 'success',
        actor: { kind: 'user', id },
        target: { kind: 'invitation', id: row.id },
      },
      change.origin,
    )
    return { userId: id }
  })
}

const hashOf = (token: string): Uint8Array<ArrayBuffer> =>
  new Uint8Array(createHash('sha256').update(token, 'utf8').digest())
