// Every sealed row to a syslog server, in the order of the chain, with its place and hash, so that the receiver's file can be proven like an export
// and is a witness outside of our database; checkpoints go along. Its cursor is in the database and moves when the receiver has taken what
// was sent: a row arrives at least once, and again after an outage or a crash in between. Requests have nothing to do with it.
import type { Database } from '#src/db/database.ts'
import type { Log } from '#src/log.ts'
import { chainedEvent, type EventRow, eventColumns } from './chain.ts'
import { deliver, formatSyslog, SyslogFailed, type SyslogMessage, type SyslogTarget } from './syslog.ts'

export type AuditStream = {
  isDue(): Promise<boolean>
  /** Sends until nothing is left, the receiver is away, or `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}

const batchRows = 500
const longestSilenceSeconds = 60

type Cursor = { position: number; checkpoint: number }

/** @param deps.host what stands as host name in the messages. */
export function createAuditStream(deps: {
  database: Pick<Database, 'pool'>
  target: SyslogTarget
  host: string
  log: Log
  now: () => Date
}): AuditStream {
  const {
    database: { pool },
    target,
    host,
    log,
    now,
  } = deps
  let failures = 0
  let silentUntil = 0

  return {
    async isDue() {
      if (now().getTime() < silentUntil) return false
      const { rows } = await pool.query<{ due: boolean }>({
        name: 'audit_stream_due',
        text: `SELECT c.position > c.streamed_position
          OR EXISTS (SELECT FROM audit_checkpoint k WHERE k.id > c.streamed_checkpoint AND k.position <= c.position) AS due FROM audit_chain c`,
      })
      return rows[0]?.due ?? false
    },

    async run(signal) {
      try {
        while (!signal.aborted && (await sendBatch(signal))) {
          if (failures > 0) log.info({ event: 'audit.stream_returned' })
          failures = 0
        }
      } catch (error) {
        if (!(error instanceof SyslogFailed) || signal.aborted) throw error
        if (failures === 0) log.warn({ event: 'audit.stream_lost', reason: error.message })
        failures += 1
        silentUntil = now().getTime() + Math.min(2 ** failures, longestSilenceSeconds) * 1000
      }
    },
  }

  /** @returns false when there was nothing to send. */
  async function sendBatch(signal: AbortSignal): Promise<boolean> {
    const cursor = await readCursor()
    const events = await readEvents(cursor)
    const position = events.at(-1)?.position ?? cursor.position
    const checkpoints = await readCheckpoints(cursor, position)
    if (events.length === 0 && checkpoints.length === 0) return false
    const messages = [...events.map((row) => messageOf(row)), ...checkpoints.map((row) => checkpointMessage(row))]
    await deliver(target, messages.map(formatSyslog), signal)
    await pool.query(
      `UPDATE audit_chain SET streamed_position = GREATEST(streamed_position, $1), streamed_checkpoint = GREATEST(streamed_checkpoint, $2)`,
      [position, checkpoints.at(-1)?.id ?? 0],
    )
    return true
  }

  async function readCursor(): Promise<Cursor> {
    const { rows } = await pool.query<Cursor>(
      `SELECT GREATEST(streamed_position, start_position)::float8 AS position, streamed_checkpoint::float8 AS checkpoint FROM audit_chain`,
    )
    if (!rows[0]) throw new Error('the table audit_chain has lost its row')
    return rows[0]
  }

  async function readEvents({ position }: Cursor): Promise<SentRow[]> {
    const { rows } = await pool.query<SentRow>({
      name: 'audit_stream',
      text: `SELECT s.position::float8 AS position, encode(s.hash, 'hex') AS hash, ${eventColumns}
        FROM audit_seal s JOIN audit_event e ON e.id = s.event_id WHERE s.position > $1 ORDER BY s.position LIMIT $2`,
      values: [position, batchRows],
    })
    return rows
  }

  async function readCheckpoints({ checkpoint }: Cursor, position: number): Promise<SentCheckpoint[]> {
    const { rows } = await pool.query<SentCheckpoint>({
      name: 'audit_stream_checkpoints',
      text: `SELECT id::float8 AS id, at, statement FROM audit_checkpoint WHERE id > $1 AND position <= $2 ORDER BY id LIMIT $3`,
      values: [checkpoint, position, batchRows],
    })
    return rows
  }

  function messageOf({ position, hash, ...row }: SentRow): SyslogMessage {
    const text = JSON.stringify({ position, hash, event: chainedEvent(row) })
    return { severity: row.outcome === 'failure' ? 'warning' : 'info', at: row.at, host, id: row.event, text }
  }

  function checkpointMessage({ at, statement }: SentCheckpoint): SyslogMessage {
    return { severity: 'info', at, host, id: 'checkpoint', text: JSON.stringify({ checkpoint: statement }) }
  }
}

type SentRow = EventRow & { position: number; hash: string }
type SentCheckpoint = { id: number; at: Date; statement: string }
