// The 49,233 passwords that everybody tries first (ASVS 6.2.4). Read when the first password is chosen: a server that only checks
// passwords never holds them.
import { createRequire } from 'node:module'

let list: ReadonlySet<string> | undefined

/** With other capitals, and with digits and signs around it, a common password is as common: that is what a guesser appends first. */
export function isCommonPassword(password: string): boolean {
  list ??= load()
  const folded = password.toLowerCase()
  const core = folded.replace(/^[^\p{L}]+|[^\p{L}]+$/gu, '')
  return list.has(folded) || (core.length >= 4 && list.has(core))
}

function load(): ReadonlySet<string> {
  // Not import(): who asks does not wait.
  const { dictionary } = createRequire(import.meta.url)('@zxcvbn-ts/language-common') as {
    dictionary: Readonly<Record<string, readonly string[]>>
  }
  const passwords = dictionary['passwords-common']
  if (!passwords || passwords.length < 49_000) throw new Error('the list of common passwords is not what it was')
  return new Set(passwords.map((password) => password.toLowerCase()))
}
