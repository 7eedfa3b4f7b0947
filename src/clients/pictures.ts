// What may be a logo: a PNG, a JPEG or a WebP, told by its bytes and never by its name. Nothing is decoded: the frame of the format is walked
// from its first byte to its last, so that a file is one picture and nothing else beside it. (A picture with a page behind it, or in front,
// is read as a page by whoever looks for one.) SVG is no picture here: it is a document that may hold scripts.
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import type { Flaw } from '#src/refusal.ts'

export type PictureType = 'png' | 'jpg' | 'webp'

export type Picture = Readonly<{
  /** SHA-256 in base64url and the ending of its type: what it is served as. */
  name: string
  body: Uint8Array<ArrayBuffer>
}>

export const mostBytes = 65_536
export const mostPixels = 1_024

export const pictureTypes = { png: 'image/png', jpg: 'image/jpeg', webp: 'image/webp' } as const satisfies Record<
  PictureType,
  string
>

type Size = { width: number; height: number }

/** @returns the picture, or what is wrong with the file. */
export function readPicture(field: string, bytes: Uint8Array): { picture: Picture } | { flaws: Flaw[] } {
  const refuse = (problem: string, fix: string) => ({ flaws: [{ field, problem, fix }] })
  if (bytes.length > mostBytes) return refuse(`is larger than ${mostBytes / 1024} KiB`, 'Make it smaller.')
  const body = Buffer.from(bytes)
  const type = typeOf(body)
  if (type === undefined)
    return looksLikeSvg(body)
      ? refuse('is an SVG, which may hold scripts', 'Save it as a PNG, at 96 x 96 pixels or more.')
      : refuse('is not a PNG, a JPEG or a WebP', 'Save it as one of them. Its name says nothing here.')
  const size = walks[type](body)
  if (!size) return refuse('is damaged, or holds something beside the picture', 'Save it anew with a drawing program.')
  const { width, height } = size
  if (width < 1 || height < 1 || width > mostPixels || height > mostPixels)
    return refuse(`is ${width} x ${height} pixels`, `Make it at most ${mostPixels} x ${mostPixels}.`)
  const hash = createHash('sha256').update(body).digest('base64url')
  return { picture: { name: `${hash}.${type}`, body: new Uint8Array(body) } }
}

const pngSignature = Buffer.from('89504e470d0a1a0a', 'hex')

function typeOf(body: Buffer): PictureType | undefined {
  if (body.subarray(0, 8).equals(pngSignature)) return 'png'
  if (body.length > 3 && body.readUIntBE(0, 3) === 0xffd8ff) return 'jpg'
  if (body.length > 12 && ascii(body, 0, 4) === 'RIFF' && ascii(body, 8, 12) === 'WEBP') return 'webp'
  return undefined
}

/** Whatever its encoding: most SVG files begin with one of these, behind a mark or white space. */
function looksLikeSvg(body: Buffer): boolean {
  const text = body.subarray(0, 1024).toString('latin1').replaceAll('\0', '').toLowerCase()
  return (
    text.includes('<svg') || text.includes('<!doctype svg') || body.subarray(0, 2).equals(Buffer.from('1f8b', 'hex'))
  )
}

/** @returns undefined where the file is not exactly one picture of its format. */
const walks: Record<PictureType, (body: Buffer) => Size | undefined> = { png: walkPng, jpg: walkJpeg, webp: walkWebp }

/** PNG 5.3: length, name, data, CRC, from IHDR to IEND. */
function walkPng(body: Buffer): Size | undefined {
  let size: Size | undefined
  for (let at = 8; at + 12 <= body.length; ) {
    const length = body.readUInt32BE(at)
    const end = at + 12 + length
    if (end > body.length || crc32(body.subarray(at + 4, end - 4)) !== body.readUInt32BE(end - 4)) return undefined
    const name = ascii(body, at + 4, at + 8)
    if ((name === 'IHDR') !== (at === 8) || (name === 'IHDR' && length !== 13)) return undefined
    if (name === 'IHDR') size = { width: body.readUInt32BE(at + 8), height: body.readUInt32BE(at + 12) }
    if (name === 'IEND') return length === 0 && end === body.length ? size : undefined
    at = end
  }
  return undefined
}

/** ITU T.81 B.1: markers with their segments; behind SOS the coded data, in which FF is followed by 00 or a restart marker. */
function walkJpeg(body: Buffer): Size | undefined {
  let size: Size | undefined
  let scanned = false
  for (let at = 2; at + 2 <= body.length; ) {
    if (body[at] !== 0xff) return undefined
    const marker = body[at + 1] ?? 0
    if (marker === 0xff) {
      at += 1 // fill
      continue
    }
    if (marker === 0xd9) return at + 2 === body.length && scanned ? size : undefined
    // Those without a segment have nothing to do here, nor has a second beginning.
    if (marker < 0xc0 || (marker >= 0xd0 && marker <= 0xd8) || at + 4 > body.length) return undefined
    const end = at + 2 + body.readUInt16BE(at + 2)
    if (end < at + 4 || end > body.length) return undefined
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      if (size || end - at < 11) return undefined
      size = { width: body.readUInt16BE(at + 7), height: body.readUInt16BE(at + 5) }
    }
    at = end
    if (marker !== 0xda) continue
    if (!size) return undefined
    scanned = true
    while (at + 1 < body.length && !(body[at] === 0xff && isMarker(body[at + 1] ?? 0))) at += 1
  }
  return undefined
}

const isMarker = (byte: number) => byte !== 0 && byte !== 0xff && (byte < 0xd0 || byte > 0xd7)

/** RFC 9649: RIFF chunks, padded to an even length. The size is that of the first one: VP8, VP8L, or the canvas of VP8X. */
function walkWebp(body: Buffer): Size | undefined {
  if (body.readUInt32LE(4) + 8 !== body.length) return undefined
  let size: Size | undefined
  let at = 12
  while (at + 8 <= body.length) {
    const [name, length] = [ascii(body, at, at + 4), body.readUInt32LE(at + 4)]
    const data = body.subarray(at + 8, at + 8 + length)
    if (data.length !== length || !webpChunks.has(name)) return undefined
    if (at === 12) size = webpSize(name, data)
    if (!size) return undefined
    at += 8 + length + (length % 2)
  }
  return at === body.length ? size : undefined
}

const webpChunks = new Set(['VP8 ', 'VP8L', 'VP8X', 'ALPH', 'ANIM', 'ANMF', 'ICCP', 'EXIF', 'XMP '])

function webpSize(name: string, data: Buffer): Size | undefined {
  if (name === 'VP8X' && data.length === 10)
    return { width: data.readUIntLE(4, 3) + 1, height: data.readUIntLE(7, 3) + 1 }
  if (name === 'VP8 ' && data.length > 10 && data.readUIntBE(3, 3) === 0x9d012a)
    return { width: data.readUInt16LE(6) & 0x3fff, height: data.readUInt16LE(8) & 0x3fff }
  if (name === 'VP8L' && data.length > 5 && data[0] === 0x2f) {
    const bits = data.readUInt32LE(1)
    return { width: (bits & 0x3fff) + 1, height: ((bits >>> 14) & 0x3fff) + 1 }
  }
  return undefined
}

const ascii = (body: Buffer, from: number, to: number) => body.toString('latin1', from, to)
