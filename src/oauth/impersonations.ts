// What the engine and the doors ask about a session, a code or a token that an administrator began as somebody else (src/impersonation).
// Nothing of it outlives the session: no refresh token, no consent that is remembered, no end later than the session's own. It reaches no level of
// assurance, and every token names who is behind it (RFC 8693 4.1).
import { errors } from 'oidc-provider'
import type { Config } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import { impersonationIn, impersonationSeconds } from '#src/impersonation/mark.ts'
import { findUnderway, type Underway } from '#src/impersonation/underway.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'

/** @param id of `impersonationIn`. @returns undefined for one that is over: then its session and its tokens are nothing. */
export type FindImpersonation = (id: string) => Promise<Underway | undefined>

export function createFindImpersonation(deps: {
  database: Database
  config: Pick<Config, 'impersonation'>
  now: () => Date
}): FindImpersonation {
  const { database, config, now } = deps
  return async (id) =>
    config.impersonation === 'on'
      ? currentUnit().remember(`impersonation ${id}`, () => findUnderway(database, id, now()))
      : undefined
}

/** What tokens are issued for, of whatever kind: the engine has kinds that know no sign-in. */
type Source = object | undefined
const signInOf = (source: Source): { acr?: unknown; authTime?: unknown } => source ?? {}

export const isImpersonated = (source: Source): boolean => impersonationIn(signInOf(source).acr) !== undefined

/** RFC 8693 4.1: who acts. @throws errors.InvalidGrant it ended while the code was under way. */
export async function actorOf(find: FindImpersonation, source: Source): Promise<{ sub: string } | undefined> {
  const id = impersonationIn(signInOf(source).acr)
  if (id === undefined) return undefined
  const underway = await find(id)
  if (!underway) throw new errors.InvalidGrant('the session of this grant has ended')
  return { sub: underway.impersonatorId }
}

/** Nothing that is issued in an impersonation is good for longer than it.
 *  @param seconds otherwise. @param now epoch seconds */
export function atMostUntilItsEnd(seconds: number, source: Source, now: number): number {
  if (!isImpersonated(source)) return seconds
  return Math.max(1, Math.min(seconds, Number(signInOf(source).authTime ?? 0) + impersonationSeconds - now))
}
