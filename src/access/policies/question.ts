// One question in Cedar's words. Everything in it may be hostile: names that came in a URL, attributes that somebody typed, what a caller
// says about an object. Two rules keep that from opening a door:
//   what names somebody or something must be whole, or nothing is asked at all;
//   a value that Cedar cannot hold (a float, a number beyond 2^53, half a character) or that is far too large is there, equals nothing and
//   cannot be compared, so that a policy that looks at it errs: a permit then does not count, a forbid then holds.
// null counts as not there.
import { isIP } from 'node:net'
import type { CedarValueJson, EntityJson, TypeAndId } from '@cedar-policy/cedar-wasm/nodejs'
import { cedarType, type PolicySchema, undeclared, type ValueType } from './schema.ts'

type Named = Readonly<{ type: string; id: string }>

export type Principal = Readonly<{
  kind: 'user' | 'client'
  id: string
  /** As the operator stored them. */
  attributes?: Readonly<Record<string, unknown>> | undefined
  emailVerified?: boolean | undefined
  roles?: readonly string[] | undefined
  /** All of them: groups within groups included. */
  groups?: readonly string[] | undefined
}>

export type PolicyResource = Named &
  Readonly<{
    /** Who or what has which relation to it, as stored. */
    relations?: Readonly<Record<string, readonly Named[]>> | undefined
    /** All of them: parents of parents included. */
    parents?: readonly Named[] | undefined
    /** What the caller says about it. */
    properties?: Readonly<Record<string, unknown>> | undefined
  }>

export type PolicyContext = Readonly<{
  now: Date
  /** Whoever asked, as http/host.ts pinned it. */
  address?: string | undefined
  acr?: string | undefined
  amr?: readonly string[] | undefined
  /** Seconds since the person signed in. */
  authAge?: number | undefined
  /** oauth | api_key | basic | session */
  credential?: string | undefined
  /** What the caller says about the request. */
  properties?: Readonly<Record<string, unknown>> | undefined
  /** What the caller says about the subject. */
  subjectProperties?: Readonly<Record<string, unknown>> | undefined
  /** What the caller says about the action. */
  actionProperties?: Readonly<Record<string, unknown>> | undefined
}>

export type PolicyQuestion = Readonly<{
  principal: Principal
  action: string
  resource: PolicyResource
  context: PolicyContext
}>

export type CedarQuestion = Readonly<{
  principal: TypeAndId
  action: TypeAndId
  resource: TypeAndId
  context: Record<string, CedarValueJson>
  entities: EntityJson[]
}>

class Unaskable extends Error {
  override name = 'Unaskable'
}

const longestId = 1024
const mostNames = 10_000
const longestText = 8192
const mostElements = 1000

/** @throws Unaskable, in words for a receipt */
export function toCedarQuestion(question: PolicyQuestion, schema: PolicySchema): CedarQuestion {
  const { principal: who, resource: what } = question
  if (who.kind !== 'user' && who.kind !== 'client') throw new Unaskable('the subject is neither a user nor a client')
  const principal = entity({ type: who.kind, id: who.id }, schema)
  const resource = entity(what, schema)
  const entities = new Map<string, EntityJson>()
  // The object may be the person: one entity then, that is both.
  const add = (uid: TypeAndId, attrs: EntityJson['attrs'], parents: TypeAndId[]) => {
    const key = entityKey(uid)
    const before = entities.get(key)
    const all = [...((before?.parents ?? []) as TypeAndId[]), ...parents].filter((parent) => entityKey(parent) !== key)
    entities.set(key, { uid, attrs: { ...before?.attrs, ...attrs }, parents: all })
  }
  add(
    principal,
    who.kind === 'user'
      ? {
          attributes: value(who.attributes ?? {}, schema.attributes) ?? {},
          email_verified: who.emailVerified === true,
        }
      : {},
    [...names('Role', who.roles), ...names('Group', who.groups)],
  )
  if (schema.objects.has(who.kind)) add(principal, objectAttributes({ type: who.kind, id: who.id }, schema), [])
  add(
    resource,
    objectAttributes(what, schema),
    bounded(what.parents ?? []).map((parent) => entity(parent, schema)),
  )
  return {
    principal,
    action: { type: 'Action', id: checkId(question.action) },
    resource,
    context: toContext(question.context, schema),
    entities: [...entities.values()],
  }
}

/** No type has a colon in its name. */
export const entityKey = ({ type, id }: TypeAndId): string => `${type}::${id}`

function entity({ type, id }: Named, { objects }: PolicySchema): TypeAndId {
  const own = type === 'user' || type === 'client' || type === 'group' || type === 'role'
  const named = own || objects.has(type) ? cedarType(type) : undefined
  return named ? { type: named, id: checkId(id) } : { type: undeclared, id: checkId(`${type}:${checkId(id)}`) }
}

function names(type: string, ids: readonly string[] = []): TypeAndId[] {
  return bounded(ids).map((id) => ({ type, id: checkId(id) }))
}

function objectAttributes({ type, relations = {}, properties = {} }: PolicyResource, schema: PolicySchema) {
  const object = schema.objects.get(type)
  if (!object) return {}
  const related = object.relations.map((relation) => {
    const who = Object.hasOwn(relations, relation) ? (relations[relation] ?? []) : []
    return [relation, bounded(who).map((one) => ({ __entity: entity(one, schema) }))] as const
  })
  return { ...Object.fromEntries(related), properties: value(properties, object.properties) ?? {} }
}

