// A signer (keys/signer.ts) as the engine wants one. The engine publishes what it reads here and asks for signatures; it never sees a private half.
import { ExternalSigningKey } from 'oidc-provider'
import type { Signer } from '#src/keys/signer.ts'

export function engineKey(signer: Signer): ExternalSigningKey {
  return new SignerKey(signer)
}

/** A class because the engine tells such keys from JWKs by `instanceof`. */
class SignerKey extends ExternalSigningKey {
  #signer: Signer

  constructor(signer: Signer) {
    super()
    this.#signer = signer
  }

  override get kid() {
    return this.#signer.kid
  }

  override get alg() {
    return this.#signer.alg
  }

  override keyObject() {
    return this.#signer.publicKey
  }

  override sign(data: Uint8Array) {
    return this.#signer.sign(data)
  }
}
