// What an application is lent so that an administrator can try it (docs/decisions/050): the console's own address to come back to, and a
// secret that ends by itself. Both leave when the trial is over.
import type { Change } from '#src/audit/change.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { patchClient } from './editing.ts'
import { addClientSecret, newClientSecret, removeClientSecret } from './secrets.ts'
import { type ClientRecord, clientSettings } from './settings.ts'
import { type ClientType, hasSecret, typeRules } from './types.ts'

export const trialSeconds = 600

export type Loan = { secret: string | undefined; secretId: string | undefined }

/** @param callback an address of the console, for clients that a browser comes back to. @throws InvalidClient, ClientNotFound */
export function lend(db: Db, record: ClientRecord, callback: string, change: Change): Promise<Loan> {
  const type = record.type as ClientType
  return atomically(db, async (tx) => {
    const { redirectUris } = clientSettings(record)
    if (typeRules[type].redirects && !redirectUris.includes(callback))
      await patchClient(tx, record.id, { redirectUris: [...redirectUris, callback] }, change)
    if (!hasSecret(type)) return { secret: undefined, secretId: undefined }
    const secret = newClientSecret()
    const expiresAt = new Date(change.now.getTime() + trialSeconds * 1000)
    return { secret, secretId: await addClientSecret(tx, record.id, { value: secret, expiresAt }, change) }
  })
}

/** Takes back what there still is of a loan. @param record as it is now. */
export function takeBack(
  db: Db,
  record: ClientRecord,
  { callback, secretId }: { callback: string; secretId: string | undefined },
  change: Change,
): Promise<void> {
  return atomically(db, async (tx) => {
    const { redirectUris } = clientSettings(record)
    const others = redirectUris.filter((uri) => uri !== callback)
    if (others.length > 0 && others.length < redirectUris.length)
      await patchClient(tx, record.id, { redirectUris: others }, change)
    if (secretId !== undefined && record.secrets.some(({ id }) => id === secretId))
      await removeClientSecret(tx, record.id, secretId, change)
  })
}
