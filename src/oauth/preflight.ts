// A preflight (Fetch 4.8) names no client, so the engine allows whoever asks by repeating their origin. That origin is decided by
// the request that follows; here it is nobody in particular. Credentials are never allowed across origins.
import type { Middleware } from 'koa'

export function openPreflight(): Middleware {
  return async (ctx, next) => {
    await next()
    if (ctx.method === 'OPTIONS' && ctx.response.get('Access-Control-Allow-Origin'))
      ctx.set('Access-Control-Allow-Origin', '*')
  }
}
