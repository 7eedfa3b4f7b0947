// For how long what was issued opens something.
import { type Check, most, totalOf } from './finding.ts'

const hour = 3_600

export const accessTokens: Check = {
  name: 'access-token-lifetimes',
  about: 'access tokens that live longer than an hour',
  async look({ database: { pool } }) {
    const { rows } = await pool.query<{ id: string; ttl: number; total: number }>(
      `SELECT identifier AS id, access_token_ttl_seconds AS ttl, count(*) OVER ()::int AS total FROM api
        WHERE access_token_ttl_seconds > ${hour} ORDER BY identifier LIMIT ${most}`,
    )
    return {
      total: totalOf(rows),
      said: rows.map(({ id, ttl }) => ({
        severity: 'warning',
        subject: { kind: 'api', id },
        what: `Its access tokens live for ${inWords(ttl)}.`,
        why: 'An API that verifies tokens by itself accepts one that was stolen until it ends.',
        section: 'RFC 6750 5.3, RFC 9700 2.2.1',
        fix: 'Set accessTokenTtlSeconds to 3600 or less; applications refresh.',
      })),
    }
  },
}

const longRefreshDays = 90
const longIdleDays = 30

export const refreshTokens: Check = {
  name: 'refresh-token-lifetimes',
  about: 'refresh tokens that outlive their use',
  async look({ database: { pool } }) {
    const { rows } = await pool.query<{ id: string; ttl: number; idle: number | null; total: number }>(
      `SELECT id, refresh_token_ttl_seconds AS ttl, refresh_token_idle_ttl_seconds AS idle, count(*) OVER ()::int AS total FROM client
        WHERE disabled_at IS NULL AND 'refresh_token' = ANY (grant_types) AND (refresh_token_ttl_seconds > ${longRefreshDays * 86_400}
          OR (refresh_token_ttl_seconds > ${longIdleDays * 86_400} AND refresh_token_idle_ttl_seconds IS NULL AND profile <> 'fapi2'))
        ORDER BY id LIMIT ${most}`,
    )
    return {
      total: totalOf(rows),
      said: rows.map(({ id, ttl, idle }) => ({
        severity: 'warning',
        subject: { kind: 'client', id },
        what: `Its refresh tokens live for ${inWords(ttl)}${idle === null ? ', used or not' : ''}.`,
        why: 'One that lies forgotten on a device is good for whoever finds the device.',
        section: 'RFC 9700 4.14.2',
        fix: `Shorten refreshTokenTtlSeconds to ${longIdleDays} days${idle === null ? ', or set refreshTokenIdleTtlSeconds' : ''}.`,
      })),
    }
  },
}

/** Of the sign-in itself. */
export const sessions: Check = {
  name: 'session-lifetimes',
  about: 'how long somebody stays signed in',
  async look({ config: { sessionTtlSeconds: whole, sessionIdleTtlSeconds: idle } }) {
    const long = [
      ...(whole > 24 * hour ? [`SESSION_TTL_SECONDS is ${inWords(whole)}`] : []),
      ...(idle > hour ? [`SESSION_IDLE_TTL_SECONDS is ${inWords(idle)}`] : []),
    ]
    if (long.length === 0) return { said: [] }
    return {
      said: [
        {
          severity: 'warning',
          what: `${long.join(', ')}.`,
          why: 'Whoever sits down at a browser that was left open is that person, at every application.',
          section: 'ASVS 7.3.1, 7.3.2',
          fix: 'A day in all and an hour without use are what a second factor is good for (NIST SP 800-63B-4, AAL2).',
        },
      ],
    }
  },
}

function inWords(seconds: number): string {
  for (const [unit, size] of [
    ['days', 86_400],
    ['hours', hour],
    ['minutes', 60],
  ] as const)
    if (seconds >= 2 * size) return `${Math.round((seconds / size) * 10) / 10} ${unit}`
  return `${seconds} seconds`
}
