// What policies of an API may speak of. Cedar's schema is made from three things: the API's scopes and objects, what every question brings
// (the context below), and what the operator declares: which attributes of people the API relies on, what its callers say about an object or
// a request. Only what is declared reaches Cedar: a policy cannot name anything else, so nothing else is worth carrying there.
import type { SchemaJson, Type, TypeOfAttribute } from '@cedar-policy/cedar-wasm/nodejs'
import { LRUCache } from 'lru-cache'
import { type Flaw, quote } from '#src/refusal.ts'
import { withCedar } from './cedar-runtime.ts'
import { checkCedarText, toFlaw } from './text.ts'

/** Records are Cedar's own: `{ department: String, plan?: String }`. What has no `?` is relied on: where somebody lacks it, a permit that
 *  looks at it does not count and a forbid that looks at it holds. */
export type PolicySchemaInput = Readonly<{
  /** `principal.attributes` of a User. */
  attributes?: string | undefined
  /** `context.properties`: what callers say about the request. */
  context?: string | undefined
  /** `context.subject_properties`: what callers say about the subject. Never mixed with what is known of it here. */
  subject?: string | undefined
  /** `context.action_properties`: what callers say about the action. */
  action?: string | undefined
  objects?: Readonly<Record<string, PolicyObjectInput>> | undefined
}>

type PolicyObjectInput = Readonly<{
  /** relation -> the type of whoever or whatever has it; `user` where the API's `objects` alone name it. */
  relations?: Readonly<Record<string, string>> | undefined
  /** `resource.properties`: what callers say about the object. */
  properties?: string | undefined
}>

/** The API as far as policies can see it. @param objects type -> relation -> actions that it is enough for. */
export type PolicyGround = Readonly<{
  actions: readonly string[]
  objects: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>>
  declared: PolicySchemaInput
}>

export type ValueType =
  | Readonly<{ kind: 'String' | 'Long' | 'Boolean' | 'ipaddr' | 'decimal' | 'datetime' | 'duration' }>
  | Readonly<{ kind: 'Set'; element: ValueType }>
  | RecordType
type RecordType = Readonly<{
  kind: 'Record'
  attributes: readonly (readonly [name: string, type: ValueType, required: boolean])[]
}>

/** What callers say, beside what they say about the object. */
type Said = Readonly<{ context: RecordType; subject: RecordType; action: RecordType }>

export type PolicySchema = Readonly<{
  attributes: RecordType
  said: Said
  objects: ReadonlyMap<string, Readonly<{ relations: readonly string[]; properties: RecordType }>>
  cedar: SchemaJson<string>
}>

/** Whatever type of object nothing declares: policies see that it is there, and nothing of it. */
export const undeclared = 'Resource'

const ownTypes: Readonly<Record<string, string>> = { user: 'User', client: 'Client', group: 'Group', role: 'Role' }
const reserved = ['if', 'then', 'else', 'in', 'like', 'has', 'is', 'true', 'false']
const name = /^[a-z][a-z0-9_]{0,63}$/
const extensions = ['ipaddr', 'decimal', 'datetime', 'duration'] as const

/** The Cedar type of an object's, or undefined where Cedar has no such name. */
export function cedarType(type: string): string | undefined {
  if (Object.hasOwn(ownTypes, type)) return ownTypes[type]
  return name.test(type) && !reserved.includes(type) ? type : undefined
}

/** @returns flaws, field by field, or the schema. @throws CedarFailure */
export function compilePolicySchema(ground: PolicyGround): { flaws: Flaw[] } | { schema: PolicySchema } {
  const { declared } = ground
  const flaws: Flaw[] = []
  const record = (field: string, text: string | undefined): RecordType => {
    const read = readRecord(field, text ?? '{}')
    if ('type' in read) return read.type
    flaws.push(...read.flaws)
    return { kind: 'Record', attributes: [] }
  }
  const attributes = record('attributes', declared.attributes)
  const said = {
    context: record('context', declared.context),
    subject: record('subject', declared.subject),
    action: record('action', declared.action),
  }
  flaws.push(...checkObjects(declared.objects ?? {}))
  if (flaws.length > 0) return { flaws }

  const relations = relationsOf(ground)
  const objects = new Map(
    [...relations].map(([type, related]) => {
      const properties = record(`objects.${type}.properties`, declared.objects?.[type]?.properties)
      return [type, { relations: [...related.keys()], properties, related }]
    }),
  )
  if (flaws.length > 0) return { flaws }
  return {
    schema: { attributes, said, objects, cedar: toCedarSchema(ground.actions, attributes, said, objects) },
  }
}

