// What an operator may see of the signing keys: everything but the private half.
import type { Db } from '#src/db/database.ts'

/** By algorithm, the newest first. */
export function listSigningKeys(db: Db) {
  return db.signingKey.findMany({
    select: { kid: true, alg: true, state: true, createdAt: true, activatedAt: true, retiredAt: true },
    orderBy: [{ alg: 'asc' }, { createdAt: 'desc' }, { kid: 'asc' }],
  })
}
