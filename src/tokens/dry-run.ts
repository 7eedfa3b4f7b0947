// What a revocation would end, counted without changing anything. After the revocation the same count is zero.
//
// Tokens of a grant, a session or a person are found by index. Those of an API, of a client acting for itself, and those before
// a moment are not (an index that serves nothing else would slow every insert): there the tokens that expire next are looked
// through. API keys are found by index. Either way the rows that are looked at have an upper bound, and `more` says when there were others.
import { ApiNotFound, findApi } from '#src/apis/apis.ts'
import { keyIsGood, keyParents, partsOfApi } from '#src/apis/keys-in-force.ts'
import { findClient } from '#src/clients/clients.ts'
import { ClientNotFound } from '#src/clients/errors.ts'
import type { Db } from '#src/db/database.ts'
import { findUser, isUserId, UserNotFound } from '#src/users/users.ts'
import { tokenKinds } from './kinds.ts'
import {
  ConsentNotFound,
  GrantNotFound,
  isStoredId,
  MomentInTheFuture,
  type RevocationTarget,
  SessionNotFound,
} from './revoke.ts'
import { TokenNotFound } from './row-ids.ts'
import {
  grantParents,
  grantStanding,
  sessionParents,
  sessionStanding,
  tokenParents,
  tokenStanding,
} from './standing.ts'

export type Counts = {
  accessTokens: number
  refreshTokens: number
  codes: number
  /** That end, or whose tokens do. */
  grants: number
  sessions: number
  /** That end with their owner's tokens, or lose the API. */
  apiKeys: number
  /** The counts are of the rows that were looked at; there are others. */
  more: boolean
}

/** With everything they were issued under: a few hundredths of a second of the database’s work, since pages show these counts. */
export const mostLookedAt = 2_000
/** By their own columns alone. */
export const mostLookedThrough = 20_000

/** @throws what revoke() throws for a target that does not exist; what has ended already counts as zero. */
export async function countRevocation(db: Db, target: RevocationTarget): Promise<Counts> {
  const { tokens, above = 'false', through = [], grants, sessions, keys, values } = await reachOf(db, target)
  const text = `
    WITH grant_above AS MATERIALIZED (SELECT id FROM oauth_grant WHERE ${above} LIMIT ${mostLookedAt}),
    token_seen AS MATERIALIZED (${tokens} LIMIT ${mostLookedAt}),
    grant_seen AS MATERIALIZED (${grants ?? nothingOf('oauth_grant')} LIMIT ${mostLookedAt}),
    session_seen AS MATERIALIZED (${sessions ?? nothingOf('session')} LIMIT ${mostLookedAt}),
    key_seen AS MATERIALIZED (${keys ?? nothingOf('api_key')} LIMIT ${mostLookedAt}),
    token_ends AS MATERIALIZED (
      SELECT t.kind, t.grant_id FROM token_seen t ${tokenParents} WHERE ${tokenStanding} = 'live'),
    grant_ends AS (
      SELECT grant_id FROM token_ends WHERE grant_id IS NOT NULL
      UNION SELECT g.id FROM grant_seen g ${grantParents} WHERE ${grantStanding} = 'live')
    SELECT
      (SELECT count(*) FROM token_ends WHERE kind IN (${tokenKinds.AccessToken}, ${tokenKinds.ClientCredentials}))::int AS "accessTokens",
      (SELECT count(*) FROM token_ends WHERE kind = ${tokenKinds.RefreshToken})::int AS "refreshTokens",
      (SELECT count(*) FROM token_ends WHERE kind = ${tokenKinds.AuthorizationCode})::int AS codes,
      (SELECT count(*) FROM grant_ends)::int AS grants,
      (SELECT count(*) FROM session_seen s ${sessionParents} WHERE ${sessionStanding} = 'live')::int AS sessions,
      (SELECT count(*) FROM key_seen k ${keyParents} WHERE ${keyIsGood})::int AS "apiKeys",
      (SELECT greatest((SELECT count(*) FROM grant_above), (SELECT count(*) FROM token_seen), (SELECT count(*) FROM session_seen),
        (SELECT count(*) FROM key_seen)) >= ${mostLookedAt}${through.map((table) => ` OR (SELECT count(*) FROM (${nextOf(table, '')}) n) >= ${mostLookedThrough}`).join('')}) AS more`
  const [counts] = await db.$queryRawUnsafe<Counts[]>(text, ...values)
  if (!counts) throw new Error('a count answered no row')
  return counts
}

type Reach = {
  /** Which grants have tokens to look at (`underGrants`). */
  above?: string
  /** Which tables are looked through. */
  through?: readonly ('token' | 'session')[]
  /** Rows to look at. */
  tokens: string
  grants?: string
  sessions?: string
  keys?: string
  values: unknown[]
}

