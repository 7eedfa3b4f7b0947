// Changing one thing about a client and leaving the rest, finding one among ten thousand, and what goes with one that is deleted.
import { countGoodKeys } from '#src/apis/keys-in-force.ts'
import type { Change } from '#src/audit/change.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { applyPatch, type Dependents, type Patch, refuseChanged, refuseDependents } from '#src/editing.ts'
import { deleteClient, findClient, setClientDisabled, updateClient } from './clients.ts'
import { ClientNotFound } from './errors.ts'
import { type ClientInput, type ClientRecord, clientSettings, describeClient } from './settings.ts'

export type ClientPatch = Patch<Omit<ClientInput, 'type'>> & { disabled?: boolean | undefined }

/** @param seen the fingerprint of what the editor saw of describeClient. @throws ClientNotFound, ChangedMeanwhile, InvalidClient */
export function patchClient(
  db: Db,
  id: string,
  { disabled, ...patch }: ClientPatch,
  change: Change,
  seen?: string,
): Promise<ClientRecord> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now) // its row is the lock of every change of the configuration
    const record = await existing(tx, id)
    refuseChanged(seen, describeClient(record))
    if (Object.values(patch).some((value) => value !== undefined)) {
      const { type, ...settings } = clientSettings(record)
      await updateClient(tx, id, { type, ...applyPatch<Omit<ClientInput, 'type'>>(settings, patch) }, change)
    }
    if (disabled !== undefined) await setClientDisabled(tx, id, disabled, change)
    return existing(tx, id)
  })
}

/** Takes one role, or everything at one API, away and leaves the rest. @returns false when the client does not have it (any more). */
export function takeFromClient(
  db: Db,
  id: string,
  what: { role: string } | { api: string },
  change: Change,
): Promise<boolean> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    const record = await findClient(tx, id)
    if (!record) return false
    const { roles, apis } = clientSettings(record)
    if ('role' in what) {
      if (!roles.includes(what.role)) return false
      await patchClient(tx, id, { roles: roles.filter((name) => name !== what.role) }, change)
    } else {
      if (!Object.hasOwn(apis, what.api)) return false
      const rest = Object.entries(apis).filter(([identifier]) => identifier !== what.api)
      await patchClient(tx, id, { apis: Object.fromEntries(rest) }, change)
    }
    return true
  })
}

/** @param options.cascade what depends on it may go or lose it. @throws ClientNotFound, HasDependents */
export function removeClient(db: Db, id: string, options: { cascade: boolean }, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    await existing(tx, id)
    if (!options.cascade) refuseDependents(id, await clientDependents(tx, id))
    await deleteClient(tx, id, change)
  })
}

export async function clientDependents(db: Db, clientId: string): Promise<Dependents> {
  const [people, apiKeys, apis] = await Promise.all([
    db.consent.count({ where: { clientId } }),
    countGoodKeys(db, { clientId }),
    db.apiIntrospectionClient.count({ where: { clientId } }),
  ])
  return { people, apiKeys, apis }
}

/** By id, ascending. @param filter.q part of an id or a name, whatever its case. */
export function searchClients(
  db: Db,
  filter: {
    q?: string | undefined
    type?: string | undefined
    api?: string | undefined
    disabled?: boolean | undefined
  },
  page: { after?: string | undefined; limit: number },
): Promise<ClientRecord[]> {
  const { q, type, api, disabled } = filter
  // A percent sign that somebody types is one that they look for.
  const part = q?.replace(/[\\%_]/g, '\\$&')
  const like = part === undefined ? undefined : ({ contains: part, mode: 'insensitive' } as const)
  return db.client.findMany({
    where: {
      ...(page.after === undefined ? {} : { id: { gt: page.after } }),
      ...(like && { OR: [{ id: like }, { name: like }] }),
      ...(type === undefined ? {} : { type }),
      ...(api === undefined ? {} : { apiScopes: { some: { apiIdentifier: api } } }),
      ...(disabled === undefined ? {} : { disabledAt: disabled ? { not: null } : null }),
    },
    orderBy: { id: 'asc' },
    include: { secrets: true, apiScopes: true },
    take: page.limit,
  })
}

async function existing(db: Db, id: string): Promise<ClientRecord> {
  const record = await findClient(db, id)
  if (!record) throw new ClientNotFound(id)
  return record
}
