// What an application is lent so that an administrator can try it (docs/decisions/050): the console's own address to come back to, and a
// secret that ends by itself. Both leave when the trial is over, and an hour later when nobody went on with it.
import { randomUUID } from 'node:crypto'
import type { Change } from '#src/audit/change.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database, Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { Refusal } from '#src/refusal.ts'
import { findClient } from './clients.ts'
import { patchClient } from './editing.ts'
import { addClientSecret, newClientSecret, removeClientSecret } from './secrets.ts'
import { type ClientRecord, clientSettings } from './settings.ts'
import { type ClientType, hasSecret, typeRules } from './types.ts'

export const trialSeconds = 600
/** After how long what was lent is taken back. */
const lentSeconds = 3600
const mostAtOnce = 100

export type Loan = { secret: string | undefined; secretId: string | undefined }

/** @param callback an address of the console, for clients that a browser comes back to. @throws InvalidClient, ClientNotFound */
export function lend(db: Db, record: ClientRecord, callback: string, change: Change): Promise<Loan> {
  const type = record.type as ClientType
  return atomically(db, async (tx) => {
    const { redirectUris } = clientSettings(record)
    if (typeRules[type].redirects && !redirectUris.includes(callback))
      await patchClient(tx, record.id, { redirectUris: [...redirectUris, callback] }, change)
    const secret = hasSecret(type) ? newClientSecret() : undefined
    const expiresAt = new Date(change.now.getTime() + trialSeconds * 1000)
    const secretId =
      secret === undefined ? undefined : await addClientSecret(tx, record.id, { value: secret, expiresAt }, change)
    const lent = { clientId: record.id, callback, secretId: secretId ?? null, lentAt: change.now }
    await tx.clientTrial.create({ data: { id: randomUUID(), ...lent } })
    return { secret, secretId }
  })
}

/** Takes back what there still is of a loan. @param record as it is now. @param loan.callback undefined: it stays. */
export function takeBack(
  db: Db,
  record: ClientRecord,
  { callback, secretId }: { callback: string | undefined; secretId: string | undefined },
  change: Change,
): Promise<void> {
  return atomically(db, async (tx) => {
    await tx.clientTrial.deleteMany({ where: { clientId: record.id, secretId: secretId ?? null } })
    const { redirectUris } = clientSettings(record)
    const others = redirectUris.filter((uri) => uri !== callback)
    if (others.length > 0 && others.length < redirectUris.length)
      await patchClient(tx, record.id, { redirectUris: others }, change)
    if (secretId !== undefined && record.secrets.some(({ id }) => id === secretId))
      await removeClientSecret(tx, record.id, secretId, change)
  })
}

/** Whether there is something to take back. */
export async function isTrialLeft({ pool }: Pick<Database, 'pool'>, now: Date): Promise<boolean> {
  const { rows } = await pool.query('SELECT FROM client_trial WHERE lent_at < $1 LIMIT 1', [leftBefore(now)])
  return rows.length > 0
}

/** Takes back what trials were lent that nobody went on with. An address that a younger trial uses stays for that one.
 *  @returns how many were ended, and of which clients something could not be taken back; those are tried again. */
export async function endLeftTrials(
  db: Db,
  change: Change,
  signal?: AbortSignal,
): Promise<{ ended: number; refused: string[] }> {
  const left = await db.clientTrial.findMany({
    where: { lentAt: { lt: leftBefore(change.now) } },
    orderBy: { lentAt: 'asc' },
    take: mostAtOnce,
  })
  const refused: string[] = []
  let ended = 0
  for (const loan of left) {
    if (signal?.aborted) break
    try {
      if (await endTrial(db, loan, change)) ended++
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      refused.push(loan.clientId)
    }
  }
  return { ended, refused }
}

const leftBefore = (now: Date) => new Date(now.getTime() - lentSeconds * 1000)

/** @returns false when it is over already. */
function endTrial(
  db: Db,
  { id, clientId, callback, secretId }: { id: string; clientId: string; callback: string; secretId: string | null },
  change: Change,
): Promise<boolean> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now) // its row is the lock of every change of the configuration
    const { count } = await tx.clientTrial.deleteMany({ where: { id } })
    const record = count === 0 ? null : await findClient(tx, clientId)
    if (!record) return false
    const isUsed = (await tx.clientTrial.count({ where: { clientId, callback } })) > 0
    await takeBack(tx, record, { callback: isUsed ? undefined : callback, secretId: secretId ?? undefined }, change)
    return true
  })
}
