// What a person proves themselves with, listed. What each kind means is the file of that name in this room.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Db, Prisma } from '#src/db/database.ts'

export type CredentialSummary = {
  id: string
  kind: string
  name: string | null
  createdAt: Date
  lastUsedAt: Date | null
}

/** What is counted before it is written (how many there are, whether it is the first) holds until the end of the transaction: of two
 *  that change what one person has, the second waits and sees what the first did. */
export async function lockCredentials(tx: Prisma.TransactionClient, userId: string): Promise<void> {
  await lockedGeneration(tx, userId)
}

/** The same for somebody who adds one. @param generation of the person, as it was when they were let in.
 *  @returns false: their sessions were ended meanwhile (a recovery, another password), so it is not theirs to add any more. */
export async function lockCredentialsOf(tx: Prisma.TransactionClient, { userId, generation }: LetIn): Promise<boolean> {
  return (await lockedGeneration(tx, userId)) === generation
}

/** Whose factors, and the generation of the person under which the one who adds was let in. */
export type LetIn = Readonly<{ userId: string; generation: number | null }>

async function lockedGeneration(tx: Prisma.TransactionClient, userId: string): Promise<number | undefined> {
  const [row] = await tx.$queryRaw<{ generation: number }[]>`
    SELECT generation FROM users WHERE id = ${userId}::uuid FOR NO KEY UPDATE`
  return row?.generation
}

/** What makes a sign-in ask for a second factor. Recovery codes stand in for these, so alone they are none. */
export const secondFactorKinds = ['totp', 'passkey', 'phone', 'push'] as const
export type SecondFactorKind = (typeof secondFactorKinds)[number]

/** Only under lockCredentials does the answer stay true. */
export async function holdsSecondFactor(db: Db, userId: string): Promise<boolean> {
  return (await db.credential.count({ where: { userId, kind: { in: [...secondFactorKinds] } } })) > 0
}

/** In the transaction of the change. Which one it was, never what it proves with. */
export function recordFactor(
  tx: Db,
  event: 'factor.added' | 'factor.renamed' | 'factor.removed',
  userId: string,
  detail: { id: string; factor?: SecondFactorKind },
  { actor, origin }: Change,
): Promise<void> {
  return recordAudit(tx, { event, outcome: 'success', actor, target: { kind: 'user', id: userId }, detail }, origin)
}

/** Never their secrets. Oldest first. */
export function listCredentials(db: Db, userId: string): Promise<CredentialSummary[]> {
  return db.credential.findMany({
    where: { userId },
    select: { id: true, kind: true, name: true, createdAt: true, lastUsedAt: true },
    orderBy: [{ createdAt: 'asc' }, { id: 'asc' }],
  })
}
