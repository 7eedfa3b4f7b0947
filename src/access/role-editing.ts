// Changing one thing about a role and leaving the rest, who holds it, and who loses one that is deleted.
import type { Change } from '#src/audit/change.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { applyPatch, type Dependents, type Patch, refuseChanged, refuseDependents } from '#src/editing.ts'
import {
  deleteRole,
  describeRole,
  findRole,
  type RoleInput,
  RoleNotFound,
  type RoleRecord,
  roleSettings,
  updateRole,
} from './roles.ts'

/** @param seen the fingerprint of what the editor saw of describeRole. @throws RoleNotFound, ChangedMeanwhile, InvalidRole */
export function patchRole(
  db: Db,
  name: string,
  patch: Patch<RoleInput>,
  change: Change,
  seen?: string,
): Promise<RoleRecord> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now) // its row is the lock of every change of the configuration
    const record = await existing(tx, name)
    refuseChanged(seen, describeRole(record))
    await updateRole(tx, name, applyPatch<RoleInput>(roleSettings(record), patch), change)
    return existing(tx, name)
  })
}

/** @param options.cascade whoever holds it may lose it. @throws RoleNotFound, HasDependents, InvalidRole for `owner` */
export function removeRole(db: Db, name: string, options: { cascade: boolean }, change: Change): Promise<void> {
  return atomically(db, async (tx) => {
    await raiseConfigurationVersion(tx, change.now)
    await existing(tx, name)
    if (!options.cascade) refuseDependents(name, await roleDependents(tx, name))
    await deleteRole(tx, name, change)
  })
}

/** Who holds it, and which gateway routes ask for it. */
export async function roleDependents(db: Db, name: string): Promise<Dependents> {
  const [people, clients, routes] = await Promise.all([
    db.userRole.count({ where: { roleName: name } }),
    db.client.count({ where: { roles: { has: name } } }),
    db.route.count({ where: { roles: { has: name } } }),
  ])
  return { people, clients, routes }
}

async function existing(db: Db, name: string): Promise<RoleRecord> {
  const record = await findRole(db, name)
  if (!record) throw new RoleNotFound(name)
  return record
}
