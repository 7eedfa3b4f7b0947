// SECRET_KEY changes without an outage: the new key is put in front and seals from then on, the old ones go on opening, and what lies in rows
// moves to the new one in the background, until nothing needs the old ones.
//
// Order of events: a start notes its keys, and refuses to do without one that something is sealed under (noteSecretKeys) -> the elected process
// counts, and seals anew in small batches (moveToNewestKey) -> the counts are zero (readSealing), for as long as what is not in rows may still be
// about -> the old key is dropped -> the next start makes sure, once.
//
// Each row is written on condition that it still says what was read: a change that came between wins, and is under the new key anyway.
import { setTimeout as delay } from 'node:timers/promises'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database } from '#src/db/database.ts'
import { type SealedPlace, sealedPlaces } from './sealed-values.ts'
import type { SecretKeys } from './secret-key.ts'

/** A key left SECRET_KEY before its time. The message is for the operator. */
export class SecretKeyStillNeeded extends Error {
  override name = 'SecretKeyStillNeeded'
  constructor(unreadable: readonly { what: string; rows: number }[]) {
    super(
      `SECRET_KEY does not open what the database holds: ${unreadable.map(({ what, rows }) => `${rows} ${what}`).join(', ')}. Put the key that they were sealed under back, behind the new one and separated by a comma, until \`sallyport keys secret status\` says that it may go.`,
    )
  }
}

const rowsLookedAt = 1_000
const batchRows = 100

type Page = { last: string | undefined; rows: { key: string; sealed: string }[] }
type Pool = Pick<Database, 'pool'>

/** Notes which keys this process has. Of processes with different ones the last to start says which seals; the others go on opening.
 *  @throws SecretKeyStillNeeded when a key that was here before is missing and some row opens with none of those that are left. Nothing is looked
 *  through while none is missing. */
export async function noteSecretKeys(database: Pool, secretKeys: SecretKeys, now: Date): Promise<void> {
  // Every start does this, and none needs Prisma for it (docs/decisions/016).
  const { pool } = database
  const { fingerprints } = secretKeys
  const [first = ''] = fingerprints
  const { rows: known } = await pool.query<{ fingerprint: string; firstAt: Date | null; goneAt: Date | null }>(
    'SELECT fingerprint, first_at AS "firstAt", gone_at AS "goneAt" FROM secret_key',
  )
  const missing = known.filter((key) => key.goneAt === null && !fingerprints.includes(key.fingerprint))
  if (known.length === 0 || missing.length > 0) {
    const lost = (await countSealed(database, secretKeys)).filter(({ unreadable }) => unreadable > 0)
    if (lost.length > 0)
      throw new SecretKeyStillNeeded(lost.map(({ what, unreadable }) => ({ what, rows: unreadable })))
    await pool.query('UPDATE secret_key SET gone_at = $1 WHERE fingerprint = ANY ($2::text[])', [
      now,
      missing.map(({ fingerprint }) => fingerprint),
    ])
  }
  await pool.query(
    `INSERT INTO secret_key (fingerprint, seen_at) SELECT f, $1 FROM unnest($2::text[]) f ORDER BY f
     ON CONFLICT (fingerprint) DO UPDATE SET gone_at = NULL`,
    [now, fingerprints],
  )
  const newest = newestOf(known)
  const isNewest = newest?.fingerprint === first
  if (isNewest && fingerprints.length > 1) return
  // Whatever clocks say, who starts last is the newest.
  const firstAt = isNewest ? null : new Date(Math.max(now.getTime(), (newest?.firstAt?.getTime() ?? 0) + 1))
  // With one key that opens everything there is nothing to count.
  const settled = fingerprints.length === 1
  await pool.query(
    `UPDATE secret_key SET counted_at = $2, pending = COALESCE($3, pending), first_at = COALESCE($4, first_at)
     WHERE fingerprint = $1`,
    [first, settled ? now : null, settled ? zeros() : null, firstAt],
  )
}

/** By purpose of sealed-values.ts: how many rows each key seals. */
export type SealedCount = {
  what: string
  purpose: string
  /** In the order of SECRET_KEY. */
  underKey: number[]
  /** Opened by none of them. */
  unreadable: number
}

