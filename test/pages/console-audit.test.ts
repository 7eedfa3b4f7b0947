// The record in the console.
import { createRole } from '#src/access/roles.ts'
import { sealAll } from '#src/audit/seal.ts'
import { createView } from '#src/audit/views.ts'
import { decideLine } from '#src/review/decide.ts'
import { createReview } from '#src/review/reviews.ts'
import { lookAtConsole, press } from '#test/support/console-pages.ts'
import { change } from '#test/support/installation.ts'

let event = ''
let view = ''
let review = ''

lookAtConsole(
  'audit',
  [
    { name: 'audit', path: () => '/admin/audit' },
    { name: 'audit-refused', path: () => '/admin/audit?event=login.faild&from=yesterday', status: 422 },
    { name: 'audit-event', path: () => `/admin/audit/events/${event}`, shows: '/admin/audit/events/:id' },
    { name: 'audit-view', path: () => `/admin/audit/views/${view}/delete`, shows: '/admin/audit/views/:id/delete' },
    { name: 'audit-export', path: () => '/admin/audit/export' },
    {
      name: 'audit-export-refused',
      path: () => '/admin/audit/export',
      status: 422,
      async act(page) {
        await page.fill('#from', 'yesterday')
        return press(page)
      },
    },
    { name: 'reviews', path: () => '/admin/audit/reviews' },
    { name: 'review', path: () => `/admin/audit/reviews/${review}`, shows: '/admin/audit/reviews/:id' },
    {
      name: 'review-line',
      path: () => `/admin/audit/reviews/${review}/lines/1`,
      shows: '/admin/audit/reviews/:id/lines/:line',
    },
  ],
  async ({ server, owner }) => {
    const { prisma } = server.database
    const by = { ...change(), actor: { kind: 'user' as const, id: owner.id } }
    await createRole(prisma, 'buyer', { permissions: ['orders:read'] }, by)
    const views = { name: 'Failed sign-ins', filter: { event: 'login.failed' } }
    view = (await createView(prisma, { userId: owner.id }, views, by)).id
    await prisma.auditEvent.create({
      data: {
        ...{ event: 'login.failed', outcome: 'failure', targetKind: 'user', targetId: owner.id },
        ...{ clientId: 'shop-web', address: '2001:db8:85a3::8a2e:370:7334', userAgent: 'Mozilla/5.0 (X11; Linux)' },
        ...{ requestId: '4f8c1d3e-0c35-4c33-9d6e-0d7a8a6f1b20', detail: { reason: 'wrong_password', attempts: 3 } },
      },
    })
    review = (await createReview(server.database, { name: 'Spring 2027' }, by)).id
    await decideLine(prisma, { reviewId: review, number: 2 }, { decision: 'approve', note: 'Still needed' }, by)
    await sealAll(server.database)
    const row = await prisma.auditEvent.findFirstOrThrow({ where: { targetId: owner.id, event: 'login.failed' } })
    event = String(row.id)
  },
)
