// How many sign-ins there were, by hour or by day, out of the record itself. Of each step of time a bounded number of entries is counted, in
// the index alone; where there are more, the number is worked out from how quickly those came.
import type { Database } from '#src/db/database.ts'

export type SignInStep = {
  from: Date
  succeeded: number
  failed: number
  /** More than were counted: the numbers are estimates. */
  estimated: boolean
}

/** Of each kind in each step. */
const mostCounted = 2_000

const kinds = {
  succeeded: ['login.succeeded'],
  /** A wrong password, and a wrong code after a right one. */
  failed: ['login.failed', 'factor.failed'],
} as const

/** @param window.until the end of the last step, which may be going on still. @returns the oldest first. */
export async function countSignIns(
  { pool }: Pick<Database, 'pool'>,
  { until, steps, seconds, now }: { until: Date; steps: number; seconds: number; now: Date },
): Promise<SignInStep[]> {
  const begin = until.getTime() - steps * seconds * 1000
  const froms = Array.from({ length: steps }, (_, index) => new Date(begin + index * seconds * 1000))
  const { rows } = await pool.query<{ from: Date; event: string; counted: number; last: Date | null }>({
    name: 'audit_sign_ins',
    text: statement,
    values: [froms, seconds],
  })
  return froms.map((from) => {
    const length = Math.min(seconds * 1000, now.getTime() - from.getTime())
    const ours = rows.filter((row) => row.from.getTime() === from.getTime())
    const sum = (events: readonly string[]): number =>
      ours.filter(({ event }) => events.includes(event)).reduce((all, row) => all + likely(row, from, length), 0)
    return {
      from,
      succeeded: sum(kinds.succeeded),
      failed: sum(kinds.failed),
      estimated: ours.some(({ counted }) => counted === mostCounted),
    }
  })
}

function likely({ counted, last }: { counted: number; last: Date | null }, from: Date, length: number): number {
  if (counted < mostCounted || !last) return counted
  const took = Math.max(1, last.getTime() - from.getTime())
  return Math.round((counted * Math.max(length, took)) / took)
}

// One walk along the index of an event and a time for each name and step, never longer than what is counted.
const statement = Object.values(kinds)
  .flat()
  .map(
    (event) => `SELECT step AS "from", '${event}' AS event, c.counted, c.last FROM unnest($1::timestamptz[]) step
  CROSS JOIN LATERAL (SELECT count(*)::int AS counted, max(at) AS last FROM (SELECT at FROM audit_event
    WHERE event = '${event}' AND at >= step AND at < step + make_interval(secs => $2) ORDER BY at, id LIMIT ${mostCounted}) e) c`,
  )
  .join('\nUNION ALL\n')
