// Access reviews: who could do what at one moment, and what somebody decided about each line of it. A line never changes what it says; it is decided
// once, and a revocation is carried out by the room that owns the thing, in the same commit (decide.ts). What leaves as a file is export.ts.
import { createHash, randomUUID } from 'node:crypto'
import { recordAudit } from '#src/audit/audit.ts'
import { canonical } from '#src/audit/chain.ts'
import type { Change } from '#src/audit/change.ts'
import { type Names, namesOf } from '#src/audit/names.ts'
import type { Database, Db, Prisma } from '#src/db/database.ts'
import { checkText, type Flaw, Refusal } from '#src/refusal.ts'
import { readSnapshot, type SnapshotLine } from './snapshot.ts'

export type ReviewRecord = Prisma.AccessReviewGetPayload<object>
export type LineRecord = Prisma.AccessReviewLineGetPayload<object>

export class InvalidReview extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export class ReviewNotFound extends Refusal {
  constructor() {
    super('missing', [{ field: 'id', problem: 'is not that of an access review', fix: 'List the reviews.' }])
  }
}

export class LineNotFound extends Refusal {
  constructor() {
    super('missing', [{ field: 'line', problem: 'is not a line of this review', fix: 'List its lines.' }])
  }
}

/** Reading a hundred thousand lines takes some ten seconds. */
const longestMs = 600_000

/** Takes the lines, in one transaction that sees one moment. @throws InvalidReview */
export async function createReview(
  { prisma }: Pick<Database, 'prisma'>,
  { name }: { name: string },
  change: Change,
): Promise<ReviewRecord> {
  const flaws = checkText('name', name, 100)
  if (flaws.length > 0) throw new InvalidReview(flaws)
  const id = randomUUID()
  return prisma.$transaction(
    async (tx) => {
      await tx.accessReview.create({ data: { id, name, createdAt: change.now, digest: '', lines: 0 } })
      const hash = createHash('sha256')
      let lines = 0
      for await (const page of readSnapshot(tx, change.now)) {
        const numbered = page.map((line, index) => ({ number: lines + index + 1, ...line }))
        for (const { number, ...line } of numbered) hash.update(snapshotText(number, line))
        await insertLines(tx, id, numbered)
        lines += page.length
      }
      const digest = hash.digest('hex')
      const completedAt = lines === 0 ? change.now : null
      const record = await tx.accessReview.update({ where: { id }, data: { digest, lines, completedAt } })
      await recordReview(tx, 'access_review.created', id, { lines, digest }, change)
      return record
    },
    { isolationLevel: 'RepeatableRead', timeout: longestMs },
  )
}

/** What the digest of a snapshot covers: this of every line, one after the other (docs/audit.md). */
export function snapshotText(
  number: number,
  { kind, subjectKind, subjectId, target, administrator, detail }: SnapshotLine | LineRecord,
): string {
  return `${canonical([number, kind, subjectKind, subjectId, target, administrator, detail])}\n`
}

function insertLines(tx: Prisma.TransactionClient, id: string, lines: ({ number: number } & SnapshotLine)[]) {
  return tx.$executeRaw`INSERT INTO access_review_line (review_id, number, kind, subject_kind, subject_id, target, administrator, detail)
    SELECT ${id}::uuid, l.number, l.kind, l."subjectKind", l."subjectId", l.target, l.administrator, l.detail
    FROM jsonb_to_recordset(${JSON.stringify(lines)}::jsonb)
      AS l(number int, kind text, "subjectKind" text, "subjectId" text, target text, administrator boolean, detail jsonb)`
}

export function recordReview(
  tx: Db,
  event: 'access_review.created' | 'access_review.decided' | 'access_review.completed' | 'access_review.exported',
  id: string,
  detail: Record<string, string | number>,
  { actor, origin }: Change,
): Promise<void> {
  return recordAudit(tx, { event, outcome: 'success', actor, target: { kind: 'access_review', id }, detail }, origin)
}

/** The newest first. @param page.after the last id of the page before. */
export async function listReviews(
  db: Db,
  page: { after?: string | undefined; limit: number },
): Promise<ReviewRecord[]> {
  const last = page.after === undefined ? null : await db.accessReview.findUnique({ where: { id: page.after } })
  if (page.after !== undefined && !last) return []
  return db.accessReview.findMany({
    where: last
      ? { OR: [{ createdAt: { lt: last.createdAt } }, { createdAt: last.createdAt, id: { lt: last.id } }] }
      : {},
    orderBy: [{ createdAt: 'desc' }, { id: 'desc' }],
    take: page.limit,
  })
}

/** @throws ReviewNotFound */
export async function findReview(db: Db, id: string): Promise<ReviewRecord> {
  const record = isId(id) ? await db.accessReview.findUnique({ where: { id } }) : null
  if (!record) throw new ReviewNotFound()
  return record
}

const isId = (id: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)

export type LineFilter = {
  kind?: string | undefined
  subject?: { kind: string; id: string } | undefined
  decision?: 'open' | 'approve' | 'revoke' | undefined
  administrator?: true | undefined
}

/** By number. @param page.after the last number of the page before. @throws ReviewNotFound */
export async function listLines(
  db: Db,
  reviewId: string,
  { kind, subject, decision, administrator }: LineFilter,
  page: { after?: number | undefined; limit: number },
): Promise<LineRecord[]> {
  await findReview(db, reviewId)
  return db.accessReviewLine.findMany({
    where: {
      reviewId,
      ...(page.after === undefined ? {} : { number: { gt: page.after } }),
      ...(kind === undefined ? {} : { kind }),
      ...(subject && { subjectKind: subject.kind, subjectId: subject.id }),
      ...(decision === undefined ? {} : { decision: decision === 'open' ? null : decision }),
      ...(administrator && { administrator }),
    },
    orderBy: { number: 'asc' },
    take: page.limit,
  })
}

export function describeReview(record: ReviewRecord) {
  const { id, name, createdAt, completedAt, digest, lines, approved, revoked } = record
  return { id, name, createdAt, completedAt, digest, lines, approved, revoked, open: lines - approved - revoked }
}

/** @param names namesOfLines of the page. What is deleted has no name any more. */
export function describeLine(line: LineRecord, names: Names) {
  const { number, kind, subjectKind, subjectId, target, administrator, detail, decision, effect, note } = line
  const { decidedAt, decidedByKind, decidedById } = line
  return {
    line: number,
    kind,
    subject: { kind: subjectKind, id: subjectId, name: names.of(subjectKind, subjectId) ?? null },
    target: { id: target, name: names.of(targetKind(line), target) ?? null },
    administrator,
    detail,
    decision,
    effect,
    note,
    decidedAt,
    decidedBy: decidedByKind === null ? null : { kind: decidedByKind, id: decidedById },
  }
}

export function namesOfLines(database: Pick<Database, 'pool'>, lines: readonly LineRecord[]): Promise<Names> {
  return namesOf(
    database,
    lines.map((line) => ({
      ...{ actorKind: line.subjectKind, actorId: line.subjectId, clientId: null },
      ...{ targetKind: targetKind(line), targetId: line.target },
    })),
  )
}

const targetKind = ({ kind }: LineRecord): string | null =>
  kind === 'api_key' ? 'api_key' : kind === 'client_api' ? 'api' : null
