// JWT access tokens (RFC 9068), checked here without asking anybody. What was verified once is remembered by its SHA-256, so that a
// token that comes again costs a hash; its times, its binding and what was revoked are looked at each time.
import { hash } from 'node:crypto'
import { errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from 'jose'
import { createBoundedMap } from './bounded-map.ts'

/** How long a verified signature is believed, in seconds: a key that the issuer withdraws is looked up again after that. */
const believedSeconds = 300
const remembered = 10_000

/** @returns the claims, or why the token is not good. Rejects when nobody can tell, because the issuer's keys are out of reach. */
export type VerifyJwt = (token: string) => Promise<{ claims: JWTPayload } | { flaw: unknown }>

export function createJwtVerifier(settings: {
  issuer: string
  audience: string
  keys: JWTVerifyGetKey
  algorithms: readonly string[]
  toleranceSeconds: number
  /** Epoch milliseconds. */
  now: () => number
}): VerifyJwt {
  const { issuer, audience, keys, toleranceSeconds, now } = settings
  const algorithms = [...settings.algorithms]
  const verified = createBoundedMap<{ claims: JWTPayload; until: number }>(remembered)

  return async (token) => {
    const name = hash('sha256', token, 'base64url')
    const moment = now() / 1000
    const known = verified.get(name)
    if (known && moment < known.until) return known
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer,
        audience, // a token for another API is worth nothing here (RFC 8707)
        typ: 'at+jwt', // an ID token is not an access token (RFC 9068 4)
        algorithms, // never what the token itself proposes (RFC 8725 3.1)
        requiredClaims: ['sub', 'exp', 'iat', 'jti', 'client_id'],
        clockTolerance: toleranceSeconds,
        currentDate: new Date(moment * 1000),
      })
      if (Number(payload.iat) > moment + toleranceSeconds) return { flaw: new Error('the token is from the future') }
      verified.set(name, {
        claims: payload,
        until: Math.min(Number(payload.exp) + toleranceSeconds, moment + believedSeconds),
      })
      return { claims: payload }
    } catch (error) {
      if (isAboutTheToken(error)) return { flaw: error }
      throw error
    }
  }
}

/** Fetching keys fails with errors of the same family. */
function isAboutTheToken(error: unknown): boolean {
  return (
    error instanceof errors.JOSEError &&
    error.code !== errors.JOSEError.code &&
    !(error instanceof errors.JWKSTimeout) &&
    !(error instanceof errors.JWKSInvalid)
  )
}
