// Pictures, made here: what a drawing program would save, and what a hostile one would.
import { crc32, deflateSync } from 'node:zlib'
import { type Picture, readPicture } from '#src/clients/pictures.ts'

export function chunk(name: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), data])
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(data.length)
  sum.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, sum])
}

/** @param paint the colour of each pixel. */
export function png(
  width: number,
  height: number,
  paint: (x: number, y: number) => number[] = () => [20, 110, 90, 255],
) {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 6, 0, 0, 0], 8)
  const rows = Array.from({ length: Math.min(height, 2048) }, (_, y) => [
    0,
    ...Array.from({ length: Math.min(width, 2048) }, (_, x) => paint(x, y)).flat(),
  ])
  return Buffer.concat([
    Buffer.from('89504e470d0a1a0a', 'hex'),
    chunk('IHDR', header),
    chunk('IDAT', deflateSync(Buffer.from(rows.flat()))),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

/** 8 x 6 pixels, as Chromium saves them, without their colour profile. */
export const jpeg = Buffer.from(
  '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDABsSFBcUERsXFhceHBsgKEIrKCUlKFE6PTBCYFVlZF9VXVtqeJmBanGQc1tdhbWGkJ6jq62rZ4C8ybqmx5moq6T/2wBDARweHigjKE4rK06kbl1upKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKSkpKT/wAARCAAGAAgDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAAAAT/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/8QAFQEBAQAAAAAAAAAAAAAAAAAAAQT/xAAUEQEAAAAAAAAAAAAAAAAAAAAA/9oADAMBAAIRAxEAPwCEAo3/2Q==',
  'base64',
)
const lossy = Buffer.from('VlA4ICIAAABwAQCdASoIAAYABABoJaACdAFAAAD+6ly/z9Cu7PO21AAA', 'base64')
const lossless = Buffer.from('VlA4TBEAAAAvB0ABAAdQt1JUq/+BiOh/AAA=', 'base64')
const canvas = Buffer.from('VlA4WAoAAAAAAAAABwAABQAA', 'base64')

export function riff(...chunks: Buffer[]): Buffer {
  const body = Buffer.concat([Buffer.from('WEBP'), ...chunks])
  const length = Buffer.alloc(4)
  length.writeUInt32LE(body.length)
  return Buffer.concat([Buffer.from('RIFF'), length, body])
}
export const webp = { lossy: riff(lossy), lossless: riff(lossless), extended: riff(canvas, lossy) }

export function picture(bytes: Buffer): Picture {
  const read = readPicture('logo', bytes)
  if ('flaws' in read) throw new Error(JSON.stringify(read.flaws))
  return read.picture
}

/** A sail before the sun: what Harbour Shop shows. */
export const harbourLogo = picture(
  png(96, 96, (x, y) => {
    if (x > 30 && x < 32 + (y - 14) * 0.6 && y > 14 && y < 66) return [250, 250, 250, 255]
    if (y > 70 + 3 * Math.sin(x / 7)) return [11, 61, 102, 255]
    return (x - 68) ** 2 + (y - 26) ** 2 < 144 ? [250, 190, 70, 255] : [33, 118, 174, 255]
  }),
)
