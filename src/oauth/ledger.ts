// Every access token has its row, JWTs too: what was issued can be counted, traced and ended. The engine stores opaque tokens by
// itself; a JWT it only shows, right before it signs. The row is written from those very claims, so that the two cannot differ,
// and holds no more than it takes to answer at introspection.
import type { AccessToken, ClientCredentials, Configuration, KoaContextWithOIDC } from 'oidc-provider'
import { idOfJti, timeOfJwtId } from '#src/tokens/jwt-id.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { hex } from './adapter/row-id.ts'
import { packToken } from './adapter/token-payload.ts'
import { writeToken } from './adapter/token-store.ts'

type JwtCustomizer = NonNullable<NonNullable<NonNullable<Configuration['formats']>['customizers']>['jwt']>

/** For the engine's `formats.customizers.jwt`. */
export const recordJwt: JwtCustomizer = (ctx, token, { payload: claims }) => {
  const { kind, clientId, aud, scope, jkt, 'x5t#S256': x5t } = token as (AccessToken | ClientCredentials) & Bindings
  const { accountId, grantId, sessionUid, expiresWithSession, extra } = token as AccessToken
  // RFC 7519 4.3, a private claim: the feed of revocations names grants, and who verifies by key has nothing else to go by.
  if (grantId !== undefined) claims.grant_id = grantId
  const id = idOfJti(claims.jti)
  if (!id) throw new Error('a JWT was given a jti that oauth/rotation.ts did not make')
  const about = { clientId, aud, scope, accountId, grantId, sessionUid, jkt, 'x5t#S256': x5t }
  const binding = { ...(expiresWithSession ? { expiresWithSession } : {}), ...(extra ? { extra } : {}) }
  const columns = packToken(
    kind,
    { ...about, ...binding, iat: claims.iat, exp: claims.exp },
    undefined,
    timeOfJwtId(id),
  )
  writeToken(currentUnit(), kind, hex(id), columns, { issuedFor: grantSource(ctx) })
}

type Bindings = { jkt?: string; 'x5t#S256'?: string }

/** What the tokens of this request are issued for: the code that it redeems or the refresh token that it presents.
 *  @returns the value (a handle, where nobody presented one), or undefined when they are issued for nothing before them. */
export function grantSource(ctx: KoaContextWithOIDC | undefined): string | undefined {
  if (ctx?.oidc.route !== 'token') return undefined
  const { AuthorizationCode, DeviceCode, BackchannelAuthenticationRequest, RotatedRefreshToken, RefreshToken } =
    ctx.oidc.entities
  // The new refresh token takes the name of the one presented; the codes keep theirs, so they are asked first.
  return (AuthorizationCode ?? DeviceCode ?? BackchannelAuthenticationRequest ?? RotatedRefreshToken ?? RefreshToken)
    ?.jti
}
