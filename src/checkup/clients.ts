// Applications: where browsers are sent back to, what they may use, how old their secrets are.
import { checkRedirectUri } from '#src/clients/redirect-uris.ts'
import { type ClientType, typeRules } from '#src/clients/types.ts'
import type { Database } from '#src/db/database.ts'
import { whoRefreshed } from '#src/tokens/client-use.ts'
import { type Check, day, daysBefore, idleDays, most, some, totalOf } from './finding.ts'

const secretDays = 365
const overlapDays = 30
const pageRows = 1_000
/** Where an application sends the browser on to wherever such a parameter says, so does whoever writes the link. */
const forwarding = /[?&](next|url|uri|redirect|redirect_uri|return|return_to|returnto|continue|goto|target|dest)=/i

type Uri = { id: string; type: ClientType; uris: string[] }

/** Each on its own: of a client the worst that is to be said. */
export const redirectUris: Check = {
  name: 'redirect-uris',
  about: 'addresses that browsers are sent back to',
  async look({ database, config }) {
    const said: Awaited<ReturnType<Check['look']>>['said'] = []
    let total = 0
    for await (const { id, type, uris } of clientsWithUris(database)) {
      const subject = { kind: 'client', id } as const
      const found = judge(type, uris, config.https)
      if (!found) continue
      total++
      if (said.length < most) said.push({ subject, ...found })
    }
    return { said, total }
  },
}

function judge(type: ClientType, uris: readonly string[], https: boolean) {
  const refused = uris.filter((uri) => checkRedirectUri('uri', uri, type).length > 0)
  if (refused.length > 0)
    return {
      severity: 'critical',
      what: `It has redirect URIs that would not be accepted today: ${some(refused)}.`,
      why: 'A code that is sent to an address with two readings can reach somebody else.',
      section: 'RFC 9700 2.1, 4.1.3',
      fix: 'Register each address in its normal form and in full, then remove these.',
    } as const
  const forwards = uris.filter((uri) => forwarding.test(uri))
  if (forwards.length > 0)
    return {
      severity: 'warning',
      what: `A redirect URI has a parameter that looks like an address to go on to: ${some(forwards)}.`,
      why: 'An application that sends browsers on to wherever a link says hands codes and people to strangers.',
      section: 'RFC 9700 4.11.1',
      fix: 'Register the address without it, and keep where to go on to in `state` or in the session.',
    } as const
  const local = uris.filter((uri) => /^http:/.test(uri))
  if (https && type !== 'native' && local.length > 0)
    return {
      severity: 'warning',
      what: `It sends people of a public installation to their own machine: ${some(local)}.`,
      why: 'What a developer needed stays open: any program that listens on that port gets the code.',
      section: 'RFC 8252 8.3',
      fix: 'Remove it; use a client of its own for development.',
    } as const
  const byName = uris.filter((uri) => /^http:\/\/localhost[:/]/.test(uri))
  if (type === 'native' && byName.length > 0)
    return {
      severity: 'note',
      what: `It is sent back to localhost by name: ${some(byName)}.`,
      why: 'The name can lead to another interface than loopback; the address cannot.',
      section: 'RFC 8252 8.3',
      fix: 'Register http://127.0.0.1 and http://[::1] with the same path.',
    } as const
  return undefined
}

async function* clientsWithUris({ pool }: Database): AsyncGenerator<Uri> {
  for (let after = ''; ; ) {
    const { rows } = await pool.query<Uri>(
      `SELECT id, type, redirect_uris || post_logout_redirect_uris AS uris FROM client
        WHERE id > $1 AND disabled_at IS NULL ORDER BY id LIMIT ${pageRows}`,
      [after],
    )
    yield* rows
    const last = rows.at(-1)
    if (!last || rows.length < pageRows) return
    after = last.id
  }
}

/** By type, what a client may have: the table of clients/types.ts as SQL wants it. */
const allowed = JSON.stringify(
  Object.fromEntries(
    Object.entries(typeRules).map(([type, rules]) => [type, [...rules.grantTypes, ...rules.furtherGrantTypes]]),
  ),
)

