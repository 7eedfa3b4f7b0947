// From what is presented to what is stored. Only SHA-256 of a value is ever a key: 256 random bits need no slow hash, and a
// dump of the database opens nothing (docs/decisions/007).
import { hash, randomBytes } from 'node:crypto'
import { jtiOf } from '#src/tokens/jwt-id.ts'
import type { Unit } from '#src/tokens/unit-of-work.ts'

export const sha256 = (value: string | Uint8Array): Buffer => hash('sha256', value, 'buffer')

/** `\x…`, as PostgreSQL reads bytea in JSON. */
export const hex = (bytes: Uint8Array): string => `\\x${Buffer.from(bytes).toString('hex')}`

/** A value that came from outside is hashed. A handle is known only if this very request was given it by `handleFor`: a hash or
 *  a handle presented from outside is just another unknown value. */
export function rowId(unit: Unit, value: string): Buffer {
  return unit.handles.get(value) ?? sha256(value)
}

/** Stands for a row whose real value nobody presented (found by uid or user code), within this request only. */
export function handleFor(unit: Unit, id: Buffer): string {
  const handle = randomBytes(24).toString('base64url')
  unit.handles.set(handle, id)
  return handle
}

/** A handle of a row that is found out when a store asks for it, and not before. */
export function lateHandleFor(unit: Unit, find: () => Promise<Buffer>): string {
  const handle = randomBytes(24).toString('base64url')
  unit.lateHandles.set(handle, () => unit.remember(`handle ${handle}`, find))
  return handle
}

/** Does nothing about other values. Afterwards `rowId` knows it. */
export async function settleHandle(unit: Unit, value: string): Promise<void> {
  const find = unit.lateHandles.get(value)
  if (find) unit.handles.set(value, await find())
}

/** A JWT by its own name, its `jti`. Known from here on to this request, which presented the whole token; from outside a `jti` is
 *  one more value that nobody issued. */
export function nameFor(unit: Unit, id: Buffer): string {
  const jti = jtiOf(id)
  unit.handles.set(jti, id)
  return jti
}
