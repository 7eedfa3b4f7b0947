// Which language a page speaks. The words themselves are in src/words.ts.
import type { Context } from 'koa'
import { type Locale, languages, toLocale } from '#src/words.ts'

export type { Locale, MessageKey, Translator } from '#src/words.ts'
export { escapeHtml, languages, toLocale, translator } from '#src/words.ts'

/** The person's own choice first, then what the application asked for (`ui_locales`), then the browser's wish. */
export function negotiateLocale(ctx: Context, chosen: string | undefined, uiLocales: readonly string[] = []): Locale {
  const wished = [...(chosen ? [chosen] : []), ...uiLocales].map(toLocale).find((locale) => locale !== undefined)
  return wished ?? toLocale(ctx.acceptsLanguages(languages.map(({ code }) => code)) || 'en') ?? 'en'
}
