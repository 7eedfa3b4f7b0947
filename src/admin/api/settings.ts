// /api/v1/settings: the configuration in force, and what of it is stored. Secrets are told to be set, and nothing more. The ETag is that of the
// whole list, so two people who change different settings at one moment hear of each other as well.
import { z } from 'zod'
import { settingGroups, settingSources } from '#src/config.ts'
import { changeSettings, describeSettings, listStored } from '#src/settings/settings.ts'
import { type AdminApiDeps, type AdminRoute, route } from './route.ts'

export function settingRoutes({ config }: AdminApiDeps): AdminRoute[] {
  return [
    // As many as the program has: no pages.
    route('get /settings', {
      scope: 'settings:read',
      name: 'listSettings',
      summary: 'List the settings in force',
      answer: settings,
      versioned: true,
      handle: async ({ db }) => describeSettings(config, await listStored(db)),
    }),

    route('patch /settings', {
      scope: 'settings:write',
      name: 'changeSettings',
      summary: 'Store settings, or take away what is stored',
      body: z
        .record(z.string(), z.union([z.string(), z.number(), z.null()]))
        .meta({ description: 'By the name of the variable. Null: the default is in force again. All or nothing.' }),
      bodyLimit: 131_072,
      answer: settings,
      versioned: true,
      handle: async ({ db, body, change, seen }) =>
        describeSettings(config, await changeSettings(db, config, body, change, seen)),
    }),
  ]
}

const setting = z
  .strictObject({
    name: z.string(),
    group: z.enum(settingGroups),
    value: z.string().nullable().meta({ description: 'Null: none, or a secret.' }),
    given: z.boolean().meta({ description: 'Whether somebody set it; otherwise it is the default.' }),
    source: z
      .enum(settingSources)
      .meta({ description: 'The environment goes before what is stored, and that before the default.' }),
    stored: z.boolean().meta({ description: 'Whether a value is stored, in force or not.' }),
    editable: z
      .boolean()
      .meta({ description: 'Whether a value can be stored: it may be, and the environment has none.' }),
    secret: z.boolean(),
    about: z.string(),
  })
  .meta({ id: 'Setting' })
const settings = z.strictObject({ data: z.array(setting).readonly() })