function checkObjects(objects: NonNullable<PolicySchemaInput['objects']>): Flaw[] {
  return Object.entries(objects).flatMap(([type, { relations = {} }]) => [
    ...(cedarType(type) === undefined ? [badName('objects', type)] : []),
    ...Object.entries(relations).flatMap(([relation, related]) => [
      ...(name.test(relation) && relation !== 'properties' ? [] : [badName(`objects.${type}.relations`, relation)]),
      ...(cedarType(related) === undefined ? [badName(`objects.${type}.relations.${relation}`, related)] : []),
    ]),
  ])
}

const badName = (field: string, value: string): Flaw => ({
  field,
  problem: `(${quote(value)}) cannot be a name in policies`,
  fix: 'Use 1 to 64 lower-case letters, digits and underscores, beginning with a letter, and no word of Cedar (in, is, if, has, like …).',
})

/** What is declared, and what the API's own objects name beside it: those were accepted elsewhere, so what Cedar cannot say is left out. */
function relationsOf({ objects, declared }: PolicyGround): Map<string, Map<string, string>> {
  const all = new Map<string, Map<string, string>>()
  const of = (type: string) => {
    const related = all.get(type) ?? new Map<string, string>()
    all.set(type, related)
    return related
  }
  for (const [type, relations] of Object.entries(objects)) {
    if (cedarType(type) === undefined) continue
    for (const relation of Object.keys(relations))
      if (name.test(relation) && relation !== 'properties') of(type).set(relation, 'user')
  }
  for (const [type, { relations = {} }] of Object.entries(declared.objects ?? {})) {
    const related = of(type)
    for (const [relation, to] of Object.entries(relations)) {
      related.set(relation, to)
      if (!Object.hasOwn(ownTypes, to)) of(to)
    }
  }
  return all
}

/** Cedar's syntax for a record type, read by Cedar. */
function readRecord(field: string, text: string): { flaws: Flaw[] } | { type: RecordType } {
  const flaws = checkCedarText(field, text)
  if (flaws.length > 0) return { flaws }
  const known = readBefore.get(text)
  if (known) return { type: known }
  const before = 'type Declared = '
  const whole = `${before}${text.trim()};`
  const answer = withCedar((cedar) => cedar.schemaToJsonWithResolvedTypes(whole))
  if (answer.type === 'failure')
    return { flaws: answer.errors.map((error) => toFlaw(field, error, whole, before.length)) }
  const { commonTypes = {}, entityTypes, actions } = answer.json[''] ?? { entityTypes: {}, actions: {} }
  const refuse = (problem: string) => ({
    flaws: [{ field, problem, fix: 'Write one record, such as { department: String, plan?: String }.' }],
  })
  const others = Object.keys(commonTypes).length + Object.keys(entityTypes).length + Object.keys(actions).length
  if (others !== 1 || Object.keys(answer.json).length !== 1) return refuse('is more than one record')
  const type = toValueType(commonTypes.Declared)
  if (typeof type === 'string') return refuse(type)
  if (type.kind !== 'Record') return refuse('is not a record')
  readBefore.set(text, type)
  return { type }
}

/** Every set of policies needs the records of its API, and sets are made again whenever the configuration changes. */
const readBefore = new LRUCache<string, RecordType>({ max: 500 })

