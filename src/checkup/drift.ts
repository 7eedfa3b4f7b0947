// What is different from the declarative files that were applied. What they say comes back when they are applied again, at a start perhaps.
import type { Database } from '#src/db/database.ts'
import type { Drift } from '#src/declaration/drift.ts'
import { type Check, some } from './finding.ts'

/** Of every file that was applied. Its language takes a while to load, and most installations have no such file.
 *  @param mostClients with more, nothing is compared: it reads them all. */
export async function lookForDrift(
  { prisma }: Database,
  { mostClients = Number.POSITIVE_INFINITY } = {},
): Promise<Drift[]> {
  if ((await prisma.appliedDeclaration.count()) === 0) return []
  if (Number.isFinite(mostClients) && (await prisma.client.count()) > mostClients) return []
  const { readDrift } = await import('#src/declaration/drift.ts')
  return readDrift(prisma)
}

const section = 'NIST SP 800-53 CM-3, CM-6'
const why =
  'The file no longer tells what is in force, and the next start or apply with it undoes what was changed since.'

export const drift: Check = {
  name: 'drift',
  about: 'what differs from the declarative file that was applied',
  async look({ database }) {
    const found = await lookForDrift(database)
    const refused = found.filter((each) => each.refused !== null)
    const differing = found.flatMap(({ file, appliedAt, differences }) =>
      differences.map(({ kind, id, missing, fields }) => ({
        severity: 'warning' as const,
        subject: { kind, id },
        what: missing
          ? `Is gone, and ${file} declared it, applied on ${appliedAt.toISOString()}.`
          : `Differs from ${file}, applied on ${appliedAt.toISOString()}: ${some(fields, 10)}.`,
        why,
        section,
        fix: 'Write into the file what shall stay, and apply it: sallyport apply --file FILE --dry-run shows each field.',
      })),
    )
    if (refused.length === 0) return { said: differing }
    const said = {
      severity: 'warning' as const,
      what: refused.map(({ file, refused: flaws }) => `${file} could not be applied any more: ${flaws}`).join(' '),
      why,
      section,
      fix: 'Correct the file, or what it relies on.',
    }
    return { said: [said, ...differing] }
  },
}
