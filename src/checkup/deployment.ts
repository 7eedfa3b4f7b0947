// How the process is run: mode, proxies, clock, mail.
import { isIPv4 } from 'node:net'
import type { Check } from './finding.ts'

export const mode: Check = {
  name: 'mode',
  about: 'NODE_ENV',
  async look({ config }) {
    if (config.production || !config.https) return { said: [] }
    return {
      said: [
        {
          severity: 'critical',
          what: `NODE_ENV is not production, and ISSUER_URL is ${config.issuerUrl}.`,
          why: 'Outside production unsafe settings are let through and SECRET_KEY may be a file beside the database.',
          section: 'ASVS 13.4.2',
          fix: 'Set NODE_ENV=production; the start says what is missing then.',
        },
      ],
    }
  },
}

export const proxies: Check = {
  name: 'proxies',
  about: 'TRUST_PROXY and ISSUER_URL',
  async look({ config: { https, trustProxy } }) {
    const why = 'Limits on guessing and the record of who did what go by the address.'
    // The process speaks plain http: where the issuer is https somebody else ends TLS.
    if (https && trustProxy.length === 0)
      return {
        said: [
          {
            severity: 'warning',
            what: 'ISSUER_URL is https and TRUST_PROXY is empty: everybody has the address of the proxy in front.',
            why,
            section: 'RFC 9700 4.13, ASVS 15.3.4',
            fix: 'Set TRUST_PROXY to the addresses of the proxies that end TLS, and have them set X-Forwarded-For.',
          },
        ],
      }
    const wide = trustProxy.filter(isWide)
    if (wide.length === 0) return { said: [] }
    return {
      said: [
        {
          severity: 'critical',
          what: `TRUST_PROXY believes ${wide.join(', ')}: strangers can say which address is theirs.`,
          why,
          section: 'RFC 9700 4.13, ASVS 15.3.4',
          fix: 'List the addresses of your proxies, or the private range they are in.',
        },
      ],
    }
  },
}

/** More than a private range has. */
function isWide(entry: string): boolean {
  const [address = '', bits] = entry.split('/')
  return bits !== undefined && Number(bits) < (isIPv4(address) ? 8 : 7)
}

const tolerated = 5
const harmful = 60

export const clock: Check = {
  name: 'clock',
  about: 'the clock, against that of the database',
  async look({ database: { pool }, now }) {
    let best: { trip: number; apart: number } | undefined
    for (let tries = 0; tries < 3; tries++) {
      const [before, began] = [now().getTime(), performance.now()]
      const { rows } = await pool.query<{ at: Date }>('SELECT clock_timestamp() AS at')
      const trip = performance.now() - began
      if (!best || trip < best.trip) best = { trip, apart: ((rows[0]?.at.getTime() ?? 0) - before - trip / 2) / 1000 }
    }
    const { trip, apart } = best as { trip: number; apart: number }
    const seconds = Math.abs(apart) - trip / 2000
    if (seconds < tolerated) return { said: [] }
    return {
      said: [
        {
          severity: seconds < harmful ? 'warning' : 'critical',
          what: `This machine is ${Math.round(seconds)} seconds ${apart > 0 ? 'behind' : 'ahead of'} the database.`,
          why: 'Tokens begin and end by the clock, codes of authenticator apps are good for half a minute, and DPoP proofs for a few.',
          section: 'RFC 9449 11.1, ASVS 16.2.2',
          fix: 'Have both follow the same time servers (NTP).',
        },
      ],
    }
  },
}

const stuckMinutes = 15

export const mail: Check = {
  name: 'mail',
  about: 'whether mails get through',
  async look({ database: { pool }, config, now }) {
    const section = 'ASVS 6.3.5, 6.3.7'
    if (config.mail === 'none' && (config.production || config.https)) {
      const needed = config.signUp !== 'off' || config.emailVerification === 'required' || config.emailSignIn === 'on'
      return {
        said: [
          {
            severity: needed ? 'critical' : 'warning',
            what: 'There is no mail server (SMTP_URL).',
            why: needed
              ? 'Signing up, verifying an address or signing in by mail is on, and cannot work.'
              : 'Nobody hears of a new device, a changed password or a removed factor, and nobody can recover an account.',
            section,
            fix: 'Set SMTP_URL and MAIL_FROM.',
          },
        ],
      }
    }
    const at = now()
    const { rows } = await pool.query<{ waiting: number; oldest: Date | null; lost: number }>(
      `SELECT (SELECT count(*) FROM mail WHERE next_attempt_at IS NOT NULL AND created_at < $1)::int AS waiting,
        (SELECT min(created_at) FROM mail WHERE next_attempt_at IS NOT NULL) AS oldest,
        (SELECT count(*) FROM mail WHERE given_up_at IS NOT NULL)::int AS lost`,
      [new Date(at.getTime() - stuckMinutes * 60_000)],
    )
    const { waiting = 0, oldest = null, lost = 0 } = config.mail === 'smtp' ? (rows[0] ?? {}) : {}
    if (waiting === 0 && lost === 0) return { said: [] }
    return {
      said: [
        {
          severity: 'warning',
          what:
            waiting > 0
              ? `${waiting} mails wait for more than ${stuckMinutes} minutes, since ${oldest?.toISOString()}${lost > 0 ? `; ${lost} were given up` : ''}.`
              : `${lost} mails were given up in the last two days.`,
          why: 'Codes run out on the way, and people do not hear what was done in their name.',
          section,
          fix: 'Look for mail.delayed and mail.server_away in the log: they say what the mail server answers.',
        },
      ],
    }
  },
}
