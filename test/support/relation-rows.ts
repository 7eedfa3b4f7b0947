// Relations in any number, for tests and benchmarks: a person owns ten orders; twenty orders lie in a folder; a folder is seen by a group, whose
// members are another group, whose members are people.
import type pg from 'pg'

/** @param count rows, about: a multiple of 1,000. */
export async function fillRelations(pool: pg.Pool, count: number): Promise<void> {
  const orders = Math.floor(count / 2.4)
  const row = '(object_type, object_id, relation, subject_type, subject_relation, subject_id)'
  await pool.query(
    `INSERT INTO relation ${row} SELECT 'order', n::text, 'owner', 'user', '', (n / 10)::text FROM generate_series(0, $1::int - 1) n`,
    [orders],
  )
  await pool.query(
    `INSERT INTO relation ${row} SELECT 'order', n::text, 'parent', 'folder', '', (n / 20)::text FROM generate_series(0, $1::int - 1) n`,
    [orders],
  )
  await pool.query(
    `INSERT INTO relation ${row} SELECT 'folder', n::text, 'viewer', 'group', 'member', 'outer' || n FROM generate_series(0, $1::int - 1) n`,
    [Math.floor(orders / 20)],
  )
  await pool.query(
    `INSERT INTO relation ${row} SELECT 'group', 'outer' || n, 'member', 'group', 'member', 'inner' || n FROM generate_series(0, $1::int - 1) n`,
    [Math.floor(orders / 20)],
  )
  await pool.query(
    `INSERT INTO relation ${row} SELECT 'group', 'inner' || (n / 2), 'member', 'user', '', n::text FROM generate_series(0, $1::int - 1) n`,
    [Math.floor(orders / 10)],
  )
  await pool.query(
    `INSERT INTO relation_link (object_type, relation, subject_type, subject_relation)
     VALUES ('order', 'parent', 'folder', ''), ('folder', 'viewer', 'group', 'member'), ('group', 'member', 'group', 'member') ON CONFLICT DO NOTHING`,
  )
  await pool.query('VACUUM ANALYZE relation')
}

/** What the person of this number holds; a stranger does not. @param which of their ten orders */
export function relationsOfUser(number: number, which = 3) {
  return {
    user: { type: 'user', id: String(number) },
    stranger: { type: 'user', id: `stranger ${number}` },
    order: { type: 'order', id: String(number * 10 + which) },
    folder: { type: 'folder', id: String(Math.floor(number / 2)) },
    group: { type: 'group', id: `outer${Math.floor(number / 2)}` },
  }
}
