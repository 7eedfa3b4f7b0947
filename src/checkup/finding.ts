// What a check is given, and what it says. A finding is for people who run the installation: what it is about, why it matters and where that
// is written, what mends it.
import type { ScopeOfClient } from '#src/clients/scopes.ts'
import type { Config } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'

/** critical: somebody can use it now. warning: it will cost something one day. note: to be known. */
export const severities = ['critical', 'warning', 'note'] as const
export type Severity = (typeof severities)[number]

export const subjectKinds = [
  'installation',
  'client',
  'api',
  'api_key',
  'user',
  'role',
  'route',
  'policy',
  'webhook',
  'signing_key',
] as const

export type Finding = {
  /** Stable: `<check>` or `<check>:<id of the subject>`. */
  id: string
  check: string
  severity: Severity
  subject: { kind: (typeof subjectKinds)[number]; id: string | null }
  what: string
  why: string
  /** Where that is written. */
  section: string
  fix: string
  /** What mends it at once, as it is sent to POST /api/v1/checkup/shrink; null: somebody has to decide. */
  oneClick: { id: 'shrink'; scopes: ScopeOfClient[] } | null
}

export type Installation = {
  database: Database
  config: Pick<
    Config,
    | 'production'
    | 'issuerUrl'
    | 'https'
    | 'trustProxy'
    | 'mail'
    | 'signUp'
    | 'emailVerification'
    | 'emailSignIn'
    | 'sessionTtlSeconds'
    | 'sessionIdleTtlSeconds'
    | 'signingKeyRotationDays'
  >
  secretKeys: SecretKeys
  now: () => Date
}

/** Without what follows from the check itself. */
type Said = Omit<Finding, 'id' | 'check' | 'oneClick' | 'subject'> & {
  /** Left out: the installation as a whole. */
  subject?: { kind: Exclude<Finding['subject']['kind'], 'installation'>; id: string }
  oneClick?: Finding['oneClick']
}

export type Check = {
  name: string
  /** For readers: what is looked at. */
  about: string
  /** @returns the first `most` of what is to be said, and of how many they are the first. At most one of a subject. */
  look(installation: Installation): Promise<{ said: Said[]; total?: number }>
}

/** Of one check, in one report. */
export const most = 100

export const day = 86_400_000
/** What nobody used for so long is not needed. */
export const idleDays = 90

export const daysBefore = (now: Date, days: number): Date => new Date(now.getTime() - days * day)

/** Rows of a statement that counts them all as `total` and gives the first ones. */
export const totalOf = (rows: readonly { total: number }[]): number => rows[0]?.total ?? 0

/** For a sentence: the first few, and how many more. */
export function some(names: readonly string[], shown = 5): string {
  const more = names.length - shown
  return more > 0 ? `${names.slice(0, shown).join(', ')} and ${more} more` : names.join(', ')
}
