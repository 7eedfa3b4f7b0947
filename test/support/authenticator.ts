// An authenticator in software (WebAuthn 3, 6): makes keys and answers challenges, and lies about whatever a test wants it to lie about.
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

export type Lies = {
  origin?: string
  rpId?: string
  type?: string
  challenge?: string
  crossOrigin?: boolean
  /** UP 1, UV 4, BE 8, BS 16. */
  flags?: number
  counter?: number
  /** COSE: -7 is ES256. */
  algorithm?: number
  userHandle?: string | undefined
  signature?: Buffer
}

const present = 0x01
const verified = 0x04
const attested = 0x40

export class Authenticator {
  readonly id = randomBytes(16).toString('base64url')
  readonly #key: { publicKey: KeyObject; privateKey: KeyObject } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  readonly #origin: string
  /** Synced keys say 0. */
  counter = 0
  userHandle: string | undefined

  constructor(origin: string) {
    this.#origin = origin
  }

  /** @param options what the server offered for navigator.credentials.create */
  create(options: { challenge: string; user: { id: string } }, lies: Lies = {}) {
    this.userHandle = options.user.id
    const { x = '', y = '' } = this.#key.publicKey.export({ format: 'jwk' })
    const coordinate = (value: string) => bytes(Buffer.from(value, 'base64url'))
    const cose = map([
      [integer(1), integer(2)],
      [integer(3), integer(lies.algorithm ?? -7)],
      [integer(-1), integer(1)],
      [integer(-2), coordinate(x)],
      [integer(-3), coordinate(y)],
    ])
    const id = Buffer.from(this.id, 'base64url')
    const length = Buffer.alloc(2)
    length.writeUInt16BE(id.length)
    const data = Buffer.concat([this.#data(lies, attested), Buffer.alloc(16), length, id, cose])
    const attestationObject = map([
      [text('fmt'), text('none')],
      [text('attStmt'), map([])],
      [text('authData'), bytes(data)],
    ])
    return {
      ...this.#shell(),
      response: {
        clientDataJSON: this.#clientData('webauthn.create', options.challenge, lies),
        attestationObject: attestationObject.toString('base64url'),
        transports: ['internal'],
      },
    }
  }

  /** @param options what the server offered for navigator.credentials.get */
  get(options: { challenge: string }, lies: Lies = {}) {
    const clientDataJSON = this.#clientData('webauthn.get', options.challenge, lies)
    const data = this.#data(lies, 0)
    const signed = Buffer.concat([data, createHash('sha256').update(Buffer.from(clientDataJSON, 'base64url')).digest()])
    const signature = lies.signature ?? sign('sha256', signed, this.#key.privateKey)
    const userHandle = 'userHandle' in lies ? lies.userHandle : this.userHandle
    return {
      ...this.#shell(),
      response: {
        clientDataJSON,
        authenticatorData: data.toString('base64url'),
        signature: signature.toString('base64url'),
        ...(userHandle === undefined ? {} : { userHandle }),
      },
    }
  }

  #shell() {
    return { id: this.id, rawId: this.id, type: 'public-key', clientExtensionResults: {} }
  }

  #clientData(type: string, challenge: string, lies: Lies): string {
    const data = {
      type: lies.type ?? type,
      challenge: lies.challenge ?? challenge,
      origin: lies.origin ?? this.#origin,
      crossOrigin: lies.crossOrigin ?? false,
    }
    return Buffer.from(JSON.stringify(data)).toString('base64url')
  }

  #data(lies: Lies, more: number): Buffer {
    const counter = Buffer.alloc(4)
    counter.writeUInt32BE(lies.counter ?? this.counter)
    const rpId = lies.rpId ?? new URL(this.#origin).hostname
    const flags = (lies.flags ?? present | verified) | more
    return Buffer.concat([createHash('sha256').update(rpId).digest(), Buffer.from([flags]), counter])
  }
}

// As much of CBOR (RFC 8949) as that takes.
function head(major: number, value: number): Buffer {
  if (value < 24) return Buffer.from([(major << 5) | value])
  if (value < 256) return Buffer.from([(major << 5) | 24, value])
  return Buffer.from([(major << 5) | 25, value >> 8, value & 255])
}
const integer = (value: number) => (value >= 0 ? head(0, value) : head(1, -1 - value))
const bytes = (value: Buffer) => Buffer.concat([head(2, value.length), value])
const text = (value: string) => Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)])
const map = (entries: [Buffer, Buffer][]) => Buffer.concat([head(5, entries.length), ...entries.flat()])
