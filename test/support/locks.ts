import type { Database } from '#src/db/database.ts'

/** How many connections of this database wait for a lock at this moment: with `expect.poll`, the moment a statement has come to a row that a
 *  test keeps. */
export async function waitingForLocks({ pool }: Pick<Database, 'pool'>): Promise<number> {
  const { rows } = await pool.query(
    `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  )
  return rows.length
}
