// Identifiers that may be seen once (RFC 9449 11.1, RFC 7523 3). The engine looks, then saves; the look is only a courtesy: the
// commit inserts each identifier once and the request that comes second loses, on whichever process it ran.
import type { Adapter, AdapterPayload } from 'oidc-provider'
import { readReplay } from '#src/tokens/statements.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { hex, rowId } from './row-id.ts'
import { type AdapterDeps, unsupported } from './store.ts'

export function replayStore({ now }: AdapterDeps): Adapter {
  return {
    async upsert(value, payload, expiresIn) {
      const unit = currentUnit()
      const id = hex(rowId(unit, value))
      const { jti: _jti, kind: _kind, exp, ...rest } = payload as AdapterPayload & Record<string, unknown>
      unit.rows.replay.set(id, {
        id,
        expiresAt: typeof exp === 'number' ? exp : expiresIn === undefined ? null : now().getTime() / 1000 + expiresIn,
        payload: rest,
      })
    },

    async find(value) {
      const unit = currentUnit()
      const id = rowId(unit, value)
      const key = hex(id)
      const row =
        unit.rows.replay.get(key) ?? (await unit.remember(`replay ${key}`, () => readReplay(unit.database.pool, id)))
      if (!row) return undefined
      return {
        ...structuredClone(row.payload),
        ...(row.expiresAt === null ? {} : { exp: Math.floor(row.expiresAt) }),
        kind: 'ReplayDetection',
        jti: value,
      } as AdapterPayload
    },

    destroy: unsupported('ReplayDetection', 'destroy'),
    consume: unsupported('ReplayDetection', 'consume'),
    revokeByGrantId: unsupported('ReplayDetection', 'revokeByGrantId'),
    findByUid: unsupported('ReplayDetection', 'uid'),
    findByUserCode: unsupported('ReplayDetection', 'user code'),
  }
}
