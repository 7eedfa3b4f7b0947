// Changing one thing about a person and leaving the rest.
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

async function existing(db: Db, id: string): Promise<UserRecord> {
  const record = await findUser(db, id)
  if (!record) throw new UserNotFound(id)
  return record
}
