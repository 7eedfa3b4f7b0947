// A token that is bound to a key is worth nothing without it: DPoP (RFC 9449) and client certificates (RFC 8705).
//
// Order of events for DPoP: one proof -> its form and signature, by the key it carries -> that key is the token's -> this request, this
// token -> now, by its own time or by a nonce of ours -> never seen before.
import { createHash, hash, timingSafeEqual } from 'node:crypto'
import { calculateJwkThumbprint, EmbeddedJWK, errors, type JWK, jwtVerify } from 'jose'
import type { GuardRequest } from './credential.ts'
import type { Nonces } from './nonces.ts'
import type { Answers } from './refused.ts'

/** Seconds that a proof without a nonce may be old. */
const proofSeconds = 60

/** @param id of the proof. @param until epoch seconds. @returns false where it was seen before. */
export type RememberProof = (id: string, until: number) => boolean | Promise<boolean>

export type CheckBinding = (
  request: GuardRequest,
  token: { value: string; scheme: 'Bearer' | 'DPoP'; cnf: unknown },
) => Promise<Readonly<{ nextNonce?: string }>>

/** @param settings.publicUrl without a slash at its end. What callers address is not what the Host header says: that is written by whoever
 *  repeats a proof. Undefined where DPoP is not taken. @param settings.nonces undefined where proofs need none.
 *  @returns a function that throws Refused, else tells what nonce the caller should use from now on, where that is another than the one they used. */
export function createBinding(settings: {
  dpop: 'never' | 'optional' | 'required'
  publicUrl: string | undefined
  algorithms: readonly string[]
  remember: RememberProof
  nonces: Nonces | undefined
  toleranceSeconds: number
  now: () => number
  answers: Answers
}): CheckBinding {
  const { dpop, publicUrl, algorithms, remember, nonces, toleranceSeconds, now, answers } = settings

  return async (request, { value, scheme, cnf }) => {
    const { jkt, 'x5t#S256': certificateDigest, ...others } = asObject(cnf)
    const flaw = (why: string) => answers.invalidToken(scheme, new Error(why))
    // A binding that is not understood is not a binding that may be passed over.
    if (cnf !== undefined && (Object.keys(others).length > 0 || (jkt ?? certificateDigest) === undefined))
      throw flaw('bound in a way that is not known here')
    if (certificateDigest !== undefined && !isCertificate(request.certificate, certificateDigest))
      throw flaw('bound to another certificate (RFC 8705 3)')
    // RFC 9449 7.1: neither is a bound token a bearer token, nor the reverse.
    if ((jkt !== undefined) !== (scheme === 'DPoP')) throw flaw('the scheme does not fit the binding')
    if (dpop === 'required' && jkt === undefined) throw flaw('not bound to a key')
    return jkt === undefined ? {} : checkProof(request, value, jkt)
  }

  async function checkProof(request: GuardRequest, token: string, jkt: unknown): Promise<{ nextNonce?: string }> {
    const [proof, ...more] = request.header('dpop')
    if (proof === undefined || more.length > 0) throw answers.invalidProof('Exactly one DPoP header is needed.')
    const { payload, protectedHeader } = await verifyProof(proof)
    if ((await calculateJwkThumbprint(protectedHeader.jwk as JWK)) !== jkt)
      throw answers.invalidProof('The token is bound to another key.')
    const { htm, htu, iat, jti, ath, nonce } = payload
    if (htm !== request.method) throw answers.invalidProof('htm is not the method of this request.')
    // A target in any other form could bring a host of its own.
    if (!request.target.startsWith('/') || normalised(htu) !== normalised(`${publicUrl}${request.target}`))
      throw answers.invalidProof('htu is not the address of this request.')
    if (ath !== hash('sha256', token, 'base64url')) throw answers.invalidProof('ath is not the hash of this token.')
    if (typeof iat !== 'number') throw answers.invalidProof('iat is missing.')
    if (typeof jti !== 'string' || jti === '' || jti.length > 512) throw answers.invalidProof('jti is missing.')
    // RFC 9449 4.3: a nonce says when the proof was made, better than the clock of its maker.
    const until = nonces ? nonces.endOf(nonce) : endOf(iat)
    if (until === undefined) throw nonces ? answers.useNonce(nonces.current()) : answers.invalidProof('iat is not now.')
    // RFC 9449 11.1: with the key, so that nobody spends the identifiers of somebody else.
    const id = hash('sha256', `${jkt} ${jti}`, 'base64url')
    if (!(await remember(id, until + toleranceSeconds))) throw answers.invalidProof('The proof was used before.')
    const current = nonces?.current()
    return current === undefined || current === nonce ? {} : { nextNonce: current }
  }

  /** @returns until when a proof of that time is taken. */
  function endOf(iat: number): number | undefined {
    const [moment, end] = [now() / 1000, iat + proofSeconds + toleranceSeconds]
    return iat > moment + toleranceSeconds || end < moment ? undefined : end
  }

  async function verifyProof(proof: string) {
    try {
      return await jwtVerify(proof, EmbeddedJWK, { typ: 'dpop+jwt', algorithms: [...algorithms] })
    } catch (error) {
      if (error instanceof errors.JOSEError || error instanceof TypeError || isBadKey(error))
        throw answers.invalidProof('The DPoP proof is not valid.')
      throw error
    }
  }
}

/** The memory of one process. Full of proofs that still count, it refuses: forgetting one would let it be used again.
 *  @throws Error when it is full. */
export function rememberProofs(most: number, now: () => number): RememberProof {
  const until = new Map<string, number>()
  return (id, expiresAt) => {
    const moment = now() / 1000
    // In the order of arrival, and all live about as long: those that are over are at the front.
    for (const [name, end] of until) {
      if (end > moment) break
      until.delete(name)
    }
    if (until.has(id)) return false
    if (until.size >= most) throw new Error(`more than ${most} DPoP proofs within their lifetime`)
    until.set(id, expiresAt)
    return true
  }
}

/** RFC 9449 4.3: without query and fragment, after the normalisation of RFC 3986 6.2.2 and 6.2.3. */
function normalised(address: unknown): string | undefined {
  if (typeof address !== 'string' || !URL.canParse(address)) return undefined
  const url = new URL(address)
  return `${url.protocol}//${url.host}${url.pathname}`
}

function isCertificate(certificate: Uint8Array | undefined, digest: unknown): boolean {
  if (certificate === undefined || typeof digest !== 'string') return false
  const own = createHash('sha256').update(certificate).digest()
  const expected = Buffer.from(digest, 'base64url')
  return own.length === expected.length && timingSafeEqual(own, expected)
}

/** WebCrypto says this of a key that is on no curve. */
function isBadKey(error: unknown): boolean {
  return error instanceof Error && ['DataError', 'NotSupportedError', 'OperationError'].includes(error.name)
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}
