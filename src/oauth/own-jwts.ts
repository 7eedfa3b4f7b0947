// Is this JWT one of our access tokens (RFC 9068)? Says which row it belongs to, or what is wrong with it. Whether the token still
// stands is for its row to say.
import type { KeyObject } from 'node:crypto'
import { errors, jwtVerify } from 'jose'
import { createRecent, type Recent } from '#src/recent.ts'
import { idOfJti } from '#src/tokens/jwt-id.ts'
import { sha256 } from './adapter/row-id.ts'
import type { Snapshot } from './snapshot.ts'

/** @returns the id of its row, or the reason why it is none of ours that counts now. */
export async function verifyOwnJwt(
  snapshot: Snapshot,
  { jwt, issuer, now }: { jwt: string; issuer: string; now: Date },
): Promise<Buffer | 'bad_signature' | 'expired' | 'unknown'> {
  const { keys, verified } = verifierOf(snapshot)
  const digest = sha256(jwt).toString('base64url')
  const before = verified.get(digest)
  if (before) return before.expiresAt * 1000 > now.getTime() ? before.id : 'expired'
  try {
    const { payload } = await jwtVerify(
      jwt,
      ({ kid = '', alg }) => {
        const known = keys.get(kid)
        // RFC 8725 3.1: a key is used with its own algorithm, whatever the header asks for.
        if (!known || known.alg !== alg) throw new errors.JWKSNoMatchingKey()
        return known.key
      },
      // RFC 9068 4. The audience is the caller's business: which API is asked, or who asks.
      { typ: 'at+jwt', issuer, currentDate: now, requiredClaims: ['exp', 'jti'] },
    )
    const id = idOfJti(payload.jti)
    if (!id) return 'unknown'
    verified.set(digest, { id, expiresAt: Number(payload.exp) })
    return id
  } catch (error) {
    if (error instanceof errors.JWTExpired) return 'expired'
    if (error instanceof errors.JWSSignatureVerificationFailed || error instanceof errors.JWKSNoMatchingKey)
      return 'bad_signature'
    if (error instanceof errors.JOSEError) return 'unknown'
    throw error
  }
}

type Verifier = {
  /** By kid: the keys that sign, will sign or have signed. What a retired one signed is valid until it expires. */
  keys: ReadonlyMap<string, { alg: string; key: KeyObject }>
  /** By their SHA-256, JWTs whose signature these keys have verified: an API asks again and again about the one it was sent, and the
   *  signature is half of what an answer costs. Whether the token still stands is asked of its row each time. */
  verified: Recent<{ id: Buffer; expiresAt: number }>
}
const verifiers = new WeakMap<Snapshot, Verifier>()

function verifierOf(snapshot: Snapshot): Verifier {
  let verifier = verifiers.get(snapshot)
  if (!verifier) {
    const keys = new Map(snapshot.keys.map(({ kid, alg, signer }) => [kid, { alg, key: signer.publicKey }]))
    verifier = { keys, verified: createRecent(10_000) }
    verifiers.set(snapshot, verifier)
  }
  return verifier
}