/** Looks at every sealed row there is: about ten seconds for a million. */
export async function countSealed(
  database: Pool,
  secretKeys: SecretKeys,
  signal?: AbortSignal,
): Promise<SealedCount[]> {
  const counts: SealedCount[] = []
  for (const place of sealedPlaces) {
    const count = {
      what: place.what,
      purpose: place.purpose,
      underKey: secretKeys.fingerprints.map(() => 0),
      unreadable: 0,
    }
    for await (const rows of pagesOf(database, place, signal))
      for (const { key, sealed } of rows) {
        const by = secretKeys.sealedUnder(place.purpose, place.context(key), sealed)
        if (by === undefined) count.unreadable++
        else count.underKey[by] = (count.underKey[by] ?? 0) + 1
      }
    counts.push(count)
  }
  return counts
}

/** Whether no other process knows a newer key. */
export async function sealsNewest(database: Pool, { fingerprints }: SecretKeys): Promise<boolean> {
  return (await readSealing(database)).newest === fingerprints[0]
}

/** Whether there is something to do, for a process that has nothing else to go by: cheap. */
export async function isMoveDue(database: Pool, secretKeys: SecretKeys, now: Date): Promise<boolean> {
  if (secretKeys.fingerprints.length < 2) return false
  const { newest, countedAt, pending } = await readSealing(database)
  // Another process knows a newer key: two that pull rows to and fro would never be done.
  if (newest !== secretKeys.fingerprints[0]) return false
  const wait = pending === undefined || sum(pending) > 0 ? againSeconds : checkSeconds
  return countedAt === undefined || countedAt.getTime() + wait * 1000 <= now.getTime()
}

/** What could not be moved is tried again soon; what a process of before the rotation may have written since, later. */
const againSeconds = 300
const checkSeconds = 3_600

/** Seals anew whatever an older key seals. Any number of processes may do it at once, and be killed at any moment.
 *  @param options.onBatch how many rows wait after each batch; waited for. @returns how many were moved, and how many wait still. */
export async function moveToNewestKey(
  database: Database,
  secretKeys: SecretKeys,
  options: { change: Change; signal?: AbortSignal; onBatch?: (pending: number) => void | Promise<void> },
): Promise<{ moved: number; pending: number; unreadable: number }> {
  const { change, signal, onBatch } = options
  const counts = await countSealed(database, secretKeys, signal)
  const pending = pendingOf(counts)
  await keepState(database, secretKeys, pending, change.now)
  let moved = 0
  for (const place of sealedPlaces) {
    if (counts.every((count) => count.purpose !== place.purpose || isSettled(count))) continue
    for await (const rows of pagesOf(database, place, signal))
      for (let at = 0; at < rows.length && !signal?.aborted; at += batchRows) {
        const old = rows.slice(at, at + batchRows).flatMap(({ key, sealed }) => {
          const context = place.context(key)
          if (!secretKeys.sealedUnder(place.purpose, context, sealed)) return [] // by the newest, or by none
          const plain = secretKeys.unseal(place.purpose, context, sealed)
          return [{ key, old: sealed, fresh: secretKeys.seal(place.purpose, context, plain) }]
        })
        if (old.length === 0) continue
        const before = performance.now()
        const done = await writeBatch(database, place, old)
        moved += done
        pending[place.purpose] = Math.max(0, (pending[place.purpose] ?? 0) - done)
        await keepState(database, secretKeys, pending, change.now)
        await onBatch?.(sum(pending))
        await delay(Math.max(1, 2 * (performance.now() - before))) // requests wait for the same disk
      }
  }
  const unreadable = counts.reduce((total, count) => total + count.unreadable, 0)
  if (moved > 0) {
    const [fingerprint = ''] = secretKeys.fingerprints
    await recordAudit(
      database.prisma,
      {
        event: 'secret_key.rows_moved',
        outcome: 'success',
        actor: change.actor,
        target: { kind: 'secret_key', id: fingerprint },
        detail: { moved, pending: sum(pending) },
      },
      change.origin,
    )
  }
  return { moved, pending: sum(pending), unreadable }
}

