// A token that is bound to a key is nothing without it: DPoP (RFC 9449) and client certificates (RFC 8705 3). What is proven here is possession, for
// our own endpoints and for gateways alike; the engine has its own check for userinfo, the guard of an API another.
//
//   one proof -> its form and signature, by the key it carries -> that key is the token's -> this request, this token -> now, or a nonce of ours
//             -> never seen before, on no process
import { hash, timingSafeEqual, type X509Certificate } from 'node:crypto'
import { calculateJwkThumbprint, EmbeddedJWK, errors, type JWK, type JWTPayload, jwtVerify } from 'jose'
import type { Reason } from '#src/access/gates.ts'
import type { Database } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import type { TokenBinding } from '#src/tokens/find.ts'
import { groupCommitOf } from '#src/tokens/group-commit.ts'

export const dpopAlgorithms = ['ES256', 'EdDSA'] as const

/** Seconds that a proof without a nonce may be old, or early. */
const proofSeconds = 60
/** RFC 9449 8: a nonce counts for this and the two periods around it, so that neither clocks nor a slow network matter. */
const nonceSeconds = 60
const rememberedSeconds = 4 * nonceSeconds

/** What a request shows of a key. */
export type Possession = Readonly<{
  method: string
  /** As the caller addressed it; its query does not count. */
  url: string
  /** Every DPoP header. */
  proofs: readonly string[]
  /** From where it is believed. */
  certificate: X509Certificate | undefined
}>

export type Possessions = Readonly<{
  /** @param token undefined possession: nobody shows anything (a token that somebody asks about).
   *  @returns what is wrong, or undefined. */
  flawOf(
    token: { value: string; binding: TokenBinding | undefined },
    shown: { scheme: 'bearer' | 'dpop'; possession: Possession | undefined },
  ): Promise<Flaw | undefined>
  /** For the next proof. */
  nonce(): string
}>

type Flaw = { reason: Reason; needs?: readonly string[] }

export function createPossessions(deps: { database: Database; secretKeys: SecretKeys; now: () => Date }): Possessions {
  const { database, secretKeys, now } = deps
  const seconds = () => now().getTime() / 1000
  const period = () => Math.floor(seconds() / nonceSeconds)
  const nonceOf = (at: number) => secretKeys.mac('resource-nonce', String(at)).toString('base64url')

  return {
    async flawOf({ value, binding }, { scheme, possession }) {
      // RFC 9449 7.1: neither is a bound token a bearer token, nor the reverse.
      if ((binding?.jkt !== undefined) !== (scheme === 'dpop'))
        return { reason: binding?.jkt === undefined ? 'not_bound' : 'bound_to_key' }
      if (binding?.certificate !== undefined) {
        if (!possession?.certificate) return { reason: 'bound_to_key' }
        if (!isSame(hash('sha256', possession.certificate.raw, 'base64url'), binding.certificate))
          return { reason: 'other_certificate' }
      }
      return binding?.jkt === undefined ? undefined : flawOfProof(value, binding.jkt, possession)
    },

    nonce: () => nonceOf(period()),
  }

  async function flawOfProof(
    token: string,
    jkt: string,
    possession: Possession | undefined,
  ): Promise<Flaw | undefined> {
    const [proof, ...more] = possession?.proofs ?? []
    if (!possession || proof === undefined) return { reason: 'bound_to_key' }
    if (more.length > 0) return bad('one DPoP header')
    const verified = await verifyProof(proof)
    if (!verified) return bad('a signed dpop+jwt')
    const { payload, jwk } = verified
    if ((await calculateJwkThumbprint(jwk)) !== jkt) return bad('the key of the token')
    if (payload.htm !== possession.method) return bad('htm')
    const url = normalised(possession.url)
    if (url === undefined || normalised(payload.htu) !== url) return bad('htu')
    if (payload.ath !== hash('sha256', token, 'base64url')) return bad('ath')
    const { iat, jti, nonce } = payload
    if (typeof iat !== 'number') return bad('iat')
    if (typeof jti !== 'string' || jti === '' || jti.length > 512) return bad('jti')
    if (isOver(payload)) return { reason: 'stale_proof' }
    if (nonce === undefined ? Math.abs(seconds() - iat) > proofSeconds : !isOwnNonce(nonce))
      return { reason: 'stale_proof' }
    return (await isFirst(jkt, jti)) ? undefined : { reason: 'used_proof' }
  }

  function isOver({ exp, nbf }: JWTPayload): boolean {
    const moment = seconds()
    return (exp !== undefined && exp + proofSeconds <= moment) || (nbf !== undefined && nbf - proofSeconds > moment)
  }

  function isOwnNonce(nonce: unknown): boolean {
    if (typeof nonce !== 'string') return false
    // SECRET_KEY may have been rotated since; a new period has a new nonce then, and the caller is told it.
    return [-1, 0, 1].some((step) => isSame(nonce, nonceOf(period() + step)))
  }

  /** RFC 9449 11.1. At once, in a commit of its own: what a request does must not have happened when its proof turns out to be an old one. With
   *  the key, so that nobody spends the identifiers of somebody else. */
  async function isFirst(jkt: string, jti: string): Promise<boolean> {
    const id = `\\x${hash('sha256', JSON.stringify(['dpop', jkt, jti]))}`
    const replay = [{ id, expiresAt: seconds() + rememberedSeconds, payload: {} }]
    return (await groupCommitOf(database.pool).commit({ replay })) === undefined
  }
}

const bad = (what: string): Flaw => ({ reason: 'bad_proof', needs: [what] })

/** The key must be a public one (jose refuses others), and its algorithm one of ours. */
async function verifyProof(proof: string): Promise<{ payload: JWTPayload; jwk: JWK } | undefined> {
  try {
    // When it was made is judged apart: there are no clocks but ours, and a nonce is as good.
    const currentDate = new Date(0)
    const options = {
      typ: 'dpop+jwt',
      algorithms: [...dpopAlgorithms],
      currentDate,
      clockTolerance: Number.MAX_SAFE_INTEGER,
    }
    const { payload, protectedHeader } = await jwtVerify(proof, EmbeddedJWK, options)
    return protectedHeader.jwk && { payload, jwk: protectedHeader.jwk }
  } catch (error) {
    if (error instanceof errors.JOSEError || error instanceof TypeError || isBadKey(error)) return undefined
    throw error
  }
}

/** WebCrypto says this of a key that is on no curve. */
function isBadKey(error: unknown): boolean {
  return error instanceof Error && ['DataError', 'NotSupportedError', 'OperationError'].includes(error.name)
}

/** RFC 9449 4.3: without query and fragment, after the normalisation of RFC 3986 6.2.2 and 6.2.3. */
function normalised(address: unknown): string | undefined {
  const url = typeof address === 'string' ? URL.parse(address) : null
  if (url?.username !== '' || url.password !== '') return undefined
  return url.origin + url.pathname.replace(/%[0-9a-f]{2}/gi, (octet) => octet.toUpperCase())
}

function isSame(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a), Buffer.from(b)]
  return one.length === other.length && timingSafeEqual(one, other)
}
