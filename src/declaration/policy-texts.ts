// Policies whose text lies in a file of its own, beside the declarative file: for editors that know Cedar, and for `cedar` itself.
import { isUtf8 } from 'node:buffer'
import { longestPolicy } from '#src/access/policies/text.ts'
import type { Flaw } from '#src/refusal.ts'
import { checkBeside, readBeside } from './beside.ts'
import { within } from './check.ts'
import { InvalidDeclaration } from './errors.ts'
import { withLines } from './lines.ts'
import type { WrittenDeclaration } from './schema.ts'

/** By what the file says: a path. */
export type PolicyTexts = ReadonlyMap<string, string>

/** @param folder where the file lies. @throws InvalidDeclaration */
export function readPolicyTexts(declaration: WrittenDeclaration, folder: string): PolicyTexts {
  const { policies = [] } = declaration
  const texts = new Map<string, string>()
  const flaws = policies.flatMap(({ file }, index): Flaw[] => {
    if (file === undefined || texts.has(file)) return []
    const misplaced = checkBeside('file', file)
    if (misplaced.length > 0) return within(`policies[${index}]`, misplaced)
    const read = readBeside('file', { folder, path: file, mostBytes: 4 * longestPolicy })
    if ('flaws' in read) return within(`policies[${index}]`, read.flaws)
    if (!isUtf8(read.bytes))
      return within(`policies[${index}]`, [{ field: 'file', problem: 'is not text in UTF-8', fix: 'Save it as such.' }])
    texts.set(file, read.bytes.toString('utf8'))
    return []
  })
  if (flaws.length > 0) throw new InvalidDeclaration(withLines(declaration, flaws))
  return texts
}
