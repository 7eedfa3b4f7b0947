// For the page that stands in for a mailbox while there is no mail server (config.mail = page). Never in production.
import type { Db } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { nothing, type RenderedMail, renderMail } from './letters.ts'
import { unsealMail } from './outbox.ts'

export type ShownMail = RenderedMail & { id: string; to: string; at: Date }

/** The newest first. @param which.id only this one. */
export async function listMails(
  db: Db,
  deps: { secretKeys: SecretKeys; issuerUrl: string },
  which: { id?: string } = {},
): Promise<ShownMail[]> {
  const rows = await db.mail.findMany({
    where: { sealed: { not: null }, template: { not: nothing }, ...which },
    orderBy: [{ createdAt: 'desc' }, { id: 'asc' }],
    take: 20,
  })
  return rows.flatMap(({ id, template, sealed, createdAt }) => {
    const { to, locale, data } = unsealMail(deps.secretKeys, { id, sealed: sealed ?? '' })
    const letter = renderMail({ template, locale, data }, deps.issuerUrl)
    return letter ? [{ ...letter, id, to, at: createdAt }] : []
  })
}
