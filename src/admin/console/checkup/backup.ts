// Saying that a backup was made.
import { InvalidBackup, recordBackup } from '#src/checkup/backups.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'

export type BackupPage = { at: string; flaws: readonly Flaw[] }

const page = template<BackupPage>('admin/console/checkup-backup')

export function backupPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/checkup/backup',
    section: 'checkup',
    scope: 'checkup:write',
    show: async (request) => show(request, '', [], 200),
    async submit(request, form) {
      const at = form.get('at')?.trim() ?? ''
      const { change, ctx } = request
      const result = await attempt(async () => recordBackup(prisma, at === '' ? change.now : readTime(at), change))
      if (!result.ok) return show(request, at, result.flaws, result.status)
      goOn(ctx, '/admin/checkup', 'saved')
    },
  }

  function show(request: ConsoleRequest, at: string, flaws: readonly Flaw[], status: number): void {
    render(request, page, { at, flaws }, { section: 'checkup', status })
  }
}

/** RFC 3339, to the minute or finer. @throws InvalidBackup */
function readTime(text: string): Date {
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d)$/.test(text)
  const at = new Date(isTime ? text : Number.NaN)
  if (Number.isNaN(at.getTime())) throw new InvalidBackup()
  return at
}
