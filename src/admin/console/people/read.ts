// The person that an address of the console names.
import type { Db } from '#src/db/database.ts'
import { findUser, isUserId, UserNotFound, type UserRecord } from '#src/users/users.ts'
import type { ConsoleRequest } from '../page.ts'

/** @throws UserNotFound */
export async function readPerson(db: Db, { ctx }: ConsoleRequest): Promise<UserRecord> {
  const id = String(ctx.params.id)
  const user = isUserId(id) ? await findUser(db, id) : null
  if (!user) throw new UserNotFound(id)
  return user
}
