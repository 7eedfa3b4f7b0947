// How much is going on: people who are signed in, tokens that are in force. Looked at along the index of when things end, a bounded number
// of rows: of more only that there are more is said.
import type { Database } from '#src/db/database.ts'
import { tokenKinds } from './kinds.ts'

export type Figure = { count: number; more: boolean }

const mostLooked = 10_000

/** @param options.idleSeconds a session that was not used for so long is over. */
export async function countActivePeople(
  { pool }: Pick<Database, 'pool'>,
  { idleSeconds, now }: { idleSeconds: number; now: Date },
): Promise<Figure> {
  const { rows } = await pool.query<{ count: number; looked: number }>({
    name: 'figures_people',
    text: `SELECT count(DISTINCT user_id) FILTER (WHERE ended_at IS NULL AND last_used_at > $2)::int AS count, count(*)::int AS looked
      FROM (SELECT user_id, ended_at, last_used_at FROM session WHERE expires_at > $1 ORDER BY expires_at DESC LIMIT ${mostLooked}) s`,
    values: [now, new Date(now.getTime() - idleSeconds * 1000)],
  })
  const { count = 0, looked = 0 } = rows[0] ?? {}
  return { count, more: looked === mostLooked }
}

export type TokenFigures = { access: number; refresh: number; more: boolean }

/** Access tokens and refresh tokens that were not used up or revoked one by one. */
export async function countTokens({ pool }: Pick<Database, 'pool'>, now: Date): Promise<TokenFigures> {
  const { rows } = await pool.query<{ access: number; refresh: number; looked: number }>({
    name: 'figures_tokens',
    text: `SELECT count(*) FILTER (WHERE lives AND kind IN (${tokenKinds.AccessToken}, ${tokenKinds.ClientCredentials}))::int AS access,
        count(*) FILTER (WHERE lives AND kind = ${tokenKinds.RefreshToken})::int AS refresh, count(*)::int AS looked
      FROM (SELECT kind, consumed_at IS NULL AND revoked_at IS NULL AS lives FROM token WHERE expires_at > $1
        ORDER BY expires_at LIMIT ${mostLooked}) t`,
    values: [now],
  })
  const { access = 0, refresh = 0, looked = 0 } = rows[0] ?? {}
  return { access, refresh, more: looked === mostLooked }
}
