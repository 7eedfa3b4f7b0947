// /api/v1/access-reviews: who can do what, judged line by line.
import { z } from 'zod'
import { exportReview, refuseBeyondLine } from '#src/admin/reviews.ts'
import type { Database, Db } from '#src/db/database.ts'
import { decideLine, decisions } from '#src/review/decide.ts'
import {
  createReview,
  describeLine,
  describeReview,
  findReview,
  type LineRecord,
  listLines,
  listReviews,
  namesOfLines,
} from '#src/review/reviews.ts'
import { lineKinds } from '#src/review/snapshot.ts'
import { badQuery, cutPage, listOf, pageOf, readAfter } from './page.ts'
import { type AdminApiDeps, type AdminRoute, file, instant, route } from './route.ts'

export function reviewRoutes({ database, doors, config }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /access-reviews', {
      scope: 'reviews:read',
      name: 'listAccessReviews',
      summary: 'List access reviews, the newest first',
      query: pageOf(),
      answer: listOf(review),
      async handle({ db, query: { after, limit } }) {
        const records = await listReviews(db, { after: readAfter(after), limit: limit + 1 })
        return cutPage(records, limit, describeReview, ({ id }) => id)
      },
    }),

    route('post /access-reviews', {
      scope: 'reviews:write',
      sensitive: false,
      name: 'createAccessReview',
      summary: 'Begin an access review: note who can do what at this moment',
      body: z.strictObject({ name: text }),
      answer: review,
      status: 201,
      // Not `once`: it needs a transaction of its own, that sees one moment. Two reviews of one moment harm nobody.
      handle: async ({ body, change }) => describeReview(await createReview(database, body, change)),
    }),

    route('get /access-reviews/:id', {
      scope: 'reviews:read',
      name: 'readAccessReview',
      summary: 'Read an access review, and how far it has come',
      answer: review,
      handle: async ({ db, id }) => describeReview(await findReview(db, id)),
    }),

    route('get /access-reviews/:id/lines', {
      scope: 'reviews:read',
      name: 'listAccessReviewLines',
      summary: 'List the lines of an access review',
      query: pageOf({
        kind: z.enum(lineKinds, `kind must be one of ${lineKinds.join(', ')}.`).optional(),
        subject: text
          .regex(/^(user|client):[\x21-\x7e]{1,200}$/, 'subject must be user:<id> or client:<id>.')
          .optional()
          .meta({ description: 'Whose: user:4f8c1d3e-… or client:reports' }),
        decision: z
          .enum(['open', ...decisions], 'decision must be one of open, approve, revoke.')
          .optional()
          .meta({ description: 'open: not decided yet.' }),
        administrator: z
          .literal('true', 'administrator must be true, or be left out.')
          .optional()
          .meta({ description: 'Only what opens something of this API.' }),
      }),
      answer: listOf(line),
      async handle({ db, id, query: { after, limit, subject, administrator, ...filter } }) {
        const asked = {
          ...filter,
          subject: subject === undefined ? undefined : subjectOf(subject),
          administrator: administrator === undefined ? undefined : (true as const),
        }
        const records = await listLines(db, id, asked, { after: readNumber(after), limit: limit + 1 })
        const describe = await describer(database, records)
        return cutPage(records, limit, describe, ({ number }) => String(number))
      },
    }),

    route('post /access-reviews/:id/lines/:line', {
      scope: 'reviews:write',
      name: 'decideAccessReviewLine',
      summary: 'Approve a line, or revoke it: what it says is taken away at once',
      body: z.strictObject({
        decision: z.enum(decisions),
        note: text.optional().meta({ description: 'Why, for whoever reads the review later.' }),
      }),
      answer: line,
      once: true,
      async handle({ ctx, db, id, body, caller, change }) {
        const number = readNumber(ctx.params.line) ?? 0
        const permit = (tx: Db, record: LineRecord) => refuseBeyondLine({ doors, caller }, tx, record)
        const decided = await decideLine(db, { reviewId: id, number }, body, change, { permit })
        return (await describer(database, [decided]))(decided)
      },
    }),

    route('get /access-reviews/:id/export', {
      scope: 'reviews:read',
      name: 'exportAccessReview',
      summary: 'Export an access review; its digest is in the audit record',
      answer: file,
      files: ['application/jsonl'],
      secret: true,
      handle: ({ ctx, db, id, change }) => exportReview({ database, config }, { ctx, db, change }, id),
    }),
  ]
}

async function describer(database: Database, records: readonly LineRecord[]) {
  const names = await namesOfLines(database, records)
  return (record: LineRecord) => describeLine(record, names)
}

function subjectOf(subject: string): { kind: string; id: string } {
  const at = subject.indexOf(':')
  return { kind: subject.slice(0, at), id: subject.slice(at + 1) }
}

/** @throws HttpError 400 */
function readNumber(number: string | undefined): number | undefined {
  if (number === undefined) return undefined
  if (!/^[1-9]\d{0,8}$/.test(number))
    throw badQuery('The number of a line, also in after, is a whole number from 1 on.')
  return Number(number)
}

const text = z.string()
const review = z
  .strictObject({
    id: text,
    name: text,
    createdAt: instant,
    completedAt: instant.nullable().meta({ description: 'When the last line was decided.' }),
    digest: text.meta({ description: 'SHA-256 of the lines as they were taken; also in the audit record.' }),
    lines: z.number(),
    approved: z.number(),
    revoked: z.number(),
    open: z.number(),
  })
  .meta({ id: 'AccessReview' })
const line = z
  .strictObject({
    line: z.number(),
    kind: text.meta({ description: lineKinds.join(', ') }),
    subject: z.strictObject({ kind: text, id: text, name: text.nullable() }).meta({ description: 'Whose it is.' }),
    target: z
      .strictObject({ id: text, name: text.nullable() })
      .meta({ description: 'What they have: a role, an API, a key, a factor.' }),
    administrator: z.boolean().meta({ description: 'It opens something of this API.' }),
    detail: z.unknown(),
    decision: text.nullable().meta({ description: 'approve, revoke, or null: still open' }),
    effect: text
      .nullable()
      .meta({ description: 'Of a revocation: done, or gone when there was nothing left to take away.' }),
    note: text.nullable(),
    decidedAt: instant.nullable(),
    decidedBy: z.strictObject({ kind: text, id: text.nullable() }).nullable(),
  })
  .meta({ id: 'AccessReviewLine' })
