// Sallyport's own API, `<issuer>/api`, and the role that may do everything there. Both follow the code: a new version that
// brings new scopes adds them here at its first start.
import { insertRole, ownerPermissions, ownerRole } from '#src/access/roles.ts'
import { insertApi } from '#src/apis/apis.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database, Prisma } from '#src/db/database.ts'
import { withConfigurationLock } from '#src/db/transaction.ts'

/** Opaque: an administrator who leaves must be out at once, not when a JWT expires. */
const settings = {
  name: 'Sallyport',
  accessTokenFormat: 'opaque',
  accept: ['oauth', 'api_key', 'basic'],
  // What a person let a client do here is bounded by what the person may do, at every moment.
  scopes: Object.fromEntries(
    Object.entries(ownScopes).map(([name, description]) => [name, { description, byRole: true }]),
  ),
}

export function ensureOwnApi(database: Database, identifier: string, change: Change): Promise<void> {
  return withConfigurationLock(database, async (tx) => {
    const existing = await tx.api.findFirst({ where: { builtIn: true }, include: { scopes: true } })
    if (!existing) {
      await insertApi(tx, identifier, settings, { builtIn: true }, change)
      return
    }
    const known = existing.scopes.map((scope) => scope.name)
    const missing = Object.entries(ownScopes).filter(([name]) => !known.includes(name))
    if (existing.identifier === identifier && missing.length === 0) return
    await raiseConfigurationVersion(tx, change.now)
    // ISSUER_URL changed: what clients and keys were given moves along (ON UPDATE CASCADE).
    if (existing.identifier !== identifier)
      await tx.api.update({ where: { identifier: existing.identifier }, data: { identifier } })
    await tx.scope.createMany({
      data: missing.map(([name, description]) => ({ apiIdentifier: identifier, name, description, byRole: true })),
    })
    await recordUpdate(tx, 'api.updated', { kind: 'api', id: identifier }, change)
  })
}

export function ensureOwnerRole(database: Database, change: Change): Promise<void> {
  return withConfigurationLock(database, async (tx) => {
    const existing = await tx.role.findUnique({ where: { name: ownerRole }, include: { permissions: true } })
    if (!existing) {
      await insertRole(
        tx,
        ownerRole,
        // ASVS 6.3.3: administrators need a second factor.
        { description: 'Administers this server', permissions: [...ownerPermissions], secondFactor: 'required' },
        change,
      )
      return
    }
    const held = existing.permissions.map((row) => row.permission)
    if (held.length === ownerPermissions.length && ownerPermissions.every((permission) => held.includes(permission)))
      return
    await raiseConfigurationVersion(tx, change.now)
    await tx.rolePermission.deleteMany({ where: { roleName: ownerRole } })
    await tx.rolePermission.createMany({
      data: ownerPermissions.map((permission) => ({ roleName: ownerRole, permission })),
    })
    await recordUpdate(tx, 'role.updated', { kind: 'role', id: ownerRole }, change)
  })
}

function recordUpdate(
  tx: Prisma.TransactionClient,
  event: 'api.updated' | 'role.updated',
  target: { kind: string; id: string },
  change: Change,
): Promise<void> {
  return recordAudit(tx, { event, outcome: 'success', actor: change.actor, target }, change.origin)
}
