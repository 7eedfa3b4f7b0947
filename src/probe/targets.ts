// The operations of a document as calls that can be made: what they ask, and what stands in their parameters.
import { isObject, type JsonObject, type OpenapiDocument, own, resolve, text } from '#src/openapi/document.ts'
import { type Operation, operationsOf } from '#src/openapi/operations.ts'
import { securityOf } from '#src/openapi/security.ts'
import { sentence } from '#src/refusal.ts'

export type Target = Readonly<{
  /** `GET /orders/{id}` */
  name: string
  method: string
  path: string
  anonymous: boolean
  scopes: readonly string[]
  /** Where a parameter of the path is an object: its name, and the segment before it. */
  parameters: readonly { name: string; segment: string; sample: string }[]
  /** Required ones of the query and header, filled with samples. */
  query: readonly (readonly [string, string])[]
  headers: readonly (readonly [string, string])[]
  body: string | undefined
  /** `owner@order:{id}`, as the document says it to gateways. */
  relation: { relation: string; type: string; parameter: string } | undefined
  /** Throw-away people have neither. */
  asksRole: boolean
  asksSignIn: boolean
}>

export type Note = { operation: string; note: string }

export const isSafe = ({ method }: Pick<Target, 'method'>): boolean => method === 'GET' || method === 'HEAD'

/** Safe ones first; what changes least before what changes most. */
const order = ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE', 'TRACE']

/** @returns a note for each operation that cannot be probed, because nobody knows what it asks. */
export function targetsOf(document: OpenapiDocument): { targets: Target[]; notes: Note[] } {
  const { operations, flaws } = operationsOf(document)
  const notes: Note[] = flaws.map((flaw) => ({ operation: '-', note: sentence(flaw) }))
  const targets = operations.flatMap((operation) => {
    const security = securityOf(document, operation)
    const name = nameOf(operation)
    if ('asked' in security) {
      const { asked } = security
      return [describe(document, operation, asked.anonymous ? undefined : asked.scopes)]
    }
    notes.push(...security.flaws.map((flaw) => ({ operation: name, note: `Not probed: ${sentence(flaw)}` })))
    return []
  })
  return { targets: targets.sort((a, b) => order.indexOf(a.method) - order.indexOf(b.method)), notes }
}

const nameOf = ({ method, path }: Operation): string => `${method} ${path}`

function describe(document: OpenapiDocument, operation: Operation, scopes: readonly string[] | undefined): Target {
  const { method, path } = operation
  const asks = (name: string) => Object.hasOwn(operation.operation, `x-sallyport-${name}`)
  const declared = parametersOf(document, operation)
  const required = (place: string) =>
    declared
      .filter((parameter) => parameter.in === place && parameter.required === true)
      .map((parameter) => [text(parameter.name) ?? '', sampleOf(document, parameter)] as const)
  const [, relation, type, parameter] =
    /^([a-z0-9_]+)@([a-z0-9_]+):\{(\w+)\}$/.exec(text(own(operation.operation, 'x-sallyport-relation')) ?? '') ?? []
  return {
    name: nameOf(operation),
    method,
    path,
    anonymous: scopes === undefined,
    scopes: scopes ?? [],
    parameters: [...path.matchAll(/(?:([^/{}]*)\/)?[^/{}]*\{([^{}]+)\}/g)].map(([, segment = '', name = '']) => {
      const known = declared.find((one) => one.in === 'path' && one.name === name)
      return { name, segment, sample: known ? sampleOf(document, known) : 'sallyport-probe' }
    }),
    query: required('query'),
    headers: required('header').filter(isSendable),
    body: bodyOf(document, operation.operation),
    relation: relation && type && parameter ? { relation, type, parameter } : undefined,
    asksRole: asks('roles'),
    asksSignIn: asks('acr-values') || asks('max-age'),
  }
}

/** OpenAPI 3.1, Parameter Object: the first three are not meant. The others are the probe's own; and what is no header would become several. */
const notSent =
  /^(accept|content-type|authorization|x-api-key|cookie|host|connection|content-length|transfer-encoding|user-agent|x-sallyport-.*)$/i

const isSendable = ([name, value]: readonly [string, string]): boolean =>
  /^[\w-]+$/.test(name) && !notSent.test(name) && /^[\x20-\x7e]*$/.test(value)

/** Those of the operation replace those of its path. */
function parametersOf(document: OpenapiDocument, { item, operation }: Operation): JsonObject[] {
  const found = new Map<string, JsonObject>()
  for (const part of [item, operation]) {
    const written = own(part, 'parameters')
    for (const one of Array.isArray(written) ? written : []) {
      const resolved = resolve(document, one)
      if ('value' in resolved) found.set(`${resolved.value.in} ${resolved.value.name}`, resolved.value)
    }
  }
  return [...found.values()]
}

/** What the document offers as an example, else something of the right kind that names nothing. */
function sampleOf(document: OpenapiDocument, parameter: JsonObject): string {
  const resolved = resolve(document, own(parameter, 'schema') ?? {})
  const schema = 'value' in resolved ? resolved.value : {}
  const offered = [
    exampleOf(document, parameter),
    exampleOf(document, schema),
    own(schema, 'default'),
    listed(own(schema, 'enum')),
  ]
  const found = offered.find((value) => ['string', 'number', 'boolean'].includes(typeof value))
  if (found !== undefined) return String(found)
  if (own(schema, 'format') === 'uuid') return '00000000-0000-4000-8000-000000000000'
  return ['integer', 'number'].includes(String(own(schema, 'type'))) ? '0' : 'sallyport-probe'
}

function bodyOf(document: OpenapiDocument, operation: JsonObject): string | undefined {
  const written = own(operation, 'requestBody')
  if (written === undefined) return undefined
  const body = resolve(document, written)
  const content = 'value' in body ? own(body.value, 'content') : undefined
  const media = isObject(content) ? own(content, 'application/json') : undefined
  if (!isObject(media)) return undefined
  const schema = resolve(document, own(media, 'schema') ?? {})
  const example = exampleOf(document, media) ?? ('value' in schema ? exampleOf(document, schema.value) : undefined)
  return JSON.stringify(example ?? {})
}

/** `example`, or the first of `examples`: a list in schemas, named in parameters and bodies. */
function exampleOf(document: OpenapiDocument, described: JsonObject): unknown {
  if (Object.hasOwn(described, 'example')) return described.example
  const several = own(described, 'examples')
  if (Array.isArray(several)) return several[0]
  const named = isObject(several) ? resolve(document, Object.values(several)[0]) : undefined
  return named && 'value' in named ? own(named.value, 'value') : undefined
}

const listed = (value: unknown): unknown => (Array.isArray(value) ? value[0] : undefined)
