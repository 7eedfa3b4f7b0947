// The second door, as far as the credential itself can answer: scopes and the strength of the sign-in. Roles, policies and relations are
// the server's to judge (evaluation.ts), ownership is the API's.
import type { Caller } from './caller.ts'
import type { Answers } from './refused.ts'

export type Requirements = Readonly<{
  /** All of them. */
  scopes?: readonly string[]
  /** At least this level. */
  acr?: string
  /** Seconds since the person signed in. */
  maxAge?: number
}>

/** The levels of Sallyport, each good for all before it. */
export const sallyportLevels = ['urn:sallyport:acr:1fa', 'urn:sallyport:acr:2fa', 'phr'] as const

/** @returns a function that throws Refused. Scopes first: whoever lacks one is not sent to sign in again for nothing. */
export function createRequirementCheck(settings: {
  answers: Answers
  levels: readonly string[]
  toleranceSeconds: number
  now: () => number
}) {
  const { answers, levels, toleranceSeconds, now } = settings
  const reaches = (has: string | undefined, needed: string) =>
    has === needed || (has !== undefined && levels.includes(needed) && levels.indexOf(has) > levels.indexOf(needed))

  return (
    { scopes, acr, authTime, scheme }: Caller,
    { scopes: needed = [], acr: level, maxAge }: Requirements,
  ): void => {
    if (!needed.every((scope) => scopes.includes(scope))) throw answers.insufficientScope(scheme, needed)
    const tooWeak = level !== undefined && !reaches(acr, level)
    const tooOld =
      maxAge !== undefined && !(authTime !== undefined && now() / 1000 - authTime <= maxAge + toleranceSeconds)
    if (tooWeak || tooOld)
      throw answers.strongerLogin(scheme, {
        ...(level !== undefined && { acr_values: level }),
        ...(maxAge !== undefined && { max_age: String(maxAge) }),
      })
  }
}
