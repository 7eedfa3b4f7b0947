// Rows that are over leave in small batches while everybody else goes on: each batch is one short statement that takes the
// oldest rows from the index, steps over rows somebody holds, and is made smaller when it took too long (docs/decisions/013).
//
// What is over: what expired more than ten minutes ago. Until then an expired row is still found (the engine tells "expired" from
// "unknown"), and what was consumed, ended or revoked stays as long as it would have lived: it is what a second use is judged by.
// A row without an expiry never leaves. API keys stay for three months: so long a call with one hears in its receipt why.
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { demoServiceId } from '#src/clients/demo-clients.ts'
import type { Database } from '#src/db/database.ts'
import { keptRevocationSeconds } from './feed.ts'
import { tokenKinds } from './kinds.ts'

/** How long a row is kept after it expired. */
export const keptSeconds = 600

/** How long an API key, or a value that was replaced, is kept after it ended: to be told apart from one that never was (`why`, lists, the
 *  download of one's data), and rotated if it merely expired. Records name it by its id and need no row (docs/decisions/037). */
export const keptApiKeySeconds = 90 * 86_400

/** By kind of a token that was consumed (or, of client credentials, issued): the grant type that it shows the use of. */
const grantOfKind: Readonly<Record<number, string>> = {
  [tokenKinds.RefreshToken]: 'refresh_token',
  [tokenKinds.AuthorizationCode]: 'authorization_code',
  [tokenKinds.ClientCredentials]: 'client_credentials',
  [tokenKinds.DeviceCode]: 'urn:ietf:params:oauth:grant-type:device_code',
}

type Sweepable = {
  /** The indexed column that says when a row was over. */
  over: string
  /** Seconds that a row stays after that. */
  kept: number
  /** Rows that are over and have to stay nevertheless. */
  unless?: string
  /** What of the rows that leave is remembered: columns, and the statement that does. */
  remembered?: { columns: string; by: string }
}

/** Looks each row up by itself. (The planner may turn EXISTS into a join, and read the other table as a whole for it.) */
function isThere(rows: string): string {
  return `(SELECT true FROM ${rows} LIMIT 1) IS NOT NULL`
}

/** What clients use (tokens/client-use.ts), from every token once and without a write by any request. Of a row that is known for the hour nothing
 *  is written. */
const rememberUse = `INSERT INTO client_use AS k (client_id, api_identifier, what, last_at)
      SELECT client_id, api, what, at FROM (SELECT client_id, api, what, max(at) AS at FROM (
        SELECT client_id, resource AS api, unnest(string_to_array(scope, ' ')) AS what, at
        FROM (SELECT client_id, resource, scope, max(issued_at) AS at FROM gone
          WHERE kind IN (${tokenKinds.AccessToken}, ${tokenKinds.ClientCredentials}) AND client_id IS NOT NULL AND resource IS NOT NULL GROUP BY 1, 2, 3) access
        UNION ALL
        SELECT client_id, '', CASE kind ${Object.entries(grantOfKind)
          .map(([kind, grant]) => `WHEN ${kind} THEN '${grant}'`)
          .join(' ')} END, max(COALESCE(consumed_at, issued_at)) FROM gone
          WHERE client_id IS NOT NULL AND (kind = ${tokenKinds.ClientCredentials} OR (consumed_at IS NOT NULL
            AND kind IN (${[tokenKinds.RefreshToken, tokenKinds.AuthorizationCode, tokenKinds.DeviceCode].join(', ')}))) GROUP BY 1, 3) u
      WHERE what <> '' GROUP BY 1, 2, 3) used
      WHERE NOT EXISTS (SELECT FROM client_use b WHERE b.client_id = used.client_id AND b.api_identifier = api AND b.what = used.what
        AND b.last_at >= at - interval '1 hour')
      ORDER BY 1, 2, 3
      ON CONFLICT (client_id, api_identifier, what) DO UPDATE SET last_at = EXCLUDED.last_at WHERE k.last_at < EXCLUDED.last_at
      RETURNING 1`

