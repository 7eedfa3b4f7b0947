// Where something stands in the file, for what is found wrong with it only once the database was asked.
import type { Flaw } from '#src/refusal.ts'
import type { WrittenDeclaration } from './schema.ts'

type LineOf = (field: string) => string

const finders = new WeakMap<WrittenDeclaration, () => LineOf>()

export function rememberLines(declaration: WrittenDeclaration, finder: () => LineOf): void {
  finders.set(declaration, finder)
}

/** @returns `to`, which was made of `from` and is spoken of by its lines. */
export function withLinesOf<T extends WrittenDeclaration>(from: WrittenDeclaration, to: T): T {
  const finder = finders.get(from)
  if (finder) finders.set(to, finder)
  return to
}

/** @returns the flaws, each with its line where the declaration was read from a file. */
export function withLines(declaration: WrittenDeclaration, flaws: readonly Flaw[]): Flaw[] {
  const lineOf = finders.get(declaration)?.()
  // An operation of a document that the file names (routes.ts) has its place there, not here.
  const isElsewhere = (field: string) => field.includes(': ')
  return flaws.map((flaw) =>
    lineOf && !isElsewhere(flaw.field) ? { ...flaw, field: `${flaw.field}${lineOf(flaw.field)}` } : flaw,
  )
}
