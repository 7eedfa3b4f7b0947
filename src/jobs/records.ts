// How scheduled work went, kept in the database for whoever looks whether it is done at all, a row a job. A job may run each second: of its
// looks and its runs at most one a minute is written by a process, and beside that every change of how they end.
import { hostname } from 'node:os'
import type { Database } from '#src/db/database.ts'
import type { Job, JobRun } from './schedule.ts'

export type JobRecord = {
  name: string
  everySeconds: number
  /** It runs when there is work, and looks so often whether there is. */
  whenNeeded: boolean
  /** When a process last looked; up to a minute old. */
  lookedAt: Date
  /** Nobody looked for so long that nobody seems to run it. */
  late: boolean
  /** Of the last run that was written. */
  beganAt: Date | null
  seconds: number | null
  outcome: 'done' | 'failed' | null
  failedAt: Date | null
  /** Machine and process. */
  ranBy: string | null
  /** When the next run is to be expected at the latest; null: when there is work. */
  dueAt: Date | null
  /** When somebody asked for a run that has not ended yet. */
  askedAt: Date | null
}

export type JobRecords = {
  /** Every job that there is now has a row, and no other. */
  begin(jobs: readonly Job[]): Promise<void>
  looked(job: Job): Promise<void>
  /** @param options.asked somebody waits for it: it is written whatever was before. */
  ran(job: Job, beganAt: Date, run: JobRun, options?: { asked?: boolean }): Promise<void>
}

const writtenEverySeconds = 60

/** Machine and process. */
export const thisProcess = `${hostname()}:${process.pid}`

export function createJobRecords({ pool }: Pick<Database, 'pool'>, { now }: { now: () => Date }): JobRecords {
  const looks = new Map<string, number>()
  const runs = new Map<string, { at: number; outcome: string }>()

  return {
    async begin(jobs) {
      await pool.query('DELETE FROM job WHERE name <> ALL ($1::text[])', [jobs.map(({ name }) => name)])
      for (const job of jobs) await write(job)
    },

    async looked(job) {
      if (isRecent(looks.get(job.name))) return
      await write(job)
    },

    async ran(job, beganAt, { outcome, seconds }, { asked = false } = {}) {
      const last = runs.get(job.name)
      if (outcome === 'stopped' || (!asked && last?.outcome === outcome && isRecent(last.at))) return
      runs.set(job.name, { at: now().getTime(), outcome })
      await pool.query(
        `UPDATE job SET began_at = $2, seconds = $3, outcome = $4, ran_by = $5, looked_at = $6,
           failed_at = CASE WHEN $4 = 'failed' THEN $6 ELSE failed_at END
         WHERE name = $1`,
        [job.name, beganAt, seconds, outcome, thisProcess, now()],
      )
    },
  }

  async function write({ name, everySeconds, isDue }: Job): Promise<void> {
    looks.set(name, now().getTime())
    await pool.query(
      `INSERT INTO job (name, every_seconds, when_needed, looked_at) VALUES ($1, $2, $3, $4)
       ON CONFLICT (name) DO UPDATE SET every_seconds = excluded.every_seconds, when_needed = excluded.when_needed,
         looked_at = greatest(job.looked_at, excluded.looked_at)`,
      [name, everySeconds, isDue !== undefined, now()],
    )
  }

  function isRecent(at: number | undefined): boolean {
    return at !== undefined && now().getTime() - at < writtenEverySeconds * 1000
  }
}

/** By name. */
export async function listJobs({ pool }: Pick<Database, 'pool'>, now: Date): Promise<JobRecord[]> {
  const { rows } = await pool.query<Omit<JobRecord, 'late' | 'dueAt'>>(
    `SELECT name, every_seconds AS "everySeconds", when_needed AS "whenNeeded", looked_at AS "lookedAt", began_at AS "beganAt", seconds,
       outcome, failed_at AS "failedAt", ran_by AS "ranBy",
       (SELECT min(asked_at) FROM job_request WHERE job = job.name AND ended_at IS NULL) AS "askedAt"
     FROM job ORDER BY name`,
  )
  return rows.map((row) => {
    const everyMs = row.everySeconds * 1000
    const silence = now.getTime() - row.lookedAt.getTime()
    return {
      ...row,
      late: silence > Math.max(3 * everyMs, 3 * writtenEverySeconds * 1000),
      dueAt: row.whenNeeded ? null : new Date((row.beganAt ?? row.lookedAt).getTime() + everyMs),
    }
  })
}
