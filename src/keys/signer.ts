// What signs a token. Whoever signs is given bytes and gives a signature back; where the private half lives is its own business. Today there is
// one: the key of a row, opened under SECRET_KEY and held in this process. A key management service or a hardware module is another function that
// gives the same five things (docs/decisions/043).
import { createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject, sign } from 'node:crypto'
import { promisify } from 'node:util'

export const signingAlgorithms = ['ES256', 'EdDSA', 'RS256'] as const
export type SigningAlgorithm = (typeof signingAlgorithms)[number]

export type Signer = Readonly<{
  kid: string
  alg: SigningAlgorithm
  publicKey: KeyObject
  /** @returns the signature in the form of JWS (RFC 7518 3): of ES256 the two numbers one behind the other, 64 bytes. May be asked many times at
   *  once; an error is a request that fails, and nothing else. */
  sign(data: Uint8Array): Promise<Uint8Array> | Uint8Array
}>

const signElsewhere = promisify(sign)

/** @param jwk with its private half. */
export function softwareSigner(kid: string, alg: SigningAlgorithm, jwk: object): Signer {
  const key = createPrivateKey({ key: jwk as JsonWebKey, format: 'jwk' })
  return Object.freeze({ kid, alg, publicKey: createPublicKey(key), sign: signWith(key, alg) })
}

function signWith(key: KeyObject, alg: SigningAlgorithm): Signer['sign'] {
  switch (alg) {
    // A tenth of a millisecond: handing it to another thread costs more than it gives.
    case 'ES256': {
      // The encoding stands on the key itself. Of an object around a key Node finds out each time, by two errors that it throws and catches, that it
      // is no key: that costs as much as the signature.
      const encoding = Object.assign(key, { dsaEncoding: 'ieee-p1363' } as const)
      return (data) => sign('sha256', data, encoding)
    }
    case 'EdDSA':
      return (data) => sign(null, data, key)
    // More than a millisecond: other requests are answered meanwhile.
    case 'RS256':
      return (data) => signElsewhere('sha256', data, key)
  }
}
