// What policies could look at when a decision was made, kept in its receipt so that a draft can be tried against it later (replay.ts). Roles,
// groups, relations and attributes are rows and are read again; here is what is gone with the request: what the caller said, and the sign-in.
// Only what the API's policies may speak of is kept, cut to a size, and nothing that looks like a key to something (docs/decisions/046).
// What is left out leaves its name, so that nobody decides again as if it had not been said.
import type { ActionQuestion, Credential, Subject } from '#src/access/decide.ts'
import type { Decision } from '#src/access/gates.ts'
import { compilePolicySchema, type PolicyGround, type PolicySchema, type ValueType } from './schema.ts'

export type DecisionFacts = Readonly<{
  /** Of the object, as the caller said. */
  properties?: Readonly<Record<string, unknown>>
  /** Of the request, as the caller said. */
  context?: Readonly<Record<string, unknown>>
  /** Of the subject and of the action, as the caller said. */
  subject?: Readonly<Record<string, unknown>>
  action?: Readonly<Record<string, unknown>>
  address?: string
  acr?: string
  amr?: readonly string[]
  /** Seconds since the sign-in. */
  authAge?: number
  /** Names of what was said and is not here, as `context.amount`; `*`: there may be any. */
  left?: readonly string[]
}>

const longestText = 256
const mostElements = 64
const mostNames = 32
const longestName = 64
/** Characters of JSON. */
const most = 4_096
/** Said to Sallyport, not to policies. */
const ownNames = ['audience', 'address']

/** Whether a policy could have made another decision of it: what stops before them stops whatever they say. */
export function asksPolicies({ gate }: Pick<Decision, 'gate'>): boolean {
  return gate === null || gate === 'role' || gate === 'policy' || gate === 'relation'
}

/** @param deps.groundOf what policies of the API may speak of, where that is declared. */
export function keepFacts(
  { groundOf, now }: { groundOf: (api: string) => PolicyGround | undefined; now: () => Date },
  { credential }: Subject,
  { api, object, context, address, subjectProperties = {}, actionProperties = {} }: ActionQuestion,
): DecisionFacts {
  const signIn = {
    ...(address === undefined || address.length > longestName || !isPlain(address) ? {} : { address }),
    ...(credential && signInOf(credential, now())),
  }
  const schema = schemaOf(groundOf(api.identifier))
  if (schema === null) return { ...signIn, left: ['*'] }
  const left = new Set<string>()
  const said = withoutOwn(context)
  const facts = {
    properties: cutRecord(object.properties ?? {}, schema?.objects.get(object.type)?.properties, 'properties', left),
    context: cutRecord(said, schema?.said.context, 'context', left),
    subject: cutRecord(subjectProperties, schema?.said.subject, 'subject', left),
    action: cutRecord(actionProperties, schema?.said.action, 'action', left),
  }
  const names = [...left]
  const tooMany =
    names.length > mostNames || names.some((name) => name.length > longestName || !isPlain(name) || looksSecret(name))
  const whole = { ...nonEmpty(facts), ...signIn, ...(names.length > 0 ? { left: tooMany ? ['*'] : names } : {}) }
  return JSON.stringify(whole).length <= most ? whole : { ...signIn, left: ['*'] }
}

function signInOf({ acrValues, amr, authenticatedAt }: Credential, now: Date): DecisionFacts {
  const acr = acrValues.at(-1)
  return {
    ...(acr === undefined ? {} : { acr }),
    ...(amr.length === 0 ? {} : { amr }),
    ...(authenticatedAt ? { authAge: Math.floor((now.getTime() - authenticatedAt.getTime()) / 1000) } : {}),
  }
}

/** The same question's credential, as far as policies and the gates behind them look at it. Its scopes are not kept: who came as far as the
 *  policies had the one that counts. */
export function credentialFrom(
  facts: DecisionFacts,
  { method, clientId, action, at }: { method: string | null; clientId: string | null; action: string; at: Date },
): Credential | undefined {
  if (method === null) return undefined
  return {
    method: method as Credential['method'],
    clientId: clientId ?? undefined,
    scopes: new Set([action]),
    acrValues: facts.acr === undefined ? [] : [facts.acr],
    amr: facts.amr ?? [],
    authenticatedAt: facts.authAge === undefined ? undefined : new Date(at.getTime() - facts.authAge * 1000),
    expiresAt: undefined,
  }
}

