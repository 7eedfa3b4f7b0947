// What is taken for a logo, and what is not: by its bytes, to the last of them.
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { mostBytes, readPicture } from '#src/clients/pictures.ts'
import { chunk, jpeg, png, riff, webp } from '#test/support/logos.ts'

const read = (bytes: Uint8Array) => readPicture('logo', bytes)
const problem = (bytes: Uint8Array) => {
  const found = read(bytes)
  return 'flaws' in found ? found.flaws.map((flaw) => `${flaw.field} ${flaw.problem}`).join() : 'none'
}
const page = Buffer.from('<!doctype html><script>alert(1)</script>')
const beside = 'logo is damaged, or holds something beside the picture'

test.each([
  ['a PNG', png(96, 64), 'png'],
  ['a PNG of one pixel', png(1, 1), 'png'],
  ['a PNG as large as may be', png(1024, 1024), 'png'],
  ['a JPEG', jpeg, 'jpg'],
  ['a lossy WebP', webp.lossy, 'webp'],
  ['a lossless WebP', webp.lossless, 'webp'],
  ['an extended WebP', webp.extended, 'webp'],
] as const)('%s is one, under the hash of its bytes', (_what, bytes, ending) => {
  const found = read(bytes)
  if ('flaws' in found) throw new Error(JSON.stringify(found.flaws))
  expect(found.picture.name).toMatch(new RegExp(`^[A-Za-z0-9_-]{43}\\.${ending}$`))
  expect(Buffer.from(found.picture.body)).toEqual(bytes)
})

test('no more than 64 KiB and 1024 x 1024 pixels', () => {
  expect(problem(Buffer.concat([png(8, 8), Buffer.alloc(mostBytes)]))).toBe('logo is larger than 64 KiB')
  const filled = (length: number) => {
    const bytes = png(8, 8)
    return Buffer.concat([bytes.subarray(0, -12), chunk('teXt', Buffer.alloc(length)), bytes.subarray(-12)])
  }
  const room = mostBytes - filled(0).length
  expect(problem(filled(room))).toBe('none')
  expect(problem(filled(room + 1))).toBe('logo is larger than 64 KiB')
  for (const [width, height] of [
    [1025, 8],
    [8, 1025],
    [0, 8],
    [8, 0],
    [0x7fffffff, 0x7fffffff],
  ] as const)
    expect(problem(png(width, height))).toBe(`logo is ${width} x ${height} pixels`)
  const wide = Buffer.from(jpeg)
  wide.writeUInt16BE(0xffff, wide.indexOf(Buffer.from('ffc0', 'hex')) + 7)
  expect(problem(wide)).toBe('logo is 65535 x 6 pixels')
  const extended = Buffer.from(webp.extended)
  extended.writeUIntLE(0xffffff, 24, 3)
  expect(problem(extended)).toBe('logo is 16777216 x 6 pixels')
})

test.each([
  ['plain', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>')],
  ['behind a mark and a prologue', Buffer.from('\ufeff<?xml version="1.0"?>\n<!-- x -->\n<SVG onload="alert(1)"/>')],
  ['in UTF-16', Buffer.from('\ufeff<svg onload="alert(1)"/>', 'utf16le')],
  ['packed', gzipSync('<svg/>')],
] as const)('an SVG is refused aloud: %s', (_how, bytes) => {
  expect(problem(bytes)).toBe('logo is an SVG, which may hold scripts')
})

test.each([
  ['nothing', Buffer.alloc(0)],
  ['a page', page],
  ['a GIF', Buffer.from('GIF89a\x01\x00\x01\x00', 'latin1')],
  ['an icon', Buffer.from('0000010001001010', 'hex')],
  ['a program', Buffer.from('\x7fELF', 'latin1')],
  ['the beginning of a signature', png(8, 8).subarray(0, 7)],
  ['a picture behind something', Buffer.concat([page, png(8, 8)])],
  ['RIFF of another kind', Buffer.from('RIFF\x04\x00\x00\x00WAVE....', 'latin1')],
] as const)('%s is none', (_what, bytes) => {
  expect(problem(bytes)).toBe('logo is not a PNG, a JPEG or a WebP')
})

describe('a picture with something else in the file', () => {
  const all = { PNG: png(8, 8), JPEG: jpeg, WebP: webp.lossy }

  test.each(Object.entries(all))('%s: behind its end', (_type, bytes) => {
    for (const tail of [page, Buffer.from([0]), Buffer.from('PK\x03\x04', 'latin1'), bytes])
      expect(problem(Buffer.concat([bytes, tail]))).toBe(beside)
  })

  test.each(Object.entries(all))('%s: cut anywhere', (_type, bytes) => {
    for (let length = 13; length < bytes.length; length++)
      expect(problem(bytes.subarray(0, length)), `${length} bytes`).not.toBe('none')
  })

  test('PNG: a wrong sum, a second beginning, no beginning', () => {
    const bytes = png(8, 8)
    const flipped = Buffer.from(bytes)
    flipped[20] = (flipped[20] ?? 0) ^ 1
    expect(problem(flipped)).toBe(beside)
    const [signature, header, rest] = [bytes.subarray(0, 8), bytes.subarray(8, 33), bytes.subarray(33)]
    expect(problem(Buffer.concat([signature, header, header, rest]))).toBe(beside)
    expect(problem(Buffer.concat([signature, rest]))).toBe(beside)
    expect(problem(Buffer.concat([signature, chunk('IHDR', Buffer.alloc(12)), rest]))).toBe(beside)
    const far = Buffer.from(bytes)
    far.writeUInt32BE(0xfffffff0, 33)
    expect(problem(far)).toBe(beside)
  })

  test('JPEG: two sizes, no size, bytes between two segments, a picture within', () => {
    const at = jpeg.indexOf(Buffer.from('ffc0', 'hex'))
    const frame = jpeg.subarray(at, at + 2 + jpeg.readUInt16BE(at + 2))
    const before = jpeg.subarray(0, at)
    const after = jpeg.subarray(at + frame.length)
    expect(problem(Buffer.concat([before, frame, frame, after]))).toBe(beside)
    expect(problem(Buffer.concat([before, after]))).toBe(beside)
    expect(problem(Buffer.concat([before, Buffer.from('<script>'), frame, after]))).toBe(beside)
    expect(problem(Buffer.concat([before, Buffer.from('ffd8', 'hex'), frame, after]))).toBe(beside)
    expect(problem(Buffer.concat([before, frame, Buffer.from('ffd9', 'hex')]))).toBe(beside)
  })

  test('WebP: a size that is not its own, a chunk that is none, a canvas of another length', () => {
    const longer = Buffer.from(webp.lossy)
    longer.writeUInt32LE(longer.readUInt32LE(4) - 2, 4)
    expect(problem(longer)).toBe(beside)
    const foreign = Buffer.concat([Buffer.from('HTML'), Buffer.from('08000000', 'hex'), Buffer.from('<script>')])
    expect(problem(riff(webp.lossy.subarray(12), foreign))).toBe(beside)
    expect(problem(riff(foreign, webp.lossy.subarray(12)))).toBe(beside)
    expect(problem(riff())).not.toBe('none')
  })
})