/** @returns what is wrong, in words, or the type. */
function toValueType(given: unknown): ValueType | string {
  const { type, element, attributes, additionalAttributes } = given as {
    type?: string
    element?: unknown
    attributes?: Record<string, { required?: boolean }>
    additionalAttributes?: boolean
  }
  if (type === 'String' || type === 'Long') return { kind: type }
  if (type === 'Bool' || type === 'Boolean') return { kind: 'Boolean' }
  const extension = extensions.find((name) => name === type)
  if (extension) return { kind: extension }
  if (type === 'Set') {
    const inner = toValueType(element)
    return typeof inner === 'string' ? inner : { kind: 'Set', element: inner }
  }
  if (type !== 'Record' || additionalAttributes) return `has the type ${quote(String(type))}, which cannot be used here`
  const read: [string, ValueType, boolean][] = []
  for (const [name, inner] of Object.entries(attributes ?? {})) {
    // `__entity` and its like are how Cedar's JSON says that a value is something else.
    if (name.startsWith('__')) return `has the name ${quote(name)}, which means something else`
    const value = toValueType(inner)
    if (typeof value === 'string') return value
    read.push([name, value, inner.required !== false])
  }
  return { kind: 'Record', attributes: read }
}

function toCedarSchema(
  actions: readonly string[],
  attributes: RecordType,
  said: Said,
  objects: ReadonlyMap<string, { properties: RecordType; related: ReadonlyMap<string, string> }>,
): SchemaJson<string> {
  const types = [...objects.keys()].flatMap((type) => cedarType(type) ?? [])
  const resourceTypes = types.length > 0 ? types : [undeclared]
  const shapeOf = (type: string): Record<string, TypeOfAttribute<string>> => {
    const object = objects.get(type)
    if (!object) return {}
    const related = [...object.related].map(([relation, to]) => {
      const element = { type: 'Entity', name: cedarType(to) ?? undeclared } as const
      return [relation, { type: 'Set', element }] as const
    })
    return { ...Object.fromEntries(related), properties: toCedarType(object.properties) }
  }
  const entity = (type: string, memberOfTypes: string[], more: Record<string, TypeOfAttribute<string>> = {}) => ({
    memberOfTypes: [...new Set([...memberOfTypes, ...(objects.has(type) ? [undeclared, ...types] : [])])],
    shape: { type: 'Record' as const, attributes: { ...shapeOf(type), ...more } },
  })
  const entityTypes = Object.fromEntries<ReturnType<typeof entity>>([
    [undeclared, entity(undeclared, [undeclared])],
    ['Role', entity('role', [])],
    ['Group', entity('group', ['Group'])],
    [
      'User',
      entity('user', ['Role', 'Group'], { attributes: toCedarType(attributes), email_verified: { type: 'Boolean' } }),
    ],
    // Relations are sets of users, to the validator; clients have them as well. Without this line it would call
    // `principal in resource.owner` false for every client, and not look at what stands behind it.
    ['Client', entity('client', ['Role', 'Group', 'User'])],
    ...types.filter((type) => !Object.values(ownTypes).includes(type)).map((type) => [type, entity(type, [])] as const),
  ])
  const applies = {
    principalTypes: ['User', 'Client'],
    resourceTypes,
    context: toCedarContext(said),
  }
  return {
    '': {
      entityTypes,
      actions: Object.fromEntries(actions.map((action) => [action, { appliesTo: applies }])),
    },
  }
}

function toCedarContext({ context, subject, action }: Said): Type<string> {
  const optional = { required: false }
  return {
    type: 'Record',
    attributes: {
      now: { type: 'Extension', name: 'datetime' },
      // Of UTC; `context.now.offset(duration("1h"))` is another zone's.
      hour: { type: 'Long' },
      // 1 is Monday (ISO 8601).
      weekday: { type: 'Long' },
      address: { type: 'Extension', name: 'ipaddr', ...optional },
      acr: { type: 'String', ...optional },
      amr: { type: 'Set', element: { type: 'String' } },
      auth_age: { type: 'Long', ...optional },
      credential: { type: 'String', ...optional },
      properties: toCedarType(context),
      subject_properties: toCedarType(subject),
      action_properties: toCedarType(action),
    },
  }
}

function toCedarType(type: ValueType): Type<string> {
  switch (type.kind) {
    case 'Set':
      return { type: 'Set', element: toCedarType(type.element) }
    case 'Record':
      return {
        type: 'Record',
        attributes: Object.fromEntries(
          type.attributes.map(([name, inner, required]) => [name, { ...toCedarType(inner), required }]),
        ),
      }
    case 'String':
    case 'Long':
    case 'Boolean':
      return { type: type.kind }
    default:
      return { type: 'Extension', name: type.kind }
  }
}
