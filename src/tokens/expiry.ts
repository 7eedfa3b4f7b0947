// A token whose time is over before it is: for `sallyport probe`, which shows an API tokens that it must refuse.
import { createHash } from 'node:crypto'
import type { Database } from '#src/db/database.ts'

/** Moves the end of an opaque token into the past. It is never moved ahead. @param value as it is presented. */
export async function expireOpaqueToken({ pool }: Pick<Database, 'pool'>, value: string, at: Date): Promise<void> {
  const id = createHash('sha256').update(value).digest()
  await pool.query('UPDATE token SET expires_at = $2 WHERE id = $1 AND expires_at > $2', [id, at])
}
