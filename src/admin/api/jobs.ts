// /api/v1/jobs: scheduled work, how it went, and asking that it is done now.
import { z } from 'zod'
import { listJobs } from '#src/jobs/records.ts'
import { findRequest, requestRun, requestStates } from '#src/jobs/requests.ts'
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

    route('post /jobs/:id/runs', {
      scope: 'settings:write',
      name: 'runJob',
      summary: 'Ask that scheduled work is done now: within a second, by whichever process then does it alone',
      body: z.strictObject({}),
      answer: jobRun,
      status: 201,
      once: true,
      handle: ({ db, id, change }) => requestRun(db, id, change),
    }),

    route('get /jobs/:id/runs/:runId', {
      scope: 'settings:read',
      name: 'readJobRun',
      summary: 'Read what came of a run that was asked for. Kept for an hour or more',
      answer: jobRun,
      handle: ({ db, id, ctx }) => findRequest(db, id, ctx.params.runId),
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
    askedAt: instant.nullable().meta({ description: 'When somebody asked for a run that has not ended yet.' }),
  })
  .meta({ id: 'Job' })
const jobRun = z
  .strictObject({
    id: z.string(),
    job: z.string(),
    state: z.enum(requestStates).meta({ description: 'withdrawn: no process saw it while somebody waited.' }),
    askedAt: instant,
    seenAt: instant.nullable().meta({ description: 'Null: no process has seen it yet.' }),
    beganAt: instant.nullable(),
    endedAt: instant.nullable(),
    seconds: z.number().nullable(),
    ranBy: z.string().nullable().meta({ description: 'Machine and process.' }),
  })
  .meta({ id: 'JobRun' })
