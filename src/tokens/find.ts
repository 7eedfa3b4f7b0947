// One token, looked up by its value, for doors that are called with it.
import { createHash } from 'node:crypto'
import type { Database } from '#src/db/database.ts'
import { tokenKinds } from './kinds.ts'
import { readToken } from './statements.ts'

export type FoundAccessToken = {
  clientId: string
  userId: string | undefined
  scopes: readonly string[]
  audience: string | undefined
}

const accessKinds: readonly number[] = [tokenKinds.AccessToken, tokenKinds.ClientCredentials]

/** @returns undefined for anything but a live access token: unknown, expired, revoked and other kinds are one answer.
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
  return {
    clientId: row.clientId,
    userId: row.userId ?? undefined,
    scopes: row.scope?.split(' ').filter(Boolean) ?? [],
    audience: row.resource ?? undefined,
  }
}