/** In this order: what hangs from a row leaves before the row. */
const sweepable = {
  token: {
    over: 'expires_at',
    kept: keptSeconds,
    remembered: { columns: 'o.kind, o.client_id, o.resource, o.scope, o.issued_at, o.consumed_at', by: rememberUse },
  },
  interaction: { over: 'expires_at', kept: keptSeconds },
  replay: { over: 'expires_at', kept: keptSeconds },
  // Without its grant a token is dead; without it the feed and the lineage would have nothing to name.
  oauth_grant: {
    over: 'expires_at',
    kept: keptSeconds,
    unless: isThere('token t WHERE t.grant_id = o.id'),
  },
  // A token whose session is gone counts as one whose session was never revoked. So a session that was revoked stays until the
  // last grant that was given in it has left, and with it the last token that the revocation ended.
  session: {
    over: 'expires_at',
    kept: keptSeconds,
    unless: `o.generation <> 0 AND ${isThere('oauth_grant g WHERE g.session_uid = o.uid')}`,
  },
  passkey_challenge: { over: 'expires_at', kept: 0 },
  setup_code: { over: 'expires_at', kept: keptSeconds },
  // What still waits to be sent is for the sender to give up (src/mail/sender.ts), with a record.
  mail: { over: 'expires_at', kept: 0, unless: 'o.next_attempt_at IS NOT NULL' },
  address_proof: { over: 'expires_at', kept: keptSeconds },
  invitation: { over: 'expires_at', kept: keptSeconds },
  push_approval: { over: 'expires_at', kept: keptSeconds },
  out_of_band_message: { over: 'expires_at', kept: 0 },
  one_time_code: { over: 'expires_at', kept: keptSeconds },
  guess_limit: { over: 'expires_at', kept: 0 },
  decision_receipt: { over: 'expires_at', kept: 0 },
  remembered_device: { over: 'expires_at', kept: 0 },
  idempotent_request: { over: 'expires_at', kept: 0 },
  // The newest value stays with its key.
  api_key_value: {
    over: 'expires_at',
    kept: keptApiKeySeconds,
    unless: `NOT ${isThere('api_key_value n WHERE n.key_id = o.key_id AND n.version > o.version')}`,
  },
  // Another process may still run the release before, which rotates without moving the end. The demo key's value is derived: without a row
  // the next start would make one anew that somebody had revoked.
  api_key: {
    over: 'ends_at',
    kept: keptApiKeySeconds,
    unless: `o.client_id IS NOT DISTINCT FROM '${demoServiceId}' OR o.revoked_at IS NULL AND ${isThere(
      `api_key_value v WHERE v.key_id = o.id AND (v.expires_at IS NULL OR v.expires_at > now() - make_interval(secs => ${keptApiKeySeconds}))`,
    )}`,
  },
  // With what was delivered of it, and how.
  webhook_event: { over: 'expires_at', kept: 0 },
  // Whoever verifies by himself needs an entry for as long as a token that it ends could still be accepted.
  revocation: { over: 'at', kept: keptRevocationSeconds },
} satisfies Record<string, Sweepable>

export type SweptTable = keyof typeof sweepable | 'origin'
export const sweptTables = [...(Object.keys(sweepable) as (keyof typeof sweepable)[]), 'origin'] as const

export type Batch = { table: SweptTable; rows: number; seconds: number }
export type Sweep = {
  rows: Record<SweptTable, number>
  batches: number
  longestBatchSeconds: number
  /** False when it ended early: there was more than the limits let it take. */
  finished: boolean
}

/** A batch that takes longer is followed by a smaller one, early enough that hardly any takes 50 ms. */
const slowSeconds = 0.02
const firstBatch = 200
const smallestBatch = 10
const largestBatch = 5_000

/** Only one process at a time needs to run it (src/jobs), but any number may.
 *  @param options.now what is over by this clock and by the database's: a clock that runs ahead loses no token.
 *  @param options.maxBatches over all tables. options.maxSeconds: no batch begins after them, and a table takes at most half of
 *  what is left of them.
 *  @param options.onBatch told of each batch, for metrics. @throws the database's error; finished batches stay done. */
