// The words of pages and mails, and apart from them those of the console: ICU catalogues, one a language in views/locales, the English
// ones giving the list of keys. A missing key
// does not type-check; a missing translation or argument fails a test.
import { IntlMessageFormat } from 'intl-messageformat'
import consoleDe from '../views/locales/console.de.json' with { type: 'json' }
import consoleEn from '../views/locales/console.en.json' with { type: 'json' }
import consoleFr from '../views/locales/console.fr.json' with { type: 'json' }
import de from '../views/locales/de.json' with { type: 'json' }
import en from '../views/locales/en.json' with { type: 'json' }
import fr from '../views/locales/fr.json' with { type: 'json' }

export type MessageKey = keyof typeof en | keyof typeof consoleEn
export type MessageArguments = Readonly<Record<string, string | number>>
export type Locale = keyof typeof catalogues

const catalogues = {
  en: { ...en, ...consoleEn },
  de: { ...de, ...consoleDe },
  fr: { ...fr, ...consoleFr },
} satisfies Record<string, Record<MessageKey, string>>

/** In the order of the language switch, each in its own words. */
export const languages = [
  { code: 'en', name: 'English', dir: 'ltr' },
  { code: 'de', name: 'Deutsch', dir: 'ltr' },
  { code: 'fr', name: 'Français', dir: 'ltr' },
] as const satisfies readonly { code: Locale; name: string; dir: 'ltr' | 'rtl' }[]

export type Translator = Readonly<{
  locale: Locale
  dir: 'ltr' | 'rtl'
  /** Plain text: a template escapes it. */
  t(key: MessageKey, args?: MessageArguments): string
  /** HTML for messages that stress an argument with <b>: arguments are escaped, and isolated so that a right-to-left name does not
   *  reorder the sentence around it. */
  rich(key: MessageKey, args?: MessageArguments): string
}>

export function translator(locale: Locale): Translator {
  const dir = languages.find((language) => language.code === locale)?.dir ?? 'ltr'
  return {
    locale,
    dir,
    t: (key, args) => String(message(locale, key).format(args)),
    rich(key, args = {}) {
      const escaped = Object.fromEntries(Object.entries(args).map(([name, value]) => [name, escapeHtml(String(value))]))
      return String(
        message(locale, key).format<string>({
          ...escaped,
          b: (chunks: (string | object)[]) => `<strong><bdi>${chunks.join('')}</bdi></strong>`,
        }),
      )
    },
  }
}

/** BCP 47: `de-CH` is served by `de`. */
export function toLocale(tag: string): Locale | undefined {
  const primary = tag.toLowerCase().split('-')[0] ?? ''
  return Object.hasOwn(catalogues, primary) ? (primary as Locale) : undefined
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? '')
}

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** Where a line must not break: French puts a space before ; : ? ! » and after «, and nobody wants an "E-" at the end of a line. */
const bind = (text: string): string =>
  text.replaceAll(/ (?=[;:?!»])|(?<=«) /g, '\u00a0').replaceAll(/\b[Ee]-(?=[Mm]ail)/g, (start) => `${start[0]}\u2011`)

/** Parsed once a process: parsing ICU text costs more than formatting it. */
const parsed = new Map<string, IntlMessageFormat>()

function message(locale: Locale, key: MessageKey): IntlMessageFormat {
  const id = `${locale}/${key}`
  let found = parsed.get(id)
  if (!found) {
    found = new IntlMessageFormat(bind(catalogues[locale][key]), locale)
    parsed.set(id, found)
  }
  return found
}
