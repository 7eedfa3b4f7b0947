// What a client asks of the sign-in: `acr_values` (OIDC Core 3.1.2.1, RFC 9470 4) or the claim `acr` (OIDC Core 5.5.1.1). Whatever is
// asked and known here is aimed for; what is not known here only matters where it was essential.
import { errors, type KoaContextWithOIDC } from 'oidc-provider'
import { type Acr, isAcr } from '#src/factors/assurance.ts'

/** One of `values` must be reached, in order of preference. An empty list: something essential that nobody can reach here. */
export type RequestedAcr = Readonly<{ values: readonly Acr[] }>

/** The reason of a login prompt that a signed-in person answers with a second factor alone. */
export const strongerProof = 'stronger_proof'

/** @param params of the authorization request. @returns undefined when nothing is asked for. */
export function requestedAcr(params: Readonly<Record<string, unknown>>): RequestedAcr | undefined {
  const claim = acrClaim(params.claims)
  if (claim?.essential) return { values: claim.values.filter(isAcr) }
  const asked = typeof params.acr_values === 'string' ? params.acr_values.split(' ') : (claim?.values ?? [])
  const values = asked.filter(isAcr)
  return values.length > 0 ? { values } : undefined
}

/** Of the `claims` parameter what concerns the sign-in is kept. Everything else is ignored (OIDC Core 5.5: claims that are not understood):
 *  which claims a person hands over is said by scopes here, and agreed to in their words. For the engine's features.claimsParameter. */
export function keepSignInClaims(ctx: KoaContextWithOIDC, claims: object): void {
  const asked = objectOf((claims as Record<string, unknown>).id_token) ?? {}
  const acr = objectOf(asked.acr)
  if (acr?.values !== undefined && !Array.isArray(acr.values))
    throw new errors.InvalidRequest('invalid claims.id_token.acr.values type')
  const kept = Object.fromEntries(
    ['acr', 'auth_time', 'sub'].flatMap((name) => (Object.hasOwn(asked, name) ? [[name, asked[name]]] : [])),
  )
  const { params } = ctx.oidc
  if (params) params.claims = Object.keys(kept).length > 0 ? JSON.stringify({ id_token: kept }) : undefined
}

function acrClaim(claims: unknown): { essential: boolean; values: readonly unknown[] } | undefined {
  if (typeof claims !== 'string') return undefined
  const acr = objectOf(objectOf(objectOf(parse(claims))?.id_token)?.acr)
  if (!acr) return undefined
  const values = Array.isArray(acr.values) ? acr.values : [acr.value].filter((value) => value !== undefined)
  return { essential: acr.essential === true && values.length > 0, values }
}

/** Text that is no JSON was refused by the engine before. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

const objectOf = (value: unknown): Record<string, unknown> | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
