// Credentials that only the server can judge: opaque tokens, API keys, the secrets of service clients (RFC 7662). One endpoint, one
// shape of answer, whatever the credential is.
import { hash } from 'node:crypto'
import { createBoundedMap } from './bounded-map.ts'
import type { AuthMethod } from './caller.ts'
import { basic, type Issuer } from './issuer.ts'

const remembered = 10_000

export type Introspect = (
  value: string,
  kind: Exclude<AuthMethod, 'session'>,
) => Promise<{ claims: Readonly<Record<string, unknown>>; authMethod: AuthMethod } | { flaw: unknown }>

/** What token_type_hint says (RFC 7662 2.1): the server looks there first. */
const hints = { oauth: 'access_token', api_key: 'api_key', basic: 'basic' } as const

/** @param settings.cacheSeconds how long a yes may be repeated without asking: so long a revoked credential may still be taken. A no is
 *  never repeated. @returns a function that rejects when the server cannot be asked. */
export function createIntrospection(settings: {
  issuer: Issuer
  audience: string
  clientId: string
  clientSecret: string
  cacheSeconds: number
  toleranceSeconds: number
  now: () => number
}): Introspect {
  const { issuer, audience, cacheSeconds, toleranceSeconds, now } = settings
  const authorization = basic(settings)
  type Good = { claims: Readonly<Record<string, unknown>>; authMethod: AuthMethod }
  const good = createBoundedMap<{ answer: Good; until: number }>(remembered)

  return async (value, kind) => {
    const name = cacheSeconds > 0 ? `${kind} ${hash('sha256', value, 'base64url')}` : ''
    const known = cacheSeconds > 0 ? good.get(name) : undefined
    const moment = now() / 1000
    if (known && moment < known.until) return known.answer
    const claims = await issuer.post(
      await issuer.introspectionEndpoint(),
      { authorization },
      new URLSearchParams({ token: value, token_type_hint: hints[kind] }),
    )
    if (claims.active !== true) return { flaw: 'inactive' }
    if (![claims.aud].flat().includes(audience)) return { flaw: 'for another audience' }
    const { exp } = claims
    if (exp !== undefined && !(typeof exp === 'number' && exp + toleranceSeconds > moment)) return { flaw: 'expired' }
    // A server that does not say speaks of tokens. What came as a key and is a token may be bound, and nobody has looked at its proof.
    const { auth_method: authMethod = 'oauth' } = claims
    if (authMethod !== kind) return { flaw: `it is of the kind ${String(authMethod)}` }
    const answer: Good = { claims, authMethod: kind }
    if (cacheSeconds > 0) good.set(name, { answer, until: Math.min(moment + cacheSeconds, Number(exp ?? Infinity)) })
    return answer
  }
}
