// A declarative file that changed nothing changes nothing the next time, while neither it, nor the configuration, nor this program has
// changed: then a start need not compare it, which is a third of what a start costs (docs/decisions/016).
import { readFileSync } from 'node:fs'
import type { Database } from '#src/db/database.ts'
import { readMigrations } from '#src/db/migrate.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'

const manifest = new URL('../../package.json', import.meta.url)
/** A file may hold secrets short enough to be guessed from a plain hash. */
const purpose = 'applied-file'

/** What the file means depends on the program that reads it: its defaults, and the columns it knows. */
function program(): string {
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
  return `${version} ${readMigrations().at(-1)?.name}`
}

/** @returns whether this very text was compared at the current version of the configuration and found to change nothing. */
export async function isApplied({ pool }: Database, secretKeys: SecretKeys, text: string): Promise<boolean> {
  const { rows } = await pool.query<{ applied: boolean }>(
    `SELECT COALESCE(applied_version = version AND applied_digest = ANY ($1::bytea[]), false) AS applied
      FROM configuration_version WHERE id = 1`,
    [secretKeys.macs(purpose, program(), text)],
  )
  return rows[0]?.applied ?? false
}

/** @param seen.version read before the file was compared: what was changed since is another version. */
export async function rememberApplied(
  { pool }: Database,
  secretKeys: SecretKeys,
  seen: { text: string; version: bigint },
): Promise<void> {
  await pool.query(
    'UPDATE configuration_version SET applied_digest = $1, applied_version = $2 WHERE id = 1 AND version = $2',
    [secretKeys.mac(purpose, program(), seen.text), String(seen.version)],
  )
}
