// OpenAPI documents, 3.0 and 3.1: what an API says about itself. This room reads them; it fetches nothing, and knows no database. What is read
// out of a document is believed no further than it says: a word that is not understood is told, not passed over, for whoever wrote it meant
// something by it.
//
//   text -> document (here) -> operations, each with what it asks (operations.ts, security.ts) -> routes for gateways (routes.ts)
import { parseDocument } from 'yaml'
import { type Flaw, quote, Refusal } from '#src/refusal.ts'

export type JsonObject = Readonly<Record<string, unknown>>

/** @param place how messages call it: the name of its file. */
export type OpenapiDocument = Readonly<{ place: string; root: JsonObject }>

/** `field` of every flaw names the file and, where it is about one, the operation. */
export class InvalidOpenapi extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export const mostDocumentBytes = 1_048_576

/** More hops than any document needs, and an end to one that goes in circles. */
const mostHops = 16

/** @param bytes JSON or YAML. @param place see OpenapiDocument. */
export function readOpenapi(bytes: Buffer, place: string): { document: OpenapiDocument } | { flaws: Flaw[] } {
  const no = (problem: string, fix: string) => ({ flaws: [{ field: place, problem, fix }] })
  if (bytes.length > mostDocumentBytes)
    return no('is larger than 1 MB', 'Describe parts of the API in files of their own.')
  const read = readYaml(bytes.toString('utf8'))
  if ('problem' in read) return no(read.problem, 'Correct it; it must be JSON or YAML.')
  const root = read.value
  if (!isObject(root)) return no('is not an OpenAPI document', 'It begins with openapi: 3.1.0.')
  if (Object.hasOwn(root, 'swagger'))
    return no('is Swagger 2.0, which is not read here', 'Convert it to OpenAPI 3.0 or 3.1.')
  const version = text(own(root, 'openapi'))
  if (!/^3\.[01]\.\d+(-.+)?$/.test(version ?? ''))
    return no(
      version === undefined ? 'does not say openapi: and its version' : `is OpenAPI ${quote(version)}`,
      'Write it for OpenAPI 3.0 or 3.1, such as openapi: 3.1.0.',
    )
  if (!isObject(own(root, 'paths'))) return no('has no paths', 'Describe at least one operation.')
  return { document: Object.freeze({ place, root }) }
}

/** @returns what JSON or YAML says; a name that stands twice in one object is refused. */
export function readYaml(source: string): { value: unknown } | { problem: string } {
  try {
    const parsed = parseDocument(source, { uniqueKeys: true, version: '1.2', schema: 'core', merge: false })
    const [error] = [...parsed.errors, ...parsed.warnings]
    if (!error) return { value: parsed.toJS({ maxAliasCount: 100 }) as unknown }
    const line = error.linePos?.[0].line
    const says = (error.message.split('\n')[0] ?? '').replace(/ at line \d+, column \d+:?$/, '')
    return { problem: `cannot be read${line === undefined ? '' : ` at line ${line}`}: ${says}` }
  } catch (error) {
    // The parser calls itself for every level, and counts what aliases grow into: too much of either ends in one of these.
    if (error instanceof RangeError || error instanceof ReferenceError)
      return { problem: 'is nested too deep, or its aliases grow too large' }
    throw error
  }
}

/** Follows `$ref` within the document; a file or an address is never opened. @returns the object that is meant, or what is wrong. */
export function resolve(
  { root }: OpenapiDocument,
  value: unknown,
): { value: JsonObject } | { problem: string; fix: string } {
  let found = value
  for (let hop = 0; hop < mostHops; hop++) {
    if (!isObject(found)) return { problem: 'is not an object', fix: 'Write name: value pairs.' }
    if (!Object.hasOwn(found, '$ref')) return { value: found }
    const reference = text(found.$ref)
    if (!reference?.startsWith('#/'))
      return {
        problem: `refers to ${quote(String(reference))}, which is not in this document`,
        fix: 'Put it into this file (#/components/…): nothing else is opened.',
      }
    found = follow(root, reference)
    if (found === undefined)
      return { problem: `refers to ${quote(reference)}, which is not there`, fix: 'Correct the reference.' }
  }
  return { problem: 'refers to itself', fix: 'Break the circle.' }
}

/** RFC 6901, as the fragment of a URI. */
function follow(root: JsonObject, reference: string): unknown {
  let found: unknown = root
  for (const part of reference.slice(2).split('/')) {
    const name = segmentOf(part)
    if (name === undefined || typeof found !== 'object' || found === null || !Object.hasOwn(found, name))
      return undefined
    found = (found as JsonObject)[name]
  }
  return found
}

function segmentOf(part: string): string | undefined {
  try {
    return decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~')
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Of a document that strangers may have written: `constructor` is a name like any other. */
export const own = (object: JsonObject, name: string): unknown =>
  Object.hasOwn(object, name) ? object[name] : undefined

export const text = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)
