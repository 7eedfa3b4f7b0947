// Which passwords may be chosen. Length counts, composition does not (ASVS 6.2.5): every character, spaces included, is welcome.
// Asked when a password is set, never at login.
import type { Flaw } from '#src/refusal.ts'
import { isCommonPassword } from './common-passwords.ts'
import { maxPasswordLength } from './password.ts'
import { passwordSettings } from './password-settings.ts'

/** ASVS 6.2.1, NIST SP 800-63B-4 3.1.1.2: 15 when the password is the only factor, 8 beside another one. */
export const minPasswordLength = { alone: 15, besideAnother: 8 }

export type PasswordFlaw = Flaw & {
  code:
    | 'too_short'
    | 'too_short_beside_another'
    | 'too_long'
    | 'unusable'
    | 'repetitive'
    | 'personal'
    | 'common'
    | 'breached'
}

/** @param personal what an attacker tries first: the person's email address and names, and those of the organisation they belong to.
 *  The names of the product and of this installation are added here.
 *  @param options.besideAnother the person cannot sign in without another factor.
 *  @returns the first rule that the password breaks, if any. Reads a list at its first call, and a file if there is one. */
export function checkPassword(
  plain: string,
  personal: readonly string[],
  options: { besideAnother?: boolean } = {},
): PasswordFlaw[] {
  const refuse = (code: PasswordFlaw['code'], problem: string, fix: string): PasswordFlaw[] => [
    { code, field: 'password', problem, fix },
  ]
  if (!plain.isWellFormed() || plain.includes('\0'))
    return refuse('unusable', 'holds a character that is none', 'Type it again, or paste it from another program.')
  if (plain.length > maxPasswordLength * 4) return refuse('too_long', ...tooLong)
  const password = plain.normalize('NFC')
  const characters = [...password]
  if (characters.length > maxPasswordLength) return refuse('too_long', ...tooLong)
  const { besideAnother = false } = options
  const least = besideAnother ? minPasswordLength.besideAnother : minPasswordLength.alone
  if (characters.length < least)
    return refuse(
      besideAnother ? 'too_short_beside_another' : 'too_short',
      `has fewer than ${least} characters`,
      'Use a few words in a row: long is easier to remember than complicated.',
    )
  if (isRepetitive(characters.map((character) => character.toLowerCase())))
    return refuse('repetitive', 'repeats or counts', 'Use a few words that do not belong together.')
  const { names, breached } = passwordSettings()
  if (isPersonal(plain, [...names, ...personal]))
    return refuse(
      'personal',
      'is little more than a name or address that others know',
      'Use words that have nothing to do with you or this site.',
    )
  if (isCommonPassword(password))
    return refuse('common', 'is one of those that are tried first', 'Use a few words that do not belong together.')
  if (breached?.has(password))
    return refuse('breached', 'was published after a theft elsewhere', 'Use one that you have used nowhere else.')
  return []
}

const tooLong = [`has more than ${maxPasswordLength} characters`, 'Use a shorter one.'] as const

/** One character or a short group again and again, or a run along the digits, the alphabet or the keyboard. */
function isRepetitive(characters: readonly string[]): boolean {
  for (const period of [1, 2, 3, 4])
    if (characters.every((character, index) => character === characters[index % period])) return true
  const text = characters.join('')
  return ['0123456789', '1234567890', 'abcdefghijklmnopqrstuvwxyz', 'qwertyuiopasdfghjklzxcvbnm'].some((row) => {
    const line = row.repeat(Math.ceil(characters.length / row.length) + 1)
    return line.includes(text) || [...line].reverse().join('').includes(text)
  })
}

/** A personal word inside a long passphrase does no harm; what counts is what is left without it. */
function isPersonal(plain: string, personal: readonly string[]): boolean {
  const fold = (text: string) =>
    text
      .normalize('NFKC')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}]/gu, '')
  const words = personal
    .flatMap((text) => [text, ...text.split(/[^\p{L}\p{N}]+/u)])
    .map(fold)
    .filter((word) => word.length >= 3)
    .sort((a, b) => b.length - a.length)
  const rest = words.reduce((text, word) => text.replaceAll(word, ''), fold(plain))
  return rest.length < Math.min(8, fold(plain).length / 2) && words.some((word) => fold(plain).includes(word))
}