export const grantTypes: Check = {
  name: 'grant-types',
  about: 'ways to a token that an application has',
  async look({ database, now }) {
    const { rows } = await database.pool.query<{ id: string; type: string; beyond: string[]; total: number }>(
      `SELECT * , count(*) OVER ()::int AS total FROM (
         SELECT id, type, ARRAY(SELECT g FROM unnest(grant_types) g WHERE NOT ($1::jsonb -> type) ? g) AS beyond
         FROM client WHERE disabled_at IS NULL) c
       WHERE cardinality(beyond) > 0 ORDER BY id LIMIT ${most}`,
      [allowed],
    )
    const worse = new Set(rows.map(({ id }) => id))
    const unused = (await unusedRefreshing(database, now())).filter(({ id }) => !worse.has(id))
    return {
      said: [
        ...rows.map(({ id, type, beyond }) => ({
          severity: 'critical' as const,
          subject: { kind: 'client' as const, id },
          what: `It is of type ${type} and may use ${some(beyond)}, which that type has no use for.`,
          why: 'Every grant type that is on is one more way to a token; some hand it to whoever holds the page or the device.',
          section: 'RFC 9700 2.1.2, 2.4',
          fix: 'Set its grant types anew, or leave them out: then it has those of its type.',
        })),
        ...unused.slice(0, Math.max(0, most - rows.length)).map(({ id }) => ({
          severity: 'note' as const,
          subject: { kind: 'client' as const, id },
          what: `It may refresh tokens, and has not done so for ${idleDays} days, although people sign in to it.`,
          why: 'A refresh token that nobody needs is worth weeks of access to whoever finds it.',
          section: 'RFC 9700 4.14.2',
          fix: 'Take refresh_token from its grant types.',
        })),
      ],
      total: totalOf(rows) + totalOf(unused),
    }
  },
}

/** Nothing is said before the record is as old as what it is asked about. (Of profile fapi2 refresh tokens are not used up.) */
async function unusedRefreshing(database: Database, now: Date): Promise<{ id: string; total: number }[]> {
  const since = daysBefore(now, idleDays)
  const { rows } = await database.pool.query<{ id: string }>(
    `SELECT c.id FROM client c
      WHERE c.disabled_at IS NULL AND c.profile <> 'fapi2' AND 'refresh_token' = ANY (c.grant_types) AND c.updated_at < $1
        AND (SELECT finished_at FROM _prisma_migrations WHERE migration_name LIKE '%\\_client\\_use' AND finished_at IS NOT NULL LIMIT 1) < $1
        AND EXISTS (SELECT FROM client_use u WHERE u.client_id = c.id AND u.api_identifier = '' AND u.what = 'authorization_code' AND u.last_at >= $1)
        AND NOT EXISTS (SELECT FROM client_use u WHERE u.client_id = c.id AND u.api_identifier = '' AND u.what = 'refresh_token' AND u.last_at >= $1)
      ORDER BY c.id`,
    [since],
  )
  if (rows.length === 0) return []
  const used = await whoRefreshed(
    database,
    rows.map(({ id }) => id),
    since,
  )
  const unused = rows.filter(({ id }) => !used.has(id))
  return unused.slice(0, most).map(({ id }) => ({ id, total: unused.length }))
}

export const secrets: Check = {
  name: 'client-secrets',
  about: 'secrets of applications',
  async look({ database: { pool }, now }) {
    const at = now()
    const { rows } = await pool.query<{ id: string; newest: Date; endless: number; total: number }>(
      `SELECT *, count(*) OVER ()::int AS total FROM (
         SELECT s.client_id AS id, max(s.created_at) AS newest,
           count(*) FILTER (WHERE s.expires_at IS NULL OR s.expires_at > $2::timestamptz + interval '${overlapDays} days')::int AS endless,
           (array_agg(s.created_at ORDER BY s.created_at DESC))[1] AS made
         FROM client_secret s JOIN client c ON c.id = s.client_id AND c.disabled_at IS NULL
         WHERE s.expires_at IS NULL OR s.expires_at > $2 GROUP BY 1) o
       WHERE newest < $1 OR (endless > 1 AND made < $2::timestamptz - interval '${overlapDays} days') ORDER BY id LIMIT ${most}`,
      [daysBefore(at, secretDays), at],
    )
    return {
      total: totalOf(rows),
      said: rows.map(({ id, newest, endless }) => {
        const age = Math.floor((at.getTime() - newest.getTime()) / day)
        return {
          severity: 'warning',
          subject: { kind: 'client', id },
          section: 'RFC 9700 2.5, ASVS 13.3.4',
          ...(age >= secretDays
            ? {
                what: `Its secret has not changed for ${age} days.`,
                why: 'A secret has been in more files, backups and heads with each month; nobody would notice a copy.',
                fix: `POST /api/v1/clients/${id}/secrets with an overlap, or sallyport clients add-secret and, when the new one is in use, remove-secret.`,
              }
            : {
                what: `${endless} of its secrets are good at once, and none of the old ones ends soon.`,
                why: 'A rotation that is not finished leaves the secret open that it was to close.',
                fix: 'Remove those that nobody uses: sallyport clients remove-secret.',
              }),
        } as const
      }),
    }
  },
}
