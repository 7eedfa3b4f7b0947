// Backups. They are made elsewhere, so what is known is what somebody says (`sallyport backup done`, at the end of the script that makes them),
// and whether PostgreSQL archives its log.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { Database, Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { Refusal } from '#src/refusal.ts'
import { type Check, day } from './finding.ts'

/** A week: what an operator can be asked to do once more. */
const oldDays = 7

export class InvalidBackup extends Refusal {
  constructor() {
    super('invalid', [
      { field: 'at', problem: 'is no time', fix: 'Write one such as 2026-11-26T22:00Z, or leave it empty.' },
    ])
  }
}

class BackupInFuture extends Refusal {
  constructor() {
    super('invalid', [{ field: 'at', problem: 'is still to come', fix: 'Say when the backup was begun.' }])
  }
}

/** @param at what it holds is from before. An older one than was known changes nothing. @returns the newest that is known. */
export function recordBackup(db: Db, at: Date, change: Change): Promise<Date> {
  if (at.getTime() > change.now.getTime() + 60_000) throw new BackupInFuture()
  return atomically(db, async (tx) => {
    const [row] = await tx.$queryRaw<{ at: Date }[]>`
      INSERT INTO last_backup AS b (at) VALUES (${at}) ON CONFLICT (id) DO UPDATE SET at = GREATEST(b.at, EXCLUDED.at) RETURNING at`
    const entry = { event: 'backup.recorded', outcome: 'success', actor: change.actor } as const
    await recordAudit(tx, { ...entry, detail: { at: at.toISOString() } }, change.origin)
    return row?.at ?? at
  })
}

export type BackupFacts = {
  recordedAt: Date | null
  /** Of the log of PostgreSQL (pg_stat_archiver). */
  archiving: boolean
  archivedAt: Date | null
  failedAt: Date | null
}

export const backups: Check = {
  name: 'backups',
  about: 'whether there is a backup',
  async look({ database, config, now }) {
    if (!config.production) return { said: [] }
    return { said: judgeBackups(await readFacts(database), now()) }
  },
}

export function judgeBackups(
  { recordedAt, archiving, archivedAt, failedAt }: BackupFacts,
  now: Date,
): Awaited<ReturnType<Check['look']>>['said'] {
  const why = 'Without one, a lost disk is the loss of every account, and with a lost SECRET_KEY so is a backup.'
  const section = 'NIST SP 800-53 CP-9'
  if (archiving && failedAt && (!archivedAt || failedAt > archivedAt))
    return [
      {
        severity: 'warning',
        what: `PostgreSQL has failed to archive its log since ${failedAt.toISOString()}.`,
        why,
        section,
        fix: 'Look at archive_command and at the log of the database.',
      },
    ]
  const isFresh = (at: Date | null) => at !== null && now.getTime() - at.getTime() <= oldDays * day
  if (isFresh(recordedAt) || (archiving && isFresh(archivedAt))) return []
  if (recordedAt)
    return [
      {
        severity: 'warning',
        what: `The last backup that somebody recorded is ${Math.floor((now.getTime() - recordedAt.getTime()) / day)} days old.`,
        why,
        section,
        fix: 'Make one, and let the script that makes it end with `sallyport backup done`.',
      },
    ]
  return [
    {
      severity: 'note',
      what: 'Nothing here can tell whether there is a backup.',
      why,
      section,
      fix: 'Let the script that makes it end with `sallyport backup done`. SECRET_KEY belongs in a backup of its own.',
    },
  ]
}

async function readFacts({ pool }: Database): Promise<BackupFacts> {
  const { rows } = await pool.query<BackupFacts>(
    `SELECT (SELECT at FROM last_backup) AS "recordedAt", current_setting('archive_mode') <> 'off' AS archiving,
      last_archived_time AS "archivedAt", last_failed_time AS "failedAt" FROM pg_stat_archiver`,
  )
  return rows[0] ?? { recordedAt: null, archiving: false, archivedAt: null, failedAt: null }
}
