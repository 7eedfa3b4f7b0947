// Browser sessions. The row is the session (its uid never changes), the cookie is one column of it: a rotation moves the cookie,
// so the old one is gone in the same commit. Entries per client are merged, not replaced: two tabs must not undo each other. A session
// that nobody used for its idle lifetime is not found any more; that it is used is written down every few minutes, not at every request.

import { isDeepStrictEqual } from 'node:util'
import type { Adapter, AdapterPayload } from 'oidc-provider'
import { impersonationIn } from '#src/impersonation/mark.ts'
import type { SessionAndPerson, SessionRow, SessionWrite } from '#src/tokens/statements.ts'
import { readSession, readSessionByUid } from '#src/tokens/statements.ts'
import type { Unit } from '#src/tokens/unit-of-work.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { handleFor, hex, rowId } from './row-id.ts'
import { type AdapterDeps, unsupported } from './store.ts'

type SessionPayload = {
  uid: string
  accountId?: string
  loginTs?: number
  acr?: string
  amr?: string[]
  authorizations?: Record<string, object>
  state?: unknown
  exp?: number
}

/** How far the recorded last use may lag behind. */
const mostSecondsUnnoted = 240

export function sessionStore(deps: AdapterDeps): Adapter {
  const { secretKeys, now, isRefreshing, sessionIdleSeconds, sessionUsed, findImpersonation } = deps
  const noteEvery = Math.min(mostSecondsUnnoted, sessionIdleSeconds / 4)

  return {
    async upsert(value, payload, expiresIn) {
      const unit = currentUnit()
      const {
        uid,
        accountId,
        loginTs,
        acr,
        amr,
        authorizations,
        state,
        exp,
        jti: _jti,
        kind: _kind,
        ...rest
      } = payload as SessionPayload & Record<string, unknown>
      const cookieHash = hex(rowId(unit, value))
      const known = unit.sessions.get(uid)
      const earlier = unit.rows.session.get(uid)
      // The engine ends the old id, then saves under the new one: to us that is one session whose cookie moved.
      if (known) unit.rows.sessionEnd.delete(hex(known.cookieHash))
      if (earlier) unit.rows.sessionEnd.delete(earlier.cookieHash)
      unit.rows.session.set(uid, {
        uid,
        cookieHash,
        userId: accountId ?? null,
        loginAt: loginTs ?? null,
        acr: acr ?? null,
        amr: amr ?? [],
        clients: changedEntries(known?.clients ?? {}, authorizations ?? {}),
        userGeneration: unit.generationOf('user', accountId ?? null),
        expiresAt: exp ?? (expiresIn === undefined ? null : now().getTime() / 1000 + expiresIn),
        originId: known ? null : unit.noteOrigin(),
        // The one-time token of the logout page lives in `state`: readable in a dump it would be usable.
        payload: {
          ...rest,
          ...(state === undefined ? {} : { state: secretKeys.seal('session-state', uid, JSON.stringify(state)) }),
        },
      })
    },

    async find(value) {
      const unit = currentUnit()
      const cookieHash = rowId(unit, value)
      const key = hex(cookieHash)
      if (unit.rows.sessionEnd.has(key)) return undefined
      for (const written of unit.rows.session.values())
        if (written.cookieHash === key) return unpack(unit, value, written)
      const found = await unit.remember(`session ${key}`, () => readSession(unit.database.pool, cookieHash))
      if (!found || isIdle(found.session) || !(await isWhoItSays(unit, found.session))) return undefined
      noteUse(unit, found.session)
      return unpack(unit, value, note(unit, found))
    },

    async findByUid(uid) {
      const unit = currentUnit()
      const written = unit.rows.session.get(uid)
      if (written) {
        const cookieHash = Buffer.from(written.cookieHash.slice(2), 'hex')
        return unit.rows.sessionEnd.has(written.cookieHash)
          ? undefined
          : unpack(unit, handleFor(unit, cookieHash), written)
      }
      const found = await unit.remember(`session uid ${uid}`, () => readSessionByUid(unit.database.pool, uid))
      if (!found || isIdle(found.session) || unit.rows.sessionEnd.has(hex(found.session.cookieHash))) return undefined
      if (!(await isWhoItSays(unit, found.session))) return undefined
      // Looking a token up is not use: APIs do that by themselves. An application that refreshes for a person is.
      if (isRefreshing()) noteUse(unit, found.session)
      return unpack(unit, handleFor(unit, found.session.cookieHash), note(unit, found))
    },

    async destroy(value) {
      currentUnit().rows.sessionEnd.add(hex(rowId(currentUnit(), value)))
    },

    consume: unsupported('Session', 'consume'),
    revokeByGrantId: unsupported('Session', 'revokeByGrantId'),
    findByUserCode: unsupported('Session', 'user code'),
  }

  /** A session that somebody else began in the person's name counts as long as they may. */
  async function isWhoItSays(unit: Unit, { acr, userId }: SessionRow): Promise<boolean> {
    const id = impersonationIn(acr)
    if (id === undefined) return true
    const underway = await findImpersonation(id)
    if (!underway || underway.userId !== userId) return false
    unit.acting = underway
    return true
  }

  function isIdle({ lastUsedAt }: SessionRow): boolean {
    return lastUsedAt + sessionIdleSeconds <= now().getTime() / 1000
  }

  function noteUse(unit: Unit, { uid, lastUsedAt }: SessionRow): void {
    if (unit.sessions.has(uid) || lastUsedAt + noteEvery > now().getTime() / 1000) return
    sessionUsed(uid)
  }

  function unpack(unit: Unit, value: string, row: SessionRow | SessionWrite): AdapterPayload {
    const { state, ...rest } = row.payload as { state?: string } & Record<string, unknown>
    const known = unit.sessions.get(row.uid)
    const clients =
      'generation' in row
        ? row.clients
        : mergeEntries(known?.clients ?? {}, row.clients as Record<string, object | null>)
    return {
      ...rest,
      ...(state === undefined
        ? {}
        : { state: JSON.parse(secretKeys.unseal('session-state', row.uid, state).toString()) }),
      uid: row.uid,
      ...(row.userId === null ? {} : { accountId: row.userId }),
      ...(row.loginAt === null ? {} : { loginTs: Math.floor(row.loginAt) }),
      ...(row.acr === null ? {} : { acr: row.acr }),
      ...(row.amr.length > 0 ? { amr: row.amr } : {}),
      ...(Object.keys(clients).length > 0 ? { authorizations: copyEntries(clients) } : {}),
      ...(row.expiresAt === null ? {} : { exp: Math.floor(row.expiresAt) }),
      kind: 'Session',
      jti: value,
    } as AdapterPayload
  }
}

