// What a gateway says of the request in front of it: method, host and path of the original, read strictly. Gateway and application must see the
// same path as we do, so whatever two parties could read in two ways (dot segments, encoded slashes, doubled slashes, parameters behind a
// semicolon, another spelling of the same bytes) is refused, not normalised. Unparsable means no.
import type { Context } from 'koa'
import { isViaListedProxy } from '#src/http/host.ts'

export type OriginalRequest = Readonly<{
  method: string
  scheme: 'http' | 'https'
  host: string
  path: string
  query: string
}>

/** forward, nginx: the original in X-Forwarded-*; envoy: the request itself, its path behind a prefix. */
export type Dialect = 'forward' | 'nginx' | 'envoy'

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']

/** @returns undefined for what is missing, repeated, ambiguous, or said by somebody who is not a listed proxy. */
export function readOriginalRequest(ctx: Context, dialect: Dialect): OriginalRequest | undefined {
  if (!isViaListedProxy(ctx)) return undefined
  const scheme = only(ctx, 'x-forwarded-proto')
  const host = only(ctx, dialect === 'envoy' ? 'host' : 'x-forwarded-host')
  const method = dialect === 'envoy' ? ctx.method : only(ctx, 'x-forwarded-method')
  const target = dialect === 'envoy' ? behindPrefix(ctx.req.url ?? '') : only(ctx, 'x-forwarded-uri')
  if (scheme !== 'http' && scheme !== 'https') return undefined
  if (host === undefined || method === undefined || target === undefined) return undefined
  return plainRequest({ method, scheme, host, target })
}

/** @param told.target path and query. @returns undefined for what two parties could read in two ways. */
export function plainRequest(told: {
  method: string
  scheme: OriginalRequest['scheme']
  host: string
  target: string
}): OriginalRequest | undefined {
  const { method, scheme, target } = told
  const host = plainHost(told.host, scheme)
  const [path = '', ...query] = target.split('?')
  if (host === undefined || !methods.includes(method) || !isPlainPath(path)) return undefined
  return { method, scheme, host, path, query: query.join('?') }
}

/** Lower case, without the port that the scheme implies. */
function plainHost(host: string, scheme: string): string | undefined {
  const text = host.toLowerCase().replace(scheme === 'https' ? /:443$/ : /:80$/, '')
  return /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[1-9]\d{0,4})?$/.test(text) ? text : undefined
}

/** RFC 3986 3.3, and one spelling of each: pchar without `;`, percent-encoding only of what needs it, and never of a slash, a backslash, a
 *  dot, a percent sign or a control character. */
function isPlainPath(path: string): boolean {
  if (path.length > 4000 || !/^\/(?:[A-Za-z0-9\-._~!$&'()*+,=:@/]|%[0-9A-Fa-f]{2})*$/.test(path)) return false
  if (path.includes('//')) return false
  for (const segment of path.split('/')) {
    const plain = decode(segment)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    if (plain === undefined || plain === '.' || plain === '..' || /[\u0000-\u001f\u007f/\\%;?#]/.test(plain))
      return false
    if (/%(?:2[dDeE]|5[fF]|7[eE]|3\d|[46][1-9a-fA-F]|[57][0-9aA])/.test(segment)) return false // RFC 3986 2.3: unreserved
  }
  return true
}

/** @returns what a segment of a plain path says. */
export function decode(segment: string): string | undefined {
  try {
    return decodeURIComponent(segment)
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}

const prefix = '/authz/envoy'
function behindPrefix(url: string): string | undefined {
  return url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : undefined
}

/** Of a header that came twice two parties may believe different halves. */
function only(ctx: Context, name: string): string | undefined {
  const { rawHeaders } = ctx.req
  const values = rawHeaders.flatMap((header, index) =>
    index % 2 === 0 && header.toLowerCase() === name ? [rawHeaders[index + 1] ?? ''] : [],
  )
  return values.length === 1 && !values[0]?.includes(',') ? values[0] : undefined
}
