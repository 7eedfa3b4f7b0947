// How a JWT access token and its row find each other: the row's id is the 16 bytes that the `jti` spells in base64url. Rows of
// everything else are known by a SHA-256, so the length tells which is which (docs/decisions/012).
import { randomBytes } from 'node:crypto'

const length = 16

/** Milliseconds first, like UUIDv7 without its version bits: rows made at one time are neighbours in the index, so an insert
 *  touches a page that is in memory already. The 80 random bits make it unique; a `jti` is no secret and opens nothing. */
export function newJwtId(now: Date): Buffer {
  const id = Buffer.alloc(length)
  id.writeUIntBE(now.getTime(), 0, 6)
  randomBytes(length - 6).copy(id, 6)
  return id
}

/** Epoch seconds, to the millisecond, by the clock of the process that made it. */
export const timeOfJwtId = (id: Buffer): number => id.readUIntBE(0, 6) / 1000

export const isJwtId = (id: Uint8Array): boolean => id.length === length

export const jtiOf = (id: Uint8Array): string => Buffer.from(id).toString('base64url')

/** @returns undefined for what no JWT of ours has as its `jti`, other spellings of the same bytes included. */
export function idOfJti(jti: unknown): Buffer | undefined {
  if (typeof jti !== 'string') return undefined
  const id = Buffer.from(jti, 'base64url')
  return isJwtId(id) && jtiOf(id) === jti ? id : undefined
}
