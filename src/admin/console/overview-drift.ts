// What is no longer as the declarative file says that was applied last.
import { lookForDrift } from '#src/checkup/drift.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import type { ConsoleRequest, PageDeps } from './page.ts'

export type ShownDrift = {
  file: string
  at: Moment
  count: number
  /** The first of them. */
  differences: readonly { kind: string; id: string; what: string }[]
  /** Why it could not be applied now; undefined: it could. */
  refused: string | undefined
}

/** All of them are in the checkup. */
const mostShown = 20
/** A page must not wait for the comparison of more; the checkup makes it. */
const mostClients = 1_000

/** @returns a part for each file that something differs from. */
export async function readDriftPanels(
  { database }: PageDeps,
  { words, now, person }: ConsoleRequest,
): Promise<ShownDrift[]> {
  const found = await lookForDrift(database, { mostClients })
  return found
    .filter(({ differences, refused }) => differences.length > 0 || refused !== null)
    .map(({ file, appliedAt, differences, refused }) => ({
      file,
      at: moment(words, appliedAt, now, person.zoneinfo),
      count: differences.length,
      differences: differences.slice(0, mostShown).map(({ kind, id, missing, fields }) => ({
        kind: words.t(kinds[kind]),
        id,
        what: missing ? words.t('console.overview.driftGone') : fields.join(', '),
      })),
      refused: refused ?? undefined,
    }))
}

const kinds = {
  api: 'console.overview.driftApi',
  role: 'console.overview.driftRole',
  client: 'console.overview.driftClient',
  user: 'console.overview.driftUser',
  route: 'console.overview.driftRoute',
  policy: 'console.overview.driftPolicy',
  webhook: 'console.overview.driftWebhook',
  setting: 'console.overview.driftSetting',
  branding: 'console.overview.driftBranding',
} as const
