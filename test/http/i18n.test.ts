// No language misses a sentence, and none needs an argument that the others do not have.
import { readFileSync } from 'node:fs'
import { IntlMessageFormat } from 'intl-messageformat'
import type { Context } from 'koa'
import { describe, expect, it } from 'vitest'
import { errorScreens } from '#src/http/http-error.ts'
import { languages, type MessageKey, negotiateLocale, translator } from '#src/http/i18n.ts'

const read = (name: string): Record<string, string> =>
  JSON.parse(readFileSync(new URL(`../../views/locales/${name}.json`, import.meta.url), 'utf8'))
const catalogue = (locale: string): Record<string, string> => ({ ...read(locale), ...read(`console.${locale}`) })
const english = catalogue('en')
/** Words that some languages share. */
const alike = [
  'error.description',
  'error.code',
  'account.applications.title',
  'receipt.api',
  'receipt.action',
  'receipt.client',
  'account.apiKeys.name',
  'account.apiKeys.state.active',
]

/** Every argument and tag of a message, by walking what was parsed. */
function argumentsOf(text: string, locale: string): string[] {
  const found = new Set<string>()
  const walk = (node: unknown): void => {
    if (Array.isArray(node)) for (const child of node) walk(child)
    if (typeof node !== 'object' || node === null) return
    const { type, value, children, options } = node as Record<string, unknown>
    if (type !== 0 && typeof value === 'string') found.add(value)
    walk(children)
    if (typeof options === 'object' && options !== null) for (const option of Object.values(options)) walk(option.value)
  }
  walk(new IntlMessageFormat(text, locale).getAst())
  return [...found].sort()
}

describe.each(languages.map(({ code }) => code))('the catalogue %s', (locale) => {
  const messages = catalogue(locale)

  it('has every sentence and no other, in the same order', () => {
    expect(Object.keys(messages)).toEqual(Object.keys(english))
  })

  it('uses the same arguments everywhere', () => {
    expect(Object.keys(english).length).toBeGreaterThan(100)
    for (const [key, text] of Object.entries(messages))
      expect([key, argumentsOf(text, locale)]).toEqual([key, argumentsOf(english[key] ?? '', 'en')])
  })

  it('leaves nothing empty and nothing in English by accident', () => {
    const same = Object.entries(messages).filter(([key, text]) => locale !== 'en' && text === english[key])
    // Single words of the trade are the same in many languages.
    const ofTrade = (key: string) => key.startsWith('console.') && !english[key]?.includes(' ')
    expect(same.map(([key]) => key).filter((key) => !alike.includes(key) && !ofTrade(key))).toEqual([])
    for (const text of Object.values(messages)) expect(text.trim()).not.toBe('')
  })

  it('can say every error', () => {
    for (const screen of errorScreens)
      for (const part of ['title', 'text', 'next']) expect(messages).toHaveProperty([`error.${screen}.${part}`])
  })
})

it('every catalogue file is offered, and every offered language has one', async () => {
  const { readdirSync } = await import('node:fs')
  const files = readdirSync(new URL('../../views/locales/', import.meta.url)).map((name) => name.replace('.json', ''))
  const offered = languages.flatMap(({ code }) => [code as string, `console.${code}`])
  expect(files.sort()).toEqual(offered.sort())
})

it('every sentence is used', async () => {
  const { globSync } = await import('node:fs')
  const root = new URL('../../', import.meta.url).pathname
  const files = globSync(
    ['src/*.ts', 'src/{http,interaction,account,admin,oauth,mail,dev}/**/*.ts', 'views/**/*.eta'],
    {
      cwd: root,
    },
  )
  expect(files.length).toBeGreaterThan(20)
  const text = files.map((file) => readFileSync(root + file, 'utf8')).join('\n')
  // `error.${screen}.title` and the like
  const built =
    /^error\.\w+\.(title|text|next)$|^setup\.error\.password\.|^(code|phone|push)\.error\.|^account\.(event\.|profile\.(\w*name)$|overview\.title$)|^mail\.notice\.\w+\.(subject|text)$|^console\.\w+\.title$/
  expect(Object.keys(english).filter((key) => !built.test(key) && !text.includes(`'${key}'`))).toEqual([])
})

describe('the language of a page', () => {
  const ctx = (accepted: string | false) => ({ acceptsLanguages: () => accepted }) as unknown as Context

  it.each([
    ['the person’s choice', 'fr', ['de'], 'en', 'fr'],
    ['what the application asked for', undefined, ['xx', 'de-CH'], 'fr', 'de'],
    ['what the browser wishes', undefined, ['xx'], 'fr', 'fr'],
    ['English when nothing is known', undefined, [], false as const, 'en'],
    ['nothing that is not a language here', '__proto__', ['constructor', ''], false as const, 'en'],
  ])('is %s', (_what, chosen, uiLocales, accepted, expected) => {
    expect(negotiateLocale(ctx(accepted), chosen, uiLocales)).toBe(expected)
  })
})

it('escapes what it stresses, and isolates it from the direction of the sentence', () => {
  const { rich } = translator('en')
  expect(rich('login.to', { client: '<img src=x onerror=alert(1)>&"\'' })).toBe(
    'to continue to <strong><bdi>&lt;img src=x onerror=alert(1)&gt;&amp;&quot;&#39;</bdi></strong>',
  )
  expect(rich('login.to', { client: '{b}<b>x</b>' })).not.toContain('<b>')
})

it('fails loudly when an argument is missing', () => {
  expect(() => translator('en').t('loggedOut.back' satisfies MessageKey)).toThrow('client')
})

it('no line ends where none should: before the French ; : ? ! », after «, inside “E-Mail”', () => {
  const [fr, de] = [translator('fr'), translator('de')]
  expect(fr.t('login.recovery')).toMatch(/\u00a0\?$/)
  expect(fr.t('mail.exists.next')).toMatch(/«\u00a0.*\u00a0\?\u00a0»/)
  expect(de.t('login.identifier')).toBe('E\u2011Mail-Adresse')
  for (const { t } of [fr, de]) expect(t('layout.language')).not.toMatch(/[\u00a0\u2011]/)
})
