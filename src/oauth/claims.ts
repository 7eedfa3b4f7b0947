// A person as applications see them (OIDC Core 5.1). A disabled or deleted person is nobody: every endpoint that asks for the
// account gets undefined, so no code, token or userinfo answer survives them.
import type { Account, AccountClaims, KoaContextWithOIDC } from 'oidc-provider'
import type { Database } from '#src/db/database.ts'
import { type PersonRow, readPerson } from '#src/tokens/statements.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { isUserId } from '#src/users/users.ts'
import { actorOf, type FindImpersonation } from './impersonations.ts'

/** Scope -> claims, for the engine's configuration. `address` and `phone` are not held, so not offered. */
export const claimsOfScopes = {
  // Of the sign-in, and in every ID token; `act` where somebody else is behind it (RFC 8693 4.1).
  openid: ['sub', 'acr', 'amr', 'auth_time', 'act'],
  profile: ['name', 'given_name', 'family_name', 'picture', 'locale', 'zoneinfo', 'updated_at'],
  email: ['email', 'email_verified'],
}

export function createFindAccount(database: Database, findImpersonation: FindImpersonation) {
  return async (_ctx: KoaContextWithOIDC, sub: string, token?: object): Promise<Account | undefined> => {
    const unit = currentUnit()
    const user = isUserId(sub) ? await unit.remember(`person ${sub}`, () => readPerson(database.pool, sub)) : undefined
    if (!user || user.disabled) return undefined
    unit.noteGeneration('user', user.id, user.generation)
    const { extra } = (token ?? {}) as { extra?: { act?: object } }
    const act = extra?.act ?? (await actorOf(findImpersonation, token))
    const claims = claimsOf(user)
    return { accountId: user.id, claims: () => (act ? { ...claims, act } : claims) }
  }
}

function claimsOf(user: PersonRow): AccountClaims {
  const claims: Record<string, string | number | boolean | null> = {
    email: user.email,
    email_verified: user.emailVerified,
    name: user.name,
    given_name: user.givenName,
    family_name: user.familyName,
    picture: user.picture,
    locale: user.locale,
    zoneinfo: user.zoneinfo,
    updated_at: Math.floor(user.updatedAt),
  }
  const known = Object.entries(claims).filter(
    (entry): entry is [string, string | number | boolean] => entry[1] !== null,
  )
  return { sub: user.id, ...Object.fromEntries(known) }
}
