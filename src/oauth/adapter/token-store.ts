// Codes and tokens. A consumed row is shown as consumed, an expired one as it is (the engine tells "expired" from "unknown"),
// a revoked one not at all.
import { randomBytes } from 'node:crypto'
import { type Adapter, type AdapterPayload, errors } from 'oidc-provider'
import { isJwtId } from '#src/tokens/jwt-id.ts'
import type { TokenKind } from '#src/tokens/kinds.ts'
import { tokenKinds } from '#src/tokens/kinds.ts'
import type { TokenRow } from '#src/tokens/statements.ts'
import { maxRepeats, readToken, readTokenByUserCode } from '#src/tokens/statements.ts'
import type { Unit } from '#src/tokens/unit-of-work.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { handleFor, hex, nameFor, rowId, settleHandle } from './row-id.ts'
import { type AdapterDeps, unsupported } from './store.ts'
import type { Payload } from './token-payload.ts'
import { isKind, packToken, unpackToken } from './token-payload.ts'

export function tokenStore(
  kind: TokenKind,
  { secretKeys, isRefreshing, schemeAtUserinfo, endsOneAccessToken, issuedFor, now }: AdapterDeps,
): Adapter {
  const userCodeHash = (userCode: string) => secretKeys.mac('user-code', userCode)

  return {
    async upsert(value, payload, expiresIn) {
      const unit = currentUnit()
      const id = hex(rowId(unit, value))
      const { userCode, ...stored } = payload as Payload & { userCode?: string }
      const columns = packToken(kind, stored, expiresIn, now().getTime() / 1000)
      const known = unit.tokens.get(id)
      writeToken(unit, kind, id, columns, {
        // Short codes can be guessed from a plain hash, so theirs is keyed.
        userCodeHash: userCode === undefined ? (known?.userCodeHash ?? null) : hex(userCodeHash(userCode)),
        salt: kind === 'RefreshToken' ? hex(randomBytes(32)) : null,
        issuedFor: isIssued(kind) ? issuedFor() : undefined,
      })
    },

    async find(value) {
      const unit = currentUnit()
      if (unit.lateHandles.size > 0) await settleHandle(unit, value)
      const id = rowId(unit, value)
      const key = hex(id)
      if (unit.rows.tokenEnd.has(key)) return undefined
      const written = unit.rows.token.get(key)
      if (written)
        return written.kind === tokenKinds[kind] ? (unpackToken(kind, value, written) as AdapterPayload) : undefined
      return show(unit, value, await unit.remember(`token ${key}`, () => readToken(unit.database.pool, id)))
    },

    async findByUserCode(userCode) {
      const unit = currentUnit()
      for (const hash of secretKeys.macs('user-code', userCode)) {
        const row = await readTokenByUserCode(unit.database.pool, hash)
        if (!row) continue
        const payload = show(unit, handleFor(unit, row.id), row)
        const known = unit.tokens.get(hex(row.id))
        if (known) known.userCodeHash = hex(hash)
        return payload && { ...payload, userCode }
      }
      return undefined
    },

    async consume(value) {
      const unit = currentUnit()
      const id = hex(rowId(unit, value))
      const row = unit.tokens.get(id)?.row
      unit.rows.consume.set(id, {
        id,
        // Whose salt has done its work. The first of a family was issued for a code, which has none.
        predecessorId: row?.predecessorId && isRotated(row) ? hex(row.predecessorId) : null,
        successorId: null, // oauth/rotation.ts fills it in when it derives the successor
        leeway: row && kind === 'RefreshToken' ? row.leeway : 0,
        address: unit.origin.address ?? null,
        // A repeat is recorded by the commit, which alone knows that it was one.
        userAgent: (kind === 'RefreshToken' && unit.origin.userAgent?.slice(0, 256)) || null,
        requestId: (kind === 'RefreshToken' && unit.origin.requestId) || null,
      })
    },

    async destroy(value) {
      const unit = currentUnit()
      const id = hex(rowId(unit, value))
      unit.rows.token.delete(id)
      unit.rows.consume.delete(id)
      unit.rows.tokenEnd.add(id)
    },

    async revokeByGrantId(grantId) {
      if (endsOneAccessToken()) return
      const unit = currentUnit()
      const earlier = unit.rows.grantEnd.get(grantId)
      unit.rows.grantEnd.set(grantId, { id: grantId, ends: earlier?.ends ?? false })
      for (const [id, token] of unit.rows.token) if (token.grantId === grantId) unit.rows.token.delete(id)
    },

    findByUid: unsupported(kind, 'uid'),
  }

  function show(unit: Unit, value: string, row: TokenRow | undefined): AdapterPayload | undefined {
    if (!row?.live || !isKind(row, kind)) return undefined
    // The engine looks at the scope first, and would tell 403 to somebody whom the token does not identify: a token for another
    // audience, or one that is bound to a key nobody showed, is no token there (RFC 9449 7.1).
    const scheme = schemeAtUserinfo()
    if (scheme && (row.resource !== null || (scheme === 'bearer' && row.payload.jkt !== undefined))) return undefined
    unit.tokens.set(hex(row.id), { row })
    if (row.grantId) unit.know(`grant ${row.grantId}`, row.grant ?? undefined)
    if (row.userId) unit.know(`person ${row.userId}`, row.person ?? undefined)
    if (row.sessionUid)
      unit.know(`session uid ${row.sessionUid}`, row.session ? { session: row.session, person: row.person } : undefined)
    // What it was issued under is what its descendants are issued under.
    if (row.grantId) unit.noteGeneration('grant', row.grantId, row.grantGeneration)
    if (row.sessionUid) unit.noteGeneration('session', row.sessionUid, row.sessionGeneration)
    if (row.userId) unit.noteGeneration('user', row.userId, row.userGeneration)
    if (row.clientId) unit.noteGeneration('client', row.clientId, row.clientGeneration)
    if (row.resource) unit.noteGeneration('api', row.resource, row.apiGeneration)
    const payload = unpackToken(kind, value, row)
    if (isJwtId(row.id)) Object.assign(payload, claimsOfJwt(unit, row))
    if (row.consumedAt === null) return payload as AdapterPayload
    Object.assign(payload, whatWasGivenUp(row))
    // Within the leeway a refresh token may be used again: the same successor is answered, ten times (docs/decisions/006). To
    // everybody but the client that refreshes it is consumed.
    const again = kind === 'RefreshToken' && row.inLeeway && isRefreshing()
    if (again && row.repeats >= maxRepeats) throw new errors.InvalidGrant('the refresh token was repeated too often')
    if (!again) payload.consumed = Math.floor(row.consumedAt)
    return payload as AdapterPayload
  }
}

