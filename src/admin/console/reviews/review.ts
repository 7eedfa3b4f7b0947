// One access review: its lines, each approved in the list or judged on a page of its own, and the file.
import { exportReview, refuseBeyondLine } from '#src/admin/reviews.ts'
import type { Db } from '#src/db/database.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { decideLine, decisions } from '#src/review/decide.ts'
import {
  describeLine,
  describeReview,
  findReview,
  LineNotFound,
  type LineRecord,
  listLines,
  namesOfLines,
} from '#src/review/reviews.ts'
import { type LineKind, lineKinds } from '#src/review/snapshot.ts'
import { type Choice, choices, cut, oneOf, textOf } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'

type Line = {
  href: string
  number: number
  kind: string
  subject: string
  target: string
  administrator: boolean
  decision: string | null
  effect: string | null
  note: string | null
  at: Moment | undefined
}

export type ReviewPage = {
  name: string
  at: Moment
  counts: { lines: number; approved: number; revoked: number; open: number }
  digest: string
  kinds: readonly Choice[]
  states: readonly Choice[]
  administrator: boolean
  lines: readonly Line[]
  /** With the filters, to come back to them. */
  here: string
  exporting: string
  next: string | undefined
  flaws: readonly Flaw[]
}

export type ReviewLinePage = {
  back: { href: string; label: string }
  line: Line
  detail: string
  note: string
  flaws: readonly Flaw[]
}

const page = template<ReviewPage>('admin/console/review')
const linePage = template<ReviewLinePage>('admin/console/review-line')
const perPage = 50
const kindNames = {
  person_role: 'console.reviews.kind.person_role',
  person_factor: 'console.reviews.kind.person_factor',
  client_role: 'console.reviews.kind.client_role',
  client_api: 'console.reviews.kind.client_api',
  api_key: 'console.reviews.kind.api_key',
} as const satisfies Record<LineKind, MessageKey>
const common = { section: 'audit', scope: 'reviews:read', writes: 'reviews:write' } as const

export function reviewPages({ database, config, render }: PageDeps): ConsolePage[] {
  const { prisma } = database
  return [
    {
      ...common,
      path: '/admin/audit/reviews/:id',
      show: (request) => showReview(request, [], 200),
      async submit(request, form) {
        const { ctx } = request
        const number = numberOf(form.get('approve'))
        const result = await attempt(() => decide(request, number, { decision: 'approve' }))
        if (!result.ok) return showReview(request, result.flaws, result.status)
        const query = new URLSearchParams(ctx.querystring)
        query.delete('done')
        goOn(ctx, query.size > 0 ? `${ctx.path}?${query}` : ctx.path, 'saved')
      },
    },
    {
      ...common,
      path: '/admin/audit/reviews/:id/lines/:line',
      sensitive: true,
      show: (request) => showLine(request, '', [], 200),
      async submit(request, form) {
        const note = form.get('note')?.trim() ?? ''
        const decision = decisions.find((known) => known === form.get('decision')) ?? 'approve'
        const number = numberOf(String(request.ctx.params.line))
        const result = await attempt(() => decide(request, number, { decision, note: note || undefined }))
        if (!result.ok) return showLine(request, note, result.flaws, result.status)
        goOn(request.ctx, reviewHref(request), 'saved')
      },
    },
    {
      ...{ section: 'audit', scope: 'reviews:read', path: '/admin/audit/reviews/:id/export' },
      async submit({ ctx, change }) {
        ctx.set('Cache-Control', 'no-store')
        ctx.body = await exportReview({ database, config }, { ctx, db: prisma, change }, String(ctx.params.id))
      },
    },
  ]

  function decide(
    { ctx, bounds, change }: ConsoleRequest,
    number: number,
    input: { decision: (typeof decisions)[number]; note?: string | undefined },
  ) {
    const permit = (tx: Db, record: LineRecord) => refuseBeyondLine(bounds, tx, record)
    return decideLine(prisma, { reviewId: String(ctx.params.id), number }, input, change, { permit })
  }

  async function showReview(request: ConsoleRequest, flaws: readonly Flaw[], status: number) {
    const { ctx, words, now, person } = request
    const { t } = words
    const review = await findReview(prisma, String(ctx.params.id))
    const { name, createdAt, digest, ...counts } = describeReview(review)
    const kind = oneOf(ctx, 'kind', lineKinds)
    const decision = oneOf(ctx, 'decision', ['open', ...decisions])
    const administrator = textOf(ctx, 'administrator') === 'true'
    const asked = { kind, decision, administrator: administrator || undefined }
    const after = numberOf(textOf(ctx, 'after')) || undefined
    const found = await listLines(prisma, review.id, asked, { after, limit: perPage + 1 })
    const { rows, next } = cut(ctx, found, perPage, ({ number }) => String(number))
    render(
      request,
      page,
      {
        ...{ name, digest, counts, administrator, next, flaws },
        at: moment(words, createdAt, now, person.zoneinfo),
        kinds: choices(
          lineKinds.map((one) => [one, t(kindNames[one])]),
          kind,
          t('console.any'),
        ),
        states: choices(
          [
            ['open', t('console.reviews.open')],
            ['approve', t('console.reviews.approved')],
            ['revoke', t('console.reviews.revoked')],
          ],
          decision,
          t('console.any'),
        ),
        lines: await linesOf(request, rows),
        here: ctx.querystring ? `${ctx.path}?${ctx.querystring}` : ctx.path,
        exporting: `${reviewHref(request)}/export`,
      },
      { section: 'audit', status },
    )
  }

  async function showLine(request: ConsoleRequest, note: string, flaws: readonly Flaw[], status: number) {
    const { ctx } = request
    const review = await findReview(prisma, String(ctx.params.id))
    const number = numberOf(String(ctx.params.line))
    const records = number > 0 ? await listLines(prisma, review.id, {}, { after: number - 1, limit: 1 }) : []
    const [line] = await linesOf(request, records)
    if (!line || line.number !== number) throw new LineNotFound()
    const back = { href: reviewHref(request), label: review.name }
    const detail = JSON.stringify(records[0]?.detail ?? {}, null, 2)
    render(request, linePage, { back, line, detail, note, flaws }, { section: 'audit', status })
  }

  async function linesOf(request: ConsoleRequest, records: readonly LineRecord[]): Promise<Line[]> {
    const { words, now, person } = request
    const names = await namesOfLines(database, records)
    return records
      .map((record) => describeLine(record, names))
      .map(({ line, kind, subject, target, administrator, decision, effect, note, decidedAt }) => ({
        href: `${reviewHref(request)}/lines/${line}`,
        number: line,
        kind: words.t(kindNames[kind as LineKind]),
        subject: subject.name ?? subject.id,
        target: target.name ?? target.id,
        ...{ administrator, decision, effect, note },
        at: decidedAt ? moment(words, decidedAt, now, person.zoneinfo) : undefined,
      }))
  }
}

const reviewHref = ({ ctx }: ConsoleRequest): string => `/admin/audit/reviews/${ctx.params.id}`

/** 0, which no line has, for what is no number. */
const numberOf = (said: string | undefined): number => (said && /^[1-9]\d{0,8}$/.test(said) ? Number(said) : 0)