/** For keys that are lost for good: deletes every row that none of the keys opens. Signing keys are made anew by the next start; people whose factors
 *  these were are as if they had none, which their next sign-in takes as it takes anybody without one. */
export async function discardUnreadable(
  database: Database,
  secretKeys: SecretKeys,
  change: Change,
): Promise<SealedCount[]> {
  const counts = await countSealed(database, secretKeys)
  for (const place of sealedPlaces)
    for await (const rows of pagesOf(database, place)) {
      const lost = rows.filter(
        ({ key, sealed }) => secretKeys.sealedUnder(place.purpose, place.context(key), sealed) === undefined,
      )
      if (lost.length > 0) await deleteBatch(database, place, lost)
    }
  const lost = counts.filter(({ unreadable }) => unreadable > 0)
  if (lost.length === 0) return []
  await database.prisma.$transaction(async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    await recordAudit(
      tx,
      {
        event: 'secret_key.rows_discarded',
        outcome: 'success',
        actor: change.actor,
        detail: Object.fromEntries(lost.map(({ what, unreadable }) => [what, unreadable])),
      },
      change.origin,
    )
  })
  return lost
}

export type Sealing = {
  /** Of the key that seals. */
  newest: string | undefined
  since: Date | undefined
  /** When rows were last counted; undefined: not since it seals. */
  countedAt: Date | undefined
  /** By purpose, rows that an older key seals. */
  pending: Record<string, number> | undefined
}

/** What was last counted: cheap, for metrics and pages. countSealed knows how it is now. */
export async function readSealing({ pool }: Pool): Promise<Sealing> {
  const { rows } = await pool.query<{
    newest: string
    since: Date
    countedAt: Date | null
    pending: Record<string, number> | null
  }>(
    `SELECT fingerprint AS newest, first_at AS since, counted_at AS "countedAt", pending FROM secret_key
      WHERE first_at IS NOT NULL ORDER BY first_at DESC LIMIT 1`,
  )
  const [row] = rows
  return {
    newest: row?.newest,
    since: row?.since,
    countedAt: row?.countedAt ?? undefined,
    pending: (row?.countedAt && row.pending) ?? undefined,
  }
}

/** From when on an old key may be dropped without anybody noticing: rows aside, its signature is on cookies of sessions, which get the new one with
 *  their next use. @returns undefined while rows need it, and before a server has begun to seal with the newest of `secretKeys`. */
export function droppableFrom(
  { newest, since, countedAt, pending }: Sealing,
  { fingerprints }: Pick<SecretKeys, 'fingerprints'>,
  sessionTtlSeconds: number,
): Date | undefined {
  if (newest !== fingerprints[0] || !since || !countedAt || !pending || sum(pending) > 0) return undefined
  return new Date(since.getTime() + Math.max(sessionTtlSeconds, checkSeconds) * 1000)
}

async function keepState(
  { prisma }: Database,
  { fingerprints: [first = ''] }: SecretKeys,
  pending: Record<string, number>,
  now: Date,
) {
  await prisma.secretKey.updateMany({ where: { fingerprint: first }, data: { pending, countedAt: now } })
}

function newestOf<Key extends { firstAt: Date | null }>(keys: readonly Key[]): Key | undefined {
  return keys.toSorted((a, b) => (b.firstAt?.getTime() ?? 0) - (a.firstAt?.getTime() ?? 0)).find((key) => key.firstAt)
}

const isSettled = ({ underKey: [, ...older] }: SealedCount): boolean => older.every((rows) => rows === 0)
const sum = (pending: Record<string, number>): number => Object.values(pending).reduce((total, rows) => total + rows, 0)
const zeros = (): Record<string, number> => Object.fromEntries(sealedPlaces.map(({ purpose }) => [purpose, 0]))

function pendingOf(counts: readonly SealedCount[]): Record<string, number> {
  const pending = zeros()
  for (const {
    purpose,
    underKey: [, ...older],
  } of counts)
    pending[purpose] = older.reduce((total, rows) => total + rows, pending[purpose] ?? 0)
  return pending
}

