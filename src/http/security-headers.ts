// The headers of every response, refusals and the engine's own included. The policy starts closed; a page whose form
// leads to an application names it through allowFormRedirect, per response.
import { hash } from 'node:crypto'
import type { Context, Middleware } from 'koa'
import type { Config } from '#src/config.ts'

/** Runs outside everything that answers. */
export function securityHeaders(config: Pick<Config, 'https'>): Middleware {
  const headers = Object.entries(everywhere(config))
  return async (ctx, next) => {
    const { res } = ctx
    for (const [name, value] of headers) res.setHeader(name, value)
    await next()
    if (isPage(ctx)) {
      for (const [name, value] of pagesOnly) ctx.set(name, value)
      // A page may have been rendered from a session: no cache, shared or private, may keep it.
      if (!ctx.response.get('Cache-Control')) ctx.set('Cache-Control', 'no-store')
    }
    ctx.set('Content-Security-Policy', policy(ctx))
  }
}

/** The headers of an answer that is no page, for what does not pass through here. */
export function pageless(config: Pick<Config, 'https'>): Record<string, string> {
  return { ...everywhere(config), 'Content-Security-Policy': closed }
}

const everywhere = (config: Pick<Config, 'https'>): Record<string, string> => ({
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY', // for browsers older than frame-ancestors
  'Referrer-Policy': 'no-referrer', // addresses here carry interaction ids and authorization requests
  'Cross-Origin-Resource-Policy': 'same-origin',
  ...(config.https && { 'Strict-Transport-Security': 'max-age=31536000; includeSubDomains' }),
})
const closed = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'"

const isPage = (ctx: Context): boolean => /^text\/html/.test(String(ctx.res.getHeader('content-type') ?? ''))

/** Chromium applies form-action to every redirect that follows a form (CSP 3, 6.4.1), so a page whose POST ends at a client must
 *  name that client. @param origin an origin, a redirect URI, or the scheme of a native app's. Anything else is ignored. */
export function allowFormRedirect(ctx: Context, origin: string): void {
  const source = formSource(origin)
  if (source) formTargets(ctx).add(source)
}

/** For the one page that is a mail: mails carry their styles inside. It is sandboxed, and nothing in it runs or is sent. */
export function allowInlineStyles(ctx: Context): void {
  ctx.state.isMail = true
}

/** For the one page that shows a style sheet before it is anywhere to be loaded from: this text, and no other. */
export function allowStyleSheet(ctx: Context, css: string): void {
  ctx.state.styleHash = hash('sha256', css, 'base64')
}

/** For what somebody handed in: whatever it turns out to be, nothing in it runs. */
export function sandbox(ctx: Context): void {
  ctx.state.sandboxed = true
}

/** For a page whose script talks to this server. */
export function allowFetch(ctx: Context): void {
  ctx.state.fetches = true
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

/** What only a document can use. */
const pagesOnly = [
  ['Cross-Origin-Opener-Policy', 'same-origin'],
  ['Permissions-Policy', permissions],
  ['X-Permitted-Cross-Domain-Policies', 'none'],
  ['X-DNS-Prefetch-Control', 'off'],
] as const

function formTargets(ctx: Context): Set<string> {
  ctx.state.formTargets ??= new Set<string>()
  return ctx.state.formTargets
}

function policy(ctx: Context): string {
  if (!isPage(ctx)) return ctx.state.sandboxed === true ? `${closed}; sandbox` : closed
  if (ctx.state.isMail) return `${closed}; style-src 'unsafe-inline'; sandbox`
  return [
    "default-src 'none'",
    "script-src 'self'",
    typeof ctx.state.styleHash === 'string' ? `style-src 'self' 'sha256-${ctx.state.styleHash}'` : "style-src 'self'",
    ...(ctx.state.fetches === true ? ["connect-src 'self'"] : []),
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