export async function sweep(
  database: Pick<Database, 'pool'>,
  options: {
    now: Date
    maxBatches?: number
    maxSeconds?: number
    signal?: AbortSignal
    onBatch?: (batch: Batch) => void
  },
): Promise<Sweep> {
  const { now, maxBatches = Number.POSITIVE_INFINITY, maxSeconds = Number.POSITIVE_INFINITY, signal, onBatch } = options
  const end = performance.now() + maxSeconds * 1000
  const done: Sweep = {
    rows: Object.fromEntries(sweptTables.map((table) => [table, 0])) as Sweep['rows'],
    batches: 0,
    longestBatchSeconds: 0,
    finished: true,
  }
  for (const table of sweptTables) {
    // Half of the time that is left: a table with a long way to go leaves something for the others.
    const share = (end + performance.now()) / 2
    let size = firstBatch
    for (let from: Position | undefined = start(table); from; ) {
      if (signal?.aborted || done.batches >= maxBatches) return { ...done, finished: false }
      if (performance.now() >= share) {
        done.finished = false
        break
      }
      const before = performance.now()
      const batch: Step = await step(database, table, { from, size, now })
      const seconds = (performance.now() - before) / 1000
      done.rows[table] += batch.rows
      done.batches += 1
      done.longestBatchSeconds = Math.max(done.longestBatchSeconds, seconds)
      onBatch?.({ table, rows: batch.rows, seconds })
      from = batch.next
      size = nextSize(size, seconds)
      // At most a third of the time is a sweep's: requests wait for the same disk.
      if (from) await delay(Math.max(1, 2 * seconds * 1000))
    }
  }
  return done
}

/** A batch is halved when it took too long, and grows slowly while it is quick. */
export function nextSize(size: number, seconds: number): number {
  if (seconds > slowSeconds) return Math.max(smallestBatch, Math.floor(size / 2))
  return seconds < slowSeconds / 2 ? Math.min(largestBatch, Math.ceil(size * 1.25)) : size
}

type Step = { rows: number; next: Position | undefined }
type Position = TimePosition | OriginPosition
/** Rows that were over at `since` or later; `beyond`: later only. */
type TimePosition = { since: string; beyond: boolean }
/** Origins from `after` to `until`. `turned`: the end of the table was reached and its beginning is left. */
type OriginPosition = { after: Buffer; until: Buffer; turned: boolean; left: number }

function start(table: SweptTable): Position {
  if (table !== 'origin') return { since: '-infinity', beyond: false }
  const anywhere = randomBytes(32)
  return { after: anywhere, until: lastId, turned: false, left: originsPerSweep }
}

async function step(
  database: Pick<Database, 'pool'>,
  table: SweptTable,
  { from, size, now }: { from: Position; size: number; now: Date },
): Promise<Step> {
  if (table === 'origin') return stepOrigins(database, { from: from as OriginPosition, size, now })
  const { since, beyond } = from as TimePosition
  const { rows } = await database.pool.query<{ looked: number; gone: number; last: string | null }>({
    text: sweepStatement(table, beyond),
    values: [since, now, sweepable[table].kept, size],
  })
  const { looked = 0, gone = 0, last = null } = rows[0] ?? {}
  if (looked < size || last === null) return { rows: gone, next: undefined }
  // Rows that had to stay are looked at once a sweep. (More of one millisecond than a batch holds, none of which may leave, are
  // passed over as a whole.)
  return { rows: gone, next: { since: last, beyond: gone === 0 && last === since } }
}

/** A batch that a crash undoes is swept again, so nobody waits for the disk on its behalf, and no flush of its is in the way of others'. */
const unflushed = `set_config('synchronous_commit', 'off', true)`

/** Looks at the oldest rows from `$1` on, takes those that may leave and that nobody holds, and tells how far it looked. Only this
 *  order reads the index from its beginning; a row that a commit holds is left for the next sweep, so neither waits long for the
 *  other: a commit that wants a row of the batch waits for one batch.
 *  Whoever runs behind or ahead of the database's clock deletes nothing early: both clocks have to agree. */
