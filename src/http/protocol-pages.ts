// The engine's own screens in our clothes: leaving, having left, and forms that a browser carries to an application by itself.
// The protocol room decides when; nothing is decided here.
import type { Context } from 'koa'
import { type Renderer, template } from './render.ts'
import { allowFormRedirect } from './security-headers.ts'
import { webAddress } from './web-address.ts'

export type LogoutPage = {
  /** Where the form posts to. */
  action: string
  /** Hidden fields, the CSRF token among them. */
  hidden: Readonly<Record<string, string>>
  /** The application that asked, if one did. */
  client: string | undefined
  logo: string | undefined
  /** The person as they know themselves (an email address). */
  person: string | undefined
}

export type LoggedOutPage = { client: string | undefined; clientUri: string | undefined }

export type FormPostPage = {
  action: string
  fields: Readonly<Record<string, string>>
  /** The site the browser goes to, shown to the person; undefined for our own. */
  site: string | undefined
}

const logoutPage = template<LogoutPage>('oauth/logout')
const loggedOutPage = template<LoggedOutPage>('oauth/logged-out')
const formPostPage = template<FormPostPage>('oauth/form-post')

type Options = { uiLocales?: readonly string[]; status?: number }

/** @param page.redirectTo the post-logout redirect URI, if one will follow. */
export function renderLogout(
  ctx: Context,
  renderer: Renderer,
  page: LogoutPage & { redirectTo?: string | undefined },
  options?: Options,
): void {
  const { redirectTo, ...data } = page
  if (redirectTo) allowFormRedirect(ctx, redirectTo)
  renderer.renderPage(ctx, logoutPage, data, options)
}

export function renderLoggedOut(ctx: Context, renderer: Renderer, page: LoggedOutPage, options?: Options): void {
  renderer.renderPage(ctx, loggedOutPage, { ...page, clientUri: webAddress(page.clientUri) }, options)
}

/** OAuth 2.0 Form Post Response Mode 2, and the engine's own hops. A script of ours submits it; without scripts there is a button.
 *  @param page.redirectTo where the POST leads on to, when that is another origin than `action`. */
export function renderFormPost(
  ctx: Context,
  renderer: Renderer,
  page: Omit<FormPostPage, 'site'> & { redirectTo?: string | undefined },
  options?: Options,
): void {
  const { redirectTo, action, fields } = page
  allowFormRedirect(ctx, action)
  if (redirectTo) allowFormRedirect(ctx, redirectTo)
  const target = URL.parse(action)
  const site = target?.host && target.host !== ctx.host ? target.host : undefined
  renderer.renderPage(ctx, formPostPage, { action, fields, site }, options)
}
