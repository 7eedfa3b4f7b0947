// Discovery and keys may be kept for a while by whoever reads them. The time is well below that between the announcement of a
// signing key and its first use, so no verifier misses one.
import type { Middleware } from 'koa'

const paths = new Set(['/.well-known/openid-configuration', '/.well-known/oauth-authorization-server', '/oauth/jwks'])
const maxAgeSeconds = 300

export function discoveryCache(): Middleware {
  return async (ctx, next) => {
    await next()
    if (ctx.status === 200 && paths.has(ctx.path)) ctx.set('Cache-Control', `public, max-age=${maxAgeSeconds}`)
  }
}