/** What the token endpoint hands out; the codes it takes in are saved there too. */
const isIssued = (kind: TokenKind): boolean => ['AccessToken', 'RefreshToken', 'ClientCredentials'].includes(kind)

/** The engine counts rotations; the first of a family has none. */
const isRotated = (row: TokenRow): boolean => row.kind === tokenKinds.RefreshToken && Number(row.payload.rotations) > 0

/** Rows that were used keep what tells a second use (tokens/statements.ts). The engine looks at these before it looks whether the row was
 *  used, and a second use must not end in another refusal, which would spare the family. */
function whatWasGivenUp(row: TokenRow): Payload {
  if (row.kind === tokenKinds.AuthorizationCode && row.payload.codeChallenge !== undefined)
    return { codeChallengeMethod: 'S256' } // the only one there is (oauth/configuration.ts)
  if (row.kind !== tokenKinds.RefreshToken || row.scope !== null || !row.grant) return {}
  const { scopes, resourceScopes } = row.grant
  return { scope: [...scopes, ...Object.values(resourceScopes).flat()].join(' ') }
}

/** What a JWT says of itself and an opaque token does not: introspection answers with the same words. */
function claimsOfJwt(unit: Unit, row: TokenRow): Payload {
  return {
    jti: nameFor(unit, row.id),
    extra: {
      ...(row.userId === null && { sub: row.clientId }),
      ...(row.grantId !== null && { grant_id: row.grantId }),
      ...(row.payload.extra as object | undefined), // how and when the person signed in
    },
  }
}

/** The row of a code or token, issued under what this request has seen. */
export function writeToken(
  unit: Unit,
  kind: TokenKind,
  id: string,
  columns: ReturnType<typeof packToken>,
  own: { userCodeHash?: string | null; salt?: string | null; issuedFor?: string | undefined } = {},
): void {
  unit.rows.token.set(id, {
    ...columns,
    id,
    kind: tokenKinds[kind],
    userCodeHash: own.userCodeHash ?? null,
    salt: own.salt ?? null,
    predecessorId: own.issuedFor === undefined ? null : hex(rowId(unit, own.issuedFor)),
    grantGeneration: unit.generationOf('grant', columns.grantId),
    sessionGeneration: unit.generationOf('session', columns.sessionUid),
    userGeneration: unit.generationOf('user', columns.userId),
    clientGeneration: unit.generationOf('client', columns.clientId),
    apiGeneration: unit.generationOf('api', columns.resource),
  })
}
