// What each mail says, in the words of its reader. A letter is a subject, sentences, perhaps a code or a link; views/mail turns it
// into text and HTML. Links begin with ISSUER_URL and with nothing that a request said. Nothing in a mail is fetched from
// anywhere: no picture, no pixel, no redirect.
import { readFileSync } from 'node:fs'
import { Eta } from 'eta'
import { escapeHtml, type Locale, type Translator, translator } from '#src/words.ts'

type Letter = {
  subject: string
  /** Sentences before the code or link. */
  text: readonly string[]
  code?: string
  link?: { words: string; path: string }
  /** Smaller, after it: what to do when it was not you. */
  notes: readonly string[]
}

type Words = Translator['t']

/** What a person is told about afterwards (ASVS 6.3.5, 6.3.7). */
export type Notice =
  | 'newDevice'
  | 'passwordChanged'
  | 'emailChanged'
  | 'factorAdded'
  | 'factorRemoved'
  | 'recoveryCodes'
  | 'sessionsEnded'
  | 'apiKeyCreated'
  | 'apiKeyReported'

const codeNotes = (t: Words): string[] => [t('mail.code.valid'), t('mail.code.secret'), t('mail.code.notYou')]

const letters = {
  sign_up_code: (t: Words, { code }: { code: string }): Letter => ({
    subject: t('mail.signUp.subject'),
    text: [t('mail.signUp.text')],
    code,
    notes: codeNotes(t),
  }),
  account_exists: (t: Words, _data: Record<never, never>): Letter => ({
    subject: t('mail.exists.subject'),
    text: [t('mail.exists.text'), t('mail.exists.next')],
    notes: [t('mail.exists.notYou')],
  }),
  invitation: (t: Words, { token, days }: { token: string; days: number }): Letter => ({
    subject: t('mail.invitation.subject'),
    text: [t('mail.invitation.text')],
    link: { words: t('mail.invitation.link'), path: `/invitation/${token}` },
    notes: [t('mail.invitation.valid', { days }), t('mail.invitation.notYou')],
  }),
  verification_code: (t: Words, { code }: { code: string }): Letter => ({
    subject: t('mail.verify.subject'),
    text: [t('mail.verify.text')],
    code,
    notes: codeNotes(t),
  }),
  recovery_code: (t: Words, { code }: { code: string }): Letter => ({
    subject: t('mail.recovery.subject'),
    text: [t('mail.recovery.text')],
    code,
    notes: codeNotes(t),
  }),
  password_changed: (t: Words, _data: Record<never, never>): Letter => ({
    subject: t('mail.changed.subject'),
    text: [t('mail.changed.text')],
    notes: [t('mail.changed.notYou')],
  }),
  email_change_code: (t: Words, { code }: { code: string }): Letter => ({
    subject: t('mail.emailChange.subject'),
    text: [t('mail.emailChange.text')],
    code,
    notes: [t('mail.code.valid'), t('mail.code.secret'), t('mail.emailChange.notYou')],
  }),
  /** To whoever can still do something about it. */
  notice: (t: Words, { what, device, address }: { what: Notice; device: string; address: string }): Letter => ({
    subject: t(`mail.notice.${what}.subject`),
    text: [t(`mail.notice.${what}.text`), t('mail.notice.where', { device, address })],
    link: { words: t('mail.notice.link'), path: '/account/security' },
    notes: [t('mail.notice.notYou')],
  }),
  impersonation: (t: Words, { by, reason, minutes }: { by: string; reason: string; minutes: number }): Letter => ({
    subject: t('mail.impersonation.subject'),
    text: [t('mail.impersonation.text', { by, minutes }), t('mail.impersonation.reason', { reason })],
    link: { words: t('mail.impersonation.link'), path: '/account/sessions' },
    notes: [t('mail.impersonation.cannot'), t('mail.impersonation.notExpected')],
  }),
  email_code: (t: Words, { code }: { code: string }): Letter => ({
    subject: t('mail.emailCode.subject'),
    text: [t('mail.emailCode.text')],
    code,
    notes: codeNotes(t),
  }),
}

export type LetterName = keyof typeof letters | typeof nothing
export type LetterData<Name extends LetterName> = Name extends keyof typeof letters
  ? Parameters<(typeof letters)[Name]>[1]
  : Record<never, never>

/** A row that is written where nobody is to be told anything, so that asking takes the same work for an address that nobody has. It
 *  is never sent. */
export const nothing = 'nothing'

export type RenderedMail = { subject: string; text: string; html: string }

/** @param template as stored. @returns undefined for a letter of another version of this program. */
export function renderMail(
  { template, locale, data }: { template: string; locale: Locale; data: unknown },
  issuerUrl: string,
): RenderedMail | undefined {
  if (!Object.hasOwn(letters, template)) return undefined
  const { t, dir } = translator(locale)
  const letter = letters[template as keyof typeof letters](t, data as never)
  const page = {
    ...letter,
    locale,
    dir,
    code: letter.code === undefined ? undefined : { digits: letter.code, halves: halves(letter.code) },
    link: letter.link && { words: letter.link.words, address: new URL(letter.link.path, issuerUrl).href },
    foot: t('mail.foot', { host: new URL(issuerUrl).host }),
  }
  return { subject: letter.subject, text: eta.render('@text', page), html: eta.render('@html', page) }
}

/** For reading aloud and typing: two groups, also where the code is shown as one. */
function halves(code: string): string {
  const middle = Math.ceil(code.length / 2)
  return `${code.slice(0, middle)} ${code.slice(middle)}`
}

const eta = new Eta({ autoEscape: true, escapeFunction: (value) => escapeHtml(String(value ?? '')), cache: true })
for (const name of ['text', 'html'])
  eta.loadTemplate(`@${name}`, readFileSync(new URL(`../../views/mail/${name}.eta`, import.meta.url), 'utf8'))
