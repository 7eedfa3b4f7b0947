// Which database a command works on: DATABASE_URL, else the running server of DATA_DIR, else one that is started for the
// command and stopped after it.
import type { Config } from '#src/config.ts'
import { closeDatabase, type Database, openDatabase } from '#src/db/database.ts'
import { migrate, pendingMigrations, readMigrations } from '#src/db/migrate.ts'
import { untilReachable } from '#src/db/reachable.ts'
import type { Log } from '#src/log.ts'

export class SchemaOutdated extends Error {
  override name = 'SchemaOutdated'
}

export type Connection = Readonly<{ database: Database; close(): Promise<void> }>

/** @param anySchema take the schema as it is. Otherwise one that lacks migrations is refused, except on a server that was
 *  started here: its database may be new, so it is migrated.
 *  @throws SchemaOutdated, DatabaseUnreachable, EmbeddedPostgresFailed, MigrationRefused */
export async function connect(config: Config, log: Log, { anySchema = false } = {}): Promise<Connection> {
  const place = config.databaseUrl ? { url: config.databaseUrl } : await findOrStart(config, log)
  const database = openDatabase(place.url, {
    poolSize: config.databasePoolSize,
    onError: (err) => log.warn({ event: 'database.connection_lost', err }),
  })
  const close = async () => {
    await closeDatabase(database)
    await place.stop?.()
  }
  try {
    await untilReachable(database, { log, timeoutMs: 3_000 })
    if (!anySchema) await requireSchema(database, { mayMigrate: place.stop !== undefined, log })
    return Object.freeze({ database, close })
  } catch (error) {
    await close()
    throw error
  }
}

async function requireSchema(
  database: Database,
  { mayMigrate, log }: { mayMigrate: boolean; log: Log },
): Promise<void> {
  if (mayMigrate) await migrate(database, { log })
  const pending = await pendingMigrations(database, readMigrations())
  if (pending.length > 0)
    throw new SchemaOutdated(`The schema lacks ${pending.join(', ')}: run \`sallyport migrate\` first.`)
}

async function findOrStart(config: Config, log: Log): Promise<{ url: string; stop?: () => Promise<void> }> {
  const { findEmbeddedPostgres, startEmbeddedPostgres } = await import('#src/db/embedded-postgres.ts')
  return findEmbeddedPostgres(config.dataDir) ?? (await startEmbeddedPostgres({ dataDir: config.dataDir, log }))
}
