// One token, looked up by its value, for doors that are called with it.
import { createHash } from 'node:crypto'
import type { Database } from '#src/db/database.ts'
import { tokenKinds } from './kinds.ts'
import { readToken, type TokenRow } from './statements.ts'

export type FoundAccessToken = {
  clientId: string
  userId: string | undefined
  scopes: readonly string[]
  audience: string | undefined
}

const accessKinds: readonly number[] = [tokenKinds.AccessToken, tokenKinds.ClientCredentials]

/** @returns undefined for anything but a live access token: unknown, expired, revoked and other kinds are one answer. A JWT is
 *  never found: its row is known by its `jti`, and this server's own API issues opaque tokens only (bootstrap/own-api.ts).
 *  Tokens that are bound to a key (RFC 9449, RFC 8705) are nothing by themselves, so they are not found here. */
export async function findAccessToken(
  { pool }: Database,
  value: string,
  now: Date,
): Promise<FoundAccessToken | undefined> {
  const row = await readToken(pool, createHash('sha256').update(value).digest())
  if (!row?.live || !row.clientId || !accessKinds.includes(row.kind)) return undefined
  if (row.expiresAt === null || row.expiresAt * 1000 <= now.getTime()) return undefined
  if (row.payload.jkt !== undefined || row.payload['x5t#S256'] !== undefined) return undefined
  if (row.payload.expiresWithSession && !isInSession(row, now)) return undefined
  return {
    clientId: row.clientId,
    userId: row.userId ?? undefined,
    scopes: row.scope?.split(' ').filter(Boolean) ?? [],
    audience: row.resource ?? undefined,
  }
}

/** Without offline_access a token is over when its session is, or when the session gave the client another grant since: what the
 *  engine asks at its own endpoints. */
function isInSession({ session, clientId, grantId }: TokenRow, now: Date): boolean {
  if (!session || !clientId || (session.expiresAt !== null && session.expiresAt * 1000 <= now.getTime())) return false
  return (session.clients[clientId] as { grantId?: string } | undefined)?.grantId === grantId
}