const nothingOf = (table: string) => `SELECT x.* FROM ${table} x WHERE false`
/** Grant by grant: as one join it would be made of all grants and all tokens, whenever many are expected. */
const underGrants = `SELECT t.* FROM grant_above g
    CROSS JOIN LATERAL (SELECT * FROM token x WHERE x.grant_id = g.id LIMIT ${mostLookedAt}) t`
const keysWhere = (condition: string) => `SELECT k.* FROM api_key k WHERE ${condition}`
/** Without an index: what expires next, of everything unexpired. */
const lookedThrough = (table: 'token' | 'session', condition: string) =>
  `SELECT x.* FROM (${nextOf(table, '*')}) x WHERE ${condition}`
const nextOf = (table: string, columns: string) =>
  `SELECT ${columns} FROM ${table} x WHERE x.expires_at > statement_timestamp() ORDER BY x.expires_at LIMIT ${mostLookedThrough}`

async function reachOf(db: Db, target: RevocationTarget): Promise<Reach> {
  switch (target.kind) {
    case 'token': {
      const token = await db.token.findUnique({
        where: { id: new Uint8Array(target.id) },
        select: { kind: true, grantId: true },
      })
      if (!token) throw new TokenNotFound()
      if (token.kind === tokenKinds.RefreshToken && token.grantId)
        return reachOf(db, { kind: 'grant', id: token.grantId })
      return { tokens: 'SELECT t.* FROM token t WHERE t.id = $1', values: [new Uint8Array(target.id)] }
    }
    case 'grant':
      if (!isStoredId(target.id) || (await db.grant.count({ where: { id: target.id } })) === 0)
        throw new GrantNotFound(target.id)
      return { ...ofGrants('id = $1'), values: [target.id] }
    case 'session':
      if (!isStoredId(target.uid) || (await db.session.count({ where: { uid: target.uid } })) === 0)
        throw new SessionNotFound(target.uid)
      return {
        ...ofGrants('session_uid = $1'),
        sessions: 'SELECT s.* FROM session s WHERE s.uid = $1',
        values: [target.uid],
      }
    case 'consent': {
      const { userId, clientId } = target
      const where = { userId, clientId }
      if (
        !isUserId(userId) ||
        !isStoredId(clientId) ||
        (await db.grant.count({ where })) + (await db.consent.count({ where })) === 0
      )
        throw new ConsentNotFound(userId, clientId)
      return { ...ofGrants('user_id = $1::uuid AND client_id = $2'), values: [userId, clientId] }
    }
    case 'user':
      if (!(await findUser(db, target.id))) throw new UserNotFound(target.id)
      return {
        above: 'user_id = $1::uuid',
        tokens: underGrants,
        sessions: 'SELECT s.* FROM session s WHERE s.user_id = $1::uuid',
        keys: keysWhere('k.user_id = $1::uuid'),
        values: [target.id],
      }
    case 'client':
      if (!(await findClient(db, target.id))) throw new ClientNotFound(target.id)
      return {
        above: 'client_id = $1',
        through: ['token'],
        tokens: `${underGrants}
          UNION ALL ${lookedThrough('token', `x.client_id = $1 AND x.grant_id IS NULL`)}`,
        keys: keysWhere('k.client_id = $1'),
        values: [target.id],
      }
    case 'api':
      if (!(await findApi(db, target.identifier))) throw new ApiNotFound(target.identifier)
      return {
        through: ['token'],
        tokens: lookedThrough('token', 'x.resource = $1'),
        keys: keysWhere(`k.id IN (${partsOfApi})`),
        values: [target.identifier],
      }
    case 'before': {
      const moment = await pastMoment(db, target.moment)
      return {
        through: ['token', 'session'],
        tokens: lookedThrough('token', 'x.issued_at < $1::timestamptz'),
        sessions: lookedThrough('session', 'COALESCE(x.login_at, x.created_at) < $1::timestamptz'),
        values: [moment],
      }
    }
  }
}

const ofGrants = (condition: string) => ({
  above: condition,
  tokens: underGrants,
  grants: `SELECT g.* FROM oauth_grant g WHERE ${condition}`,
})

async function pastMoment(db: Db, moment: Date | 'now'): Promise<Date> {
  const [row] = await db.$queryRaw<{ present: Date }[]>`SELECT clock_timestamp() AS present`
  if (!row) throw new Error('the database answered no time')
  if (moment === 'now') return row.present
  if (moment > row.present) throw new MomentInTheFuture(moment)
  return moment
}
