// Nonces for DPoP proofs (RFC 9449 9): a proof that carries one was made after it was given out, whatever the clock of its maker says. Nothing is
// remembered: a nonce is a MAC of the period in which it is given out, so every process that has the secret knows it.
import { Buffer } from 'node:buffer'
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

export type NonceOptions = Readonly<{
  /** The same in every process, 32 random characters or more each. The first makes nonces, what the others made is still taken. Default: one
   *  of this process alone. */
  secrets?: readonly string[]
  /** A nonce is given out for so long, and taken for as long again. Default 60. */
  seconds?: number
}>

export type Nonces = Readonly<{
  /** For the next proof. */
  current(): string
  /** @returns until when it is taken, in epoch seconds; undefined for what is not taken now. */
  endOf(nonce: unknown): number | undefined
}>

/** @throws TypeError for a secret that could be guessed, or no time at all. */
export function createNonces(
  { secrets = [randomBytes(32).toString('base64url')], seconds = 60 }: NonceOptions,
  { audience, toleranceSeconds, now }: { audience: string; toleranceSeconds: number; now: () => number },
): Nonces {
  const [making] = secrets
  if (making === undefined || secrets.some((secret) => secret.length < 32))
    throw new TypeError('dpopNonce.secrets must have 32 random characters or more each')
  if (!Number.isInteger(seconds) || seconds < 1) throw new TypeError('dpopNonce.seconds must be a whole number')

  const periodAt = (epochSeconds: number) => Math.floor(epochSeconds / seconds)
  const nonceOf = (secret: string, period: number) =>
    createHmac('sha256', secret)
      .update(JSON.stringify(['dpop nonce', audience, seconds, period]))
      .digest('base64url')

  return {
    current: () => nonceOf(making, periodAt(now() / 1000)),
    endOf(nonce) {
      if (typeof nonce !== 'string') return undefined
      const moment = now() / 1000
      // The one before, this one, and the next where the clock of another process is a little ahead.
      for (let period = periodAt(moment) - 1; period <= periodAt(moment + toleranceSeconds); period++)
        if (secrets.some((secret) => isSame(nonce, nonceOf(secret, period)))) return (period + 2) * seconds
      return undefined
    },
  }
}

function isSame(a: string, b: string): boolean {
  const [one, other] = [Buffer.from(a), Buffer.from(b)]
  return one.length === other.length && timingSafeEqual(one, other)
}