export function sweepStatement(table: Exclude<SweptTable, 'origin'>, beyond = false): string {
  const { over, unless, remembered }: Sweepable = sweepable[table]
  return `WITH looked AS MATERIALIZED (
    SELECT o.ctid, o.${over} AS over FROM ${table} o
    WHERE o.${over} ${beyond ? '>' : '>='} $1::timestamptz AND o.${over} < LEAST($2::timestamptz, now()) - make_interval(secs => $3)
    ORDER BY o.${over} LIMIT $4),
  held AS MATERIALIZED (
    SELECT o.ctid FROM ${table} o WHERE o.ctid = ANY (ARRAY(SELECT ctid FROM looked))
    ${unless ? `AND NOT (${unless})` : ''} FOR UPDATE SKIP LOCKED),
  gone AS (DELETE FROM ${table} o WHERE o.ctid = ANY (ARRAY(SELECT ctid FROM held)) RETURNING ${remembered?.columns ?? '1'})${
    remembered
      ? `,
  remembered AS (${remembered.by})`
      : ''
  }
  SELECT (SELECT count(*) FROM looked)::int AS looked, (SELECT count(*) FROM gone)::int AS gone, (SELECT max(over) FROM looked)::text AS last,
    ${unflushed}`
}

/** One row for each table: how long its oldest row that may leave is waiting. */
export const lagStatement = Object.entries<Sweepable>(sweepable)
  .map(
    ([table, { over, kept, unless }]) => `SELECT '${table}' AS table, COALESCE((
    SELECT extract(epoch FROM now() - o.${over})::double precision - ${kept} FROM ${table} o
    WHERE o.${over} < now() - make_interval(secs => ${kept}) ${unless ? `AND NOT (${unless})` : ''} ORDER BY o.${over} LIMIT 1), 0) AS seconds`,
  )
  .join('\nUNION ALL\n')

const originsPerSweep = 1_000
const lastId = Buffer.alloc(33, 0xff)

/** Nothing says when the last session or grant from somewhere left, so each sweep looks at some origins, beginning anywhere: their
 *  ids are hashes, and every one has its turn. A session that begins in the very moment its origin leaves keeps an id that leads
 *  nowhere; the audit event of the sign-in has the address itself. */
async function stepOrigins(
  { pool }: Pick<Database, 'pool'>,
  { from, size, now }: { from: OriginPosition; size: number; now: Date },
): Promise<Step> {
  const limit = Math.min(size, from.left)
  const { rows } = await pool.query<{ looked: number; gone: number; last: Buffer | null }>({
    text: originStatement,
    values: [from.after, from.until, now, keptSeconds, limit],
  })
  const { looked = 0, gone = 0, last = null } = rows[0] ?? {}
  const left = from.left - looked
  if (left <= 0) return { rows: gone, next: undefined }
  if (looked === limit && last) return { rows: gone, next: { ...from, after: last, left } }
  if (from.turned) return { rows: gone, next: undefined }
  return { rows: gone, next: { after: Buffer.alloc(0), until: from.after, turned: true, left } }
}

export const originStatement = `WITH looked AS MATERIALIZED (
    SELECT o.id, o.first_seen_at FROM origin o WHERE o.id > $1 AND o.id <= $2 ORDER BY o.id LIMIT $5),
  gone AS (
    DELETE FROM origin o WHERE o.id = ANY (ARRAY(
      SELECT l.id FROM looked l WHERE l.first_seen_at < LEAST($3::timestamptz, now()) - make_interval(secs => $4)
        AND NOT (${isThere('session s WHERE s.origin_id = l.id')}) AND NOT (${isThere('oauth_grant g WHERE g.origin_id = l.id')})))
    RETURNING 1)
  SELECT (SELECT count(*) FROM looked)::int AS looked, (SELECT count(*) FROM gone)::int AS gone, (SELECT id FROM looked ORDER BY id DESC LIMIT 1) AS last,
    ${unflushed}`
