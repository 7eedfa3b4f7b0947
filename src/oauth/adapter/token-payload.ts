// A token's payload, as the engine has it, and its row. What an operator asks about has a column; the rest stays in `payload`
// byte for byte, unknown keys included.
import type { TokenKind } from '#src/tokens/kinds.ts'
import { tokenKinds } from '#src/tokens/kinds.ts'
import type { TokenRow, TokenWrite } from '#src/tokens/statements.ts'

export type Payload = Record<string, unknown>
type Columns = Pick<
  TokenWrite,
  'clientId' | 'userId' | 'grantId' | 'sessionUid' | 'resource' | 'scope' | 'issuedAt' | 'expiresAt' | 'payload'
>

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const accessKinds = new Set<TokenKind>(['AccessToken', 'ClientCredentials'])

/** PostgreSQL text holds neither NUL nor lone surrogates; JSON, with its escapes, holds both. */
const isText = (value: unknown): value is string =>
  typeof value === 'string' && !value.includes('\0') && value.isWellFormed()

/** @param expiresIn seconds from `now` (epoch seconds), or undefined for no expiry of the engine's own counting. The row knows the
 *  millisecond of `now` where the payload says the same second. */
export function packToken(kind: TokenKind, payload: Payload, expiresIn: number | undefined, now: number): Columns {
  const rest: Payload = { __proto__: null }
  const columns: Columns = {
    clientId: null,
    userId: null,
    grantId: null,
    sessionUid: null,
    resource: null,
    scope: null,
    issuedAt: now,
    expiresAt: expiresIn === undefined ? null : now + expiresIn,
    payload: rest,
  }
  const resourceKey = accessKinds.has(kind) ? 'aud' : 'resource'
  for (const [key, value] of Object.entries(payload)) {
    if (key === 'jti' || key === 'kind' || key === 'consumed') continue
    if (key === 'clientId' && isText(value)) columns.clientId = value
    else if (key === 'accountId' && typeof value === 'string' && uuid.test(value)) columns.userId = value
    else if (key === 'grantId' && isText(value)) columns.grantId = value
    else if (key === 'sessionUid' && isText(value)) columns.sessionUid = value
    else if (key === 'scope' && isText(value)) columns.scope = value
    else if (key === resourceKey && isText(value)) columns.resource = value
    else if (key === 'iat' && Number.isInteger(value))
      columns.issuedAt = Math.floor(now) === value ? now : (value as number)
    else if (key === 'exp' && Number.isInteger(value)) columns.expiresAt = value as number
    else Object.defineProperty(rest, key, { value, enumerable: true, configurable: true, writable: true })
  }
  return columns
}

/** @param value what stands for the token in this request: the value presented, or a handle. */
export function unpackToken(
  kind: TokenKind,
  value: string,
  row: Omit<Columns, 'payload'> & { payload: object },
): Payload {
  const payload: Payload = { ...row.payload } // the engine copies what it changes
  const give = (key: string, content: unknown) => {
    if (content !== null) payload[key] = content
  }
  give('clientId', row.clientId)
  give('accountId', row.userId)
  give('grantId', row.grantId)
  give('sessionUid', row.sessionUid)
  give('scope', row.scope)
  give(accessKinds.has(kind) ? 'aud' : 'resource', row.resource)
  payload.iat = Math.floor(row.issuedAt)
  give('exp', row.expiresAt === null ? null : Math.floor(row.expiresAt))
  payload.kind = kind
  payload.jti = value
  return payload
}

export const isKind = (row: TokenRow, kind: TokenKind): boolean => row.kind === tokenKinds[kind]
