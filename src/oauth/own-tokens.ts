// An access token of ours, from the value that somebody shows to what its row says now.
import { createHash } from 'node:crypto'
import type { Database } from '#src/db/database.ts'
import { type JudgedToken, judgeToken } from '#src/tokens/find.ts'
import { verifyOwnJwt } from './own-jwts.ts'
import type { Snapshot } from './snapshot.ts'

export type FindToken = (value: string) => Promise<JudgedToken | 'unknown' | 'bad_signature' | 'expired'>

export function createTokenFinder(deps: {
  database: Database
  issuer: string
  snapshot: () => Snapshot
  now: () => Date
}): FindToken {
  const { database, issuer, snapshot, now } = deps
  return async (value) => {
    const id = value.includes('.')
      ? await verifyOwnJwt(snapshot(), { jwt: value, issuer, now: now() })
      : createHash('sha256').update(value).digest()
    if (typeof id === 'string') return id
    return (await judgeToken(database, id, now())) ?? 'unknown'
  }
}
