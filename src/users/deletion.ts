// Leaving for good, in two steps: switched off at once, removed when the days of grace are over. In between only an administrator can
// take the person back (by enabling them), so that whoever stole an account cannot destroy it, nor undo what its owner asked for.
import { lockOwners, ownersWhoCanSignIn, refuseToLoseLastOwner } from '#src/access/roles.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database, Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { deleteUser, UserNotFound } from './users.ts'

const day = 86_400_000

/** @returns when the person will be removed. @throws UserNotFound (also for one who is switched off already), LastOwner */
export function requestDeletion(db: Db, request: { userId: string; graceDays: number }, change: Change): Promise<Date> {
  const { userId, graceDays } = request
  const deleteAfter = new Date(change.now.getTime() + graceDays * day)
  return atomically(db, async (tx) => {
    const owners = await ownersWhoCanSignIn(tx)
    const { count } = await tx.user.updateMany({
      where: { id: userId, disabledAt: null },
      data: { disabledAt: change.now, deleteAfter, generation: { increment: 1 } },
    })
    if (count === 0) throw new UserNotFound(userId)
    await refuseToLoseLastOwner(tx, owners)
    await recordAudit(
      tx,
      {
        event: 'user.deletion_requested',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'user', id: userId },
        detail: { graceDays },
      },
      change.origin,
    )
    return deleteAfter
  })
}

/** Removes everybody whose grace is over. Safe to run anywhere, any number of times.
 *  @returns how many. */
export async function purgeDeleted(
  { pool, prisma }: Pick<Database, 'pool' | 'prisma'>,
  change: Change,
  signal?: AbortSignal,
): Promise<number> {
  const { rows: due } = await pool.query<{ id: string }>(
    'SELECT id FROM users WHERE delete_after <= $1 AND disabled_at IS NOT NULL ORDER BY delete_after LIMIT 1000',
    [change.now],
  )
  let removed = 0
  for (const { id } of due) {
    if (signal?.aborted) break
    if (await purge(prisma, id, change)) removed++
  }
  return removed
}

function purge(db: Db, id: string, change: Change): Promise<boolean> {
  return atomically(db, async (tx) => {
    await lockOwners(tx)
    // Locked and looked at once more: an administrator may have taken them back a moment ago.
    const [row] = await tx.$queryRaw<{ due: boolean }[]>`
      SELECT delete_after <= ${change.now} AND disabled_at IS NOT NULL AS due FROM users WHERE id = ${id}::uuid FOR UPDATE`
    if (!row?.due) return false
    await deleteUser(tx, id, change)
    return true
  })
}
