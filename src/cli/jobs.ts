// sallyport jobs: scheduled work and how it went. A running server does it; here is asked that it is done now, and said what came of it.
import { setTimeout as delay } from 'node:timers/promises'
import type { Command } from 'commander'
import { type JobRecord, listJobs } from '#src/jobs/records.ts'
import { findRequest, type JobRequest, requestRun, withdrawRequest } from '#src/jobs/requests.ts'
import type { CliDeps } from './deps.ts'
import { cliChange, wholeNumber } from './input.ts'
import { table } from './table.ts'

/** A server looks each second. */
const unseenSeconds = 10
const lookEveryMilliseconds = 200

export function register(program: Command, deps: CliDeps): void {
  const jobs = program.command('jobs').description('scheduled work, and how it went')

  jobs
    .command('list')
    .description('every job of the server that was started last')
    .action(async () => {
      const records = await listJobs(await deps.openDatabase(), deps.now())
      const rows = records.map((job) => [
        job.name,
        stateOf(job),
        job.beganAt?.toISOString() ?? '-',
        job.seconds === null ? '-' : `${Math.round(job.seconds * 1000)} ms`,
        job.dueAt?.toISOString() ?? 'when there is work',
        job.ranBy ?? '-',
      ])
      const heads = ['job', 'state', 'last run', 'took', 'next', 'by']
      deps.out(records, table(heads, rows, 'No server has done scheduled work here yet.'))
    })

  jobs
    .command('run')
    .description(
      'have a running server do it now, what is due and no more, and wait for it. Ends with 1 where it failed or nobody did it',
    )
    .argument('<job...>', 'its name, such as sweep or signing keys')
    .option('--wait-seconds <seconds>', 'for how long', wholeNumber, 60)
    .action(async (words: string[], { waitSeconds }: { waitSeconds: number }) => {
      const { prisma } = await deps.openDatabase()
      const { id, job } = await requestRun(prisma, words.join(' '), cliChange(deps))
      const since = deps.now().getTime()
      const progress = deps.progress('seconds')
      let run: JobRequest
      for (;;) {
        run = await findRequest(prisma, job, id)
        const waited = (deps.now().getTime() - since) / 1000
        progress(Math.floor(waited))
        if (run.endedAt || waited >= waitSeconds) break
        if (run.seenAt === null && waited >= unseenSeconds) break
        await delay(lookEveryMilliseconds)
      }
      if (run.seenAt === null && (await withdrawRequest(prisma, id, deps.now())))
        run = await findRequest(prisma, job, id)
      if (run.state !== 'done') process.exitCode = 1
      deps.out(run, outcomeOf(run))
    })
}

function outcomeOf({ job, state, seconds, ranBy }: JobRequest): string {
  const took = `${Math.round((seconds ?? 0) * 1000)} ms`
  if (state === 'done') return `Done: ${job}, in ${took}, by ${ranBy}.`
  if (state === 'failed') return `Failed: ${job}, after ${took}, by ${ranBy}; its log says why (job.failed).`
  if (state === 'withdrawn') return `Nobody did it: no running server saw the request, which is taken back.`
  return `${state === 'running' ? 'Still running' : 'It waits for a run that is under way'}: sallyport jobs list says how it went.`
}

function stateOf({ late, outcome, askedAt }: JobRecord): string {
  if (late) return 'nobody runs it'
  if (askedAt) return 'asked for'
  return outcome ?? 'waits'
}
