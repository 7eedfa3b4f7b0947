// What an operator watches so that the tables stay as small as what lives: how large they are, and how far the sweep is behind.
import type { Database } from '#src/db/database.ts'
import { lagStatement, sweptTables } from './sweep.ts'

/** The tables that grow with traffic. */
const growing = [...sweptTables, 'consent', 'audit_event'] as const

export type TableSize = {
  table: string
  /** With indexes and what is stored out of line. */
  bytes: number
  indexBytes: number
  /** As the statistics have it; undefined before the first. */
  rows: number | undefined
  /** Rows that were deleted or replaced and not yet cleared away. */
  deadRows: number
}

/** Costs a few file sizes and a look at the catalogue, however large the tables are. */
export async function tableSizes({ pool }: Pick<Database, 'pool'>): Promise<TableSize[]> {
  const { rows } = await pool.query<{ table: string; bytes: string; index: string; rows: number; dead: string }>({
    text: `SELECT c.relname AS table, pg_total_relation_size(c.oid) AS bytes, pg_indexes_size(c.oid) AS index, c.reltuples AS rows,
        COALESCE(pg_stat_get_dead_tuples(c.oid), 0) AS dead
      FROM pg_class c WHERE c.oid = ANY ((SELECT array_agg(to_regclass(name)) FROM unnest($1::text[]) name)::oid[]) ORDER BY c.relname`,
    values: [growing],
  })
  return rows.map((row) => ({
    table: row.table,
    bytes: Number(row.bytes),
    indexBytes: Number(row.index),
    rows: row.rows < 0 ? undefined : row.rows,
    deadRows: Number(row.dead),
  }))
}

/** For how long the oldest row that may leave has been waiting for the sweep, by table; 0 when none waits. */
export async function sweepLagSeconds({ pool }: Pick<Database, 'pool'>): Promise<{ table: string; seconds: number }[]> {
  const { rows } = await pool.query<{ table: string; seconds: number }>(lagStatement)
  return rows
}
