// What the operator decides about passwords, for the whole process. Whoever starts the process settles it, before the first password is
// hashed or judged; until then, and in tests, the defaults count.
import type { Config } from '#src/config.ts'
import { type BreachedPasswords, openBreachedPasswords } from './breached-passwords.ts'
import type { HashingParameters } from './hashing.ts'

export type PasswordSettings = Readonly<{
  /** Raising one of them rehashes each password at its owner's next login. */
  cost: HashingParameters
  /** What this installation is called: the first words an attacker tries. */
  names: readonly string[]
  breached: BreachedPasswords | undefined
}>

/** OWASP Password Storage Cheat Sheet, ASVS 5.0 11.4.2: argon2id with at least m = 46 MiB, t = 1, p = 1. */
const usualCost = { memoryCost: 46 * 1024, timeCost: 1, parallelism: 1, hashLength: 32 }
const product = 'sallyport'
let settings: PasswordSettings = Object.freeze({ cost: usualCost, names: [product], breached: undefined })

export const passwordSettings = (): PasswordSettings => settings

/** @throws BreachedPasswordsUnusable */
export function settlePasswords(
  config: Pick<Config, 'issuerUrl' | 'passwordHashMemoryKib' | 'passwordHashTimeCost' | 'breachedPasswordsFile'>,
): void {
  const { issuerUrl, passwordHashMemoryKib: memoryCost, passwordHashTimeCost: timeCost, breachedPasswordsFile } = config
  settings = Object.freeze({
    cost: { ...usualCost, memoryCost, timeCost },
    names: [product, ...new URL(issuerUrl).hostname.split('.').filter((label) => label.length > 3)],
    breached: breachedPasswordsFile === undefined ? undefined : openBreachedPasswords(breachedPasswordsFile),
  })
}
