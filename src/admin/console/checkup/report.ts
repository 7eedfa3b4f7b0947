// What the checkup finds, the worst first.
import { oneLook } from '#src/checkup/checkup.ts'
import { type Finding, type Severity, severities } from '#src/checkup/finding.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import type { ConsolePage, PageDeps } from '../page.ts'

export type CheckupPage = {
  at: Moment
  counts: readonly { label: string; count: number }[]
  groups: readonly { label: string; badge: string; findings: readonly Line[] }[]
  checks: readonly { about: string; findings: number; more: number }[]
}
type Line = Pick<Finding, 'what' | 'why' | 'section' | 'fix'> & {
  subject: string | null
  /** The page that mends it at once. */
  shrink: string | undefined
}

const page = template<CheckupPage>('admin/console/checkup')

const words = {
  critical: { word: 'console.checkup.critical', badge: 'badge-bad' },
  warning: { word: 'console.checkup.warning', badge: 'badge-warn' },
  note: { word: 'console.checkup.note', badge: '' },
} as const satisfies Record<Severity, { word: MessageKey; badge: string }>

export function checkupPage({ database, config, secretKeys, now, render }: PageDeps): ConsolePage {
  const look = oneLook({ database, config, secretKeys, now })
  return {
    path: '/admin/checkup',
    section: 'checkup',
    scope: 'checkup:read',
    async show(request) {
      const { at, counts, findings, checks } = await look()
      const { t } = request.words
      render(
        request,
        page,
        {
          at: moment(request.words, at, request.now, request.person.zoneinfo),
          counts: severities.map((severity) => ({ label: t(words[severity].word), count: counts[severity] })),
          groups: severities
            .map((severity) => ({
              label: t(words[severity].word),
              badge: words[severity].badge,
              findings: findings.filter((finding) => finding.severity === severity).map(lineOf),
            }))
            .filter((group) => group.findings.length > 0),
          checks: checks.map(({ about, findings: count, more }) => ({ about, findings: count, more })),
        },
        { section: 'checkup' },
      )
    },
  }
}

function lineOf({ what, why, section, fix, subject, oneClick }: Finding): Line {
  const clientId = oneClick?.scopes[0]?.clientId
  return {
    ...{ what, why, section, fix },
    subject: subject.id,
    shrink: clientId === undefined ? undefined : `/admin/checkup/shrink?client=${encodeURIComponent(clientId)}`,
  }
}
