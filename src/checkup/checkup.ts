// Looks an installation over, against RFC 9700 and the baseline, and says what it finds (sallyport doctor, GET /api/v1/checkup). It reads, and
// changes nothing; what one click mends is shrink.ts. Each check is a constant of the file of its subject, and a line of the table below.
//
// Bounded: a check is a statement or two, gives its first hundred findings and counts the rest, and they run one after the other.
import { isUnavailable } from '#src/db/database.ts'
import { administeringRoles, administrators } from './administrators.ts'
import { endlessKeys, idleKeys } from './api-keys.ts'
import { backups } from './backups.ts'
import { grantTypes, redirectUris, secrets } from './clients.ts'
import { clock, mail, mode, proxies } from './deployment.ts'
import { drift } from './drift.ts'
import { type Check, type Finding, type Installation, most, type Severity, severities } from './finding.ts'
import { secretKey, signingKeys } from './keys.ts'
import { accessTokens, refreshTokens, sessions } from './lifetimes.ts'
import { unusedScopes } from './scopes.ts'

export const checks: readonly Check[] = [
  mode,
  proxies,
  clock,
  administrators,
  administeringRoles,
  redirectUris,
  grantTypes,
  secrets,
  unusedScopes,
  accessTokens,
  refreshTokens,
  sessions,
  endlessKeys,
  idleKeys,
  signingKeys,
  secretKey,
  mail,
  backups,
  drift,
]

export type Report = {
  at: Date
  counts: Record<Severity, number>
  /** The worst first. */
  findings: Finding[]
  /** `more`: findings beyond those in the list. */
  checks: { name: string; about: string; findings: number; more: number }[]
}

export async function runCheckup(installation: Installation): Promise<Report> {
  const report: Report = {
    at: installation.now(),
    counts: { critical: 0, warning: 0, note: 0 },
    findings: [],
    checks: [],
  }
  for (const check of checks) {
    const { name, about } = check
    const { said, total = said.length } = await lookAt(check, installation)
    const findings = said.slice(0, most).map(
      ({ subject, oneClick = null, ...one }): Finding => ({
        id: subject ? `${name}:${subject.id}` : name,
        check: name,
        subject: subject ?? { kind: 'installation', id: null },
        ...one,
        oneClick,
      }),
    )
    for (const { severity } of findings) report.counts[severity]++
    report.findings.push(...findings)
    report.checks.push({ name, about, findings: findings.length, more: Math.max(0, total - findings.length) })
  }
  const rank = ({ severity }: Finding) => severities.indexOf(severity)
  report.findings.sort((a, b) => rank(a) - rank(b))
  return report
}

/** It looks at whole tables: those who ask at once get one look. */
export function oneLook(installation: Installation): () => Promise<Report> {
  let running: Promise<Report> | undefined
  return () => {
    running ??= runCheckup(installation).finally(() => {
      running = undefined
    })
    return running
  }
}

/** One that cannot be made says so, and does not take the others with it: a statement that was too long for a table that grew, say. */
async function lookAt(check: Check, installation: Installation): ReturnType<Check['look']> {
  try {
    return await check.look(installation)
  } catch (error) {
    await installation.database.pool.query('SELECT 1') // a database that is away is no finding
    const tooLong = isUnavailable(error)
    if (!tooLong && !(error instanceof Error && 'code' in error)) throw error // a fault of ours
    return {
      said: [
        {
          severity: 'warning',
          what: `Could not be looked at: ${check.about}${tooLong ? ' (it took too long)' : ''}.`,
          why: 'What is not looked at may be wrong.',
          section: 'ASVS 16.5.2',
          fix: 'Look at the log of the database.',
        },
      ],
    }
  }
}
