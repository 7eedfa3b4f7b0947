// /api/v1/settings: the configuration in force. Secrets are told to be set, and nothing more.
import { z } from 'zod'
import { settingGroups } from '#src/config.ts'
import { type AdminApiDeps, type AdminRoute, route } from './route.ts'

export function settingRoutes({ config }: AdminApiDeps): AdminRoute[] {
  return [
    // As many as the program has: no pages.
    route('get /settings', {
      scope: 'settings:read',
      name: 'listSettings',
      summary: 'List the settings in force',
      answer: z.strictObject({ data: z.array(setting) }),
      handle: async () => ({ data: [...config.inForce] }),
    }),
  ]
}

const setting = z
  .strictObject({
    name: z.string(),
    group: z.enum(settingGroups),
    value: z.string().nullable().meta({ description: 'Null: none, or a secret.' }),
    given: z.boolean().meta({ description: 'Whether somebody set it; otherwise it is the default.' }),
    secret: z.boolean(),
    about: z.string(),
  })
  .meta({ id: 'Setting' })
