// What a policy, or a type that policies speak of, may look like before Cedar reads it, and what Cedar finds wrong with it, in our words.
import type { DetailedError } from '@cedar-policy/cedar-wasm/nodejs'
import { type Flaw, quote } from '#src/refusal.ts'

/** Characters. */
export const longestPolicy = 10_000

/** Cedar's parser and validator recurse by what is nested or chained, on a stack of fixed size: at about twice these numbers they trap. */
const limits = { brackets: 40, conditionals: 40, arithmetic: 80, dots: 150 }

/** @param field in the answer. */
export function checkCedarText(field: string, text: string): Flaw[] {
  if (text.trim() === '') return [{ field, problem: 'is empty', fix: 'Write one Cedar statement: permit or forbid.' }]
  if (text.length > longestPolicy)
    return [{ field, problem: `is longer than ${longestPolicy} characters`, fix: 'Divide it into several.' }]
  if (!text.isWellFormed() || /[\0\u2028\u2029\u202a-\u202e\u2066-\u2069]/.test(text))
    return [
      {
        field,
        problem: 'has characters that cannot be seen, or that turn the direction of the text',
        fix: 'Remove them: a policy must read as it works. In a string, write them as \\u{202e}.',
      },
    ]
  const code = text.replace(/"(?:\\[\s\S]|[^"\\])*"|\/\/[^\n]*/g, (part) => (part.startsWith('"') ? '""' : ''))
  const found: [keyof typeof limits, number, string][] = [
    ['brackets', deepest(code), 'nested brackets'],
    ['conditionals', count(code, /\bif\b/g), 'conditionals'],
    ['arithmetic', count(code, /[-+*]/g), 'arithmetic operators'],
    ['dots', count(code, /\./g), 'dots'],
  ]
  return found.flatMap(([limit, has, what]) =>
    has > limits[limit]
      ? [{ field, problem: `has ${has} ${what}`, fix: `Use at most ${limits[limit]}, or divide it into several.` }]
      : [],
  )
}

/** @param text what Cedar read. @param from where the author's part of it begins, bytes. */
export function toFlaw(field: string, error: DetailedError, text: string, from = 0): Flaw {
  const at = error.sourceLocations?.[0]
  const message = error.message
    .replace(
      /^failed to parse \S+(?: with id `[^`]*`)? from string: |^error parsing schema: |^for policy `[^`]*`, /g,
      '',
    )
    .replace(/^for policy `[^`]*`, /, '')
  const problem = `${at ? `at ${place(text, at.start, from)} ` : ''}is not accepted: ${message}`
  const fixes = [
    ...(error.help ? [capital(error.help.replace(/^for policy `[^`]*`, /, ''))] : []),
    ...(at?.label ? [capital(at.label)] : []),
    ...hints.flatMap(([pattern, hint]) => (pattern.test(message) ? [hint] : [])),
  ]
  const sentences = fixes.length > 0 ? fixes : ['Look at that place']
  return { field, problem, fix: sentences.map((part) => (part.endsWith('?') ? part : `${part}.`)).join(' ') }
}

/** What Cedar cannot know: how its words are reached from here. */
const hints: [RegExp, string][] = [
  [/unexpected token `(permit|forbid)`/, 'A policy here is one statement: make two of them'],
  [/on entity type `Client` not found/, 'Clients have no attributes: write `principal is User` where people are meant'],
  [
    /attribute `attributes\.[^`]*` on entity type `User` not found/,
    'Attributes are declared in the policy schema of the API',
  ],
  [/attribute `(?:\w+_)?properties\.[^`]*` .*not found/, 'Properties are declared in the policy schema of the API'],
  [
    /types Client and User are not compatible/,
    'Write `principal in …` in place of `….contains(principal)`, or `principal is User` in the scope',
  ],
  [/unrecognized entity type/, 'Types of objects are declared in the policy schema of the API, or in its `objects`'],
  [/unrecognized action/, 'Actions are the scopes of the API, and what its `objects` name'],
]

/** Offsets are bytes of UTF-8. */
function place(text: string, offset: number, from: number): string {
  const before = Buffer.from(text, 'utf8').subarray(from, Math.max(offset, from)).toString('utf8')
  const lines = before.split('\n')
  return `line ${lines.length}, column ${[...(lines.at(-1) ?? '')].length + 1}`
}

const capital = (text: string): string => text.replace(/^[a-z]/, (first) => first.toUpperCase()).replace(/\.$/, '')

const count = (text: string, pattern: RegExp): number => text.match(pattern)?.length ?? 0

function deepest(code: string): number {
  let depth = 0
  let most = 0
  for (const character of code) {
    if ('([{'.includes(character)) most = Math.max(most, ++depth)
    else if (')]}'.includes(character)) depth = Math.max(0, depth - 1)
  }
  return most
}

export function checkPolicyName(field: string, name: string): Flaw[] {
  if (/^[a-z0-9][a-z0-9._-]{0,127}$/.test(name)) return []
  return [
    {
      field,
      problem: `(${quote(name)}) cannot be the name of a policy`,
      fix: 'Use 1 to 128 lower-case letters, digits, dots, underscores and hyphens, beginning with a letter or digit.',
    },
  ]
}
