// Passwords that were stolen somewhere and published: a file that the operator provides, searched where it lies. It is as HIBP's
// downloader writes it: one SHA-1 in hexadecimal a line, sorted, `:` and a count behind it if any. Forty gigabytes are some thirty
// small reads; nothing is loaded and nobody is asked.
import { createHash } from 'node:crypto'
import { fstatSync, openSync, readSync } from 'node:fs'

export class BreachedPasswordsUnusable extends Error {
  override name = 'BreachedPasswordsUnusable'
}

export type BreachedPasswords = Readonly<{ has(password: string): boolean }>

/** SHA-1 is what such lists hold; nothing here relies on it. Shortened hashes do as well: 16 digits leave one accident in a
 *  thousand passwords for a list of as many entries as there are people. */
const line = /^([0-9a-f]{16,40})(?::\d{1,12})?\r?$/i
const longestLine = 64
const windowSize = 4_096

/** @param path BREACHED_PASSWORDS_FILE. It stays open: a newer file is used from the next start on.
 *  @throws BreachedPasswordsUnusable, for the operator */
export function openBreachedPasswords(path: string): BreachedPasswords {
  const refuse = (problem: string, cause?: unknown): never => {
    throw new BreachedPasswordsUnusable(`BREACHED_PASSWORDS_FILE ${problem}: ${path}`, { cause })
  }
  let file = -1
  let size = 0
  try {
    file = openSync(path, 'r')
    const status = fstatSync(file)
    if (!status.isFile()) refuse('is not a file')
    size = status.size
  } catch (error) {
    if (error instanceof BreachedPasswordsUnusable) throw error
    refuse('cannot be read', error)
  }

  const read = (from: number, length: number): string => {
    const buffer = Buffer.alloc(Math.min(length, size - from))
    for (let done = 0; done < buffer.length; ) {
      const count = readSync(file, buffer, done, buffer.length - done, from + done)
      if (count === 0) throw new Error(`${path} became shorter while it was read`)
      done += count
    }
    return buffer.toString('latin1')
  }

  const first = line.exec(read(0, longestLine).split('\n')[0] ?? '')?.[1]
  const last = line.exec(
    read(Math.max(0, size - longestLine), longestLine)
      .trimEnd()
      .split('\n')
      .at(-1) ?? '',
  )?.[1]
  if (!first || !last) refuse('does not hold one SHA-1 (16 to 40 hexadecimal digits) a line')
  else if (first.toUpperCase() > last.toUpperCase()) refuse('is not sorted by hash')

  return Object.freeze({
    has(password) {
      const sought = createHash('sha1').update(password, 'utf8').digest('hex').toUpperCase()
      const compare = (hash: string): number => {
        const own = sought.slice(0, hash.length)
        return own < hash ? -1 : own > hash ? 1 : 0
      }
      // A line that begins before `from` is less than what is sought, one that begins at `to` or later is more.
      let from = 0
      let to = size
      while (to - from > windowSize) {
        const middle = Math.floor((from + to) / 2)
        const text = read(middle, 2 * longestLine)
        const begins = text.indexOf('\n') + 1
        const hash = (/^[0-9a-f]+/i.exec(text.slice(begins))?.[0] ?? '').toUpperCase()
        if (begins === 0 || hash === '') throw new Error(`${path} has a line that is no hash`)
        if (compare(hash) < 0) to = middle + begins
        else from = middle + begins
      }
      return read(from, to - from + longestLine)
        .split('\n')
        .some((entry) => {
          const hash = line.exec(entry)?.[1]
          return hash !== undefined && compare(hash.toUpperCase()) === 0
        })
    },
  } satisfies BreachedPasswords)
}