function note(unit: Unit, { session, person }: SessionAndPerson): SessionRow {
  unit.sessions.set(session.uid, session)
  unit.noteGeneration('session', session.uid, session.generation)
  if (session.userId) {
    unit.noteGeneration('user', session.userId, session.userGeneration)
    unit.know(`person ${session.userId}`, person ?? undefined)
  }
  return session
}

/** The engine writes into an entry; what was read must stay as it was, to be compared with. */
function copyEntries(clients: Record<string, object>): Record<string, object> {
  return Object.fromEntries(Object.entries(clients).map(([clientId, entry]) => [clientId, { ...entry }]))
}

/** Entries that differ from what was read; null for those that left. */
function changedEntries(before: Record<string, object>, after: Record<string, object>): Record<string, object | null> {
  const changed: Record<string, object | null> = {}
  for (const [clientId, entry] of Object.entries(after))
    if (!isDeepStrictEqual(before[clientId], entry)) changed[clientId] = entry
  for (const clientId of Object.keys(before)) if (!(clientId in after)) changed[clientId] = null
  return changed
}

function mergeEntries(before: Record<string, object>, changes: Record<string, object | null>): Record<string, object> {
  return Object.fromEntries(
    Object.entries({ ...before, ...changes }).filter((entry): entry is [string, object] => entry[1] !== null),
  )
}
