// Two checks on every form, either of which stops a foreign site: where the browser says the request comes from, and a token that
// only a page of ours could have shown. The token is a MAC of a random cookie, so nothing is stored and a cookie alone is not enough.
import { randomBytes } from 'node:crypto'
import type { Context } from 'koa'
import type { Config } from '#src/config.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { cookieAttributes, cookieNames } from './cookies.ts'
import { HttpError } from './http-error.ts'

export type Csrf = Readonly<{
  /** The value of the hidden field `csrf`. Sets the cookie when the browser has none yet.
   *  @param binding a value that a cookie of its own already ties to this browser (the uid of a pending request). The token is
   *  then made from it, and two tabs that open at once do not overwrite each other's cookie. */
  token(ctx: Context, binding?: string): string
  /** @param options.binding as for `token`.
   *  @param options.beforeLogin the form belongs to nobody yet: a login form opened before another tab signed in still counts.
   *  @throws HttpError 403 */
  verify(
    ctx: Context,
    form: { get(name: string): string | undefined },
    options?: { binding?: string; beforeLogin?: boolean },
  ): void
  /** At login: tokens shown before it stop working, so that none planted earlier is good for the signed-in person. */
  rotate(ctx: Context): void
}>

export function createCsrf(deps: { config: Pick<Config, 'https' | 'issuerUrl'>; secretKeys: SecretKeys }): Csrf {
  const { config, secretKeys } = deps
  const name = cookieNames(config).csrf

  /** The secret of this browser, and the one it had before its last login. */
  const read = (ctx: Context): { current: string; previous: string | undefined } | undefined => {
    const match = /^([A-Za-z0-9_-]{43})(?:\.([A-Za-z0-9_-]{43}))?$/.exec(ctx.cookies.get(name, { signed: false }) ?? '')
    return match?.[1] ? { current: match[1], previous: match[2] } : undefined
  }
  const write = (ctx: Context, current: string, previous?: string): void => {
    ctx.cookies.set(name, previous ? `${current}.${previous}` : current, cookieAttributes(config))
    ctx.state.csrfSecret = current
  }

  return {
    token(ctx, binding) {
      if (binding !== undefined) return secretKeys.mac('csrf-bound', binding).toString('base64url')
      let secret: string | undefined = ctx.state.csrfSecret ?? read(ctx)?.current
      if (secret === undefined) {
        secret = randomBytes(32).toString('base64url')
        write(ctx, secret)
      }
      return secretKeys.mac('csrf', secret).toString('base64url')
    },

    verify(ctx, form, options = {}) {
      checkSource(ctx, config)
      const cookie = options.binding === undefined ? read(ctx) : undefined
      const presented = form.get('csrf') ?? ''
      const secrets = cookie
        ? [cookie.current, ...(options.beforeLogin && cookie.previous ? [cookie.previous] : [])]
        : []
      const isOurs =
        options.binding === undefined
          ? secrets.some((secret) => secretKeys.isMac(presented, 'csrf', secret))
          : secretKeys.isMac(presented, 'csrf-bound', options.binding)
      if (!isOurs) throw refusal(cookie || options.binding ? 'token does not match' : 'no csrf cookie')
    },

    rotate(ctx) {
      write(ctx, randomBytes(32).toString('base64url'), read(ctx)?.current)
    },
  }
}

/** Fetch metadata where the browser sends it, Origin where it does not. Programs send neither and cannot be tricked into a click. */
function checkSource(ctx: Context, config: Pick<Config, 'https' | 'issuerUrl'>): void {
  const site = ctx.get('Sec-Fetch-Site')
  const origin = ctx.get('Origin')
  if (site && site !== 'same-origin') throw refusal(`sent from ${site === 'none' ? 'nowhere' : 'another site'}`)
  if (!origin || origin === config.issuerUrl) return
  // Under `Referrer-Policy: no-referrer` a browser writes `Origin: null` on our own forms too (Fetch, "append a request Origin
  // header"). Fetch metadata tells those from a sandboxed frame's; browsers send it wherever the issuer is https.
  if (origin === 'null' && (site === 'same-origin' || !config.https)) return
  throw refusal('foreign Origin')
}

function refusal(detail: string): HttpError {
  return new HttpError({
    status: 403,
    error: 'csrf_refused',
    description:
      'This form was not sent from a page of this site, or the page is too old. Load the page again and repeat.',
    detail,
    screen: 'csrf',
  })
}
