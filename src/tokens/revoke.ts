// Revoking: one token, a grant, a session, an agreement, everything of a person, a client or an API, everything before a moment.
// Each is one transaction with its audit row; the feed for verifiers (feed.ts) is written by the database in the same commit.
// Whatever the reach, few rows change: what was issued under a generation is over when it is no longer the current one
// (docs/decisions/005). What would end is counted in dry-run.ts, which cannot change anything.
import { endApiTokens } from '#src/apis/apis.ts'
import { type AuditEntry, recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import { endClientTokens } from '#src/clients/clients.ts'
import { ClientNotFound } from '#src/clients/errors.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { quote, Refusal } from '#src/refusal.ts'
import { endUserTokens, isUserId } from '#src/users/users.ts'
import { tokenKinds } from './kinds.ts'
import { rowIdText, TokenNotFound } from './row-ids.ts'

export type RevocationTarget =
  /** A token by its row id (row-ids.ts). A refresh token takes its grant along, as at the revocation endpoint (RFC 7009 2.1). */
  | { kind: 'token'; id: Buffer }
  | { kind: 'grant'; id: string }
  /** The browser session, and every grant given in it. */
  | { kind: 'session'; uid: string }
  /** What a person agreed to for a client: they are asked again. Every grant of the two ends. */
  | { kind: 'consent'; userId: string; clientId: string }
  | { kind: 'user'; id: string }
  | { kind: 'client'; id: string }
  | { kind: 'api'; identifier: string }
  /** Every token issued, and every session begun, before it. 'now' is read from the database's clock. */
  | { kind: 'before'; moment: Date | 'now' }

export class GrantNotFound extends Refusal {
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

export class SessionNotFound extends Refusal {
  constructor(uid: string) {
    super('missing', [
      { field: 'session', problem: `${quote(uid)} is not a session here`, fix: 'Check its uid, or revoke by user.' },
    ])
  }
}

export class ConsentNotFound extends Refusal {
  constructor(userId: string, clientId: string) {
    super('missing', [
      {
        field: 'consent',
        problem: `of ${quote(userId)} to ${quote(clientId)} is not known`,
        fix: 'Check both ids; it may have been withdrawn before.',
      },
    ])
  }
}

export class MomentInTheFuture extends Refusal {
  constructor(moment: Date) {
    super('invalid', [
      {
        field: 'before',
        problem: `(${moment.toISOString()}) is in the future, where every new token would be over as soon as it is issued`,
        fix: 'Write a moment that has passed, or now.',
      },
    ])
  }
}

/** @throws TokenNotFound, GrantNotFound, SessionNotFound, ConsentNotFound, UserNotFound, ClientNotFound, ApiNotFound, MomentInTheFuture */
export async function revoke(db: Db, target: RevocationTarget, change: Change): Promise<void> {
  await revokeAtOnce(db, target, change)
  // Requests that began before the commit was seen did not know of it. They issued before now.
  if (target.kind === 'before' && target.moment === 'now')
    await db.$executeRaw`UPDATE token_epoch SET not_before = clock_timestamp() WHERE not_before < clock_timestamp()`
}

function revokeAtOnce(db: Db, target: RevocationTarget, change: Change): Promise<void> {
  return atomically(db, (tx) => {
    switch (target.kind) {
      case 'token':
        return endToken(tx, target.id, change)
      case 'grant':
        return endGrant(tx, target.id, change)
      case 'session':
        return endSession(tx, target.uid, change)
      case 'consent':
        return withdrawConsent(tx, target, change)
      case 'user':
        return endUserTokens(tx, target.id, change)
      case 'client':
        if (!isStoredId(target.id)) throw new ClientNotFound(target.id)
        return endClientTokens(tx, target.id, change)
      case 'api':
        return endApiTokens(tx, target.identifier, change)
      case 'before':
        return moveEpoch(tx, target.moment, change)
    }
  })
}

async function endToken(tx: Prisma.TransactionClient, id: Buffer, change: Change): Promise<void> {
  const token = await tx.token.findUnique({ where: { id: new Uint8Array(id) } })
  if (!token) throw new TokenNotFound()
  if (token.kind === tokenKinds.RefreshToken && token.grantId) return endGrant(tx, token.grantId, change)
  const { count } = await tx.token.updateMany({
    where: { id: token.id, revokedAt: null },
    data: { revokedAt: change.now, salt: null },
  })
  if (count === 0) return // by somebody else, a moment ago or long since: it is over either way
  await record(tx, change, {
    event: 'token.revoked',
    target: { kind: 'token', id: rowIdText(id) },
    clientId: token.clientId ?? undefined,
  })
}

async function endGrant(tx: Prisma.TransactionClient, id: string, change: Change): Promise<void> {
  if (!isStoredId(id) || (await endGrants(tx, { id }, change)) === 0) throw new GrantNotFound(id)
  await record(tx, change, { event: 'grant.revoked', target: { kind: 'grant', id } })
}

/** Also of a session that has ended: grants that outlive a logout (offline_access) are still its grants. */
async function endSession(tx: Prisma.TransactionClient, uid: string, change: Change): Promise<void> {
  if (!isStoredId(uid)) throw new SessionNotFound(uid)
  // The session is locked before its grants, as every commit takes them, and changed after them: what the feed says of each grant it says once.
  const [session] = await tx.$queryRaw<unknown[]>`SELECT 1 FROM session WHERE uid = ${uid} FOR NO KEY UPDATE`
  if (session === undefined) throw new SessionNotFound(uid)
  const grants = await endGrants(tx, { sessionUid: uid }, change)
  // A grant that a request under way adds to the session is reached by the session's generation.
  await tx.$executeRaw`
    UPDATE session SET generation = generation + 1, ended_at = COALESCE(ended_at, ${change.now}) WHERE uid = ${uid}`
  await record(tx, change, { event: 'session.ended', target: { kind: 'session', id: uid }, detail: { grants } })
}

async function withdrawConsent(
  tx: Prisma.TransactionClient,
  { userId, clientId }: { userId: string; clientId: string },
  change: Change,
): Promise<void> {
  if (!isUserId(userId) || !isStoredId(clientId)) throw new ConsentNotFound(userId, clientId)
  const { count } = await tx.consent.deleteMany({ where: { userId, clientId } })
  const grants = await endGrants(tx, { userId, clientId }, change)
  if (count + grants === 0) throw new ConsentNotFound(userId, clientId)
  await record(tx, change, {
    event: 'consent.withdrawn',
    target: { kind: 'user', id: userId },
    clientId,
    detail: { grants },
  })
}

/** Right after the person's generation was raised once, which ended everything of theirs: a session that was in force until then goes
 *  on, without the tokens it had. One that was over before stays over. */
export async function carrySessionOver(
  tx: Prisma.TransactionClient,
  session: { uid: string; userId: string },
): Promise<void> {
  await tx.$executeRaw`
    UPDATE session s SET user_generation = u.generation FROM users u
    WHERE s.uid = ${session.uid} AND s.user_id = ${session.userId}::uuid AND u.id = s.user_id
      AND s.ended_at IS NULL AND s.user_generation = u.generation - 1`
}

/** Everything older than the moment is over. It moves forward only: a second call with an earlier moment changes nothing. The
 *  database's clock decides what is the future, because the operator's may be wrong. */
async function moveEpoch(tx: Prisma.TransactionClient, moment: Date | 'now', change: Change): Promise<void> {
  const asked = moment === 'now' ? null : moment
  const [row] = await tx.$queryRaw<{ future: boolean; notBefore: Date | null }[]>`
    WITH asked AS MATERIALIZED (
      SELECT COALESCE(${asked}::timestamptz, clock_timestamp()) AS moment, clock_timestamp() AS present),
    moved AS (
      INSERT INTO token_epoch AS e (id, not_before) SELECT 1, moment FROM asked WHERE moment <= present
      ON CONFLICT (id) DO UPDATE SET not_before = EXCLUDED.not_before WHERE e.not_before < EXCLUDED.not_before
      RETURNING not_before)
    SELECT moment > present AS future, (SELECT not_before FROM moved) AS "notBefore" FROM asked`
  if (row?.future && asked) throw new MomentInTheFuture(asked)
  if (!row?.notBefore) return
  await record(tx, change, {
    event: 'token.revoked',
    target: { kind: 'epoch', id: row.notBefore.toISOString() },
    detail: { every: true },
  })
}

/** @returns how many were in force. */
async function endGrants(tx: Prisma.TransactionClient, which: Prisma.GrantWhereInput, change: Change): Promise<number> {
  const rows = await tx.grant.findMany({ where: { ...which, revokedAt: null }, select: { id: true } })
  const ids = rows.map((row) => row.id)
  // Locked in the order of ids, as every commit does: two that meet never wait for each other.
  await tx.$queryRaw`SELECT id FROM oauth_grant WHERE id = ANY(${ids}) ORDER BY id FOR UPDATE`
  const { count } = await tx.grant.updateMany({
    where: { id: { in: ids }, revokedAt: null },
    data: { revokedAt: change.now, generation: { increment: 1 } },
  })
  return count
}

/** Also keeps NUL, which PostgreSQL refuses, out of the query. */
export const isStoredId = (id: string): boolean => /^[\x21-\x7e]{1,128}$/.test(id)

function record(
  tx: Prisma.TransactionClient,
  change: Change,
  entry: Pick<AuditEntry, 'event' | 'target' | 'clientId' | 'detail'>,
): Promise<void> {
  return recordAudit(tx, { ...entry, outcome: 'success', actor: change.actor }, change.origin)
}
