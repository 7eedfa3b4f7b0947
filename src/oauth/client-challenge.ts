// Where a client has to say who it is and says nothing, the answer is 401 with a challenge (RFC 6749 5.2, RFC 7662 2.1): the engine
// calls that a malformed request. No error code in the challenge, for no credential was wrong (RFC 6750 3.1).
import type { Middleware } from 'koa'
import type { KoaContextWithOIDC } from 'oidc-provider'

const paths = new Set(['/oauth/token', '/oauth/introspect', '/oauth/revoke', '/oauth/par'])
const credentials = ['client_id', 'client_secret', 'client_assertion', 'client_assertion_type']

export function clientChallenge(issuer: string): Middleware {
  return async (ctx, next) => {
    await next()
    if (ctx.status !== 400 || !paths.has(ctx.path) || ctx.get('Authorization')) return
    const { error, error_description: description } = (ctx.body ?? {}) as { error?: string; error_description?: string }
    if (error !== 'invalid_request' || description !== 'no client authentication mechanism provided') return
    const params = (ctx as unknown as KoaContextWithOIDC).oidc?.params ?? {}
    if (credentials.some((name) => params[name] !== undefined)) return
    ctx.status = 401
    ctx.set('WWW-Authenticate', `Basic realm="${issuer}"`)
    ctx.body = { error: 'invalid_client', error_description: 'client authentication failed' }
  }
}
