// The headers of every response, refusals and the engine's own included. The policy starts closed; a page whose form
// leads to an application names it through allowFormRedirect, per response.
import type { Context, Middleware } from 'koa'
import type { Config } from '#src/config.ts'

/** Runs outside everything that answers. */
export function securityHeaders(config: Pick<Config, 'https'>): Middleware {
  return async (ctx, next) => {
    ctx.set({
      'X-Content-Type-Options': 'nosniff',
      'X-Frame-Options': 'DENY', // for browsers older than frame-ancestors
      'Referrer-Policy': 'no-referrer', // addresses here carry interaction ids and authorization requests
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Resource-Policy': 'same-origin',
      'Permissions-Policy': permissions,
      'X-Permitted-Cross-Domain-Policies': 'none',
      'X-DNS-Prefetch-Control': 'off',
    })
    if (config.https) ctx.set('Strict-Transport-Security', 'max-age=31536000; includeSubDomains')
    await next()
    // A page may have been rendered from a session: no cache, shared or private, may keep it.
    if (ctx.response.is('html') && !ctx.response.get('Cache-Control')) ctx.set('Cache-Control', 'no-store')
    ctx.set('Content-Security-Policy', policy(ctx))
    ctx.remove('X-Powered-By')
  }
}

/** Chromium applies form-action to every redirect that follows a form (CSP 3, 6.4.1), so a page whose POST ends at a client must
 *  name that client. @param origin an origin, a redirect URI, or the scheme of a native app's. Anything else is ignored. */
export function allowFormRedirect(ctx: Context, origin: string): void {
  const source = formSource(origin)
  if (source) formTargets(ctx).add(source)
}

const permissions = [
  'accelerometer',
  'autoplay',
  'camera',
  'display-capture',
  'encrypted-media',
  'fullscreen',
  'geolocation',
  'gyroscope',
  'hid',
  'magnetometer',
  'microphone',
  'midi',
  'payment',
  'picture-in-picture',
  'screen-wake-lock',
  'serial',
  'usb',
  'xr-spatial-tracking',
]
  .map((feature) => `${feature}=()`)
  .concat('publickey-credentials-get=(self)', 'publickey-credentials-create=(self)')
  .join(', ')

function formTargets(ctx: Context): Set<string> {
  ctx.state.formTargets ??= new Set<string>()
  return ctx.state.formTargets
}

function policy(ctx: Context): string {
  if (!ctx.response.is('html')) return "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"
  return [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'", // a client's logo would tell its host who signs in and when, before they agreed to anything
    ['form-action', "'self'", ...formTargets(ctx)].join(' '),
    "base-uri 'none'",
    "object-src 'none'",
    "frame-ancestors 'none'",
  ].join('; ')
}

/** The value ends up in a header whose parts are separated by spaces, commas and semicolons: take only what cannot end one. */
function formSource(value: string): string | undefined {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(value)?.[1]?.toLowerCase()
  if (!scheme || ['javascript', 'data', 'blob', 'vbscript', 'file', 'about'].includes(scheme)) return undefined
  if (scheme !== 'http' && scheme !== 'https') return `${scheme}:` // a native app's own scheme (RFC 8252 7.1) has no origin
  const url = URL.parse(value)
  if (!url || url.username || url.password) return undefined
  // CSP has no way to write an IPv6 literal; a loopback redirect (RFC 8252 7.3) leaves its scheme as the narrowest source.
  if (url.hostname.startsWith('[')) return url.hostname === '[::1]' ? 'http:' : undefined
  return /^[a-z0-9.-]+(:\d+)?$/.test(url.host) ? url.origin : undefined
}
