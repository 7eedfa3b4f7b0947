// The other half of the set-up code: whoever holds it becomes the first administrator, once.
import { hasOwner, ownerRole } from '#src/access/roles.ts'
import type { AuditOrigin } from '#src/audit/audit.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database, Db } from '#src/db/database.ts'
import { withConfigurationLock } from '#src/db/transaction.ts'
import { HashingBusy } from '#src/factors/hashing.ts'
import { hashPassword } from '#src/factors/password.ts'
import { checkPassword, type PasswordFlaw } from '#src/factors/password-rules.ts'
import { checkText, sentence } from '#src/refusal.ts'
import { checkEmail, createUser, EmailTaken } from '#src/users/users.ts'
import { hashSetupCode } from './first-administrator.ts'

export type SetupResult =
  | { ok: true; userId: string }
  | {
      ok: false
      /** The field at fault; `busy`: try again in a moment. */
      reason: 'code' | 'email' | 'name' | 'password' | 'busy'
      /** A sentence for the person. */
      detail: string
      /** With reason `password`. */
      flaws?: readonly PasswordFlaw[]
    }

/** Exactly one caller wins a code, however many send it at once: person, password, role and audit row are one transaction with
 *  its consumption. A mistake in another field leaves the code usable. */
export async function completeSetup(
  database: Database,
  input: { code: string; email: string; name: string; password: string },
  now: Date,
  origin?: AuditOrigin,
): Promise<SetupResult> {
  const id = hashSetupCode(input.code)
  const change: Change = { now, actor: { kind: 'system', id: 'setup' }, origin }
  // Before anything costs time: a stranger without a code gets no hash out of this server.
  const usable = await database.prisma.setupCode.count({ where: { id, consumedAt: null, expiresAt: { gt: now } } })
  if (usable === 0 || (await hasOwner(database.prisma))) return refuseCode(database.prisma, change)

  const wrong = checkInput(input)
  if (wrong) return wrong
  try {
    const passwordHash = await hashPassword(input.password)
    const userId = await withConfigurationLock(database, async (tx) => {
      const { count } = await tx.setupCode.updateMany({
        where: { id, consumedAt: null, expiresAt: { gt: now } },
        data: { consumedAt: now },
      })
      if (count === 0 || (await hasOwner(tx))) return undefined
      const { email, name } = input
      // The address is verified later, by a mail: who holds the code need not be who reads that mailbox.
      const user = await createUser(tx, { email, name: name.trim(), roles: [ownerRole], passwordHash }, change)
      await recordAudit(
        tx,
        { event: 'setup.completed', outcome: 'success', actor: change.actor, target: { kind: 'user', id: user.id } },
        origin,
      )
      return user.id
    })
    return userId === undefined ? refuseCode(database.prisma, change) : { ok: true, userId }
  } catch (error) {
    if (error instanceof HashingBusy)
      return { ok: false, reason: 'busy', detail: 'The server is busy. Try again in a moment.' }
    if (error instanceof EmailTaken) return { ok: false, reason: 'email', detail: error.message }
    throw error
  }
}

function checkInput(input: { email: string; name: string; password: string }): SetupResult | undefined {
  const [email] = checkEmail('email', input.email)
  if (email) return { ok: false, reason: 'email', detail: sentence(email) }
  const [name] = checkText('name', input.name, 128)
  if (name) return { ok: false, reason: 'name', detail: sentence(name) }
  const flaws = checkPassword(input.password, [input.email, input.name])
  if (flaws[0]) return { ok: false, reason: 'password', detail: sentence(flaws[0]), flaws }
  return undefined
}

/** Unknown, used and expired codes get one answer. */
async function refuseCode(db: Db, change: Change): Promise<SetupResult> {
  await recordAudit(db, { event: 'setup.failed', outcome: 'failure', actor: change.actor }, change.origin)
  return {
    ok: false,
    reason: 'code',
    detail:
      'This set-up code is not valid any more. Restart the server: it prints a new one while there is no administrator.',
  }
}
