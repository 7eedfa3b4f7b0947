// What a person proves themselves with, listed. What each kind means is the file of that name in this room.
import type { Db } from '#src/db/database.ts'

export type CredentialSummary = {
  id: string
  kind: string
  name: string | null
  createdAt: Date
  lastUsedAt: Date | null
}

/** Never their secrets. Oldest first. */
export function listCredentials(db: Db, userId: string): Promise<CredentialSummary[]> {
  return db.credential.findMany({
    where: { userId },
    select: { id: true, kind: true, name: true, createdAt: true, lastUsedAt: true },
    orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
  })
}
