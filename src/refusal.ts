// How rooms say no. A flaw names the field and the fix; a refusal carries every flaw found. Nothing here knows of HTTP:
// the doors turn `kind` into their own words.

export type Flaw = Readonly<{
  /** Path inside the input: `redirectUris[0]`. */
  field: string
  /** Reads on from the field: "must not have a fragment". */
  problem: string
  /** A sentence that says what to do. */
  fix: string
}>

/** invalid: the input is wrong. missing: no such thing. taken: it exists already. in_use: others depend on it. changed: it is no longer what
 *  the author saw. */
export type RefusalKind = 'invalid' | 'missing' | 'taken' | 'in_use' | 'changed'

/** Rooms throw subclasses of this (ClientNotFound, InvalidApi, …). The message is fit for the person who sent the input. */
export class Refusal extends Error {
  readonly kind: RefusalKind
  readonly flaws: readonly Flaw[]
  constructor(kind: RefusalKind, flaws: readonly Flaw[]) {
    super(flaws.map(sentence).join('\n'))
    this.name = new.target.name
    this.kind = kind
    this.flaws = flaws
  }
  /** The first field at fault. */
  get field(): string {
    return this.flaws[0]?.field ?? ''
  }
}

export const sentence = ({ field, problem, fix }: Flaw): string => `${field} ${problem}. ${fix}`

/** For text that people read: names, descriptions. PostgreSQL refuses NUL, lone surrogates cannot be stored, and
 *  direction overrides (U+202A…, U+2066…) let one name look like another on a consent screen. */
export function checkText(field: string, value: string, max: number): Flaw[] {
  if (value.trim() === '') return [{ field, problem: 'is empty', fix: 'Write at least one visible character.' }]
  if (value.length > max)
    return [{ field, problem: `is longer than ${max} characters`, fix: 'Write something shorter.' }]
  if (!value.isWellFormed() || /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.test(value))
    return [{ field, problem: 'has control characters', fix: 'Write it on one line, with printable characters.' }]
  return []
}

export function checkOneOf(field: string, value: string, allowed: readonly string[]): Flaw[] {
  if (allowed.includes(value)) return []
  return [
    { field, problem: `is ${quote(value)}, which is not known here`, fix: `Write one of: ${allowed.join(', ')}.` },
  ]
}

export function checkWhole(field: string, value: number, min: number, max: number, why: string): Flaw[] {
  if (Number.isInteger(value) && value >= min && value <= max) return []
  return [{ field, problem: `must be a whole number from ${min} to ${max}`, fix: why }]
}

/** @returns a problem for each value that appears a second time. */
export function checkDistinct(field: string, values: readonly string[]): Flaw[] {
  return values.flatMap((value, index) =>
    values.indexOf(value) < index
      ? [{ field: `${field}[${index}]`, problem: `repeats ${quote(value)}`, fix: 'Remove one of the two.' }]
      : [],
  )
}

/** For a message: short, on one line, without anything a terminal would act on. */
export function quote(value: string): string {
  const plain = value.replace(/[^\x20-\x7e]/g, '?')
  return `"${plain.length > 80 ? `${plain.slice(0, 77)}...` : plain}"`
}
