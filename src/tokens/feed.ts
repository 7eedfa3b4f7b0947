// The feed of revocations, for verifiers that check JWTs by themselves and never call us. Its rows are written by triggers, in the commit
// of the effect (docs/decisions/011); here they are read. What a reader has seen is what its cursor says, and the cursor is a snapshot:
// the next answer is everything that is visible now and was not visible then. So a commit that comes late is not missed, and
// one that is still open holds nobody up.
//
// A trigger cannot know when its commit will be seen, and a request that does not see it yet goes on issuing under what it ends. So the
// first reader says when that was: it sees the entry, hence so does every request that begins from then on (docs/decisions/018).
import { longestAccessTokenTtlSeconds } from '#src/apis/apis.ts'
import type { Database } from '#src/db/database.ts'
import { type Cursor, formatCursor, nothingSeen, parseCursor } from './feed-cursor.ts'

export type FeedEntry = {
  /** token | grant | user | client | api | all */
  kind: string
  /** The `jti`, the claim `grant_id`, `sub`, `client_id`, `aud`, or `*`. */
  target: string
  /** Epoch seconds: a token whose `iat` is not greater is over. */
  issuedBefore: number
  at: Date
  /** Seconds from the revocation to this reading, by the database's clock. */
  age: number
}

export type FeedPage = {
  data: FeedEntry[]
  /** Where to go on; the cursor that was given when there was nothing new. */
  next: string
}

/** Rows are kept this long: an API whose lifetimes were shortened, or that was deleted, may have issued for the longest there is. */
export const keptRevocationSeconds = longestAccessTokenTtlSeconds + 600

/** For how long something that a key signed is of use to somebody: access tokens, and the ID token of a session, which is its hint at sign-out. */
export const signedIsOfUseSeconds = (sessionTtlSeconds: number): number =>
  Math.max(keptRevocationSeconds, sessionTtlSeconds + 600)

// A cursor from a future that never was (the database is a copy of an older day) has seen nothing.
const seen = `CASE WHEN pg_snapshot_xmax($1::pg_snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
  THEN $1::pg_snapshot ELSE '${nothingSeen}'::pg_snapshot END`

// Of an epoch the feed says the last whole second that is entirely before it: an epoch is a moment that somebody named. Everything else
// was revoked within the second that it names. An entry that this very statement makes known has no time in its row yet.
const issuedBefore = `CASE r.kind WHEN 'all' THEN ceil(extract(epoch FROM r.issued_before)) - 1
  ELSE floor(extract(epoch FROM COALESCE(r.known_at, m.known_at, clock_timestamp()))) END`

/** Whoever is second finds nothing to do; whoever holds a row is not waited for. */
const makeKnown = `UPDATE revocation SET known_at = clock_timestamp() WHERE id = ANY (ARRAY(
    SELECT id FROM revocation WHERE known_at IS NULL FOR UPDATE SKIP LOCKED))`

type Row = FeedEntry & { transaction: string; id: string; present: string }

/** @param after `next` of the page before; undefined for the oldest entry kept. @throws UnknownCursor */
export async function readFeed(
  { pool }: Pick<Database, 'pool'>,
  after: string | undefined,
  limit: number,
): Promise<FeedPage> {
  const cursor: Cursor = after === undefined ? { seen: nothingSeen } : parseCursor(after)
  const { rows } = await pool.query<Row>({
    name: 'revocations_after',
    text: `WITH made_known AS MATERIALIZED (${makeKnown} RETURNING id, known_at)
      SELECT r.transaction::text, r.id::text, r.kind, r.target, r.at, (${issuedBefore})::float8 AS "issuedBefore",
        extract(epoch FROM clock_timestamp() - r.at)::float8 AS age, pg_current_snapshot()::text AS present
      FROM revocation r LEFT JOIN made_known m ON m.id = r.id
      WHERE r.transaction >= pg_snapshot_xmin(${seen}) AND NOT pg_visible_in_snapshot(r.transaction, ${seen})
        AND pg_visible_in_snapshot(r.transaction, COALESCE($2::pg_snapshot, pg_current_snapshot()))
        AND (r.transaction, r.id) > ($3::xid8, $4::bigint)
      ORDER BY r.transaction, r.id LIMIT $5`,
    values: [cursor.seen, cursor.until ?? null, cursor.transaction ?? '0', cursor.id ?? '0', limit],
  })
  return {
    data: rows.map(({ kind, target, issuedBefore, at, age }) => ({ kind, target, issuedBefore, at, age })),
    next: nextCursor(cursor, rows, limit) ?? after ?? formatCursor(cursor),
  }
}

/** @returns undefined when there was nothing new. A walk through several pages shows what was there when it began; what came
 *  meanwhile follows after it. */
function nextCursor(cursor: Cursor, rows: readonly Row[], limit: number): string | undefined {
  const last = rows.at(-1)
  const until = cursor.until ?? last?.present
  if (until === undefined) return undefined
  if (!last || rows.length < limit) return formatCursor({ seen: until })
  return formatCursor({ seen: cursor.seen, until, transaction: last.transaction, id: last.id })
}

/** The cursor of somebody who has seen everything that is there now. */
export async function feedHead({ pool }: Pick<Database, 'pool'>): Promise<string> {
  await pool.query(makeKnown)
  const { rows } = await pool.query<{ present: string }>('SELECT pg_current_snapshot()::text AS present')
  return formatCursor({ seen: rows[0]?.present ?? nothingSeen })
}

/** After pg_restore into a new server, rows carry transaction numbers that this server has not reached: they would stay hidden, and
 *  turn up again much later. They are given the number of this transaction. */
export async function adoptRestoredRows({ pool }: Pick<Database, 'pool'>): Promise<number> {
  const { rowCount } = await pool.query(
    'UPDATE revocation SET transaction = pg_current_xact_id() WHERE transaction >= pg_snapshot_xmax(pg_current_snapshot())',
  )
  return rowCount ?? 0
}