function toContext(context: PolicyContext, { said }: PolicySchema): Record<string, CedarValueJson> {
  const { now, address, acr, amr = [], authAge, credential } = context
  const { properties = {}, subjectProperties = {}, actionProperties = {} } = context
  if (Number.isNaN(now.getTime())) throw new Unaskable('the time is not a time')
  const from = address === undefined ? undefined : toIp(address)
  const age = authAge === undefined ? undefined : value(Math.floor(authAge), { kind: 'Long' })
  return {
    now: { __extn: { fn: 'datetime', arg: now.toISOString() } },
    hour: now.getUTCHours(),
    weekday: now.getUTCDay() || 7,
    amr: value(amr, { kind: 'Set', element: { kind: 'String' } }) ?? [],
    properties: value(properties, said.context) ?? {},
    subject_properties: value(subjectProperties, said.subject) ?? {},
    action_properties: value(actionProperties, said.action) ?? {},
    ...(from === undefined ? {} : { address: from }),
    ...(acr === undefined ? {} : { acr: value(acr, { kind: 'String' }) ?? unusable }),
    ...(age === undefined ? {} : { auth_age: age }),
    ...(credential === undefined ? {} : { credential: value(credential, { kind: 'String' }) ?? unusable }),
  }
}

function checkId(id: unknown): string {
  if (typeof id !== 'string' || id === '' || id.length > longestId || !id.isWellFormed())
    throw new Unaskable('a name in the question is empty, too long or half a character')
  return id
}

function bounded<T>(list: readonly T[]): readonly T[] {
  if (!Array.isArray(list) || list.length > mostNames) throw new Unaskable('a list in the question is too long')
  return list
}

/** Equal to nothing that a policy can write, and an error wherever it is compared, searched or opened. */
const unusable: CedarValueJson = Object.freeze({ 'a value that Cedar cannot hold': true })

/** @returns undefined for what is not there. A value of another type than the declared one stays what it is: policies that look at it err. */
function value(given: unknown, type: ValueType): CedarValueJson | undefined {
  if (given === null || given === undefined) return undefined
  switch (type.kind) {
    case 'Set':
      if (!Array.isArray(given) || given.length > mostElements) return plain(given)
      return given.map((element) => value(element, type.element) ?? unusable)
    case 'Record': {
      if (typeof given !== 'object' || Array.isArray(given)) return plain(given)
      const own = type.attributes.flatMap(([name, inner]) => {
        // hasOwn: `constructor` and `__proto__` are names like any other.
        const held = Object.hasOwn(given, name) ? value((given as Record<string, unknown>)[name], inner) : undefined
        return held === undefined ? [] : [[name, held] as const]
      })
      return Object.fromEntries(own)
    }
    case 'ipaddr':
      return (typeof given === 'string' ? toIp(given) : undefined) ?? plain(given)
    case 'decimal':
      return toDecimal(given) ?? plain(given)
    case 'datetime':
      return toDatetime(given) ?? plain(given)
    case 'duration':
      return toDuration(given) ?? plain(given)
    default:
      return plain(given)
  }
}

function plain(given: unknown): CedarValueJson {
  if (typeof given === 'boolean') return given
  if (typeof given === 'string') return given.length <= longestText && given.isWellFormed() ? given : unusable
  // Beyond 2^53 JSON has lost what was written: it may be another number.
  return typeof given === 'number' && Number.isSafeInteger(given) ? given : unusable
}

function toIp(given: string): CedarValueJson | undefined {
  const [address = '', prefix, more] = given.split('/')
  if (more !== undefined || (prefix !== undefined && !/^(0|[1-9]\d{0,2})$/.test(prefix))) return undefined
  // The same host as seen by a socket that listens on both families.
  const plainAddress = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1] ?? address
  const family = plainAddress.includes('%') ? 0 : isIP(plainAddress)
  if (family === 0 || (family === 6 && plainAddress.includes('.'))) return undefined
  if (prefix !== undefined && (plainAddress !== address || Number(prefix) > (family === 4 ? 32 : 128))) return undefined
  return { __extn: { fn: 'ip', arg: prefix === undefined ? plainAddress : `${plainAddress}/${prefix}` } }
}

function toDecimal(given: unknown): CedarValueJson | undefined {
  const text = typeof given === 'number' && Number.isInteger(given) ? `${given}.0` : String(given)
  if (typeof given !== 'number' && typeof given !== 'string') return undefined
  return /^-?\d{1,14}\.\d{1,4}$/.test(text) ? { __extn: { fn: 'decimal', arg: text } } : undefined
}

function toDatetime(given: unknown): CedarValueJson | undefined {
  if (
    typeof given !== 'string' ||
    given.length > 40 ||
    !/^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d))?$/.test(given)
  )
    return undefined
  const at = new Date(given)
  if (Number.isNaN(at.getTime()) || !/^\d{4}-/.test(at.toISOString())) return undefined
  return { __extn: { fn: 'datetime', arg: at.toISOString() } }
}

function toDuration(given: unknown): CedarValueJson | undefined {
  if (typeof given !== 'string' || !/^-?(?=\d)(\d{1,7}d)?(\d{1,9}h)?(\d{1,9}m)?(\d{1,9}s)?(\d{1,9}ms)?$/.test(given))
    return undefined
  return { __extn: { fn: 'duration', arg: given } }
}
