// A preflight (Fetch 4.8) names no client, so the engine allows whoever asks by repeating their origin. That origin is decided by
// the request that follows; here it is nobody in particular. Credentials are never allowed across origins.
import type { Context, Middleware, Next } from 'koa'

export function openPreflight(): Middleware {
  return (ctx, next) => (ctx.method === 'OPTIONS' ? open(ctx, next) : next())
}

async function open(ctx: Context, next: Next): Promise<void> {
  await next()
  if (ctx.response.get('Access-Control-Allow-Origin')) ctx.set('Access-Control-Allow-Origin', '*')
}
