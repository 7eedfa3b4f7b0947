// What a person has beside a password, whether they must have it, and taking it away. Proving one is its own file each.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database, Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { isUserId, UserNotFound } from '#src/users/users.ts'
import { type Acr, levelOf, oneFactor, phishingResistant, reaches, twoFactors } from './assurance.ts'
import {
  holdsSecondFactor,
  lockCredentials,
  recordFactor,
  type SecondFactorKind,
  secondFactorKinds,
} from './credentials.ts'
import { readEnding } from './phone.ts'

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
  /** Numbers that codes are sent to. */
  phones: number
  /** Devices on which they can approve. */
  pushDevices: number
  recoveryCodes: number
}>

const isSecondFactor = { in: [...secondFactorKinds] }

export type FactorSummary = Readonly<{
  id: string
  kind: SecondFactorKind
  name: string
  /** The last two digits of a phone number; '' for everything else. */
  ending: string
  createdAt: Date
  lastUsedAt: Date | null
}>

const standingText = `SELECT u.email, u.name, u.generation, u.disabled_at IS NOT NULL AS disabled,
    EXISTS (SELECT FROM user_role ur JOIN role r ON r.name = ur.role_name
      WHERE ur.user_id = u.id AND r.second_factor = 'required') AS "roleRequires",
    count(c.id) FILTER (WHERE c.kind = 'totp')::int AS totp,
    count(c.id) FILTER (WHERE c.kind = 'passkey')::int AS passkeys,
    count(c.id) FILTER (WHERE c.kind = 'phone')::int AS phones,
    count(c.id) FILTER (WHERE c.kind = 'push')::int AS "pushDevices",
    count(c.id) FILTER (WHERE c.kind = 'recovery_code' AND c.last_used_at IS NULL)::int AS "recoveryCodes"
  FROM users u LEFT JOIN credential c ON c.user_id = u.id WHERE u.id = $1::uuid GROUP BY u.id`

type StandingRow = Omit<Standing, 'userId'>

/** @returns undefined for somebody unknown. */
export async function findStanding(db: Db, userId: string): Promise<Standing | undefined> {
  if (!isUserId(userId)) return undefined
  const [row] = await db.$queryRawUnsafe<StandingRow[]>(standingText, userId)
  return row && { userId, ...row }
}

/** The same as a prepared statement, for what every request for authorization asks: through Prisma it costs several times as much. */
export async function readStanding({ pool }: Pick<Database, 'pool'>, userId: string): Promise<Standing | undefined> {
  if (!isUserId(userId)) return undefined
  const { rows } = await pool.query<StandingRow>({ name: 'read_standing', text: standingText, values: [userId] })
  return rows[0] && { userId, ...rows[0] }
}

/** What was set up beforehand, whether or not it would be enough. */
export function hasSecondFactor({ totp, passkeys, phones, pushDevices }: Standing): boolean {
  return totp + passkeys + phones + pushDevices > 0
}

/** Without regard to what a request asks for. Who has a second factor is asked for it: a factor that is skipped where nobody insists
 *  protects nothing (ASVS 6.3.4). */
export function neededLevel(standing: Standing, client: { secondFactor: string }): Acr {
  const needed = standing.roleRequires || client.secondFactor === 'required' || hasSecondFactor(standing)
  return needed ? twoFactors : oneFactor
}

/** What a request brings: the client's policy, and the levels one of which must be reached, where it asks for any. */
export type Asking = { secondFactor: string; asked: { values: readonly Acr[] } | undefined }

/** Whether a browser that the person asked us to remember can spare them the second factor: where nobody but their own factors asks for it
 *  (docs/decisions/030). */
export function canBeSpared({ roleRequires }: Standing, { secondFactor, asked }: Asking): boolean {
  return !roleRequires && secondFactor !== 'required' && !asked
}

/** @param asking.remembered the browser is one that the person asked us to remember. It proves nothing and raises no level. */
export function isEnough(level: Acr, standing: Standing, asking: Asking & { remembered: boolean }): boolean {
  const { asked, remembered } = asking
  const needed = remembered && canBeSpared(standing, asking) ? oneFactor : neededLevel(standing, asking)
  return reaches(level, needed) && (!asked || asked.values.some((value) => reaches(level, value)))
}

/** Whether a session was begun with less than the person's factors of that time would have asked for: a remembered browser spared them.
 *  What was added since, the session that added it has not to prove. */
export async function wasSpared(
  db: Db,
  { userId, amr, loginAt }: { userId: string; amr: readonly string[]; loginAt: Date },
): Promise<boolean> {
  if (reaches(levelOf(amr), twoFactors)) return false
  return (
    (await db.credential.count({
      where: { userId, kind: { notIn: ['password', 'recovery_code'] }, createdAt: { lte: loginAt } },
    })) > 0
  )
}

/** The best that the person can prove with what they have. */
export function reachableLevel(standing: Standing): Acr {
  if (standing.passkeys > 0) return phishingResistant
  return hasSecondFactor(standing) || standing.recoveryCodes > 0 ? twoFactors : oneFactor
}

/** By creation; recovery codes are a number (findStanding). */
export async function listFactors(db: Db, userId: string): Promise<FactorSummary[]> {
  const rows = await db.credential.findMany({
    where: { userId, kind: isSecondFactor },
    select: { id: true, kind: true, name: true, details: true, createdAt: true, lastUsedAt: true },
    orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
  })
  return rows.map(({ details, ...row }) => ({
    ...row,
    kind: row.kind as FactorSummary['kind'],
    name: row.name ?? '',
    ending: readEnding(details),
  }))
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
      where: { id, userId, kind: isSecondFactor },
      data: { name, updatedAt: change.now },
    })
    if (count === 0) return false
    await recordFactor(tx, 'factor.renamed', userId, { id }, change)
    return true
  })
}

/** Removes one app, passkey, phone or device of the person's own. With the last of them the recovery codes go, too: they stand in for nothing then.
 *  @returns false when it is not theirs, or gone. */
export function removeFactor(db: Db, userId: string, id: string, change: Change): Promise<boolean> {
  return atomically(db, async (tx) => {
    if (!isUserId(id)) return false
    await lockCredentials(tx, userId)
    const { count } = await tx.credential.deleteMany({ where: { id, userId, kind: isSecondFactor } })
    if (count === 0) return false
    if (!(await holdsSecondFactor(tx, userId)))
      await tx.credential.deleteMany({ where: { userId, kind: 'recovery_code' } })
    await recordFactor(tx, 'factor.removed', userId, { id }, change)
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
    const { count } = await tx.credential.deleteMany({
      where: { userId, kind: { in: [...secondFactorKinds, 'recovery_code'] } },
    })
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
