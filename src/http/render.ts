// Renders one template of views/ inside views/layout.eta. Escaping is on; a template receives one typed object and the words of
// the person's language, and decides nothing.
import { readdirSync, readFileSync } from 'node:fs'
import { Eta } from 'eta'
import type { Context } from 'koa'
import type { Config } from '#src/config.ts'
import { type Assets, inScheme } from './assets.ts'
import { cookieAttributes, cookieNames } from './cookies.ts'
import { escapeHtml, languages, negotiateLocale, type Translator, toLocale, translator } from './i18n.ts'
import { requestOf } from './request-context.ts'
import { allowStyleSheet } from './security-headers.ts'

const folder = new URL('../../views/', import.meta.url)

/** The name of a template together with the type of what it shows; made by the door that owns the screen. */
export type Template<Data extends object> = { readonly name: string; readonly shows?: (data: Data) => void }

export function template<Data extends object>(name: string): Template<Data> {
  return { name }
}

export type RenderOptions = {
  status?: number
  /** What the application asked for (`ui_locales`). */
  uiLocales?: readonly string[]
  /** Offers the other languages in the footer; only where a GET of the same path shows the same page. */
  languageSwitch?: boolean
  /** In place of the operator's sheet: one that is not in force, for a look at it. */
  draft?: { css: string; scheme: 'light' | 'dark' | undefined } | undefined
}

export type Renderer = Readonly<{
  renderPage<Data extends object>(ctx: Context, page: Template<Data>, data: Data, options?: RenderOptions): void
  translator(ctx: Context, uiLocales?: readonly string[]): Translator
}>

/** @param deps.acting who is behind the session that this request is of, where it is not its person: every page says so. */
export function createRenderer(deps: {
  config: Pick<Config, 'https'>
  assets: Assets
  acting?: () => { email: string; impersonatorEmail: string } | undefined
}): Renderer {
  const { config, assets, acting = () => undefined } = deps
  const languageCookie = cookieNames(config).language
  const eta = new Eta({ autoEscape: true, escapeFunction: (value) => escapeHtml(String(value ?? '')), cache: true })
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' }))
    if (name.endsWith('.eta'))
      eta.loadTemplate(
        `@${name.slice(0, -4).replaceAll('\\', '/')}`,
        compiledWhenShown(eta, readFileSync(new URL(name, folder), 'utf8')),
      )

  /** The switch is a link: it must work without a script, and a language is no secret worth a token. */
  const chosenLanguage = (ctx: Context): string | undefined => {
    const asked = typeof ctx.query.lang === 'string' ? toLocale(ctx.query.lang) : undefined
    if (!asked) return ctx.cookies.get(languageCookie, { signed: false })
    ctx.cookies.set(languageCookie, asked, {
      ...cookieAttributes(config),
      maxAge: 31_536_000_000,
    })
    return asked
  }

  const translatorOf = (ctx: Context, uiLocales?: readonly string[]): Translator =>
    translator(negotiateLocale(ctx, chosenLanguage(ctx), uiLocales))

  return {
    translator: translatorOf,
    renderPage(ctx, page, data, options = {}) {
      const words = translatorOf(ctx, options.uiLocales)
      const status = options.status ?? 200
      const html = eta.render(`@${page.name}`, {
        ...data,
        t: words.t,
        rich: words.rich,
        locale: words.locale,
        dir: words.dir,
        asset: assets.url,
        theme: assets.theme,
        draft: options.draft && placeInPage(ctx, options.draft),
        status,
        requestId: requestOf(ctx).requestId,
        acting: acting(),
        languages: options.languageSwitch
          ? languages.map(({ code, name }) => ({
              code,
              name,
              href: withLanguage(ctx, code),
              current: code === words.locale,
            }))
          : [],
      })
      ctx.status = status
      ctx.type = 'html'
      ctx.set('Content-Language', words.locale)
      ctx.set('Cache-Control', 'no-store')
      ctx.vary('Accept-Language')
      ctx.body = html
    },
  }
}

/** All are read at the start, so that one version is served whatever becomes of the files; to compile them all would be a seventh of the
 *  start, for pages that most processes never show. */
function compiledWhenShown(eta: Eta, source: string): ReturnType<Eta['compile']> {
  let compiled: ReturnType<Eta['compile']> | undefined
  return (data, options) => {
    compiled ??= eta.compile(source)
    return compiled.call(eta, data, options)
  }
}

/** Nothing in it can end the element that it stands in: an escaped slash is a slash to CSS. @returns what is allowed by its hash. */
function placeInPage(ctx: Context, { css, scheme }: NonNullable<RenderOptions['draft']>): string {
  const text = (scheme ? inScheme(css, scheme) : css).replaceAll('</', '<\\/')
  allowStyleSheet(ctx, text)
  return text
}

function withLanguage(ctx: Context, code: string): string {
  const query = new URLSearchParams(ctx.querystring)
  query.set('lang', code)
  return `?${query}`
}
