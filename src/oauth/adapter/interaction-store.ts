// Authorization requests that wait for a person. The engine keeps values inside that would work for whoever reads them (the
// session's cookie, the address that resumes the request, a device code): the first is dropped, the others are sealed.
import type { Adapter, AdapterPayload } from 'oidc-provider'
import { type InteractionRow, readInteraction } from '#src/tokens/statements.ts'
import { currentUnit, type Unit } from '#src/tokens/unit-of-work.ts'
import { hex, rowId } from './row-id.ts'
import { type AdapterDeps, unsupported } from './store.ts'

type InteractionPayload = {
  session?: { uid?: string; accountId?: string; cookie?: string }
  params?: Record<string, unknown>
  prompt?: { name?: string }
  result?: { login?: { accountId?: string } }
  exp?: number
}
const sealedFields = ['returnTo', 'deviceCode', 'parJti'] as const

export function interactionStore({ secretKeys, now }: AdapterDeps): Adapter {
  return {
    async upsert(uid, payload, expiresIn) {
      const unit = currentUnit()
      const id = hex(rowId(unit, uid))
      const { exp, jti: _jti, kind: _kind, session, ...rest } = payload as InteractionPayload & Record<string, unknown>
      const { cookie: _cookie, ...kept } = session ?? {}
      const stored: Record<string, unknown> = { ...rest, ...(session && { session: kept }) }
      for (const field of sealedFields)
        if (typeof stored[field] === 'string')
          stored[field] = secretKeys.seal('interaction', `${id} ${field}`, stored[field])
      const clientId = payload.params?.client_id
      unit.rows.interaction.set(id, {
        id,
        clientId: typeof clientId === 'string' ? clientId : null,
        // Whoever has just proved who they are, else whose session it is: the row is read together with this person.
        userId: (payload as InteractionPayload).result?.login?.accountId ?? session?.accountId ?? null,
        sessionUid: session?.uid ?? null,
        prompt: (payload as InteractionPayload).prompt?.name ?? null,
        expiresAt: exp ?? (expiresIn === undefined ? null : now().getTime() / 1000 + expiresIn),
        payload: stored,
      })
    },

    async find(uid) {
      const unit = currentUnit()
      const id = rowId(unit, uid)
      const key = hex(id)
      if (unit.rows.interactionEnd.has(key)) return undefined
      const row =
        unit.rows.interaction.get(key) ??
        (await unit.remember(`interaction ${key}`, () => readInteraction(unit.database.pool, id)))
      if (!row) return undefined
      if ('person' in row) noteCompany(unit, row)
      const payload = structuredClone(row.payload) as Record<string, unknown>
      for (const field of sealedFields)
        if (typeof payload[field] === 'string')
          payload[field] = secretKeys.unseal('interaction', `${key} ${field}`, payload[field]).toString()
      if ('createdAt' in row) payload.iat ??= Math.floor(row.createdAt)
      if (row.expiresAt !== null) payload.exp = Math.floor(row.expiresAt)
      return { ...payload, kind: 'Interaction', jti: uid } as AdapterPayload
    },

    async destroy(uid) {
      const unit = currentUnit()
      const id = hex(rowId(unit, uid))
      unit.rows.interaction.delete(id)
      unit.rows.interactionEnd.add(id)
    },

    consume: unsupported('Interaction', 'consume'),
    revokeByGrantId: unsupported('Interaction', 'revokeByGrantId'),
    findByUid: unsupported('Interaction', 'uid'),
    findByUserCode: unsupported('Interaction', 'user code'),
  }
}

/** What came along with the row. A session that did not come is looked for by whoever needs it. */
function noteCompany(unit: Unit, { userId, clientId, session, person, consent }: InteractionRow): void {
  if (session) unit.know(`session uid ${session.uid}`, { session, person })
  if (userId === null) return
  unit.know(`person ${userId}`, person ?? undefined)
  if (clientId !== null) unit.know(`consent ${userId} ${clientId}`, consent ?? undefined)
}
