// Browsers in which a person asked not to be asked for a code again (docs/decisions/030). Such a browser proves nothing: it only spares the
// second factor where nobody but the person's own factors asks for it (isEnough in second-factors.ts), and what is reported of the
// sign-in is what was proven in it.
//
// Nobody has to remember to forget one. A row names the person's generation and their second factors as they were, so a new password, a
// recovery, "sign out everywhere", an added or a removed factor end it by being what they are.
import { createHash, randomBytes } from 'node:crypto'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { Prisma } from '#src/db/generated/client.ts'
import { atomically } from '#src/db/transaction.ts'

export type RememberedDevice = {
  /** SHA-256 of the value, base64url: names it, and opens nothing. */
  id: string
  createdAt: Date
  lastUsedAt: Date | null
  expiresAt: Date
  /** Where it was remembered. */
  address: string | null
  userAgent: string | null
}

/** @param days REMEMBER_DEVICE_DAYS: when it is lowered, what was remembered for longer is over, too. */
type Whose = { userId: string; days: number; now: Date }

const dayMs = 86_400_000
/** More than anybody looks through; whoever has more loses the oldest. */
const mostPerPerson = 50
const valueForm = /^[A-Za-z0-9_-]{43}$/

/** The second factors of a person as one value. Whatever is neither password nor recovery code counts, also a kind that is yet to come. */
const factorsOf = Prisma.sql`(SELECT sha256(convert_to(COALESCE(string_agg(c.id::text, ',' ORDER BY c.id), ''), 'UTF8')) FROM credential c
  WHERE c.user_id = u.id AND c.kind NOT IN ('password', 'recovery_code'))`

const stillCounts = ({ days, now }: Whose) =>
  Prisma.sql`u.disabled_at IS NULL AND d.user_generation = u.generation AND d.factors = ${factorsOf}
    AND d.expires_at > ${now} AND d.created_at > ${new Date(now.getTime() - days * dayMs)}`

/** Takes the place of what this browser had of the person.
 *  @param whose.values what the browser holds, for whomever.
 *  @returns what it holds from now on: the new value first, which exists in clear only here, then what is of others. Stored as SHA-256: 256
 *  random bits need no slow hash (docs/decisions/007). */
export function rememberDevice(
  db: Db,
  { userId, days, values }: { userId: string; days: number; values: readonly string[] },
  change: Change,
): Promise<string[]> {
  const value = randomBytes(32).toString('base64url')
  const { now, origin } = change
  const expiresAt = new Date(now.getTime() + days * dayMs)
  const held = new Map(values.filter((text) => valueForm.test(text)).map((text) => [textOf(digestOf(text)), text]))
  return atomically(db, async (tx) => {
    const ids = [...held.keys()].map(bytesOf)
    await tx.rememberedDevice.deleteMany({ where: { userId, id: { in: ids } } })
    const others = await tx.rememberedDevice.findMany({ where: { id: { in: ids } }, select: { id: true } })
    const kept = new Set(others.map(({ id }) => textOf(id)))
    await tx.$executeRaw`
      INSERT INTO remembered_device (id, user_id, user_generation, factors, address, user_agent, created_at, expires_at)
      SELECT ${digestOf(value)}, u.id, u.generation, ${factorsOf}, ${origin?.address ?? null}, ${origin?.userAgent?.slice(0, 256) ?? null},
        ${now}, ${expiresAt} FROM users u WHERE u.id = ${userId}::uuid`
    await tx.$executeRaw`
      DELETE FROM remembered_device WHERE user_id = ${userId}::uuid AND id NOT IN (
        SELECT id FROM remembered_device WHERE user_id = ${userId}::uuid ORDER BY created_at DESC, id LIMIT ${mostPerPerson})`
    await record(tx, 'device.remembered', userId, change, { days })
    return [value, ...[...held].flatMap(([id, text]) => (kept.has(id) ? [text] : []))]
  })
}

/** @param whose.values what the browser holds, for whomever. @returns its id, when one of them is this person's and still counts. */
export async function findRememberedDevice(
  db: Db,
  whose: Whose & { values: readonly string[] },
): Promise<string | undefined> {
  const ids = whose.values.filter((value) => valueForm.test(value)).map(digestOf)
  if (ids.length === 0 || whose.days === 0) return undefined
  const [row] = await db.$queryRaw<{ id: Uint8Array }[]>`
    SELECT d.id FROM remembered_device d JOIN users u ON u.id = d.user_id
    WHERE d.id = ANY (${ids}) AND d.user_id = ${whose.userId}::uuid AND ${stillCounts(whose)} ORDER BY d.created_at DESC LIMIT 1`
  return row && textOf(row.id)
}

/** It spared its person a code just now. */
export async function touchRememberedDevice(db: Db, id: string, now: Date): Promise<void> {
  await db.rememberedDevice.updateMany({ where: { id: bytesOf(id) }, data: { lastUsedAt: now } })
}

/** Those that still count, the most recently used first. */
export async function listRememberedDevices(db: Db, whose: Whose): Promise<RememberedDevice[]> {
  if (whose.days === 0) return []
  const rows = await db.$queryRaw<(Omit<RememberedDevice, 'id'> & { id: Uint8Array })[]>`
    SELECT d.id, d.created_at AS "createdAt", d.last_used_at AS "lastUsedAt", d.expires_at AS "expiresAt", d.address, d.user_agent AS "userAgent"
    FROM remembered_device d JOIN users u ON u.id = d.user_id
    WHERE d.user_id = ${whose.userId}::uuid AND ${stillCounts(whose)} ORDER BY COALESCE(d.last_used_at, d.created_at) DESC, d.id`
  return rows.map((row) => ({ ...row, id: textOf(row.id) }))
}

/** @param which.id one of the person's own; none: all of them. @returns how many were forgotten. */
export function forgetRememberedDevices(
  db: Db,
  { userId, id }: { userId: string; id?: string },
  change: Change,
): Promise<number> {
  return atomically(db, async (tx) => {
    if (id !== undefined && !valueForm.test(id)) return 0
    const one = id === undefined ? {} : { id: bytesOf(id) }
    const { count } = await tx.rememberedDevice.deleteMany({ where: { userId, ...one } })
    if (count > 0) await record(tx, 'device.forgotten', userId, change, { devices: count })
    return count
  })
}

function record(
  tx: Db,
  event: 'device.remembered' | 'device.forgotten',
  userId: string,
  { actor, origin }: Change,
  detail: Record<string, number>,
): Promise<void> {
  return recordAudit(tx, { event, outcome: 'success', actor, target: { kind: 'user', id: userId }, detail }, origin)
}

const digestOf = (value: string) => new Uint8Array(createHash('sha256').update(value).digest())
const bytesOf = (id: string) => new Uint8Array(Buffer.from(id, 'base64url'))
const textOf = (id: Uint8Array) => Buffer.from(id).toString('base64url')
