// Files that a declarative file names. They lie beside it, in its folder or below, and are read when it is applied; nothing else of the
// machine can be named.
import { closeSync, constants, fstatSync, openSync, readSync, realpathSync } from 'node:fs'
import { isAbsolute, join, sep } from 'node:path'
import type { Flaw } from '#src/refusal.ts'

/** What can be said without looking at the disk. */
export function checkBeside(field: string, path: string): Flaw[] {
  const parts = path.split(/[/\\]/)
  if (path === '' || path.includes('\0') || /^[a-z][a-z0-9+.-]*:/i.test(path))
    return [{ field, problem: 'is not the path of a file', fix: 'Write one that begins here, such as ./name.' }]
  if (isAbsolute(path) || parts[0] === '' || parts.includes('..')) return [leadsOut(field)]
  return []
}

/** Call it on a path that was checked. @param folder where the declarative file lies.
 *  @returns at most one byte more than `mostBytes`, by which whoever asked sees that it is too large. */
export function readBeside(
  field: string,
  { folder, path, mostBytes }: { folder: string; path: string; mostBytes: number },
): { bytes: Buffer } | { flaws: Flaw[] } {
  try {
    // Links are followed (a mounted folder may consist of them), but not out of the folder.
    const home = realpathSync(folder)
    const target = realpathSync(join(home, path))
    if (!target.startsWith(home.endsWith(sep) ? home : home + sep)) return { flaws: [leadsOut(field)] }
    return { bytes: readAtMost(target, mostBytes) }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown reason'
    return { flaws: [{ field, problem: `cannot be read (${code})`, fix: 'Put the file beside this one.' }] }
  }
}

/** One byte more than may be is enough to see that it is too many; a pipe or a device is not waited for. */
export function readAtMost(path: string, mostBytes: number): Buffer {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    if (!fstatSync(file).isFile()) throw Object.assign(new Error('not a file'), { code: 'not a file' })
    const buffer = Buffer.alloc(mostBytes + 1)
    let length = 0
    for (;;) {
      const read = readSync(file, buffer, length, buffer.length - length, null)
      length += read
      if (read === 0 || length === buffer.length) return buffer.subarray(0, length)
    }
  } finally {
    closeSync(file)
  }
}

function leadsOut(field: string): Flaw {
  return { field, problem: 'leads out of the folder of this file', fix: 'Put it beside this file, or below.' }
}
