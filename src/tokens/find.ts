// One token, looked up by the id of its row, for doors that are called with it: whether it counts, and if not, why.
import type { Database } from '#src/db/database.ts'
import { tokenKinds } from './kinds.ts'
import { readToken, type SessionRow, type TokenRow } from './statements.ts'

export type JudgedToken = {
  /** undefined: it counts now. */
  over: 'expired' | 'revoked' | undefined
  clientId: string
  userId: string | undefined
  scopes: readonly string[]
  audience: string | undefined
  /** Where there is one, the token is nothing by itself. */
  binding: TokenBinding | undefined
  /** Of the session that it was given in, while that lasts. */
  acr: string | null
  amr: readonly string[]
  /** When the person had signed in as it was issued: a later sign-in in the same session makes no older token a recent one (RFC 9470 6). */
  authenticatedAt: Date | undefined
  expiresAt: Date | undefined
  /** Who is behind it, where the person is not: as it was issued (RFC 8693 4.1). */
  impersonatorId?: string | undefined
}

export type TokenBinding = Readonly<{
  /** Thumbprint of a key (RFC 9449 6). */
  jkt: string | undefined
  /** SHA-256 of a client certificate, base64url (RFC 8705 3.1). */
  certificate: string | undefined
}>

const accessKinds: readonly number[] = [tokenKinds.AccessToken, tokenKinds.ClientCredentials]

/** @param id SHA-256 of an opaque value, or what the verified `jti` of a JWT says.
 *  @returns undefined for what is no access token, and for a row that has left since it expired. */
export async function judgeToken({ pool }: Database, id: Buffer, now: Date): Promise<JudgedToken | undefined> {
  const row = await readToken(pool, id)
  if (!row?.clientId || !accessKinds.includes(row.kind)) return undefined
  const { payload, session } = row
  return {
    over: overBecause(row, now),
    clientId: row.clientId,
    userId: row.userId ?? undefined,
    scopes: row.scope?.split(' ').filter(Boolean) ?? [],
    audience: row.resource ?? undefined,
    binding: bindingOf(payload),
    impersonatorId: actorIn(payload),
    acr: session?.acr ?? null,
    amr: session?.amr ?? [],
    expiresAt: row.expiresAt === null ? undefined : new Date(row.expiresAt * 1000),
    authenticatedAt: session ? signedInAt(payload, session) : undefined,
  }
}

function actorIn({ extra }: Record<string, unknown>): string | undefined {
  const act = (extra as { act?: { sub?: unknown } } | undefined)?.act
  return act === undefined ? undefined : String(act.sub)
}

function signedInAt({ extra }: Record<string, unknown>, session: SessionRow): Date {
  const ofSession = session.loginAt ?? session.createdAt
  const ofToken = (extra as { auth_time?: unknown } | undefined)?.auth_time
  return new Date((typeof ofToken === 'number' ? Math.min(ofToken, ofSession) : ofSession) * 1000)
}

function bindingOf({ jkt, 'x5t#S256': certificate }: Record<string, unknown>): TokenBinding | undefined {
  if (jkt === undefined && certificate === undefined) return undefined
  // A binding that cannot be read is one that nobody can prove.
  const text = (value: unknown) => (value === undefined ? undefined : typeof value === 'string' ? value : '')
  return { jkt: text(jkt), certificate: text(certificate) }
}

function overBecause(row: TokenRow, now: Date): JudgedToken['over'] {
  if (row.expiresAt === null || row.expiresAt * 1000 <= now.getTime()) return 'expired'
  if (!row.live || (row.payload.expiresWithSession && !isInSession(row, now))) return 'revoked'
  return undefined
}

/** Without offline_access a token is over when its session is, or when the session gave the client another grant since: what the
 *  engine asks at its own endpoints. */
function isInSession({ session, clientId, grantId }: TokenRow, now: Date): boolean {
  if (!session || !clientId || (session.expiresAt !== null && session.expiresAt * 1000 <= now.getTime())) return false
  return (session.clients[clientId] as { grantId?: string } | undefined)?.grantId === grantId
}
