// The record as a file: lines of JSON that prove themselves, or a table. A form, because to export is noted in the record.
import { exportAudit } from '#src/admin/audit-export.ts'
import { type ExportFormat, exportFormats } from '#src/audit/export.ts'
import { readSearch } from '#src/audit/search.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { attempt, type ConsolePage, type ConsoleRequest, type PageDeps } from '../page.ts'

export type AuditExportPage = {
  formats: readonly { value: ExportFormat; checked: boolean }[]
  from: string
  to: string
  flaws: readonly Flaw[]
}

const page = template<AuditExportPage>('admin/console/audit-export')

export function auditExportPage(deps: PageDeps): ConsolePage {
  return {
    path: '/admin/audit/export',
    section: 'audit',
    scope: 'audit:read',
    sensitive: true,
    show: async (request) => show(request, { format: 'jsonl', from: '', to: '' }, [], 200),
    async submit(request, form) {
      const { ctx, change } = request
      const format = exportFormats.find((known) => known === form.get('format')) ?? 'jsonl'
      const [from, to] = [form.get('from')?.trim() ?? '', form.get('to')?.trim() ?? '']
      const result = await attempt(async () => readSearch({ from: from || undefined, to: to || undefined }))
      if (!result.ok) return show(request, { format, from, to }, result.flaws, result.status)
      const period = { from: result.value.from, to: result.value.to }
      const db = deps.database.prisma
      ctx.set('Cache-Control', 'no-store')
      ctx.body = await exportAudit(deps, { ctx, db, change }, { format, ...period })
    },
  }

  function show(
    request: ConsoleRequest,
    { format, from, to }: { format: ExportFormat; from: string; to: string },
    flaws: readonly Flaw[],
    status: number,
  ) {
    const formats = exportFormats.map((value) => ({ value, checked: value === format }))
    deps.render(request, page, { formats, from, to, flaws }, { section: 'audit', status })
  }
}
