// What every store is given.
import type { SecretKeys } from '#src/keys/secret-key.ts'
import type { FindImpersonation } from '../impersonations.ts'

export type FindClientMetadata = (clientId: string) => Promise<Record<string, unknown> | undefined>

export type AdapterDeps = {
  secretKeys: SecretKeys
  findClientMetadata: FindClientMetadata
  /** True while the request uses a refresh token as such. */
  isRefreshing: () => boolean
  /** How an access token was presented at the userinfo endpoint; undefined elsewhere. */
  schemeAtUserinfo: () => 'bearer' | 'dpop' | undefined
  /** True while the request revokes one access token: the grant behind it must live on (RFC 7009 2.1). */
  endsOneAccessToken: () => boolean
  /** The value of the code or refresh token that the tokens of this request are issued for. */
  issuedFor: () => string | undefined
  /** A session that was not used for so long is over. */
  sessionIdleSeconds: number
  /** Records that a session is in use; called at most every few minutes a session. */
  sessionUsed: (uid: string) => void
  /** Who is behind a session that says so; undefined for one that is over. */
  findImpersonation: FindImpersonation
  now: () => Date
}

/** For the methods a store never gets asked for. */
export function unsupported(store: string, method: string): () => Promise<never> {
  return async () => {
    throw new Error(`${store} has no ${method}`)
  }
}
