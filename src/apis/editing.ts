// Changing one thing about an API and leaving the rest, and what goes with one that is deleted.
import type { Change } from '#src/audit/change.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { applyPatch, type Dependents, type Patch, refuseChanged, refuseDependents } from '#src/editing.ts'
import {
  type ApiInput,
  ApiNotFound,
  type ApiRecord,
  apiSettings,
  deleteApi,
  describeApi,
  findApi,
  updateApi,
} from './apis.ts'
import { countGoodKeys } from './keys-in-force.ts'

/** @param seen the fingerprint of what the editor saw of describeApi. @throws ApiNotFound (also for Sallyport's own API), ChangedMeanwhile,
 *  InvalidApi */
export function patchApi(
  db: Db,
  identifier: string,
  patch: Patch<ApiInput>,
  change: Change,
  seen?: string,
): Promise<ApiRecord> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now) // its row is the lock of every change of the configuration
    const record = await existing(tx, identifier)
    refuseChanged(seen, describeApi(record))
    return updateApi(tx, identifier, applyPatch<ApiInput>(apiSettings(record), patch), change)
  })
}

/** @param options.cascade what depends on it may go or lose it. @throws ApiNotFound, HasDependents */
export function removeApi(db: Db, identifier: string, options: { cascade: boolean }, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    await existing(tx, identifier)
    if (!options.cascade) refuseDependents(identifier, await apiDependents(tx, identifier))
    await deleteApi(tx, identifier, change)
  })
}

export async function apiDependents(db: Db, apiIdentifier: string): Promise<Dependents> {
  const [scopes, apiKeys, routes, roles, policies] = await Promise.all([
    db.clientScope.findMany({ where: { apiIdentifier }, distinct: ['clientId'], select: { clientId: true } }),
    countGoodKeys(db, { apiIdentifier }),
    db.route.count({ where: { apiIdentifier } }),
    db.role.count({ where: { apiIdentifier } }),
    db.policy.count({ where: { apiIdentifier } }),
  ])
  return { clients: scopes.length, apiKeys, routes, roles, policies }
}

async function existing(db: Db, identifier: string): Promise<ApiRecord> {
  const record = await findApi(db, identifier)
  if (!record || record.builtIn) throw new ApiNotFound(identifier)
  return record
}
