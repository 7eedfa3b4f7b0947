// Forgetting a search that somebody kept. Everybody sees and forgets their own alone.
import { deleteView, listViews, ViewNotFound } from '#src/audit/views.ts'
import { template } from '#src/http/render.ts'
import { type ConsolePage, goOn, type PageDeps } from '../page.ts'

export type AuditViewPage = { name: string }

const page = template<AuditViewPage>('admin/console/audit-view')

export function auditViewPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/audit/views/:id/delete',
    section: 'audit',
    scope: 'audit:read',
    async show(request) {
      const views = await listViews(prisma, { userId: request.person.id })
      const view = views.find(({ id }) => id === request.ctx.params.id)
      if (!view) throw new ViewNotFound()
      render(request, page, { name: view.name }, { section: 'audit' })
    },
    async submit({ ctx, person, change }) {
      await deleteView(prisma, { userId: person.id }, String(ctx.params.id), change)
      goOn(ctx, '/admin/audit', 'deleted')
    },
  }
}
