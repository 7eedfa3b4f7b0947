// What an operator may see of the outbox: that a mail waits, was sent or was given up, and why; never what it says. Addresses are sealed
// while a mail waits and gone afterwards, so only of those that wait a part can be shown.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database, Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { SealBroken, type SecretKeys } from '#src/keys/secret-key.ts'
import { Refusal } from '#src/refusal.ts'
import { nothing } from './letters.ts'
import { unsealMail } from './outbox.ts'

/** delayed: tried in vain, and tried again later. waiting: not tried, or on its way at this moment. */
export const mailStates = ['waiting', 'delayed', 'sent', 'given_up'] as const
export type MailState = (typeof mailStates)[number]

export type MailRecord = {
  id: string
  template: string
  state: MailState
  userId: string | null
  /** `a…@example.com`; null when it is no longer known. */
  to: string | null
  attempts: number
  createdAt: Date
  attemptedAt: Date | null
  /** What the mail server answered last, or why it was given up. */
  problem: string | null
  nextAttemptAt: Date | null
  sentAt: Date | null
  givenUpAt: Date | null
}

export class MailNotFound extends Refusal {
  constructor(id: string) {
    super('missing', [
      {
        field: 'mail',
        problem: `(${JSON.stringify(id.slice(0, 64))}) is not in the outbox`,
        fix: 'Mails are kept there for two days.',
      },
    ])
  }
}

export class MailNotDelayed extends Refusal {
  constructor() {
    super('changed', [
      {
        field: 'mail',
        problem: 'is not one that waits for another try',
        fix: 'What was sent or given up holds no address and no text any more: have the person ask for it again.',
      },
    ])
  }
}

type Row = Omit<MailRecord, 'state' | 'to'> & { sealed: string | null }

const columns = `id, template, user_id AS "userId", attempts, created_at AS "createdAt", attempted_at AS "attemptedAt", problem,
  next_attempt_at AS "nextAttemptAt", sent_at AS "sentAt", given_up_at AS "givenUpAt", sealed`
/** Rows that are never sent stand for nobody, and are nobody's business. */
const real = `template <> '${nothing}'`
const inState = {
  waiting: 'next_attempt_at IS NOT NULL AND problem IS NULL',
  delayed: 'next_attempt_at IS NOT NULL AND problem IS NOT NULL',
  sent: 'sent_at IS NOT NULL',
  given_up: 'given_up_at IS NOT NULL',
} as const satisfies Record<MailState, string>

/** The newest first. @param page.after the id of the last one of the page before. */
export async function listMailRecords(
  { pool }: Pick<Database, 'pool'>,
  secretKeys: SecretKeys,
  filter: { state?: MailState | undefined },
  page: { after?: string | undefined; limit: number },
): Promise<MailRecord[]> {
  const { rows } = await pool.query<Row>(
    `SELECT ${columns} FROM mail WHERE ${real} ${filter.state ? `AND ${inState[filter.state]}` : ''}
      ${page.after ? 'AND (expires_at, id) < (SELECT expires_at, id FROM mail WHERE id = $2::uuid)' : ''}
      ORDER BY expires_at DESC, id DESC LIMIT $1`,
    [page.limit, ...(page.after ? [page.after] : [])],
  )
  return rows.map((row) => recordOf(secretKeys, row))
}

/** @throws MailNotFound */
export async function readMailRecord(
  { pool }: Pick<Database, 'pool'>,
  secretKeys: SecretKeys,
  id: string,
): Promise<MailRecord> {
  if (!uuid.test(id)) throw new MailNotFound(id)
  const { rows } = await pool.query<Row>(`SELECT ${columns} FROM mail WHERE ${real} AND id = $1`, [id])
  if (!rows[0]) throw new MailNotFound(id)
  return recordOf(secretKeys, rows[0])
}

/** The next try of a mail that was tried in vain is now. One that is on its way at this moment is left alone, or it could be sent twice.
 *  @throws MailNotFound, MailNotDelayed */
export async function hurryMail(db: Db, id: string, change: Change): Promise<void> {
  if (!uuid.test(id)) throw new MailNotFound(id)
  await atomically(db, async (tx) => {
    const { count } = await tx.mail.updateMany({
      where: { id, nextAttemptAt: { not: null }, problem: { not: null } },
      data: { nextAttemptAt: change.now },
    })
    if (count === 0) {
      const there = await tx.mail.findFirst({ where: { id, template: { not: nothing } }, select: { id: true } })
      throw there ? new MailNotDelayed() : new MailNotFound(id)
    }
    await recordAudit(
      tx,
      { event: 'mail.hurried', outcome: 'success', actor: change.actor, target: { kind: 'mail', id } },
      change.origin,
    )
  })
}

export type MailFigures = {
  /** Of more than `mostCounted` no more are counted. */
  waiting: number
  delayed: number
  givenUp: number
  oldestAt: Date | null
}

export const mostCounted = 10_000

export async function readMailFigures({ pool }: Pick<Database, 'pool'>): Promise<MailFigures> {
  const { rows } = await pool.query<MailFigures>(
    `SELECT (SELECT count(*) FROM (SELECT FROM mail WHERE next_attempt_at IS NOT NULL AND ${real} LIMIT ${mostCounted}) w)::int AS waiting,
      (SELECT count(*) FROM (SELECT FROM mail WHERE ${inState.delayed} AND ${real} LIMIT ${mostCounted}) d)::int AS delayed,
      (SELECT count(*) FROM (SELECT FROM mail WHERE given_up_at IS NOT NULL LIMIT ${mostCounted}) g)::int AS "givenUp",
      (SELECT min(created_at) FROM (SELECT created_at FROM mail WHERE next_attempt_at IS NOT NULL AND ${real} LIMIT ${mostCounted}) o) AS "oldestAt"`,
  )
  return rows[0] as MailFigures
}

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

function recordOf(secretKeys: SecretKeys, { sealed, ...row }: Row): MailRecord {
  return { ...row, state: stateOf(row), to: sealed === null ? null : addressOf(secretKeys, row.id, sealed) }
}

function stateOf({ sentAt, givenUpAt, problem }: Pick<Row, 'sentAt' | 'givenUpAt' | 'problem'>): MailState {
  if (sentAt) return 'sent'
  if (givenUpAt) return 'given_up'
  return problem === null ? 'waiting' : 'delayed'
}

function addressOf(secretKeys: SecretKeys, id: string, sealed: string): string | null {
  try {
    return mask(unsealMail(secretKeys, { id, sealed }).to)
  } catch (error) {
    if (error instanceof SealBroken) return null
    throw error
  }
}

/** Enough to know the domain by, and not whose mailbox it is. */
function mask(address: string): string {
  const at = address.lastIndexOf('@')
  return `${[...address][0] ?? ''}…${address.slice(at)}`
}
