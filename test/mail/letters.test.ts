// What mails say: in every language, as text and HTML, with links that nobody but the operator can choose.
import { describe, expect, it } from 'vitest'
import { type LetterName, nothing, renderMail } from '#src/mail/letters.ts'
import { type Locale, languages, translator } from '#src/words.ts'

const issuer = 'https://id.example.com'
const samples = {
  sign_up_code: { code: '01234567' },
  account_exists: {},
  invitation: { token: 'tok-en_1', days: 7 },
  verification_code: { code: '01234567' },
  recovery_code: { code: '01234567' },
  password_changed: {},
  email_code: { code: '01234567' },
  email_change_code: { code: '12345678' },
  impersonation: { by: 'bob@example.com', reason: 'Their orders are missing', minutes: 30 },
  notice: { what: 'newDevice', device: 'Firefox on Windows', address: '203.0.113.7' },
} satisfies Record<Exclude<LetterName, typeof nothing>, object>

const render = (template: string, locale: Locale, data: unknown) => {
  const mail = renderMail({ template, locale, data }, issuer)
  if (!mail) throw new Error(`no letter ${template}`)
  return mail
}

describe.each(languages.map(({ code }) => code))('in %s', (locale) => {
  it.each(Object.entries(samples))('%s has a subject, a text and HTML that say the same', (template, data) => {
    const { subject, text, html } = render(template, locale, data)
    expect(subject).not.toBe('')
    expect(subject).not.toMatch(/\d{4}/) // subjects are shown on locked screens and kept in logs of mail servers
    expect(html).toContain(`<html lang="${locale}" dir="ltr">`)
    const plain = html
      .replace(/<style>[\s\S]*<\/style>/, '')
      .replace(/<[^>]+>/g, ' ')
      .replaceAll('&#39;', "'")
      .replaceAll('&amp;', '&')
    for (const line of text.split('\n').map((part) => part.trim()))
      if (line !== '' && line !== '--') expect(plain).toContain(line.replace(/:$/, ''))
    expect(text).not.toMatch(/[<>{}]|&\w+;|undefined/)
    expect(text.split('\n').filter((line) => line.trim() === '').length).toBeLessThan(text.split('\n').length / 2 + 4)
  })
})

it('shows a code in two halves, as text that can be copied', () => {
  const { text, html } = render('sign_up_code', 'en', { code: '01234567' })
  expect(text).toMatch(/^ {4}0123 4567$/m)
  expect(html).toContain('>0123 4567</p>')
})

it.each(Object.entries(samples).filter(([, data]) => 'code' in data))(
  '%s says how long its code works, that nobody is to be told, and what to do when it was somebody else',
  (template, data) => {
    const { t } = translator('en')
    const { text, html } = render(template, 'en', data)
    const notYou = template === 'email_change_code' ? t('mail.emailChange.notYou') : t('mail.code.notYou')
    for (const note of [t('mail.code.valid'), t('mail.code.secret'), notYou])
      expect([text.includes(note), html.includes(note.replaceAll("'", '&#39;'))]).toEqual([true, true])
  },
)

it('writes what it is told as text: none of it becomes markup', () => {
  const told = '<b onclick="x">\'&amp;</b>'
  const { text, html } = render('notice', 'en', { what: 'newDevice', device: told, address: told })
  expect(text).toContain(told)
  expect(html).not.toMatch(/<b |onclick="/)
  expect(html).toContain('&lt;b onclick=&quot;x&quot;&gt;')
})

it('fetches nothing: no picture, no pixel, no style sheet, and no address but the issuer’s', () => {
  for (const [template, data] of Object.entries(samples)) {
    const { text, html } = render(template, 'en', data)
    expect(html).not.toMatch(
      /<(img|link|script|iframe|object|base|form)\b|url\(|@import|https?:\/\/(?!id\.example\.com)/i,
    )
    for (const [address] of `${text} ${html}`.matchAll(/https?:\/\/[^\s"<]+/g))
      expect([`${issuer}/invitation/tok-en_1`, `${issuer}/account/security`, `${issuer}/account/sessions`]).toContain(
        address,
      )
  }
})

it('says how long an invitation works', () => {
  expect(render('invitation', 'en', { token: 'a', days: 1 }).text).toContain('within one day.')
  expect(render('invitation', 'de', { token: 'a', days: 3 }).text).toContain('innerhalb von 3 Tagen')
})

it('knows no letter that is not there', () => {
  for (const template of ['gone', nothing, '__proto__', 'constructor'])
    expect(renderMail({ template, locale: 'en', data: {} }, issuer)).toBeUndefined()
})
