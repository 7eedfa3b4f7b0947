// Asking to act as somebody: whether it is allowed, and the row that one browser can begin within a minute.
import { randomUUID } from 'node:crypto'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { checkText, type Flaw, Refusal } from '#src/refusal.ts'
import { isUserId, UserNotFound } from '#src/users/users.ts'
import { isAdministrator, mayImpersonate, needsSecondFactor } from './standing.ts'

export class ImpersonationRefused extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

/** Characters: it stands in a mail and in the record. */
export const longestReason = 300
/** From the form to the sign-in that it leads to. */
export const askedSeconds = 60

type Facts = {
  self: boolean
  permitted: boolean
  generation: number
  disabled: boolean
  administrator: boolean
  secondFactor: boolean
}

/** @param about.sessionUid of whoever asks. @returns the id, for begin.ts. @throws UserNotFound, ImpersonationRefused */
export async function askToImpersonate(
  db: Db,
  about: { userId: string; impersonatorId: string; sessionUid: string; reason: string },
  { now }: Change,
): Promise<string> {
  const { userId, impersonatorId, sessionUid } = about
  const reason = about.reason.trim()
  if (!isUserId(userId)) throw new UserNotFound(userId)
  const [facts] = await db.$queryRawUnsafe<Facts[]>(
    `SELECT a.id = u.id AS self, ${mayImpersonate} AND a.disabled_at IS NULL AS permitted, a.generation,
      u.disabled_at IS NOT NULL AS disabled, ${isAdministrator} AS administrator, ${needsSecondFactor} AS "secondFactor"
    FROM users u JOIN users a ON a.id = $2::uuid WHERE u.id = $1::uuid`,
    userId,
    impersonatorId,
  )
  if (!facts) throw new UserNotFound(userId)
  const flaws = [...checkText('reason', reason, longestReason), ...flawsOf(facts)]
  if (flaws.length > 0) throw new ImpersonationRefused(flaws)
  const id = randomUUID()
  await db.impersonation.create({
    data: {
      ...{ id, userId, impersonatorId, reason },
      impersonatorGeneration: facts.generation,
      fromSessionUid: sessionUid,
      askedAt: now,
      expiresAt: new Date(now.getTime() + askedSeconds * 1000),
    },
  })
  return id
}

function flawsOf({ self, permitted, disabled, administrator, secondFactor }: Facts): Flaw[] {
  const field = 'person'
  return [
    ...(permitted
      ? []
      : [{ field, problem: 'is not yours to act as', fix: 'Ask for the permission users:impersonate.' }]),
    ...(self ? [{ field, problem: 'is yourself', fix: 'Open your own account.' }] : []),
    ...(disabled ? [{ field, problem: 'is switched off', fix: 'Switch the account on first.' }] : []),
    ...(administrator
      ? [
          {
            field,
            problem: 'may administer this server',
            fix: 'Nobody acts as an administrator: ask them to show you.',
          },
        ]
      : []),
    ...(secondFactor && !administrator
      ? [
          {
            field,
            problem: 'has a role that asks for a second factor at every sign-in',
            fix: 'Nobody can prove it for them: ask them to show you.',
          },
        ]
      : []),
  ]
}
