// The record, where a test has to begin without one, or to do what nobody may: as the owner of the table, who can switch its triggers off.
import type { Database } from '#src/db/database.ts'

const guarded = {
  audit_event: ['audit_event_append_only', 'audit_event_kept'],
  audit_seal: ['audit_seal_append_only', 'audit_seal_kept'],
  audit_checkpoint: ['audit_checkpoint_append_only', 'audit_checkpoint_kept'],
  audit_chain: ['audit_chain_grows', 'audit_chain_stays'],
}

/** Runs SQL as somebody who owns the tables and means no good. */
export async function tamper({ pool }: Pick<Database, 'pool'>, sql: string): Promise<void> {
  const off = Object.keys(guarded).map((table) => `ALTER TABLE ${table} DISABLE TRIGGER USER`)
  const on = Object.entries(guarded).flatMap(([table, triggers]) =>
    triggers.map((trigger) => `ALTER TABLE ${table} ENABLE ALWAYS TRIGGER ${trigger}`),
  )
  const connection = await pool.connect()
  await connection.query(['BEGIN', ...off, sql, ...on, 'COMMIT'].join(';\n')).finally(() => connection.release(true)) // what fails half way is undone with it
}

/** The record of a test that counts what it has done itself. */
export function clearAudit(database: Pick<Database, 'pool'>): Promise<void> {
  return tamper(
    database,
    `DELETE FROM audit_event; DELETE FROM audit_seal; DELETE FROM audit_checkpoint; DELETE FROM audit_chain; INSERT INTO audit_chain DEFAULT VALUES`,
  )
}
