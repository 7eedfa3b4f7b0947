// JWT access tokens at introspection and revocation. There the engine takes opaque values only; so in front of those two routes a
// JWT of ours is exchanged for a handle of its row, which no other request knows, and the engine goes on as with any token: it
// authenticates the client, judges who may ask, and answers from the row. Whatever else has dots in it becomes a value that nobody
// issued: RFC 7662 2.2 and RFC 7009 2.2 want the same answer for it as for any unknown token.
//
// Order of events: read the body -> exactly one `token`, with dots -> handle -> the engine authenticates the client and asks the store
// for the handle -> signature, type, issuer, expiry -> row. So a stranger makes nobody verify a signature.
import { randomBytes } from 'node:crypto'
import { parse, stringify } from 'node:querystring'
import type { Context, Middleware } from 'koa'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { lateHandleFor } from './adapter/row-id.ts'
import { verifyOwnJwt } from './own-jwts.ts'
import { passOn, readAhead } from './request-body.ts'
import type { Snapshot } from './snapshot.ts'

const introspection = /^\/oauth\/introspect\/?$/i
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
    if (introspection.test(ctx.path)) ctx.state.introspected = { ...fields } // for every-credential.ts
    // Of a repeated parameter neither value is looked at: the engine refuses the request.
    if (typeof token !== 'string' || !token.includes('.')) return passOn(ctx, body)
    fields.token = lateHandleFor(currentUnit(), async () => (await rowOf(token)) ?? randomBytes(16))
    passOn(ctx, Buffer.from(stringify(fields)))
  }

  async function rowOf(jwt: string): Promise<Buffer | undefined> {
    const found = await verifyOwnJwt(deps.snapshot(), { jwt, issuer: deps.issuer, now: deps.now() })
    return found instanceof Buffer ? found : undefined
  }
}
