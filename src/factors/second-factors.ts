// What a person has beside a password, whether they must have it, and taking it away. Proving one is its own file each.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { isUserId, UserNotFound } from '#src/users/users.ts'
import { type Acr, oneFactor, phishingResistant, reaches, twoFactors } from './assurance.ts'

/** Where a person stands, of one moment. */
export type Standing = Readonly<{
  userId: string
  email: string
  name: string | null
  /** Raised by whatever ends every session: a sign-in that began before is over. */
  generation: number
  disabled: boolean
  /** One of their roles asks for a second factor. */
  roleRequires: boolean
  totp: number
  passkeys: number
  recoveryCodes: number
}>

export type FactorSummary = Readonly<{
  id: string
  kind: 'totp' | 'passkey'
  name: string
  createdAt: Date
  lastUsedAt: Date | null
}>

const kinds = ['totp', 'passkey', 'recovery_code']

/** @returns undefined for somebody unknown. */
export async function findStanding(db: Db, userId: string): Promise<Standing | undefined> {
  if (!isUserId(userId)) return undefined
  const rows = await db.$queryRaw<Omit<Standing, 'userId'>[]>`
    SELECT u.email, u.name, u.generation, u.disabled_at IS NOT NULL AS disabled,
      EXISTS (SELECT FROM user_role ur JOIN role r ON r.name = ur.role_name
        WHERE ur.user_id = u.id AND r.second_factor = 'required') AS "roleRequires",
      count(c.id) FILTER (WHERE c.kind = 'totp')::int AS totp,
      count(c.id) FILTER (WHERE c.kind = 'passkey')::int AS passkeys,
      count(c.id) FILTER (WHERE c.kind = 'recovery_code' AND c.last_used_at IS NULL)::int AS "recoveryCodes"
    FROM users u LEFT JOIN credential c ON c.user_id = u.id WHERE u.id = ${userId}::uuid GROUP BY u.id`
  return rows[0] && { userId, ...rows[0] }
}

/** Without regard to what a request asks for. Who has a second factor is asked for it: a factor that is skipped where nobody insists
 *  protects nothing (ASVS 6.3.4). */
export function neededLevel(standing: Standing, client: { secondFactor: string }): Acr {
  const needed = standing.roleRequires || client.secondFactor === 'required' || standing.totp + standing.passkeys > 0
  return needed ? twoFactors : oneFactor
}

/** @param asked one of the values must be reached, where a client asks. */
export function isEnough(
  level: Acr,
  standing: Standing,
  client: { secondFactor: string },
  asked: { values: readonly Acr[] } | undefined,
): boolean {
  return (
    reaches(level, neededLevel(standing, client)) && (!asked || asked.values.some((value) => reaches(level, value)))
  )
}

/** The best that the person can prove with what they have. */
export function reachableLevel(standing: Standing): Acr {
  if (standing.passkeys > 0) return phishingResistant
  return standing.totp > 0 || standing.recoveryCodes > 0 ? twoFactors : oneFactor
}

/** By creation, passkeys and apps; recovery codes are a number (findStanding). */
export async function listFactors(db: Db, userId: string): Promise<FactorSummary[]> {
  const rows = await db.credential.findMany({
    where: { userId, kind: { in: ['totp', 'passkey'] } },
    select: { id: true, kind: true, name: true, createdAt: true, lastUsedAt: true },
    orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
  })
  return rows.map((row) => ({ ...row, kind: row.kind as FactorSummary['kind'], name: row.name ?? '' }))
}

/** What the person calls one of their own. @returns false when it is not theirs, or gone. */
export function renameFactor(
  db: Db,
  userId: string,
  { id, name }: { id: string; name: string },
  change: Change,
): Promise<boolean> {
  return atomically(db, async (tx) => {
    if (!isUserId(id)) return false
    const { count } = await tx.credential.updateMany({
      where: { id, userId, kind: { in: ['totp', 'passkey'] } },
      data: { name, updatedAt: change.now },
    })
    if (count === 0) return false
    await recordAudit(
      tx,
      {
        event: 'factor.renamed',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'user', id: userId },
        detail: { id },
      },
      change.origin,
    )
    return true
  })
}

/** Removes one app or passkey of the person's own. With the last of them the recovery codes go, too: they stand in for nothing then.
 *  @returns false when it is not theirs, or gone. */
export function removeFactor(db: Db, userId: string, id: string, change: Change): Promise<boolean> {
  return atomically(db, async (tx) => {
    if (!isUserId(id)) return false
    const { count } = await tx.credential.deleteMany({ where: { id, userId, kind: { in: ['totp', 'passkey'] } } })
    if (count === 0) return false
    if ((await tx.credential.count({ where: { userId, kind: { in: ['totp', 'passkey'] } } })) === 0)
      await tx.credential.deleteMany({ where: { userId, kind: 'recovery_code' } })
    await recordAudit(
      tx,
      {
        event: 'factor.removed',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'user', id: userId },
        detail: { id },
      },
      change.origin,
    )
    return true
  })
}

/** For a person who lost everything: takes away their second factors and ends every session, and gives whoever does it nothing. The
 *  password stays what it was, and where policy asks for a second factor the next sign-in enrols one.
 *  @returns how many were taken. @throws UserNotFound */
export function resetFactors(db: Db, userId: string, change: Change): Promise<number> {
  return atomically(db, async (tx) => {
    if (!isUserId(userId)) throw new UserNotFound(userId)
    const { count: found } = await tx.user.updateMany({
      where: { id: userId },
      data: { generation: { increment: 1 }, updatedAt: change.now },
    })
    if (found === 0) throw new UserNotFound(userId)
    const { count } = await tx.credential.deleteMany({ where: { userId, kind: { in: kinds } } })
    await recordAudit(
      tx,
      {
        event: 'user.factors_reset',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'user', id: userId },
        detail: { removed: count },
      },
      change.origin,
    )
    return count
  })
}
