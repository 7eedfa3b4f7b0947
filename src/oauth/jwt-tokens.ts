// JWT access tokens at introspection and revocation. There the engine takes opaque values only; so in front of those two routes a
// JWT of ours is exchanged for a handle of its row, which no other request knows, and the engine goes on as with any token: it
// authenticates the client, judges who may ask, and answers from the row. Whatever else has dots in it becomes a value that nobody
// issued: RFC 7662 2.2 and RFC 7009 2.2 want the same answer for it as for any unknown token.
//
// Order of events: read the body -> exactly one `token`, with dots -> handle -> the engine authenticates the client and asks the store
// for the handle -> signature, type, issuer, expiry -> row. So a stranger makes nobody verify a signature.
import { createPublicKey, type KeyObject, randomBytes } from 'node:crypto'
import { parse, stringify } from 'node:querystring'
import { errors, jwtVerify } from 'jose'
import type { Context, Middleware } from 'koa'
import { LRUCache } from 'lru-cache'
import { idOfJti } from '#src/tokens/jwt-id.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { lateHandleFor, sha256 } from './adapter/row-id.ts'
import { passOn, readAhead } from './request-body.ts'
import type { Snapshot } from './snapshot.ts'

/** As the engine matches its routes. */
const routes = /^\/oauth\/(?:introspect|revoke)\/?$/i

export function acceptJwts(deps: { issuer: string; snapshot: () => Snapshot; now: () => Date }): Middleware {
  return async (ctx, next) => {
    if (ctx.method === 'POST' && routes.test(ctx.path)) await exchange(ctx)
    await next()
  }

  async function exchange(ctx: Context): Promise<void> {
    const body = await readAhead(ctx)
    if (!body) return
    const fields = parse(body.toString()) // the engine's own parser: what is checked here is what it would see
    const { token } = fields
    // Of a repeated parameter neither value is looked at: the engine refuses the request.
    if (typeof token !== 'string' || !token.includes('.')) return passOn(ctx, body)
    fields.token = lateHandleFor(currentUnit(), async () => (await rowOf(token)) ?? randomBytes(16))
    passOn(ctx, Buffer.from(stringify(fields)))
  }

  /** @returns the id of the row of an access token that we signed and that has not expired. */
  async function rowOf(jwt: string): Promise<Buffer | undefined> {
    const now = deps.now()
    const { keys, verified } = verifierOf(deps.snapshot())
    const digest = sha256(jwt).toString('base64url')
    const before = verified.get(digest)
    if (before) return before.expiresAt * 1000 > now.getTime() ? before.id : undefined
    try {
      const { payload } = await jwtVerify(
        jwt,
        ({ kid = '', alg }) => {
          const known = keys.get(kid)
          // RFC 8725 3.1: a key is used with its own algorithm, whatever the header asks for.
          if (!known || known.alg !== alg) throw new errors.JWKSNoMatchingKey()
          return known.key
        },
        // RFC 9068 4. The audience is the caller's business: oauth/introspection.ts asks which API the token is for.
        { typ: 'at+jwt', issuer: deps.issuer, currentDate: now, requiredClaims: ['exp', 'jti'] },
      )
      const id = idOfJti(payload.jti)
      if (id) verified.set(digest, { id, expiresAt: Number(payload.exp) })
      return id
    } catch (error) {
      if (error instanceof errors.JOSEError) return undefined
      throw error
    }
  }
}

type Verifier = {
  /** By kid: the keys that sign, will sign or have signed. What a retired one signed is valid until it expires. */
  keys: ReadonlyMap<string, { alg: string; key: KeyObject }>
  /** By their SHA-256, JWTs whose signature these keys have verified: an API asks again and again about the one it was sent, and the
   *  signature is half of what an answer costs. Whether the token still stands is asked of its row each time. */
  verified: LRUCache<string, { id: Buffer; expiresAt: number }>
}
const verifiers = new WeakMap<Snapshot, Verifier>()

function verifierOf(snapshot: Snapshot): Verifier {
  let verifier = verifiers.get(snapshot)
  if (!verifier) {
    const keys = new Map(
      snapshot.keys.map(({ kid, alg, privateJwk }) => {
        const { kty, crv, x, y, n, e } = privateJwk
        return [kid, { alg, key: createPublicKey({ key: { kty, crv, x, y, n, e }, format: 'jwk' }) }]
      }),
    )
    verifier = { keys, verified: new LRUCache({ max: 10_000 }) }
    verifiers.set(snapshot, verifier)
  }
  return verifier
}
