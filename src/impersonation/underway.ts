// Who is behind a session that is not its person's own, while that is allowed. Asked at every look, never remembered longer than a request:
// a role that was taken away has ended it.
import type { Database } from '#src/db/database.ts'
import { parties, standing } from './standing.ts'

export type Underway = Readonly<{
  id: string
  userId: string
  email: string
  impersonatorId: string
  impersonatorEmail: string
  reason: string
  /** Epoch seconds. */
  expiresAt: number
}>

/** @param id of `impersonationIn`. @returns undefined for one that is over, was never begun, or is none. */
export async function findUnderway(
  { pool }: Pick<Database, 'pool'>,
  id: string,
  now: Date,
): Promise<Underway | undefined> {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) return undefined
  const { rows } = await pool.query<Underway>({
    name: 'impersonation_underway',
    text: `SELECT i.id, i.user_id AS "userId", u.email, i.impersonator_id AS "impersonatorId", a.email AS "impersonatorEmail", i.reason,
        extract(epoch FROM i.expires_at)::double precision AS "expiresAt"
      FROM impersonation i ${parties} WHERE i.id = $2 AND i.begun_at IS NOT NULL AND ${standing} = 'underway'`,
    values: [now, id],
  })
  return rows[0]
}
