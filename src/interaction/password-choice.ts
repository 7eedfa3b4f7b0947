// A password that somebody chooses: checked by the rules, hashed within the limits of the server, refused in the person's language.
import type { Context } from 'koa'
import { HashingBusy } from '#src/factors/hashing.ts'
import { hashPassword } from '#src/factors/password.ts'
import { checkPassword } from '#src/factors/password-rules.ts'
import type { MessageKey } from '#src/http/i18n.ts'

type Choice =
  | { ok: true; passwordHash: string }
  | { ok: false; status: number; wrong: { password: MessageKey } | { problem: MessageKey } }

/** @param personal what others know of the person: it must be more than that. */
export async function choosePassword(ctx: Context, password: string, personal: readonly string[]): Promise<Choice> {
  const refuse = (status: number, key: MessageKey): Choice => ({ ok: false, status, wrong: { password: key } })
  if (password === '') return refuse(422, 'login.error.passwordMissing')
  const [flaw] = checkPassword(password, personal)
  // More than a password can be is refused before any work is done on it (ASVS 6.2.9).
  if (flaw) return refuse(flaw.code === 'too_long' ? 400 : 422, `setup.error.password.${flaw.code}`)
  try {
    return { ok: true, passwordHash: await hashPassword(password) }
  } catch (error) {
    if (!(error instanceof HashingBusy)) throw error
    ctx.state.unavailable = 'hash_queue'
    ctx.set('Retry-After', '5')
    return { ok: false, status: 503, wrong: { problem: 'setup.error.busy' } }
  }
}
