// /api/v1/checkup: what an operator should look at, and the mending that needs one click.
import { z } from 'zod'
import { refuseBeyondScopes } from '#src/admin/bounds.ts'
import { recordBackup } from '#src/checkup/backups.ts'
import { oneLook } from '#src/checkup/checkup.ts'
import { severities, subjectKinds } from '#src/checkup/finding.ts'
import { shrink } from '#src/checkup/shrink.ts'
import { type AdminApiDeps, type AdminRoute, instant, moment, route } from './route.ts'

export function checkupRoutes({ database, config, secretKeys, doors, now }: AdminApiDeps): AdminRoute[] {
  const look = oneLook({ database, config, secretKeys, now })
  return [
    route('get /checkup', {
      scope: 'checkup:read',
      name: 'readCheckup',
      summary: 'Look the installation over',
      answer: report,
      handle: look,
    }),

    route('post /checkup/shrink', {
      scope: 'clients:write',
      name: 'shrinkScopes',
      summary: 'Take from applications the scopes that are named, as far as they are unused still',
      body: z.strictObject({ scopes: z.array(scopeOfClient).min(1).max(1000), dryRun: z.boolean().default(false) }),
      bodyLimit: 1_000_000,
      answer: z.strictObject({
        removed: z.array(scopeOfClient),
        kept: z.array(scopeOfClient).meta({ description: 'Used meanwhile, given anew, or not there.' }),
      }),
      async handle({ body: { scopes, dryRun }, caller, change }) {
        await refuseBeyondScopes({ doors, caller }, scopes)
        return shrink(database, scopes, { dryRun }, change)
      },
    }),

    route('post /checkup/backups', {
      scope: 'checkup:write',
      sensitive: false,
      name: 'recordBackup',
      summary: 'Record that a backup was made',
      body: z.strictObject({ at: moment.optional().meta({ description: 'When it was begun. Left out: now.' }) }),
      answer: z.strictObject({ at: instant }),
      handle: async ({ db, body: { at }, change }) => ({
        at: await recordBackup(db, at ? new Date(at) : change.now, change),
      }),
    }),
  ]
}

const text = z.string()
const whole = z.number().int()
const name = text.max(2048).refine((value) => value.isWellFormed() && !value.includes('\0'), 'cannot be a name')
const scopeOfClient = z.strictObject({ clientId: name, api: name, scope: name }).meta({ id: 'ScopeOfClient' })
const finding = z
  .strictObject({
    id: text,
    check: text,
    severity: z.enum(severities),
    subject: z.strictObject({ kind: z.enum(subjectKinds), id: text.nullable() }),
    what: text,
    why: text,
    section: text,
    fix: text,
    oneClick: z
      .strictObject({ id: z.literal('shrink'), scopes: z.array(scopeOfClient) })
      .nullable()
      .meta({ description: 'What mends it at once: the body of POST /checkup/shrink.' }),
  })
  .meta({ id: 'Finding' })
const report = z
  .strictObject({
    at: instant,
    counts: z.strictObject({ critical: whole, warning: whole, note: whole }),
    findings: z.array(finding),
    checks: z.array(z.strictObject({ name: text, about: text, findings: whole, more: whole })),
  })
  .meta({ id: 'Checkup' })
