// From text to a checked declaration. YAML is a large language: what a configuration file has no use for (aliases, tags, several
// documents) is refused, so that a file means what it looks like and its size bounds the work.
import { type Document, isNode, isScalar, LineCounter, parseDocument, visit } from 'yaml'
import { type Flaw, quote } from '#src/refusal.ts'
import { checkDeclaration } from './check.ts'
import { InvalidDeclaration } from './errors.ts'
import { rememberLines } from './lines.ts'
import { declarationSchema, type WrittenDeclaration } from './schema.ts'

const maxBytes = 1_048_576

type Path = readonly PropertyKey[]

/** @throws InvalidDeclaration with every flaw, each with its path and line. */
export function parseDeclaration(text: string): WrittenDeclaration {
  if (Buffer.byteLength(text) > maxBytes)
    throw new InvalidDeclaration([
      { field: 'file', problem: 'is larger than 1 MB', fix: 'Split it: apply takes one file after another.' },
    ])
  try {
    return readDeclaration(text)
  } catch (error) {
    // The parser calls itself for every level: a file of brackets ends in a stack overflow, which Node reports this way.
    if (error instanceof RangeError)
      throw new InvalidDeclaration([{ field: 'file', problem: 'is nested too deep', fix: 'Flatten it.' }])
    throw error
  }
}

function readDeclaration(text: string): WrittenDeclaration {
  const lines = new LineCounter()
  const document = readYaml(text, lines)
  const parsed = declarationSchema.safeParse(document.toJS() ?? {})
  const flaws = parsed.success ? checkDeclaration(parsed.data) : parsed.error.issues.flatMap(describeIssue)
  if (!parsed.success || flaws.length > 0) {
    const lineOf = lineFinder(document, lines)
    throw new InvalidDeclaration(flaws.map((flaw) => ({ ...flaw, field: `${flaw.field}${lineOf(flaw.field)}` })))
  }
  rememberLines(parsed.data, () => lineFinder(document, lines))
  return parsed.data
}

function readYaml(text: string, lines: LineCounter): Document.Parsed {
  const options = { uniqueKeys: true, version: '1.2', schema: 'core', merge: false } as const
  const document = parseDocument(text, { lineCounter: lines, ...options })
  const flaws: Flaw[] = [...document.errors, ...document.warnings].map((error) => ({
    field: `line ${error.linePos?.[0].line ?? '?'}`,
    problem: `is not YAML that can be used here: ${(error.message.split('\n')[0] ?? '').replace(/ at line \d+, column \d+:?$/, '')}`,
    fix: 'Correct it; indent with spaces, and quote text that has a colon or a hash in it.',
  }))
  if (flaws.length > 0) throw new InvalidDeclaration(flaws)
  const refuse = (node: unknown, problem: string, fix: string) =>
    flaws.push({ field: `line ${lineAt(node, lines) ?? '?'}`, problem, fix })
  visit(document, {
    Alias: (_, node) => {
      refuse(node, 'uses an alias', 'Write the value out: a file of aliases can grow without bound.')
      return visit.BREAK
    },
    Value: (_, node) => {
      if (node.tag) refuse(node, `has the tag ${quote(node.tag)}`, 'Remove it: values are read as what they look like.')
    },
    Pair: (_, { key }) => {
      if (isScalar(key) && typeof key.value === 'string' && key.value !== '__proto__') return
      const found = isScalar(key) ? quote(String(key.value)) : 'a list or an object'
      refuse(
        key,
        `has ${found} where a name belongs`,
        'Write a name, in quotation marks if it looks like something else.',
      )
    },
  })
  if (flaws.length > 0) throw new InvalidDeclaration(flaws)
  return document
}

/** @returns for a field such as `clients[2].redirectUris[0]` the text ` (line 14)`; the line of what surrounds it when the field
 *  itself is not in the file. */
function lineFinder(document: Document.Parsed, lines: LineCounter): (field: string) => string {
  const known = new Map<string, number | undefined>()
  const walk = (value: unknown, path: Path) => {
    if (path.length > 0) known.set(pathText(path), lineAt(document.getIn(path, true), lines))
    if (typeof value !== 'object' || value === null) return
    for (const [key, inner] of Object.entries(value)) walk(inner, [...path, Array.isArray(value) ? Number(key) : key])
  }
  walk(document.toJS(), [])
  return (field) => {
    for (let part = field; part !== ''; part = part.replace(/(\.[^.[\]]*|\[("[^"]*"|\d+)\]|^[^.[\]]*)$/, '')) {
      const line = known.get(part)
      if (line !== undefined) return ` (line ${line})`
      if (!/(\.[^.[\]]*|\[("[^"]*"|\d+)\])$/.test(part)) break
    }
    return ''
  }
}

function lineAt(node: unknown, lines: LineCounter): number | undefined {
  const start = isNode(node) ? node.range?.[0] : undefined
  return start === undefined ? undefined : lines.linePos(start).line
}

const kinds: Record<string, [problem: string, fix: string]> = {
  string: ['must be text', 'Put it in quotation marks.'],
  number: ['must be a number', 'Write it without quotation marks.'],
  boolean: ['must be true or false', 'Write it without quotation marks.'],
  array: ['must be a list', 'Begin each entry with a hyphen; [] is the empty list.'],
}

function describeIssue(issue: {
  code?: string | undefined
  path: Path
  message: string
  expected?: unknown
  keys?: readonly string[]
}): Flaw[] {
  const field = pathText(issue.path)
  if (issue.code === 'unrecognized_keys')
    return (issue.keys ?? []).map((key) => ({
      field: pathText([...issue.path, key]),
      problem: 'is not a name known here',
      fix: 'Check its spelling, or remove it.',
    }))
  if (issue.code !== 'invalid_type')
    return [
      { field, problem: 'has the wrong form', fix: 'Write it as the documentation of the declarative file shows.' },
    ]
  if (issue.message.endsWith('received undefined')) return [{ field, problem: 'is missing', fix: 'Add it.' }]
  const [problem, fix] = kinds[String(issue.expected)] ?? ['must be name: value pairs', 'Write one pair a line.']
  return [{ field, problem, fix }]
}

/** `clients[2].apis["https://api.example.com"][0]` */
function pathText(path: Path): string {
  const text = path.reduce<string>((before, part) => {
    if (typeof part === 'number') return `${before}[${part}]`
    const name = String(part)
    if (!/^[A-Za-z][A-Za-z0-9]*$/.test(name)) return `${before}[${quote(name)}]`
    return before === '' ? name : `${before}.${name}`
  }, '')
  return text || 'file'
}
