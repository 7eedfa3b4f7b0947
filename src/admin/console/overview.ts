// The first page: how the house is, and what is still to be set up. Each part is read only for people whose roles permit to see it.
import type { Moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import type { Choice } from './lists.ts'
import { oneOf } from './lists.ts'
import { readDriftPanels, type ShownDrift } from './overview-drift.ts'
import { readFigures } from './overview-figures.ts'
import { readSignIns } from './overview-sign-ins.ts'
import { readFirstSteps } from './overview-steps.ts'
import { type ConsolePage, holds, type PageDeps } from './page.ts'

export type OverviewPage = {
  steps: readonly FirstStep[]
  figures: readonly ShownFigure[]
  drift: readonly ShownDrift[]
  signIns: SignInTable | undefined
}

export type FirstStep = { icon: string; title: string; text: string; href: string | undefined }
export type ShownFigure = { label: string; value: string; hint: string; href: string | undefined; bad: boolean }
export type SignInTable = {
  ranges: readonly (Choice & { href: string })[]
  rows: readonly { at: Moment; label: string; succeeded: number; failed: number; estimated: boolean }[]
  succeeded: string
  failed: string
  estimated: boolean
}

const overview = template<OverviewPage>('admin/console/overview')

export function overviewPage(deps: PageDeps): ConsolePage {
  return {
    path: '/admin',
    section: 'overview',
    scope: 'any',
    async show(request) {
      const range = oneOf(request.ctx, 'range', ['day', 'weeks']) ?? 'day'
      const [steps, figures, drift, signIns] = await Promise.all([
        readFirstSteps(deps, request),
        readFigures(deps, request),
        holds(request.held, 'checkup:read') ? readDriftPanels(deps, request) : [],
        holds(request.held, 'audit:read') ? readSignIns(deps, request, range) : undefined,
      ])
      deps.render(request, overview, { steps, figures, drift, signIns }, { section: 'overview' })
    },
  }
}
