// Ending a grant from outside a request: one row, and every code and token issued under it is over.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { quote, Refusal } from '#src/refusal.ts'

class GrantNotFound extends Refusal {
  constructor(id: string) {
    super('missing', [
      {
        field: 'grant',
        problem: `${quote(id)} is not a grant that is in force`,
        fix: 'Check its id, or end the tokens of the user or client.',
      },
    ])
  }
}

/** @throws GrantNotFound, also when it has ended before. */
export function endGrant(db: Db, id: string, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    if (!/^[\x21-\x7e]{1,128}$/.test(id)) throw new GrantNotFound(id)
    const { count } = await tx.grant.updateMany({
      where: { id, revokedAt: null },
      data: { revokedAt: change.now, generation: { increment: 1 } },
    })
    if (count === 0) throw new GrantNotFound(id)
    await recordAudit(
      tx,
      { event: 'grant.revoked', outcome: 'success', actor: change.actor, target: { kind: 'grant', id } },
      change.origin,
    )
  })
}
