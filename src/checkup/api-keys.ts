// API keys without an end, and those that nobody uses.
import { type Check, daysBefore, idleDays, most, totalOf } from './finding.ts'

/** Live: not revoked, and with a value that is still good at $1. */
const live = `k.revoked_at IS NULL AND EXISTS (SELECT FROM api_key_value v WHERE v.key_id = k.id AND (v.expires_at IS NULL OR v.expires_at > $1))`

export const endlessKeys: Check = {
  name: 'endless-api-keys',
  about: 'API keys that never expire',
  async look({ database: { pool } }) {
    const { rows } = await pool.query<{ id: string; name: string; total: number }>(
      `SELECT k.id, k.name, count(*) OVER ()::int AS total FROM api_key k
        WHERE k.revoked_at IS NULL AND EXISTS (SELECT FROM api_key_value v WHERE v.key_id = k.id AND v.expires_at IS NULL) ORDER BY k.id LIMIT ${most}`,
    )
    return {
      total: totalOf(rows),
      said: rows.map(({ id, name }) => ({
        severity: 'warning',
        subject: { kind: 'api_key', id },
        what: `The key "${name}" never expires.`,
        why: 'A key that leaked unnoticed opens the same doors for ever.',
        section: 'ASVS 13.3.4',
        fix: 'Rotate it with an end: sallyport api-keys rotate.',
      })),
    }
  },
}

export const idleKeys: Check = {
  name: 'idle-api-keys',
  about: 'API keys that nobody uses',
  async look({ database: { pool }, now }) {
    const at = now()
    const { rows } = await pool.query<{ id: string; name: string; total: number }>(
      `SELECT k.id, k.name, count(*) OVER ()::int AS total FROM api_key k
        WHERE ${live} AND k.created_at < $2 AND NOT EXISTS (SELECT FROM api_key_value v WHERE v.key_id = k.id AND v.last_used_at >= $2)
        ORDER BY k.id LIMIT ${most}`,
      [at, daysBefore(at, idleDays)],
    )
    return {
      total: totalOf(rows),
      said: rows.map(({ id, name }) => ({
        severity: 'warning',
        subject: { kind: 'api_key', id },
        what: `The key "${name}" was not used for ${idleDays} days.`,
        why: 'Nobody would miss it, and nobody would notice who else uses it.',
        section: 'RFC 9700 2.3',
        fix: `Revoke it: sallyport api-keys revoke ${id}.`,
      })),
    }
  },
}
