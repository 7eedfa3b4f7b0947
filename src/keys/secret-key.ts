// SECRET_KEY and what is derived from it. Each purpose gets its own key (HKDF-SHA-256, RFC 5869), so a value sealed for one
// purpose is refused for every other, and a leak of one derived key tells nothing about the rest.
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  timingSafeEqual,
} from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Of HMAC-SHA-256. */
const digestBytes = 32

export class SealBroken extends Error {
  override name = 'SealBroken'
}

export type SecretKeys = Readonly<{
  /** @returns base64url, AES-256-GCM under the newest key. `context` (a row id, say) is authenticated, not stored. */
  seal(purpose: string, context: string, plain: string | Uint8Array): string
  /** @throws SealBroken when the value was not sealed here for this purpose and context, or its key has left SECRET_KEY. */
  unseal(purpose: string, context: string, sealed: string): Buffer
  /** @returns which key opens it, 0 the newest; undefined: none. */
  sealedUnder(purpose: string, context: string, sealed: string): number | undefined
  /** A keyed digest under the newest key: 32 bytes. */
  mac(purpose: string, ...parts: readonly (string | Uint8Array)[]): Buffer
  /** The same under every key, newest first: what may have been written before a rotation. */
  macs(purpose: string, ...parts: readonly (string | Uint8Array)[]): Buffer[]
  /** Whether a digest that came back, as base64url, is ours under any key; compared in constant time. */
  isMac(presented: string, purpose: string, ...parts: readonly (string | Uint8Array)[]): boolean
  /** Keys for signing cookies, newest first. */
  cookieKeys: readonly string[]
  /** Names for the keys, newest first, that tell nothing about them. */
  fingerprints: readonly string[]
}>

export function createSecretKeys(keys: readonly Uint8Array[]): SecretKeys {
  // Key objects: of bytes Node finds out each time, by two errors that it throws and catches, that they are no key. That costs four times the HMAC.
  const derived = new Map<string, KeyObject[]>()
  const derive = (purpose: string): KeyObject[] => {
    let found = derived.get(purpose)
    if (!found) {
      found = keys.map((key) => {
        const bytes = hkdfSync('sha256', key, new Uint8Array(0), `sallyport/${purpose}`, 32)
        return createSecretKey(Buffer.from(bytes))
      })
      derived.set(purpose, found)
    }
    return found
  }
  const first = (purpose: string): KeyObject => derive(purpose)[0] as KeyObject
  const digest = (key: KeyObject, parts: readonly (string | Uint8Array)[]): Buffer => {
    const hmac = createHmac('sha256', key)
    for (const part of parts) {
      const bytes = Buffer.from(part as string)
      hmac.update(lengthOf(bytes)).update(bytes) // lengths first: ("ab","c") and ("a","bc") must differ
    }
    return hmac.digest()
  }
  const open = (purpose: string, context: string, sealed: string): { plain: Buffer; by: number } | undefined => {
    const bytes = Buffer.from(sealed, 'base64url')
    if (bytes.length < 28) return undefined
    for (const [by, key] of derive(`seal/${purpose}`).entries()) {
      try {
        const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, 12)).setAAD(Buffer.from(context))
        decipher.setAuthTag(bytes.subarray(-16))
        return { plain: Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]), by }
      } catch (error) {
        if (!(error instanceof Error)) throw error // an older key may open it: try the next
      }
    }
    return undefined
  }

  return Object.freeze({
    seal(purpose, context, plain) {
      const iv = randomBytes(12)
      const cipher = createCipheriv('aes-256-gcm', first(`seal/${purpose}`), iv).setAAD(Buffer.from(context))
      return Buffer.concat([iv, cipher.update(plain), cipher.final(), cipher.getAuthTag()]).toString('base64url')
    },
    unseal(purpose, context, sealed) {
      const opened = open(purpose, context, sealed)
      if (!opened) throw new SealBroken(purpose)
      return opened.plain
    },
    sealedUnder: (purpose, context, sealed) => open(purpose, context, sealed)?.by,
    mac: (purpose, ...parts) => digest(first(`mac/${purpose}`), parts),
    macs: (purpose, ...parts) => derive(`mac/${purpose}`).map((key) => digest(key, parts)),
    isMac(presented, purpose, ...parts) {
      const bytes = Buffer.from(presented, 'base64url')
      return derive(`mac/${purpose}`).some(
        (key) => bytes.length === digestBytes && timingSafeEqual(digest(key, parts), bytes),
      )
    },
    cookieKeys: derive('cookies').map((key) => key.export().toString('base64url')),
    fingerprints: derive('fingerprint').map((key) => key.export().toString('hex', 0, 8)),
  } satisfies SecretKeys)
}

function lengthOf(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(bytes.length)
  return length
}

/** Outside production only: the key of this folder, made at the first start, readable by its owner alone. */
export function loadOrCreateSecretKey(dataDir: string): Buffer {
  const file = join(dataDir, 'secret-key')
  mkdirSync(dataDir, { recursive: true })
  try {
    // Exclusive: of two processes that start at once, one writes and both read the same key.
    writeFileSync(file, randomBytes(32).toString('base64url'), { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const key = Buffer.from(readFileSync(file, 'utf8').trim(), 'base64url')
  if (key.length !== 32)
    throw new Error(
      `${file} does not hold a secret key (32 bytes, base64url). Restore it from a backup: what it encrypted cannot be read without it.`,
    )
  return key
}