/** By the primary key, a bounded number of rows at a time, whatever share of them is sealed. */
async function* pagesOf(database: Pool, place: SealedPlace, signal?: AbortSignal): AsyncGenerator<Page['rows']> {
  for (let after: string | undefined; !signal?.aborted; ) {
    const { rows } = await database.pool.query<{ key: string; sealed: string | null }>({
      text: pageStatement(place, after !== undefined),
      values: [rowsLookedAt, ...(after === undefined ? [] : [after])],
    })
    yield rows.flatMap(({ key, sealed }) => (sealed === null ? [] : [{ key, sealed }]))
    after = rows.at(-1)?.key
    if (rows.length < rowsLookedAt) return
  }
}

function pageStatement(place: SealedPlace, continued: boolean): string {
  const { table, key, only = 'true' } = place
  return `SELECT ${keyText(place, `t.${key}`)} AS key, CASE WHEN ${only} THEN ${sealedValueOf(place)} END AS sealed
    FROM ${table} t ${continued ? `WHERE t.${key} > ${keyOf(place, '$2')}` : ''} ORDER BY t.${key} LIMIT $1`
}

/** Rows that somebody holds, or has changed, are left: the next round looks at them again. In the order of their keys. */
async function writeBatch(
  { pool }: Pool,
  place: SealedPlace,
  rows: readonly { key: string; old: string; fresh: string }[],
): Promise<number> {
  const { table, key } = place
  const { rowCount } = await pool.query({
    text: `WITH i AS (SELECT ${keyOf(place, 'k')} AS key, old, fresh FROM unnest($1::text[], $2::text[], $3::text[]) AS u(k, old, fresh)),
      held AS MATERIALIZED (
        SELECT t.${key} AS key, i.old, i.fresh FROM i JOIN ${table} t ON t.${key} = i.key WHERE ${sealedValueOf(place)} = i.old
        ORDER BY t.${key} FOR UPDATE OF t SKIP LOCKED)
      UPDATE ${table} t SET ${assignmentOf(place)} FROM held WHERE t.${key} = held.key`,
    values: [rows.map((row) => row.key), rows.map((row) => row.old), rows.map((row) => row.fresh)],
  })
  return rowCount ?? 0
}

async function deleteBatch(
  { pool }: Pool,
  place: SealedPlace,
  rows: readonly { key: string; sealed: string }[],
): Promise<void> {
  const { table, key } = place
  await pool.query({
    text: `DELETE FROM ${table} t USING (SELECT ${keyOf(place, 'k')} AS key, old FROM unnest($1::text[], $2::text[]) AS u(k, old)) i
      WHERE t.${key} = i.key AND ${sealedValueOf(place)} = i.old`,
    values: [rows.map((row) => row.key), rows.map((row) => row.sealed)],
  })
}

const keyText = ({ keyType }: SealedPlace, column: string): string =>
  keyType === 'bytea' ? `encode(${column}, 'hex')` : `${column}::text`

const keyOf = ({ keyType }: SealedPlace, text: string): string =>
  keyType === 'bytea' ? `decode(${text}, 'hex')` : `${text}::${keyType}`

/** As base64url, which is what SecretKeys speaks. */
function sealedValueOf({ column }: SealedPlace): string {
  if ('text' in column) return `t.${column.text}`
  if ('json' in column) return `t.${column.json}->>'${column.field}'`
  return `translate(encode(t.${column.bytes}, 'base64'), E'+/=\\n', '-_')`
}

function assignmentOf({ column }: SealedPlace): string {
  if ('text' in column) return `${column.text} = held.fresh`
  // As text, so that the rest of what the engine keeps stays as it is to the byte. Nothing in a sealed value needs an escape.
  if ('json' in column) return `${column.json} = replace(t.${column.json}::text, held.old, held.fresh)::json`
  return `${column.bytes} = decode(translate(held.fresh, '-_', '+/') || repeat('=', (4 - length(held.fresh) % 4) % 4), 'base64')`
}
