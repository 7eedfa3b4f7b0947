// /api/v1/jobs: scheduled work, and how it went. There is no button for it: each of them runs by itself before long.
import { z } from 'zod'
import { listJobs } from '#src/jobs/records.ts'
import { type AdminApiDeps, type AdminRoute, instant, route } from './route.ts'

export function jobRoutes({ database, now }: AdminApiDeps): AdminRoute[] {
  return [
    // As many as the program has: no pages.
    route('get /jobs', {
      scope: 'settings:read',
      name: 'listJobs',
      summary: 'List scheduled work, and how it went',
      answer: z.strictObject({ data: z.array(job) }),
      handle: async () => ({ data: await listJobs(database, now()) }),
    }),
  ]
}

const job = z
  .strictObject({
    name: z.string(),
    everySeconds: z.number(),
    whenNeeded: z.boolean().meta({ description: 'It looks so often, and runs when there is work.' }),
    lookedAt: instant.meta({ description: 'When a process last looked; up to a minute old.' }),
    late: z.boolean().meta({ description: 'Nobody looked for so long that nobody seems to run it.' }),
    beganAt: instant.nullable().meta({ description: 'Of the last run that was written: one a minute at most.' }),
    seconds: z.number().nullable(),
    outcome: z.enum(['done', 'failed']).nullable(),
    failedAt: instant.nullable(),
    ranBy: z.string().nullable().meta({ description: 'Machine and process. Nobody is chosen for longer than a run.' }),
    dueAt: instant.nullable().meta({ description: 'Null: when there is work.' }),
  })
  .meta({ id: 'Job' })
