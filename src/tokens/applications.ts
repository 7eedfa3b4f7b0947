// The applications that a person let in: what each may do, since when, and when it last got a token. Taking it back is
// `revoke` with kind `consent` (revoke.ts). Our own pages are no application.
import { ownClientId } from '#src/clients/own-client.ts'
import type { Db } from '#src/db/database.ts'
import { isUserId } from '#src/users/users.ts'
import { mostLookedAt, mostLookedThrough } from './dry-run.ts'

export type ConnectedApplication = {
  clientId: string
  name: string
  clientUri: string | null
  /** The name of its picture. */
  logo: string | null
  since: Date
  /** When it last got a token; null: not since the rows of its tokens were swept. */
  lastUsedAt: Date | null
  /** OpenID scopes. */
  scopes: string[]
  resources: { identifier: string; name: string; scopes: { name: string; description: string }[] }[]
}

type Given = {
  clientId: string
  since: Date
  lastUsedAt: Date | null
  scopes: string[]
  resourceScopes: Record<string, string[]>
}

/** By name. What was agreed to counts as well as what is in force: an agreement lets the application in again without a question. */
export async function listApplications(db: Db, userId: string, now: Date): Promise<ConnectedApplication[]> {
  if (!isUserId(userId)) return []
  const given = new Map<string, Given>()
  for (const one of [...(await readConsents(db, userId)), ...(await readGrants(db, userId, now))]) {
    const before = given.get(one.clientId)
    given.set(one.clientId, before ? merge(before, one) : one)
  }
  const clients = await db.client.findMany({
    where: { id: { in: [...given.keys()] } },
    select: { id: true, name: true, clientUri: true, logo: true },
    orderBy: [{ name: 'asc' }, { id: 'asc' }],
  })
  const describe = await describeScopes(db, [...given.values()])
  return clients.flatMap(({ id, name, clientUri, logo }) => {
    const one = given.get(id)
    if (!one) return []
    const { since, lastUsedAt, scopes, resourceScopes } = one
    return [{ clientId: id, name, clientUri, logo, since, lastUsedAt, scopes, resources: describe(resourceScopes) }]
  })
}

/** How much an application is in use. */
export type ApplicationUse = {
  /** Who let it in, and did not take that back. */
  people: number
  /** Of the tokens that are still kept, and by the hour of those that were swept. */
  lastIssuedAt: Date | null
  /** The numbers are of the rows that were looked at; there are others. */
  more: boolean
}

/** At most `mostLookedAt` grants and tokens are looked at: an application may have millions, and no index serves what it got for itself. */
export async function readApplicationUse(db: Db, clientId: string, now: Date): Promise<ApplicationUse> {
  const [use] = await db.$queryRaw<ApplicationUse[]>`
    WITH seen AS MATERIALIZED (SELECT id, user_id, revoked_at, expires_at FROM oauth_grant WHERE client_id = ${clientId} LIMIT ${mostLookedAt}),
    issued AS (
      (SELECT t.issued_at FROM seen g CROSS JOIN LATERAL (SELECT x.issued_at FROM token x WHERE x.grant_id = g.id LIMIT ${mostLookedAt}) t LIMIT ${mostLookedAt})
      UNION ALL
      SELECT x.issued_at FROM (
        SELECT client_id, grant_id, issued_at FROM token WHERE expires_at > ${now} ORDER BY expires_at DESC LIMIT ${mostLookedThrough}) x
      WHERE x.client_id = ${clientId} AND x.grant_id IS NULL
      UNION ALL
      SELECT last_at FROM client_use WHERE client_id = ${clientId} AND api_identifier = '')
    SELECT
      (SELECT count(DISTINCT user_id) FROM seen WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ${now}))::int AS people,
      (SELECT max(issued_at) FROM issued) AS "lastIssuedAt",
      (SELECT count(*) >= ${mostLookedAt} FROM seen) AS more`
  if (!use) throw new Error('a count answered no row')
  return use
}

async function readConsents(db: Db, userId: string): Promise<Given[]> {
  const rows = await db.consent.findMany({ where: { userId } })
  return rows.map(({ clientId, createdAt, scopes, resourceScopes }) => ({
    clientId,
    since: createdAt,
    lastUsedAt: null,
    scopes,
    resourceScopes: resourceScopes as Record<string, string[]>,
  }))
}

function readGrants(db: Db, userId: string, now: Date): Promise<Given[]> {
  return db.$queryRaw<Given[]>`
    SELECT g.client_id AS "clientId", g.created_at AS since, l.at AS "lastUsedAt", g.scopes, g.resource_scopes AS "resourceScopes"
    FROM oauth_grant g LEFT JOIN LATERAL (SELECT max(t.issued_at) AS at FROM token t WHERE t.grant_id = g.id) l ON true
    WHERE g.user_id = ${userId}::uuid AND g.revoked_at IS NULL AND (g.expires_at IS NULL OR g.expires_at > ${now})
      AND g.client_id <> ${ownClientId}`
}

function merge(one: Given, other: Given): Given {
  const resources = new Set([...Object.keys(one.resourceScopes), ...Object.keys(other.resourceScopes)])
  const union = (a: string[] = [], b: string[] = []) => [...new Set([...a, ...b])]
  return {
    clientId: one.clientId,
    since: [one.since, other.since].sort((a, b) => a.getTime() - b.getTime())[0] ?? one.since,
    lastUsedAt: latest(one.lastUsedAt, other.lastUsedAt),
    scopes: union(one.scopes, other.scopes),
    resourceScopes: Object.fromEntries(
      [...resources].map((resource) => [resource, union(one.resourceScopes[resource], other.resourceScopes[resource])]),
    ),
  }
}

function latest(one: Date | null, other: Date | null): Date | null {
  return one && (!other || one > other) ? one : other
}

/** A scope or an API that has gone since allows nothing any more, so it is left out. */
async function describeScopes(db: Db, given: readonly Given[]) {
  const identifiers = [...new Set(given.flatMap(({ resourceScopes }) => Object.keys(resourceScopes)))]
  const apis = await db.api.findMany({
    where: { identifier: { in: identifiers } },
    select: { identifier: true, name: true, scopes: { select: { name: true, description: true } } },
    orderBy: { name: 'asc' },
  })
  return (resourceScopes: Record<string, string[]>): ConnectedApplication['resources'] =>
    apis.flatMap(({ identifier, name, scopes }) => {
      const known = scopes.filter((scope) => resourceScopes[identifier]?.includes(scope.name))
      return known.length > 0 ? [{ identifier, name, scopes: known }] : []
    })
}
