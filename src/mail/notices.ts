// Mails after a change, to the address that the person had before it: whoever takes an account over cannot keep its owner from hearing
// (ASVS 6.3.5, 6.3.7). Nobody asks for a notice, so no limit holds it back.
import { nameBrowser } from '#src/browser-name.ts'
import type { Db } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { toLocale, translator } from '#src/words.ts'
import type { Notice } from './letters.ts'
import { queueMail } from './outbox.ts'

/** In the transaction of what it tells about.
 *  @param from where it was done. */
export async function queueNotice(
  db: Db,
  what: Notice,
  person: { id: string; email: string; locale: string | null },
  from: { address?: string | undefined; userAgent?: string | undefined },
  { secretKeys, now }: { secretKeys: SecretKeys; now: Date },
): Promise<void> {
  const locale = toLocale(person.locale ?? '') ?? 'en'
  const { name } = nameBrowser(translator(locale), from.userAgent)
  const data = { what, device: name, address: from.address ?? '?' }
  await queueMail(db, { template: 'notice', to: person.email, locale, data, userId: person.id }, { secretKeys, now })
}
