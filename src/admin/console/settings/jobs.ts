// Scheduled work: what runs how often, when and where it last ran, what came of it, and asking that it is done now.
import type { MessageKey, Translator } from '#src/http/i18n.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { type JobRecord, listJobs } from '#src/jobs/records.ts'
import { requestRun } from '#src/jobs/requests.ts'
import { duration } from '../applications/durations.ts'
import { type ConsolePage, goOn, type PageDeps } from '../page.ts'

export type JobsPage = {
  jobs: readonly {
    /** As the log and the metrics call it. */
    name: string
    what: string
    every: string
    whenNeeded: boolean
    began: Moment | undefined
    took: string | undefined
    ranBy: string | null
    state: string
    badge: string
    failed: Moment | undefined
    due: string | undefined
  }[]
}

const page = template<JobsPage>('admin/console/jobs')
const jobsPath = '/admin/settings/jobs'

const known: Readonly<Record<string, MessageKey>> = {
  'audit retention': 'console.jobs.auditRetention',
  'audit seal': 'console.jobs.auditSeal',
  'audit stream': 'console.jobs.auditStream',
  mail: 'console.jobs.mail',
  purge: 'console.jobs.purge',
  'secret key': 'console.jobs.secretKey',
  'signing keys': 'console.jobs.signingKeys',
  sweep: 'console.jobs.sweep',
  trials: 'console.jobs.trials',
  impersonations: 'console.jobs.impersonations',
  webhooks: 'console.jobs.webhooks',
}

export function jobsPage({ database, render }: PageDeps): ConsolePage {
  return {
    path: jobsPath,
    section: 'settings',
    scope: 'settings:read',
    writes: 'settings:write',
    sensitive: true,
    async show(request) {
      const { words, now, person } = request
      const at = (time: Date): Moment => moment(words, time, now, person.zoneinfo)
      const jobs = (await listJobs(database, now)).map((job) => ({
        ...{ name: job.name, whenNeeded: job.whenNeeded, ranBy: job.ranBy },
        what: Object.hasOwn(known, job.name) ? words.t(known[job.name] as MessageKey) : '',
        every: duration(words, job.everySeconds),
        began: job.beganAt ? at(job.beganAt) : undefined,
        took: job.seconds === null ? undefined : milliseconds(words, job.seconds),
        ...stateOf(words, job),
        failed: job.failedAt ? at(job.failedAt) : undefined,
        due: job.dueAt ? inWords(words, (job.dueAt.getTime() - now.getTime()) / 1000) : undefined,
      }))
      render(request, page, { jobs }, { section: 'settings' })
    },
    async submit(request, form) {
      await requestRun(database.prisma, form.get('job') ?? '', request.change)
      goOn(request.ctx, jobsPath, 'asked')
    },
  }
}

function stateOf({ t }: Translator, { late, askedAt, outcome }: JobRecord): { state: string; badge: string } {
  if (late) return { state: t('console.jobs.late'), badge: 'badge-bad' }
  if (askedAt) return { state: t('console.jobs.asked'), badge: 'badge-warn' }
  if (outcome === 'failed') return { state: t('console.jobs.failed'), badge: 'badge-bad' }
  if (outcome === 'done') return { state: t('console.jobs.done'), badge: 'badge-good' }
  return { state: t('console.jobs.waits'), badge: '' }
}

const milliseconds = ({ locale }: Translator, seconds: number): string =>
  new Intl.NumberFormat(locale, { style: 'unit', unit: 'millisecond', maximumFractionDigits: 0 }).format(seconds * 1000)

/** What is due is done within seconds. */
function inWords({ locale, t }: Translator, seconds: number): string {
  if (seconds < 1) return t('console.jobs.now')
  const [unit, size] = seconds < 60 ? (['second', 1] as const) : (['minute', 60] as const)
  return new Intl.RelativeTimeFormat(locale, { numeric: 'always' }).format(Math.ceil(seconds / size), unit)
}
