// An access token of ours, from the value that somebody shows to what its row says now.
import { createHash } from 'node:crypto'
import type { Database } from '#src/db/database.ts'
import { impersonationIn } from '#src/impersonation/mark.ts'
import { type JudgedToken, judgeToken } from '#src/tokens/find.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import type { FindImpersonation } from './impersonations.ts'
import { verifyOwnJwt } from './own-jwts.ts'
import type { Snapshot } from './snapshot.ts'

export type FindToken = (value: string) => Promise<JudgedToken | 'unknown' | 'bad_signature' | 'expired'>

export function createTokenFinder(deps: {
  database: Database
  issuer: string
  snapshot: () => Snapshot
  findImpersonation: FindImpersonation
  now: () => Date
}): FindToken {
  const { database, issuer, snapshot, findImpersonation, now } = deps
  return async (value) => {
    const id = value.includes('.')
      ? await verifyOwnJwt(snapshot(), { jwt: value, issuer, now: now() })
      : createHash('sha256').update(value).digest()
    if (typeof id === 'string') return id
    const judged = await judgeToken(database, id, now())
    return judged ? whoseItIs(judged) : 'unknown'
  }

  /** A token of an impersonation counts in its session, while that is one, and says of no sign-in of the person. */
  async function whoseItIs(judged: JudgedToken): Promise<JudgedToken> {
    const id = impersonationIn(judged.acr)
    const { impersonatorId } = judged
    if (id === undefined && impersonatorId === undefined) return judged
    const underway = id === undefined ? undefined : await findImpersonation(id)
    currentUnit().acting = underway // what is recorded of the person names both
    const isSound =
      underway !== undefined && underway.userId === judged.userId && underway.impersonatorId === impersonatorId
    const over = judged.over ?? (isSound ? undefined : 'revoked')
    return { ...judged, over, impersonatorId: impersonatorId ?? '', amr: [], authenticatedAt: undefined }
  }
}
