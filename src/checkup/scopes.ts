// Scopes that nobody needs.
import { type Check, idleDays, most, some } from './finding.ts'
import { findUnusedScopes } from './shrink.ts'

export const unusedScopes: Check = {
  name: 'unused-scopes',
  about: 'what applications may ask for, and do not',
  async look({ database, now }) {
    const { scopes } = await findUnusedScopes(database, now())
    const clients = [...Map.groupBy(scopes, ({ clientId }) => clientId)]
    return {
      total: clients.length,
      said: clients.slice(0, most).map(([id, unused]) => ({
        severity: 'warning',
        subject: { kind: 'client', id },
        what: `It may ask for ${some(unused.map(({ scope }) => scope))}, and has not for ${idleDays} days.`,
        why: 'Whoever takes the application over takes what it may do, not what it does.',
        section: 'RFC 9700 2.3',
        fix: 'Take these scopes from it: sallyport doctor shrink, or one click.',
        oneClick: { id: 'shrink', scopes: unused.slice(0, most) },
      })),
    }
  },
}
