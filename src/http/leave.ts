// The way out to an application after a form. Chromium applies `form-action` to every redirect that follows a form, the
// application's own included: a callback at api.example that redirects to www.example would be stopped, and no page of ours can
// know that second address. So for a browser the chain ends at a page that moves on by itself (RFC 6749 1.7 leaves the means of
// redirection open); programs, and applications with a scheme of their own, get the redirect as it is.
import type { Context, Middleware } from 'koa'
import { type Renderer, template } from './render.ts'

export type LeavePage = { to: string; site: string }

const leavePage = template<LeavePage>('oauth/leave')

/** Goes around what answers the end of an authorization request or of a logout.
 *  @param follows true for requests that a form of ours led to. */
export function leaveByPage(renderer: Renderer, follows: (ctx: Context) => boolean): Middleware {
  return async (ctx, next) => {
    await next()
    if (ctx.status !== 302 && ctx.status !== 303) return
    // Only browsers send it, and only browsers enforce the policy.
    if (ctx.get('Sec-Fetch-Mode') !== 'navigate' || !follows(ctx)) return
    const target = URL.parse(ctx.response.get('Location'))
    if (!target || !['http:', 'https:'].includes(target.protocol) || target.host === ctx.host) return
    ctx.remove('Location')
    renderer.renderPage(ctx, leavePage, { to: target.href, site: target.host })
  }
}
