// Changing one thing about a person and leaving the rest, and finding one among a million.
import { lockOwners } from '#src/access/roles.ts'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { refuseChanged } from '#src/editing.ts'
import {
  changeEmail,
  describeUser,
  emailKey,
  findUser,
  isUserId,
  setUserDisabled,
  type UserInput,
  UserNotFound,
  type UserRecord,
  updateUser,
} from './users.ts'

export type UserPatch = UserInput & { email?: string | undefined; disabled?: boolean | undefined }

/** A new address counts as proven only where `emailVerified` says so.
 *  @param seen the fingerprint of what the editor saw of describeUser.
 *  @throws UserNotFound, ChangedMeanwhile, InvalidUser, EmailTaken, RoleNotFound, LastOwner */
export function patchUser(
  db: Db,
  id: string,
  { email, disabled, ...patch }: UserPatch,
  change: Change,
  seen?: string,
): Promise<UserRecord> {
  return atomically(db, async (tx) => {
    if (!isUserId(id)) throw new UserNotFound(id)
    if (patch.roles || disabled) await lockOwners(tx)
    await tx.$queryRaw`SELECT id FROM users WHERE id = ${id}::uuid FOR UPDATE`
    const record = await existing(tx, id)
    refuseChanged(seen, describeUser(record))
    const moves = email !== undefined && emailKey(email) !== record.emailKey
    if (moves) await changeEmail(tx, id, email, change)
    const said = moves ? { ...patch, emailVerified: patch.emailVerified ?? false } : patch
    if (Object.values(said).some((value) => value !== undefined)) await updateUser(tx, id, said, change)
    if (disabled !== undefined) await setUserDisabled(tx, id, disabled, change)
    return existing(tx, id)
  })
}

/** Takes one role away and leaves the rest. @returns false when they do not hold it (any more). @throws LastOwner */
export function takeRole(db: Db, id: string, role: string, change: Change): Promise<boolean> {
  return atomically(db, async (tx) => {
    if (!isUserId(id)) return false
    await lockOwners(tx)
    await tx.$queryRaw`SELECT id FROM users WHERE id = ${id}::uuid FOR UPDATE`
    const held = (await findUser(tx, id))?.roles.map(({ roleName }) => roleName) ?? []
    if (!held.includes(role)) return false
    await updateUser(tx, id, { roles: held.filter((name) => name !== role) }, change)
    return true
  })
}

export type UserFilter = {
  /** The beginning of an address or a name, whatever its case. */
  q?: string | undefined
  role?: string | undefined
  disabled?: boolean | undefined
}

/** By id, ascending (ids are random: an order that means nothing and is the same for every reader), or the newest first.
 *  @param page.after the last id of the page before. */
export async function searchUsers(
  db: Db,
  { q, role, disabled }: UserFilter,
  { after, limit, newestFirst = false }: { after?: string | undefined; limit: number; newestFirst?: boolean },
): Promise<UserRecord[]> {
  const values: unknown[] = []
  const given = (value: unknown): string => `$${values.push(value)}`
  const where: string[] = []
  if (after !== undefined) {
    const last = `${given(after)}::uuid`
    where.push(
      newestFirst
        ? `(u.created_at, u.id) < (SELECT l.created_at, l.id FROM users l WHERE l.id = ${last})`
        : `u.id > ${last}`,
    )
  }
  if (q !== undefined) {
    const key = emailKey(q)
    if (key === undefined) return []
    const begins = given(`${key.replace(/[\\%_]/g, '\\$&')}%`)
    where.push(`(u.email_key LIKE ${begins} OR lower(u.name) LIKE ${begins})`)
  }
  if (role !== undefined) {
    if (!isStorable(role)) return []
    where.push(`EXISTS (SELECT FROM user_role r WHERE r.user_id = u.id AND r.role_name = ${given(role)})`)
  }
  if (disabled !== undefined) where.push(`u.disabled_at IS ${disabled ? 'NOT ' : ''}NULL`)
  const found = await db.$queryRawUnsafe<{ id: string }[]>(
    `SELECT u.id FROM users u ${where.length > 0 ? `WHERE ${where.join(' AND ')}` : ''}
     ORDER BY ${newestFirst ? 'u.created_at DESC, u.id DESC' : 'u.id'} LIMIT ${given(limit)}`,
    ...values,
  )
  const ids = found.map(({ id }) => id)
  const records = await db.user.findMany({
    where: { id: { in: ids } },
    include: { roles: { orderBy: { roleName: 'asc' } } },
  })
  return records.sort((a, b) => ids.indexOf(a.id) - ids.indexOf(b.id))
}

async function existing(db: Db, id: string): Promise<UserRecord> {
  const record = await findUser(db, id)
  if (!record) throw new UserNotFound(id)
  return record
}

const isStorable = (text: string): boolean => text.isWellFormed() && !text.includes('\0')
