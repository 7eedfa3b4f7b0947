// From any token to its family: the session, the grant given in it, the code, each generation of refresh tokens, and the access tokens, with
// their times and why each is over. Never a value: rows do not have any. Rows leave some time after they expired
// (sweep.ts), so a family shows what is left of it.
import type { Database } from '#src/db/database.ts'
import { isUserId } from '#src/users/users.ts'
import { isJwtId } from './jwt-id.ts'
import { tokenKinds } from './kinds.ts'
import { GrantNotFound, isStoredId } from './revoke.ts'
import { candidateRowIds, parseRowId, rowIdText, TokenNotFound } from './row-ids.ts'
import {
  grantParents,
  grantStanding,
  sessionParents,
  sessionStanding,
  tokenParents,
  tokenStanding,
} from './standing.ts'

type Origin = { address: string | null; userAgent: string | null }

export type FamilySession = {
  uid: string
  /** live, or why not (standing.ts) */
  state: string
  userId: string | null
  beganAt: Date
  loginAt: Date | null
  expiresAt: Date | null
  endedAt: Date | null
  origin: Origin | null
}

export type FamilyGrant = {
  id: string
  state: string
  userId: string
  clientId: string
  scopes: string[]
  resourceScopes: Record<string, string[]>
  createdAt: Date
  expiresAt: Date | null
  revokedAt: Date | null
  origin: Origin | null
}

export type FamilyToken = {
  /** The id of its row; it opens nothing. */
  id: string
  kind: string
  format: 'jwt' | 'opaque'
  state: string
  /** What it was issued for: the code, or the refresh token before it. Null: nothing, or its row has left. */
  parent: string | null
  /** Refresh tokens: 1 is the first that is left. */
  generation: number | null
  clientId: string | null
  userId: string | null
  scopes: string[]
  resource: string | null
  issuedAt: Date
  expiresAt: Date | null
  consumedAt: Date | null
  /** Refresh tokens: who used it, and how often that was repeated within the leeway. */
  consumedAddress: string | null
  repeats: number
  revokedAt: Date | null
}

export type Family = {
  /** The id of the token that was asked about. */
  asked: string
  session: FamilySession | null
  grant: FamilyGrant | null
  /** Oldest first, each after its parent. */
  tokens: FamilyToken[]
  /** The family is larger than what is shown, which is its newest part. */
  more: boolean
}

const largestFamily = 1_000

/** @param ids the rows that are meant; the first that exists counts. @throws TokenNotFound */
export async function findFamily({ pool }: Pick<Database, 'pool'>, ids: readonly Buffer[]): Promise<Family> {
  const found = await pool.query<TokenRecord>(`SELECT ${tokenColumns} WHERE t.id = ANY($1::bytea[]) LIMIT 1`, [ids])
  const asked = found.rows[0]
  if (!asked) throw new TokenNotFound()
  const members = asked.grantId === null ? [asked] : await grantMembers(pool, asked.grantId)
  const shown = members.slice(0, largestFamily)
  if (!shown.some((row) => row.id.equals(asked.id))) shown.push(asked)
  const grant = asked.grantId === null ? null : await readGrant(pool, asked.grantId)
  const uid = grant?.sessionUid ?? asked.sessionUid
  const session = uid === null ? null : await readSession(pool, uid)
  return {
    asked: rowIdText(asked.id),
    session,
    grant: grant && withoutSession(grant),
    tokens: inOrder(shown),
    more: members.length > largestFamily,
  }
}

/** @param text its value, or the id of its row. @throws TokenNotFound */
export async function findTokenId({ pool }: Pick<Database, 'pool'>, text: string): Promise<Buffer> {
  const ids = candidateRowIds(text)
  const { rows } = await pool.query<{ id: Buffer }>('SELECT id FROM token WHERE id = ANY($1::bytea[]) LIMIT 1', [ids])
  if (!rows[0]) throw new TokenNotFound()
  return rows[0].id
}

/** @param id as printed. @throws TokenNotFound */
export async function findFamilyById(database: Pick<Database, 'pool'>, id: string): Promise<Family> {
  const parsed = parseRowId(id)
  if (!parsed) throw new TokenNotFound()
  return findFamily(database, [parsed])
}

/** The same from a grant. @throws GrantNotFound */
export async function findFamilyOfGrant({ pool }: Pick<Database, 'pool'>, id: string): Promise<Family> {
  const grant = isStoredId(id) ? await readGrant(pool, id) : null
  if (!grant) throw new GrantNotFound(id)
  const members = await grantMembers(pool, id)
  return {
    asked: '',
    session: grant.sessionUid === null ? null : await readSession(pool, grant.sessionUid),
    grant: withoutSession(grant),
    tokens: inOrder(members.slice(0, largestFamily)),
    more: members.length > largestFamily,
  }
}

const mostGrants = 200

/** What a person let applications do, sign-in by sign-in, the newest first. */
export async function listGrants({ pool }: Pick<Database, 'pool'>, userId: string): Promise<FamilyGrant[]> {
  if (!isUserId(userId)) return []
  const { rows } = await pool.query<GrantRecord>(
    `SELECT ${grantColumns} ${grantParents} LEFT JOIN origin o ON o.id = g.origin_id WHERE g.user_id = $1
     ORDER BY g.created_at DESC, g.id LIMIT ${mostGrants}`,
    [userId],
  )
  return rows.map(withoutSession)
}

type TokenRecord = Omit<FamilyToken, 'id' | 'kind' | 'format' | 'parent' | 'generation' | 'scopes'> & {
  id: Buffer
  kind: number
  scope: string | null
  predecessorId: Buffer | null
  grantId: string | null
  sessionUid: string | null
}

