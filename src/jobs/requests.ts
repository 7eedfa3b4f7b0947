// Runs that somebody asks for. A request is a row. Every process looks for them each second, and whoever gets the job's lock, as for any run
// (schedule.ts), answers all that wait with one run: never a second one beside the first. A run that its process did not live to end leaves
// the request waiting, and the next process does it.
import { randomUUID } from 'node:crypto'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database, Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { quote, Refusal } from '#src/refusal.ts'
import { thisProcess } from './records.ts'
import type { JobRun } from './schedule.ts'

/** withdrawn: no process saw it, and whoever asked did not wait longer. */
export const requestStates = ['waiting', 'running', 'done', 'failed', 'withdrawn'] as const
export type RequestState = (typeof requestStates)[number]

export type JobRequest = {
  id: string
  job: string
  state: RequestState
  askedAt: Date
  /** When a process first saw it; null: none did yet. */
  seenAt: Date | null
  beganAt: Date | null
  endedAt: Date | null
  seconds: number | null
  /** Machine and process. */
  ranBy: string | null
}

export class JobNotFound extends Refusal {
  constructor(name: string) {
    const variable = Object.hasOwn(onlyWith, name) ? onlyWith[name] : undefined
    super('missing', [
      variable === undefined
        ? {
            field: 'job',
            problem: `${quote(name)} is not scheduled here`,
            fix: 'Read the list of jobs; it has those of the server that was started last.',
          }
        : {
            field: 'job',
            problem: `${quote(name)} has nothing to do here: ${variable} does not ask for it`,
            fix: `Set ${variable} and start the server again.`,
          },
    ])
  }
}

export class JobRequestNotFound extends Refusal {
  constructor(id: string) {
    super('missing', [
      {
        field: 'run',
        problem: `${quote(id)} is not one that was asked for`,
        fix: 'They are kept for an hour or more.',
      },
    ])
  }
}

/** What is scheduled only where the configuration asks for it. */
const onlyWith: Readonly<Record<string, string>> = {
  'audit retention': 'AUDIT_RETENTION_DAYS',
  'audit stream': 'AUDIT_SYSLOG_URL',
}
const keptSeconds = 3_600

/** @returns the request, or one that waits already: its run is still to begin. @throws JobNotFound */
export function requestRun(db: Db, job: string, change: Change): Promise<JobRequest> {
  return atomically(db, async (tx) => {
    if ((await tx.job.count({ where: { name: job } })) === 0) throw new JobNotFound(job)
    await tx.jobRequest.deleteMany({
      where: { job, endedAt: { lt: new Date(change.now.getTime() - keptSeconds * 1000) } },
    })
    const waiting = await tx.jobRequest.findFirst({ where: { job, beganAt: null, endedAt: null } })
    const request = waiting ?? (await tx.jobRequest.create({ data: { id: randomUUID(), job, askedAt: change.now } }))
    await recordAudit(
      tx,
      {
        event: 'job.requested',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'job', id: job },
        detail: { run: request.id },
      },
      change.origin,
    )
    return describe(request)
  })
}

/** @throws JobRequestNotFound */
export async function findRequest(db: Db, job: string, id: string): Promise<JobRequest> {
  const request = isId(id) ? await db.jobRequest.findUnique({ where: { id, job } }) : null
  if (!request) throw new JobRequestNotFound(id)
  return describe(request)
}

/** For whoever waits no longer. What a process has seen is done all the same. @returns whether it was withdrawn */
export async function withdrawRequest(db: Db, id: string, now: Date): Promise<boolean> {
  const { count } = await db.jobRequest.updateMany({
    where: { id, seenAt: null, endedAt: null },
    data: { endedAt: now, outcome: 'withdrawn' },
  })
  return count > 0
}

export type JobRequests = {
  /** @returns the names of jobs, among these, that somebody asked for. */
  see(jobs: readonly string[]): Promise<string[]>
  /** Under the job's lock. @returns the requests that the run answers; none: another process did. */
  begin(job: string, beganAt: Date): Promise<string[]>
  end(ids: readonly string[], run: JobRun): Promise<void>
}

export function createJobRequests({ pool }: Pick<Database, 'pool'>, { now }: { now: () => Date }): JobRequests {
  return {
    async see(jobs) {
      const { rows } = await pool.query<{ id: string; job: string; seen: boolean }>(
        'SELECT id, job, seen_at IS NOT NULL AS seen FROM job_request WHERE ended_at IS NULL AND job = ANY ($1::text[])',
        [jobs],
      )
      const unseen = rows.filter(({ seen }) => !seen)
      if (unseen.length === 0) return [...new Set(rows.map(({ job }) => job))]
      // One that was withdrawn since is not done.
      const { rows: seenNow } = await pool.query<{ id: string }>(
        `UPDATE job_request SET seen_at = coalesce(seen_at, $2) WHERE ended_at IS NULL AND id = ANY ($1::uuid[]) RETURNING id`,
        [unseen.map(({ id }) => id), now()],
      )
      const still = new Set(seenNow.map(({ id }) => id))
      return [...new Set(rows.filter(({ id, seen }) => seen || still.has(id)).map(({ job }) => job))]
    },
    async begin(job, beganAt) {
      const { rows } = await pool.query<{ id: string }>(
        'UPDATE job_request SET began_at = $2, ran_by = $3 WHERE ended_at IS NULL AND job = $1 RETURNING id',
        [job, beganAt, thisProcess],
      )
      return rows.map(({ id }) => id)
    },
    async end(ids, { outcome, seconds }) {
      await pool.query(
        'UPDATE job_request SET ended_at = $2, outcome = $3, seconds = $4 WHERE ended_at IS NULL AND id = ANY ($1::uuid[])',
        [ids, now(), outcome, seconds],
      )
    },
  }
}

type Row = Omit<JobRequest, 'state'> & { outcome: string | null }

function describe({ id, job, askedAt, seenAt, beganAt, endedAt, seconds, ranBy, outcome }: Row): JobRequest {
  const state = outcome === null ? (beganAt === null ? 'waiting' : 'running') : (outcome as RequestState)
  return { id, job, state, askedAt, seenAt, beganAt, endedAt, seconds, ranBy }
}

const isId = (id: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)
