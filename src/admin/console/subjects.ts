// Whom a person at the console means: somebody by address or id, or a client by its id.
import { findClient } from '#src/clients/clients.ts'
import type { Db } from '#src/db/database.ts'
import { findUser, findUserByEmail, isUserId } from '#src/users/users.ts'

export type Named = { kind: 'user' | 'client'; id: string; name: string }

export async function findSubject(db: Db, text: string): Promise<Named | undefined> {
  if (text === '') return undefined
  const user = isUserId(text) ? await findUser(db, text) : await findUserByEmail(db, text)
  if (user) return { kind: 'user', id: user.id, name: user.name ?? user.email }
  const client = await findClient(db, text)
  return client ? { kind: 'client', id: client.id, name: client.id } : undefined
}
