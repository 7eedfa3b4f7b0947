// Administrators who acted as the person: who, why, from when to when.
import type { Db } from '#src/db/database.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { listImpersonations } from '#src/impersonation/list.ts'
import type { AccountRequest } from './page.ts'

export type SupportLine = { who: string; reason: string; from: Moment; to: Moment | undefined }

/** Newest first. */
export async function supportLines(db: Db, { person, words, now }: AccountRequest): Promise<SupportLine[]> {
  const at = (time: Date) => moment(words, time, now, person.zoneinfo)
  return (await listImpersonations(db, person.id, now)).map(({ by, reason, from, to }) => ({
    who: by === null ? words.t('account.support.somebody') : words.t('account.support.who', { by }),
    reason,
    from: at(from),
    to: to ? at(to) : undefined,
  }))
}
