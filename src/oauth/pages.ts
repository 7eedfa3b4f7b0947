// The engine's pages in our clothes, and the few places where our form fields meet its own. It decides; this only dresses.
import Router from '@koa/router'
import type { Context, Middleware } from 'koa'
import type { KoaContextWithOIDC } from 'oidc-provider'
import { findClient } from '#src/clients/clients.ts'
import { logoAddress } from '#src/clients/logos.ts'
import type { Database } from '#src/db/database.ts'
import { renderProtocolError } from '#src/http/error-page.ts'
import { readForm, readPairs } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'
import { renderFormPost, renderLoggedOut, renderLogout } from '#src/http/protocol-pages.ts'
import type { Renderer } from '#src/http/render.ts'
import { template } from '#src/http/render.ts'
import { longestUrl } from '#src/http/request-checks.ts'
import { findUser } from '#src/users/users.ts'
import { passOn } from './request-body.ts'

export type EnginePages = {
  error: (ctx: KoaContextWithOIDC, out: { error: string; error_description?: string | undefined }, error: Error) => void
  logout: (ctx: KoaContextWithOIDC) => Promise<void>
  loggedOut: (ctx: KoaContextWithOIDC) => Promise<void>
}

export function createEnginePages(deps: { renderer: Renderer; database: Database }): EnginePages {
  const { renderer, database } = deps
  return {
    error: (ctx, out, error) => renderProtocolError(ctx as unknown as Context, renderer, out, error),

    async logout(ctx) {
      const { session, client, params } = ctx.oidc
      const state = session?.state as { secret: string; postLogoutRedirectUri?: string } | undefined
      const record = client ? await findClient(database.prisma, client.clientId) : null
      const user = session?.accountId ? await findUser(database.prisma, session.accountId) : null
      renderLogout(
        ctx as unknown as Context,
        renderer,
        {
          action: '/oauth/logout/confirm',
          hidden: { csrf: state?.secret ?? '' },
          client: client?.clientName ?? client?.clientId,
          logo: logoAddress(record?.logo ?? null),
          person: user?.email,
          redirectTo: state?.postLogoutRedirectUri,
        },
        {
          uiLocales: String(params?.ui_locales ?? '')
            .split(' ')
            .filter(Boolean),
        },
      )
    },

    async loggedOut(ctx) {
      const { client } = ctx.oidc
      renderLoggedOut(ctx as unknown as Context, renderer, { client: client?.clientName, clientUri: client?.clientUri })
    },
  }
}

const stayedPage = template<Record<string, never>>('oauth/stayed')

/** In front of the engine's routes. */
export function createEngineFieldsRouter(renderer: Renderer): Router {
  const router = new Router()

  // Requests by POST (OIDC Core 3.1.2.1, RP-Initiated Logout 1.0 2) come from other sites, and cookies that are SameSite=Lax
  // stay at home then. The same request by GET carries them.
  router.post(['/oauth/authorize', '/oauth/logout'], async (ctx) => {
    const address = `${ctx.path}?${new URLSearchParams(await readPairs(ctx))}`
    if (address.length > longestUrl)
      throw new HttpError({
        status: 414,
        error: 'invalid_request',
        description: `The request is longer than ${longestUrl} characters; push it first (RFC 9126).`,
      })
    ctx.status = 303
    ctx.set('Location', address)
  })

  // Our field names (csrf, decision) to the engine's (xsrf, logout). "stay" never reaches it: there it would revoke the grant.
  router.post('/oauth/logout/confirm', async (ctx, next) => {
    const form = await readForm(ctx)
    const decision = form.get('decision') ?? (form.get('logout') === 'yes' ? 'logout' : undefined)
    if (decision === 'stay') {
      ctx.status = 303
      ctx.set('Location', '/oauth/logout/stayed')
      return
    }
    if (decision !== 'logout')
      throw new HttpError({
        status: 400,
        error: 'invalid_request',
        description: 'decision must be "logout" or "stay".',
      })
    const fields = { xsrf: form.get('csrf') ?? form.get('xsrf') ?? '', logout: 'yes' }
    passOn(ctx, Buffer.from(String(new URLSearchParams(fields))))
    await next()
  })

  router.get('/oauth/logout/stayed', (ctx) => renderer.renderPage(ctx, stayedPage, {}))
  return router
}

/** The engine's self-submitting forms (account switch, logout without a session, form_post) rely on an inline script, which our
 *  policy forbids: they leave as our page with the same fields. */
export function restyleFormPosts(renderer: Renderer): Middleware {
  return async (ctx, next) => {
    await next()
    if (typeof ctx.body !== 'string' || !ctx.body.includes('<title>Submitting Callback</title>')) return
    const action = /<form method="post" action="([^"]*)">/.exec(ctx.body)?.[1]
    if (action === undefined) throw new Error('the engine changed its form post page: src/oauth/pages.ts must follow')
    const fields = [...ctx.body.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"\/>/g)]
    renderFormPost(
      ctx,
      renderer,
      {
        action: unescapeHtml(action),
        fields: Object.fromEntries(fields.map(([, name = '', value = '']) => [name, unescapeHtml(value)])),
      },
      { status: ctx.status },
    )
  }
}

function unescapeHtml(text: string): string {
  const entities: Record<string, string> = {
    '&lt;': '<',
    '&gt;': '>',
    '&quot;': '"',
    '&#39;': "'",
    '&#x27;': "'",
    '&amp;': '&',
  }
  return text.replace(/&(?:lt|gt|quot|#39|#x27|amp);/g, (entity) => entities[entity] ?? entity)
}
