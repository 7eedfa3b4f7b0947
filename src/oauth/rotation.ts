// Refresh token rotation (RFC 9700 4.14.2), safe to retry. The successor of a refresh token is computed, not drawn: from a salt
// in its row, SECRET_KEY and the token itself. So two processes that see the same token at the same moment answer the same
// successor, and a client whose answer was lost gets it again within the leeway; nobody who reads the database can compute it.
//
// Order of events: find (adapter: a consumed token within the leeway is shown as unused) -> consume -> the engine saves the
// successor, which asks here for its value -> the commit judges first use, repeat or reuse (tokens/statements.ts) -> on reuse
// the family dies (oauth/commit-boundary.ts).
import Provider from 'oidc-provider'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { jtiOf, newJwtId } from '#src/tokens/jwt-id.ts'
import type { TokenKind } from '#src/tokens/kinds.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { hex, rowId } from './adapter/row-id.ts'

/** A token says what it is: secret scanners recognise it and storage is asked once. */
const prefixes: Partial<Record<TokenKind, string>> = {
  AccessToken: 'sp_at_',
  ClientCredentials: 'sp_ct_',
  RefreshToken: 'sp_rt_',
  AuthorizationCode: 'sp_ac_',
}

type Generating = { generateTokenId(): string; format?: string }

/** Replaces how the engine makes token values; everything else about them stays its own. */
export function installTokenValues(provider: Provider, secretKeys: SecretKeys, now: () => Date): void {
  for (const [kind, prefix] of Object.entries(prefixes) as [keyof typeof prefixes & 'AccessToken', string][]) {
    const prototype = provider[kind].prototype as unknown as Generating
    const generate = prototype.generateTokenId
    prototype.generateTokenId = function (this: Generating): string {
      const value = generate.call(this)
      // A JWT's id is its jti: no credential, but the name of its row.
      return this.format === 'jwt' ? jtiOf(newJwtId(now())) : prefix + value
    }
  }
  const prototype = provider.RefreshToken.prototype as unknown as Generating
  const generate = prototype.generateTokenId
  prototype.generateTokenId = function (this: Generating): string {
    const rotated = Provider.ctx?.oidc.entities.RotatedRefreshToken
    return rotated ? deriveSuccessor(secretKeys, rotated.jti) : generate.call(this)
  }
}

function deriveSuccessor(secretKeys: SecretKeys, presented: string): string {
  const unit = currentUnit()
  const id = hex(rowId(unit, presented))
  const known = unit.tokens.get(id)
  const consume = unit.rows.consume.get(id)
  if (!known?.row.salt || !consume) throw new Error('a refresh token was rotated that this request never consumed')
  const candidates = secretKeys
    .macs('refresh-successor', known.row.salt, presented)
    .map((mac) => (prefixes.RefreshToken ?? '') + mac.toString('base64url'))
  // After SECRET_KEY was rotated, a repeat must still find the successor that the older key made.
  const made = known.row.successorId ? hex(known.row.successorId) : undefined
  const value = candidates.find((candidate) => hex(rowId(unit, candidate)) === made) ?? (candidates[0] as string)
  consume.successorId = hex(rowId(unit, value))
  return value
}
