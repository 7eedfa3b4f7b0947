// Secrets that a declarative file names instead of holding them: `clientSecret: ${NAME}` is a variable of the process that applies the file,
// `clientSecretFile: path` a file. That is so in the fields of this table and nowhere else; anywhere else `${` is text like any other.
//
// Whoever writes the file is not always whoever runs the server, so what can be named is small: no variable that the server reads itself,
// no file outside of the folder of the declarative file and SECRETS_DIR, and none that holds a secret of the server. What was read goes where a secret goes
// and into no message: flaws speak of the name (docs/decisions/053).
import { isUtf8 } from 'node:buffer'
import { realpathSync, statSync } from 'node:fs'
import { isAbsolute, join, sep } from 'node:path'
import { checkClientSecret } from '#src/clients/secrets.ts'
import { checkPassword } from '#src/factors/password-rules.ts'
import type { Flaw } from '#src/refusal.ts'
import { checkWebhookSecret } from '#src/webhooks/endpoints.ts'
import { readAtMost } from './beside.ts'
import { InvalidDeclaration } from './errors.ts'
import { withLines, withLinesOf } from './lines.ts'
import type { DeclaredClient, DeclaredUser, DeclaredWebhook, WrittenDeclaration } from './schema.ts'

/** What may be named: `namedSecrets` of the configuration. */
export type SecretSource = Readonly<{
  variable(name: string): { value: string | undefined } | 'ours'
  /** SECRETS_DIR. */
  directory: string
  /** Files and folders that hold secrets of the server. */
  ours: readonly string[]
}>

/** A field that holds a secret, and the one beside it that names its file. */
type Place<Entry> = {
  section: 'clients' | 'users' | 'webhooks'
  field: string
  /** What the room says about the value. */
  check(value: string, entry: Entry): Flaw[]
}

export const clientSecretPlace: Place<DeclaredClient> = {
  section: 'clients',
  field: 'clientSecret',
  check: (value) => checkClientSecret('clientSecret', value),
}
export const passwordPlace: Place<DeclaredUser> = {
  section: 'users',
  field: 'password',
  check: (value, { email, name }) => checkPassword(value, [email, name ?? '']),
}
export const webhookSecretPlace: Place<DeclaredWebhook> = {
  section: 'webhooks',
  field: 'secret',
  check: (value) => checkWebhookSecret('secret', value),
}
const places = [clientSecretPlace, passwordPlace, webhookSecretPlace] as unknown as readonly Place<Entry>[]

type Entry = Record<string, unknown>

const longestSecret = 4096

/** As it stands in the file: a value is judged, of a name only whether it is one. */
export function checkSecret<E extends object>(entry: E, { field, check }: Place<E>): Flaw[] {
  const { [field]: value, [`${field}File`]: file } = entry as Entry
  if (typeof file === 'string' && (file === '' || file.includes('\0')))
    return [{ field: `${field}File`, problem: 'is not the path of a file', fix: 'Write one such as ./name.' }]
  if (typeof value !== 'string' || variableIn(value) !== undefined) return []
  // A secret that is half a variable would be used as it is written, and everybody who sees the file would know it.
  if (value.includes('${'))
    return [
      {
        field,
        problem: 'has ${ in it, and is not a variable and nothing else',
        fix: `Write "\${NAME}" alone: letters, digits and _. A secret with \${ in it goes into a variable or into ${field}File.`,
      },
    ]
  return check(value, entry)
}

/** Whether what the file means depends on more than its text. */
export function namesSecrets(declaration: WrittenDeclaration): boolean {
  return named(declaration).length > 0
}

/** @param folder where the declarative file lies.
 *  @returns the same with the secrets in it. @throws InvalidDeclaration */
export function resolveSecrets<T extends WrittenDeclaration>(declaration: T, folder: string, source: SecretSource): T {
  const flaws: Flaw[] = []
  const resolved = structuredClone(declaration) as T & Record<string, Entry[]>
  for (const { place, index, path, name } of named(declaration)) {
    const { section, field, check } = place
    const entry = resolved[section]?.[index] as Entry
    const read =
      name === undefined ? readFile(String(entry[`${field}File`]), folder, source) : readVariable(name, source)
    const at = name === undefined ? `${path}File` : path
    if (typeof read === 'string') {
      flaws.push(
        ...check(read, entry).map(({ problem, fix }) => ({
          field: at,
          problem: `names ${name === undefined ? 'a file' : `the variable ${name}`}, whose content ${problem}`,
          fix,
        })),
      )
      delete entry[`${field}File`]
      entry[field] = read
    } else flaws.push({ ...read, field: at })
  }
  if (flaws.length > 0) throw new InvalidDeclaration(withLines(declaration, flaws))
  return withLinesOf(declaration, resolved)
}

