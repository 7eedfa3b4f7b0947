// One number that moves whenever clients, apis, scopes, roles, routes or keys change. Processes compare it to know that what
// they hold in memory is stale; the change and the raise are one transaction.
import type { Db } from './database.ts'

export async function raiseConfigurationVersion(db: Db, now: Date): Promise<void> {
  await db.configurationVersion.update({ where: { id: 1 }, data: { version: { increment: 1 }, changedAt: now } })
}

export async function readConfigurationVersion(db: Db): Promise<bigint> {
  const { version } = await db.configurationVersion.findUniqueOrThrow({ where: { id: 1 } })
  return version
}
