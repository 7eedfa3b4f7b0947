// Keys and proofs of possession (RFC 9449), good ones and bad ones.
import { createHash, randomUUID } from 'node:crypto'
import {
  type CryptoKey,
  calculateJwkThumbprint,
  exportJWK,
  generateKeyPair,
  type JWK,
  type JWTPayload,
  SignJWT,
} from 'jose'

export type ProofKey = { privateKey: CryptoKey; jwk: JWK; thumbprint: string; alg: string }

export async function newProofKey(alg = 'ES256'): Promise<ProofKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(publicKey)
  return { privateKey, jwk, thumbprint: await calculateJwkThumbprint(jwk), alg }
}

export const ath = (token: string) => createHash('sha256').update(token).digest('base64url')

/** A good proof, but for what is changed. undefined removes a claim. */
export function makeProof(
  { privateKey, jwk, alg }: ProofKey,
  request: { method: string; url: string; token?: string },
  change: { claims?: Record<string, unknown>; header?: Record<string, unknown> } = {},
): Promise<string> {
  const claims = {
    htm: request.method,
    htu: request.url,
    iat: Math.floor(Date.now() / 1000),
    jti: randomUUID(),
    ...(request.token !== undefined && { ath: ath(request.token) }),
    ...change.claims,
  }
  return new SignJWT(claims as JWTPayload)
    .setProtectedHeader({ alg, typ: 'dpop+jwt', jwk, ...change.header })
    .sign(privateKey)
}