/** What is compared has its secrets in it: a name that was not looked up must not become a secret. @throws InvalidDeclaration */
export function requireSecrets(declaration: WrittenDeclaration): void {
  const flaws = named(declaration).map(({ path, name }) => ({
    field: name === undefined ? `${path}File` : path,
    problem: `names a ${name === undefined ? 'file' : 'variable'}, and there are none here`,
    fix: 'Apply it with: sallyport apply --file FILE.',
  }))
  if (flaws.length > 0) throw new InvalidDeclaration(flaws)
}

/** Every secret that is named. `name`: of a variable; otherwise it is a file. */
function named(declaration: WrittenDeclaration) {
  return places.flatMap((place) =>
    ((declaration[place.section] ?? []) as Entry[]).flatMap((entry, index) => {
      const { [place.field]: value, [`${place.field}File`]: file } = entry
      const name = typeof value === 'string' ? variableIn(value) : undefined
      if (name === undefined && file === undefined) return []
      return [{ place, index, path: `${place.section}[${index}].${place.field}`, name }]
    }),
  )
}

const variableIn = (value: string): string | undefined => /^\$\{([A-Za-z_][A-Za-z0-9_]{0,255})\}$/.exec(value)?.[1]

type Said = Omit<Flaw, 'field'>

function readVariable(name: string, source: SecretSource): string | Said {
  const found = source.variable(name)
  if (found === 'ours')
    return {
      problem: `names the variable ${name}, which is the server's own`,
      fix: 'Give this secret a variable of its own.',
    }
  const { value } = found
  if (value === undefined)
    return {
      problem: `names the variable ${name}, which is not set`,
      fix: 'Set it for the process that applies this file.',
    }
  return oneLine(value, `the variable ${name}`)
}

function readFile(path: string, folder: string, { directory, ours }: SecretSource): string | Said {
  try {
    const target = realpathSync(isAbsolute(path) ? path : join(folder, path))
    // Links are followed (mounted secrets consist of them), but not out of the two folders.
    if (![folder, directory].some((place) => isWithin(target, place)))
      return {
        problem: 'is neither in the folder of this file or below, nor in SECRETS_DIR',
        fix: `Put it there, or set SECRETS_DIR to where your secrets lie.`,
      }
    if (ours.some((own) => isWithin(target, own) || isSame(target, own)))
      return { problem: "holds a secret of the server's own", fix: 'Give this secret a file of its own.' }
    const bytes = readAtMost(target, longestSecret)
    if (bytes.length > longestSecret)
      return { problem: 'is too long for a secret', fix: 'Name a file that holds it and nothing else.' }
    if (!isUtf8(bytes))
      return { problem: 'is not text in UTF-8', fix: 'Name a file that holds the secret and nothing else.' }
    return oneLine(bytes.toString('utf8'), 'a file')
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown reason'
    return {
      problem: `names a file that cannot be read (${code})`,
      fix: 'Put it there, readable for whoever applies this file.',
    }
  }
}

/** The line break that editors and `echo` leave at the end is no part of a secret; one inside is a sign of something else. */
function oneLine(text: string, what: string): string | Said {
  const value = text.replace(/\r?\n$/, '')
  if (value === '') return { problem: `names ${what}, which is empty`, fix: 'Put the secret in it.' }
  if (/[\r\n]/.test(value))
    return { problem: `names ${what}, which has more than one line`, fix: 'Put the secret in it, and nothing else.' }
  return value
}

/** Is it that file, or in that folder? */
function isWithin(target: string, place: string): boolean {
  const home = realpathOf(place)
  return home !== undefined && (target === home || target.startsWith(home.endsWith(sep) ? home : home + sep))
}

/** By another name (a hard link). */
function isSame(target: string, own: string): boolean {
  const [a, b] = [statSync(target), statSync(own, { throwIfNoEntry: false })]
  return b !== undefined && a.dev === b.dev && a.ino === b.ino
}

function realpathOf(path: string): string | undefined {
  try {
    return realpathSync(path)
  } catch {
    return undefined // not there: nothing lies in it
  }
}