/** @returns names of what the caller said, policies may speak of today, and nobody kept. */
export function missingFacts({ left = [] }: DecisionFacts, type: string, schema: PolicySchema): string[] {
  if (left.length === 0) return []
  const spoken = new Set([
    '*',
    ...pathsOf('properties', schema.objects.get(type)?.properties),
    ...pathsOf('context', schema.said.context),
    ...pathsOf('subject', schema.said.subject),
    ...pathsOf('action', schema.said.action),
  ])
  return left.filter((name) => spoken.has(name))
}

function pathsOf(path: string, type: ValueType | undefined): string[] {
  if (type?.kind === 'Set') return pathsOf(path, type.element)
  if (type?.kind !== 'Record') return []
  return type.attributes.flatMap(([name, inner]) => [`${path}.${name}`, ...pathsOf(`${path}.${name}`, inner)])
}

/** A snapshot has one ground for each API, and every refusal asks for it. */
const compiled = new WeakMap<PolicyGround, PolicySchema | null>()

/** @returns undefined where nothing is declared, null where what is declared cannot be read. */
function schemaOf(ground: PolicyGround | undefined): PolicySchema | null | undefined {
  if (!ground) return undefined
  const known = compiled.get(ground)
  if (known !== undefined) return known
  const schema = compileOrNull(ground)
  compiled.set(ground, schema)
  return schema
}

/** A receipt is no reason to fail a decision. */
function compileOrNull(ground: PolicyGround): PolicySchema | null {
  try {
    const result = compilePolicySchema(ground)
    return 'schema' in result ? result.schema : null
  } catch {
    return null
  }
}

function cutRecord(
  given: Readonly<Record<string, unknown>>,
  type: ValueType | undefined,
  path: string,
  left: Set<string>,
): Record<string, unknown> {
  const declared = new Map(type?.kind === 'Record' ? type.attributes.map(([name, inner]) => [name, inner]) : [])
  const kept: [string, unknown][] = []
  for (const [name, value] of Object.entries(given)) {
    // Beyond what would be told there is nothing to find out.
    if (left.size > mostNames) break
    if (value === null || value === undefined) continue // to policies this is not there
    const inner = declared.get(name)
    const cut = inner && !namesSecret.test(name) ? cutValue(value, inner, `${path}.${name}`, left) : undefined
    if (cut === undefined) left.add(`${path}.${name}`)
    else kept.push([name, cut])
  }
  return Object.fromEntries(kept)
}

/** @returns undefined for what is not kept. What is of another type than the declared one is as unusable to policies when it is empty. */
function cutValue(value: unknown, type: ValueType, path: string, left: Set<string>): unknown {
  if (typeof value === 'string') return isPlain(value) && !looksSecret(value) ? value : undefined
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    if (type.kind !== 'Set') return []
    if (value.length > mostElements) return undefined
    const elements = value.map((element) => cutValue(element, type.element, path, left))
    return elements.includes(undefined) ? undefined : elements
  }
  return type.kind === 'Record' ? cutRecord(value as Record<string, unknown>, type, path, left) : {}
}

/** What a column of JSON can hold, and a line of text can show. */
const isPlain = (text: string): boolean => text.length <= longestText && text.isWellFormed() && !text.includes('\0')

const namesSecret = /pass(word|phrase|wd)|secret|token|credential|authorization|cookie|api_?key/i
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Tokens, keys, headers that carry them, and whatever else is long and without sense to a reader. */
function looksSecret(text: string): boolean {
  if (/^(bearer|basic|dpop)\s/i.test(text) || /^sp_[a-z]+_/.test(text) || text.includes('-----BEGIN ')) return true
  return /[A-Za-z0-9_+/=-]{32}/.test(text) && !uuid.test(text)
}

function withoutOwn(context: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(context).filter(([name]) => !ownNames.includes(name)))
}

function nonEmpty(facts: Record<string, Record<string, unknown>>): DecisionFacts {
  return Object.fromEntries(Object.entries(facts).filter(([, held]) => Object.keys(held).length > 0))
}
