// One number that moves whenever clients, apis, scopes, roles, routes or keys change. Processes compare it to know that what
// they hold in memory is stale; the change and the raise are one transaction.
import type { Database, Db } from './database.ts'

export async function raiseConfigurationVersion(db: Db, now: Date): Promise<void> {
  await db.configurationVersion.update({ where: { id: 1 }, data: { version: { increment: 1 }, changedAt: now } })
}

/** Every process asks a few times a second: in plain SQL. */
export async function readConfigurationVersion({ pool }: Pick<Database, 'pool'>): Promise<bigint> {
  const { rows } = await pool.query<{ version: string }>({
    name: 'configuration_version',
    text: 'SELECT version FROM configuration_version WHERE id = 1',
  })
  if (!rows[0]) throw new Error('the table configuration_version has lost its row')
  return BigInt(rows[0].version)
}
