// What a sign-in is worth. Every proof brings its methods (RFC 8176); from all of them together follows the level, which is the `acr`.
// The levels are in an order, and each is good for all below it (docs/decisions/024).

export const acrValues = ['urn:sallyport:acr:1fa', 'urn:sallyport:acr:2fa', 'phr'] as const
export type Acr = (typeof acrValues)[number]

const [oneFactor, twoFactors, phishingResistant] = acrValues

export { oneFactor, phishingResistant, twoFactors }

export type FactorKind = 'password' | 'totp' | 'recovery_code' | 'email_code' | 'passkey' | 'sms_code' | 'push'

/** Something that a person proved. @param at epoch seconds */
export type Proof = Readonly<{ factor: FactorKind; amr: readonly string[]; at: number }>

/** RFC 8176. `user` is a test of presence, which a passkey brings beside its key; `hwk` and `swk` tell whether the key can leave the device. */
export const methods = {
  password: ['pwd'],
  totp: ['otp'],
  recovery_code: ['otp'],
  email_code: ['otp'],
  sms_code: ['sms'],
  // RFC 8176 has no name for it, and `hwk`, `swk`, `user` would claim a key or a test of presence that nobody checked. Beside the first
  // factor it makes `mfa`, and that is all that is said.
  push: [],
} as const satisfies Partial<Record<FactorKind, readonly string[]>>

/** @param from the methods of each kind of proof, one entry a kind; a session counts as one. Two kinds are `mfa`, and so is one passkey with user
 *  verification. */
export function combineMethods(from: readonly (readonly string[])[]): string[] {
  const all = [...new Set(from.flat())].filter((method) => method !== 'mfa')
  return from.length > 1 || from.some((one) => one.includes('mfa')) ? [...all, 'mfa'] : all
}

/** @param amr of combineMethods. */
export function levelOf(amr: readonly string[]): Acr {
  if (!amr.includes('mfa')) return oneFactor
  return amr.includes('hwk') || amr.includes('swk') ? phishingResistant : twoFactors
}

/** @param acr of a session; one that began before levels were kept has none. */
export function asLevel(acr: string | null | undefined): Acr {
  return isAcr(acr) ? acr : oneFactor
}

export const isAcr = (value: unknown): value is Acr => (acrValues as readonly unknown[]).includes(value)

export function reaches(has: Acr, needed: Acr): boolean {
  return acrValues.indexOf(has) >= acrValues.indexOf(needed)
}

/** What to report to a client: the first value that it asked for and that was reached, else what was reached.
 *  @param asked in order of preference (OIDC Core 3.1.2.1) */
export function reportedAcr(has: Acr, asked: readonly Acr[]): Acr {
  return asked.find((value) => reaches(has, value)) ?? has
}
