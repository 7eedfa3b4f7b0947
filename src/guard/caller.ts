// Who is calling, after the first door. Nothing here says what they may do.

export type AuthMethod = 'oauth' | 'api_key' | 'basic' | 'session'

export type Caller = Readonly<{
  /** A person, or a program that acts for itself. */
  type: 'user' | 'client'
  /** The subject: of a person never an address, always the same id. */
  id: string
  clientId: string | undefined
  scopes: readonly string[]
  /** How the person signed in; undefined where nobody did. */
  acr: string | undefined
  /** Epoch seconds of the sign-in. */
  authTime: number | undefined
  authMethod: AuthMethod
  /** The scheme of the Authorization header; undefined for X-API-Key. */
  scheme: 'Bearer' | 'DPoP' | undefined
  /** Whatever the token or the answer of the server says beside. */
  claims: Readonly<Record<string, unknown>>
}>

/** @param claims of a JWT (RFC 9068 2.2) or of an introspection (RFC 7662 2.2).
 *  @returns undefined where they name nobody. */
export function callerFrom(
  claims: Readonly<Record<string, unknown>>,
  how: { authMethod: AuthMethod; scheme: 'Bearer' | 'DPoP' | undefined },
): Caller | undefined {
  const clientId = text(claims.client_id)
  const id = text(claims.sub) ?? clientId
  if (id === undefined) return undefined
  return {
    // RFC 9068 2.2: where nobody delegated, the subject is the client. Client ids and subjects of people can never be equal.
    type: id === clientId ? 'client' : 'user',
    id,
    clientId,
    scopes: text(claims.scope)?.split(' ') ?? [],
    acr: text(claims.acr),
    authTime: typeof claims.auth_time === 'number' ? claims.auth_time : undefined,
    ...how,
    claims,
  }
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}