const tokenColumns = `t.id, t.kind, t.predecessor_id AS "predecessorId", t.client_id AS "clientId", t.user_id AS "userId", t.grant_id AS "grantId",
  t.session_uid AS "sessionUid", t.scope, t.resource, t.issued_at AS "issuedAt", t.expires_at AS "expiresAt", t.consumed_at AS "consumedAt",
  t.consumed_address AS "consumedAddress", t.repeats, t.revoked_at AS "revokedAt", ${tokenStanding} AS state FROM token t ${tokenParents}`

/** Newest first, one more than is shown. */
async function grantMembers(pool: Database['pool'], grantId: string): Promise<TokenRecord[]> {
  const { rows } = await pool.query<TokenRecord>(
    `SELECT ${tokenColumns} WHERE t.grant_id = $1 ORDER BY t.issued_at DESC, t.id LIMIT ${largestFamily + 1}`,
    [grantId],
  )
  return rows
}

const originJson = `CASE WHEN o.id IS NOT NULL THEN json_build_object('address', o.address, 'userAgent', o.user_agent) END AS origin`

const grantColumns = `g.id, ${grantStanding} AS state, g.user_id AS "userId", g.client_id AS "clientId", g.session_uid AS "sessionUid", g.scopes,
  g.resource_scopes AS "resourceScopes", g.created_at AS "createdAt", g.expires_at AS "expiresAt", g.revoked_at AS "revokedAt", ${originJson}
  FROM oauth_grant g`

type GrantRecord = FamilyGrant & { sessionUid: string | null }

async function readGrant(pool: Database['pool'], id: string): Promise<GrantRecord | null> {
  const { rows } = await pool.query<GrantRecord>(
    `SELECT ${grantColumns} ${grantParents} LEFT JOIN origin o ON o.id = g.origin_id WHERE g.id = $1`,
    [id],
  )
  return rows[0] ?? null
}

const withoutSession = ({ sessionUid: _, ...grant }: GrantRecord): FamilyGrant => grant

async function readSession(pool: Database['pool'], uid: string): Promise<FamilySession | null> {
  const { rows } = await pool.query<FamilySession>(
    `SELECT s.uid, ${sessionStanding} AS state, s.user_id AS "userId", s.created_at AS "beganAt", s.login_at AS "loginAt",
      s.expires_at AS "expiresAt", s.ended_at AS "endedAt", ${originJson}
    FROM session s ${sessionParents} LEFT JOIN origin o ON o.id = s.origin_id WHERE s.uid = $1`,
    [uid],
  )
  return rows[0] ?? null
}

const kindNames: Record<number, string> = {
  [tokenKinds.AccessToken]: 'access_token',
  [tokenKinds.RefreshToken]: 'refresh_token',
  [tokenKinds.AuthorizationCode]: 'authorization_code',
  [tokenKinds.ClientCredentials]: 'access_token',
  [tokenKinds.DeviceCode]: 'device_code',
  [tokenKinds.BackchannelAuthenticationRequest]: 'backchannel_request',
  [tokenKinds.PushedAuthorizationRequest]: 'pushed_request',
  [tokenKinds.InitialAccessToken]: 'initial_access_token',
  [tokenKinds.RegistrationAccessToken]: 'registration_access_token',
}

/** Times are whole seconds, so a code, its tokens and their successors can share one: parents go before children, then by time. */
function inOrder(rows: readonly TokenRecord[]): FamilyToken[] {
  const known = new Map(rows.map((row) => [rowIdText(row.id), row]))
  const children = new Map<string | null, TokenRecord[]>()
  for (const row of rows) {
    const parent = parentOf(row, known)
    children.set(parent, [...(children.get(parent) ?? []), row])
  }
  const ordered: FamilyToken[] = []
  // A stack, not recursion: a family that refreshes for weeks has a thousand generations.
  const waiting = sorted(children.get(null)).map((row) => ({ row, generation: isRefresh(row) ? 1 : 0 }))
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const { row, generation } = next
    const id = rowIdText(row.id)
    ordered.push(describe(row, parentOf(row, known), isRefresh(row) ? generation : null))
    waiting.unshift(
      ...sorted(children.get(id)).map((child) => ({ row: child, generation: isRefresh(child) ? generation + 1 : 0 })),
    )
  }
  return ordered
}

function parentOf(row: TokenRecord, known: ReadonlyMap<string, unknown>): string | null {
  const parent = row.predecessorId && rowIdText(row.predecessorId)
  return parent !== null && known.has(parent) ? parent : null
}

const isRefresh = (row: TokenRecord): boolean => row.kind === tokenKinds.RefreshToken

/** What belongs to a token comes before its successor. */
function sorted(rows: readonly TokenRecord[] = []): TokenRecord[] {
  return rows.toSorted(
    (a, b) =>
      Number(isRefresh(a)) - Number(isRefresh(b)) ||
      a.issuedAt.getTime() - b.issuedAt.getTime() ||
      Buffer.compare(a.id, b.id),
  )
}

function describe(row: TokenRecord, parent: string | null, generation: number | null): FamilyToken {
  const { id, kind, scope, predecessorId: _, grantId: _grant, sessionUid: _session, ...rest } = row
  return {
    ...rest,
    id: rowIdText(id),
    kind: kindNames[kind] ?? `kind_${kind}`,
    format: isJwtId(id) ? 'jwt' : 'opaque',
    parent,
    generation,
    scopes: scope?.split(' ').filter(Boolean) ?? [],
  }
}
