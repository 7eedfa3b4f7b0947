// Kinds and states of mails, in the words of whoever looks at them.
import type { MessageKey, Translator } from '#src/http/i18n.ts'
import type { LetterName } from '#src/mail/letters.ts'
import type { MailState } from '#src/mail/records.ts'

const kinds = {
  sign_up_code: 'console.mails.signUpCode',
  account_exists: 'console.mails.accountExists',
  invitation: 'console.mails.invitation',
  verification_code: 'console.mails.verificationCode',
  recovery_code: 'console.mails.recoveryCode',
  password_changed: 'console.mails.passwordChanged',
  email_change_code: 'console.mails.emailChangeCode',
  notice: 'console.mails.notice',
  impersonation: 'console.mails.impersonation',
  email_code: 'console.mails.emailCode',
} as const satisfies Record<Exclude<LetterName, 'nothing'>, MessageKey>

const states = {
  waiting: 'console.mails.waiting',
  delayed: 'console.mails.delayed',
  sent: 'console.mails.sent',
  given_up: 'console.mails.givenUp',
} as const satisfies Record<MailState, MessageKey>

/** @param template as stored; one of another version of this program has no words here. */
export const kindOf = ({ t }: Translator, template: string): string =>
  Object.hasOwn(kinds, template) ? t(kinds[template as keyof typeof kinds]) : template

export const stateOf = ({ t }: Translator, state: MailState): string => t(states[state])
