// Tokens for a probe. The good ones come from the token endpoint of this installation, as every client's do: the keys of the two people are
// exchanged there (RFC 8693). The bad ones, but for one that is a mere word, are made of them: with a time that is over, signed again by the same key; with a changed signature;
// without one; for another API; without the scope.
import { randomBytes } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import { decodeJwt, decodeProtectedHeader, type JWTPayload } from 'jose'
import { tokenExchange } from '#src/clients/types.ts'
import type { Database } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { loadSigningKeys } from '#src/keys/signing-keys.ts'
import { expireOpaqueToken } from '#src/tokens/expiry.ts'
import type { Cast } from './throwaways.ts'
import type { BadCredential } from './verdicts.ts'

/** Nothing could be minted: the message says why. */
export class NothingMinted extends Error {
  override name = 'NothingMinted'
}

export type Credentials = {
  good(who: 'a' | 'b', scopes: readonly string[]): Promise<string>
  bad(kind: BadCredential, scopes: readonly string[]): Promise<string>
  /** A good token of A without any of these scopes. @returns undefined where none can be had. */
  without(scopes: readonly string[]): Promise<string | undefined>
}

type Deps = { database: Database; secretKeys: SecretKeys; issuer: string; now: () => Date }

/** A process reads changed configuration within 400 ms, and there may be several. */
const tries = 12
const betweenTriesMs = 400

export function createCredentials(deps: Deps, cast: Cast, api: string): Credentials {
  const { database, secretKeys, issuer, now } = deps
  const known = new Map<string, Promise<string | undefined>>()
  /** Each is made once: operations that ask for the same share it. */
  const once = (name: string, scopes: readonly string[], make: () => Promise<string | undefined>) => {
    const key = `${name} ${[...scopes].sort().join(' ')}`
    const made = known.get(key) ?? make()
    known.set(key, made)
    return made
  }
  const anyOf = (scopes: readonly string[]) => (scopes.length > 0 ? scopes : cast.scopes.slice(0, 1))
  const good = async (who: 'a' | 'b', scopes: readonly string[]) =>
    (await once(who, scopes, () => exchange(issuer, cast, cast[who].key, api, anyOf(scopes)))) ?? ''

  /** By the key that signed it, with other claims. */
  async function signAgain(jwt: string, change: (claims: JWTPayload) => JWTPayload): Promise<string> {
    const header = decodeProtectedHeader(jwt)
    const pair = (await loadSigningKeys(database, secretKeys)).find(({ kid }) => kid === header.kid)
    if (!pair) throw new NothingMinted('The key that signed a token is gone: try again.')
    const signed = [{ ...header, alg: pair.alg }, change(decodeJwt(jwt))]
      .map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'))
      .join('.')
    return `${signed}.${Buffer.from(await pair.signer.sign(Buffer.from(signed))).toString('base64url')}`
  }

  async function expired(scopes: readonly string[]): Promise<string> {
    const hourAgo = Math.floor(now().getTime() / 1000) - 3600
    const token = await exchange(issuer, cast, cast.a.key, api, anyOf(scopes))
    if (isJwt(token)) return signAgain(token, (claims) => ({ ...claims, iat: hourAgo - 300, exp: hourAgo }))
    await expireOpaqueToken(database, token, new Date(hourAgo * 1000))
    return token
  }

  function unsigned(token: string, scopes: readonly string[]): string {
    const seconds = Math.floor(now().getTime() / 1000)
    const claims = isJwt(token)
      ? decodeJwt(token)
      : {
          ...{ iss: issuer, sub: cast.a.id, aud: api, client_id: cast.client.id, scope: scopes.join(' ') },
          ...{ iat: seconds, exp: seconds + 300, jti: cast.client.id },
        }
    const parts = [{ alg: 'none', typ: 'at+jwt' }, claims].map((part) =>
      Buffer.from(JSON.stringify(part)).toString('base64url'),
    )
    return `${parts.join('.')}.`
  }

  return {
    good,
    async bad(kind, scopes) {
      const make = async () => {
        switch (kind) {
          case 'expired':
            return expired(scopes)
          case 'unknown':
            return randomBytes(32).toString('base64url')
          case 'otherAudience':
            return exchange(issuer, cast, cast.a.key, cast.otherApi, anyOf(scopes))
          case 'tampered':
            return tamper(await good('a', scopes))
          case 'unsigned':
            return unsigned(await good('a', scopes), anyOf(scopes))
        }
      }
      return (await once(kind, scopes, make)) ?? ''
    },
    without: (scopes) =>
      once('without', scopes, async () => {
        const others = cast.scopes.filter((scope) => !scopes.includes(scope))
        if (others.length > 0) return exchange(issuer, cast, cast.a.key, api, others)
        // The API has no other scope, and the token endpoint gives none without.
        const token = await good('a', scopes)
        return isJwt(token) ? signAgain(token, ({ scope: _, ...claims }) => claims) : undefined
      }),
  }
}

const isJwt = (token: string): boolean => token.split('.').length === 3

function tamper(token: string): string {
  const [header, payload, signature] = token.split('.')
  if (!isJwt(token)) return `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`
  const bytes = Buffer.from(signature ?? '', 'base64url')
  bytes[0] = (bytes[0] ?? 0) ^ 1
  return `${header}.${payload}.${bytes.toString('base64url')}`
}

/** @throws NothingMinted */
async function exchange(
  issuer: string,
  { client }: Cast,
  key: string,
  api: string,
  scopes: readonly string[],
): Promise<string> {
  const body = new URLSearchParams({
    grant_type: tokenExchange,
    subject_token: key,
    subject_token_type: 'urn:sallyport:params:oauth:token-type:api_key',
    resource: api,
    scope: scopes.join(' '),
  })
  const authorization = `Basic ${Buffer.from(`${client.id}:${client.secret}`).toString('base64')}`
  let said = ''
  for (let tried = 0; tried < tries; tried++) {
    const answer = await ask(`${issuer}/oauth/token`, { body, headers: { authorization } })
    if (answer.access_token !== undefined) {
      const granted = answer.scope?.split(' ') ?? []
      const lacking = scopes.filter((scope) => !granted.includes(scope))
      if (lacking.length === 0) return answer.access_token
      said = `the scope ${lacking.join(' ')} was not granted`
    } else said = answer.error_description ?? answer.error ?? 'an answer that is none'
    await pause(betweenTriesMs)
  }
  throw new NothingMinted(`The token endpoint of ${issuer} gave no token: ${said}.`)
}

async function ask(url: string, { body, headers }: { body: URLSearchParams; headers: Record<string, string> }) {
  try {
    const response = await fetch(url, {
      ...{ method: 'POST', body, headers, redirect: 'error' },
      signal: AbortSignal.timeout(5_000),
    })
    return (await response.json()) as {
      access_token?: string
      scope?: string
      error?: string
      error_description?: string
    }
  } catch (error) {
    const { cause } = error as { cause?: NodeJS.ErrnoException }
    throw new NothingMinted(
      `${url} does not answer (${cause?.code ?? (error as Error).name}): the server must run, for it issues the tokens.`,
    )
  }
}
