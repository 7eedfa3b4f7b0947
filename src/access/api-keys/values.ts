// What an API key looks like: `sp_key_<43 base62 characters>_<6 base62 characters>`. The prefix and the checksum let secret scanners
// recognise a leaked key for sure, and let this server refuse garbage without asking the database. 256 random bits need no slow hash.
import { createHash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

export const newApiKeyValue = (): string => formatApiKey(randomBytes(32))

/** @param bytes 32 of them, random or derived. */
export function formatApiKey(bytes: Uint8Array): string {
  const body = `sp_key_${base62(BigInt(`0x${Buffer.from(bytes).toString('hex')}`), 43)}`
  return `${body}_${base62(BigInt(crc32(body)), 6)}`
}

/** True for the shape with the right checksum; says nothing about whether the key exists. */
export function isApiKey(value: string): boolean {
  const match = /^(sp_key_[0-9A-Za-z]{43})_([0-9A-Za-z]{6})$/.exec(value)
  return match?.[1] !== undefined && base62(BigInt(crc32(match[1])), 6) === match[2]
}

/** @returns the id of its row. */
export const hashApiKey = (value: string): Buffer<ArrayBuffer> =>
  createHash('sha256').update(value, 'utf8').digest() as Buffer<ArrayBuffer>

/** The readable beginning, to tell one from another in a list: 24 of the 256 bits. */
export const hintOf = (value: string): string => value.slice(0, 11)

const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** Big-endian, padded with zeros: 43 digits hold 256 bits, 6 hold 32. */
function base62(number: bigint, length: number): string {
  let text = ''
  for (let rest = number; text.length < length; rest /= 62n) text = digits[Number(rest % 62n)] + text
  return text
}
