// Access reviews, and beginning one.
import { readAfter } from '#src/admin/api/page.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { createReview, describeReview, listReviews } from '#src/review/reviews.ts'
import { cut, textOf } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'

export type ReviewsPage = {
  name: string
  reviews: readonly { href: string; name: string; at: Moment; lines: number; open: number; revoked: number }[]
  next: string | undefined
  flaws: readonly Flaw[]
}

const page = template<ReviewsPage>('admin/console/reviews')
const perPage = 25

export function reviewsPage({ database, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/audit/reviews',
    section: 'audit',
    scope: 'reviews:read',
    writes: 'reviews:write',
    show: (request) => show(request, '', [], 200),
    async submit(request, form) {
      const name = form.get('name')?.trim() ?? ''
      const result = await attempt(() => createReview(database, { name }, request.change))
      if (!result.ok) return show(request, name, result.flaws, result.status)
      goOn(request.ctx, `/admin/audit/reviews/${result.value.id}`, 'created')
    },
  }

  async function show(request: ConsoleRequest, name: string, flaws: readonly Flaw[], status: number) {
    const { ctx, words, now, person } = request
    const after = readAfter(textOf(ctx, 'after') || undefined)
    const found = await listReviews(database.prisma, { after, limit: perPage + 1 })
    const { rows, next } = cut(ctx, found, perPage, ({ id }) => id)
    const reviews = rows.map(describeReview).map(({ id, name, createdAt, lines, open, revoked }) => ({
      href: `/admin/audit/reviews/${id}`,
      ...{ name, lines, open, revoked },
      at: moment(words, createdAt, now, person.zoneinfo),
    }))
    render(request, page, { name, reviews, next, flaws }, { section: 'audit', status })
  }
}
