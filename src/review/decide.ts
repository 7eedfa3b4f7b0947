// One line is decided: it may stay, or what it says is taken away, by the room that owns it. Decision, effect and their audit rows are one commit.
// Nothing is ever given here.
import { ApiKeyNotFound, revokeApiKey } from '#src/access/api-keys/api-keys.ts'
import type { Change } from '#src/audit/change.ts'
import { takeFromClient } from '#src/clients/editing.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { removeFactor } from '#src/factors/second-factors.ts'
import { checkText, Refusal } from '#src/refusal.ts'
import { takeRole } from '#src/users/editing.ts'
import { findReview, InvalidReview, LineNotFound, type LineRecord, recordReview } from './reviews.ts'

export const decisions = ['approve', 'revoke'] as const
export type Decision = (typeof decisions)[number]

export class LineDecided extends Refusal {
  constructor(decision: string) {
    super('changed', [
      {
        field: 'line',
        problem: `was decided already: ${decision}`,
        fix: 'A line is decided once. What has changed since is for the next review, or for its own page.',
      },
    ])
  }
}

/** @param options.permit whether the decider may do what a revocation does; it throws if not, and nothing is done.
 *  @throws ReviewNotFound, LineNotFound, LineDecided, InvalidReview; of a revocation LastOwner */
export async function decideLine(
  db: Db,
  { reviewId, number }: { reviewId: string; number: number },
  { decision, note }: { decision: Decision; note?: string | undefined },
  change: Change,
  options: { permit?: (tx: Db, line: LineRecord) => Promise<void> } = {},
): Promise<LineRecord> {
  const flaws = note === undefined ? [] : checkText('note', note, 500)
  if (flaws.length > 0) throw new InvalidReview(flaws)
  return atomically(db, async (tx) => {
    await findReview(tx, reviewId)
    // Whoever decides lines of one review stands in line here: each is decided once, and the last one knows that it is the last.
    await tx.$queryRaw`SELECT id FROM access_review WHERE id = ${reviewId}::uuid FOR UPDATE`
    const line = Number.isInteger(number)
      ? await tx.accessReviewLine.findUnique({ where: { reviewId_number: { reviewId, number } } })
      : null
    if (!line) throw new LineNotFound()
    if (line.decision !== null) throw new LineDecided(line.decision)
    let effect: 'done' | 'gone' | null = null
    if (decision === 'revoke') {
      await options.permit?.(tx, line)
      effect = (await takeAway(tx, line, change)) ? 'done' : 'gone'
    }
    const { now, actor } = change
    const decided = await tx.accessReviewLine.update({
      where: { reviewId_number: { reviewId, number } },
      data: {
        ...{ decision, effect, note: note ?? null, decidedAt: now },
        ...{ decidedByKind: actor.kind, decidedById: actor.id ?? null },
      },
    })
    const review = await tx.accessReview.update({
      where: { id: reviewId },
      data: decision === 'approve' ? { approved: { increment: 1 } } : { revoked: { increment: 1 } },
    })
    await recordReview(
      tx,
      'access_review.decided',
      reviewId,
      { line: number, decision, ...(effect && { effect }) },
      change,
    )
    if (review.approved + review.revoked === review.lines) {
      const { approved, revoked } = await tx.accessReview.update({
        where: { id: reviewId },
        data: { completedAt: now },
      })
      await recordReview(tx, 'access_review.completed', reviewId, { approved, revoked }, change)
    }
    return decided
  })
}

/** @returns false when there is nothing left to take away: it went since the review was begun. */
async function takeAway(
  tx: Prisma.TransactionClient,
  { kind, subjectId, target }: LineRecord,
  change: Change,
): Promise<boolean> {
  switch (kind) {
    case 'person_role':
      return takeRole(tx, subjectId, target, change)
    case 'person_factor':
      return removeFactor(tx, subjectId, target, change)
    case 'client_role':
      return takeFromClient(tx, subjectId, { role: target }, change)
    case 'client_api':
      return takeFromClient(tx, subjectId, { api: target }, change)
    case 'api_key':
      return revokeApiKey(tx, target, change).then(
        () => true,
        (error: unknown) => {
          if (error instanceof ApiKeyNotFound) return false
          throw error
        },
      )
    default:
      throw new Error(`nobody knows how to take a ${kind} away`)
  }
}
