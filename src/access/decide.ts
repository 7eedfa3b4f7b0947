// The second door, gate by gate: scope, role, policy, relation, step-up. It is told who is there (the first door is oauth/identify.ts)
// and answers with the gate that stopped, why, and what would help. The rules are those of docs/decisions/033; nothing else in the
// house decides, so an answer is the same for a gateway, for AuthZEN and for our own endpoints.
//
//   requirements  every scope, one of the roles, the relation, the strength of the sign-in: all that is named must hold
//   action        scope of the credential; no policy forbids; and something grants it: a role, a policy, a relation
import { type ApiRecord, objectsOf } from '#src/apis/apis.ts'
import type { Database } from '#src/db/database.ts'
import { type Decision, permitted, type Refused, stopped } from './gates.ts'
import { type Holdings, holdingsOf } from './holdings.ts'
import { askPolicies } from './policies/ask.ts'
import type { PolicySet } from './policies/cedar.ts'
import { type EntityRef, holdsRelation, TooManyRelations } from './relations/relations.ts'

/** Whom the first door let in. */
export type Subject = Readonly<{
  /** user | client, or whatever type the relations of an API speak of. */
  kind: string
  id: string
  /** What was shown. A subject that is only named (AuthZEN) has none, and is not asked for scopes. */
  credential?: Credential | undefined
}>

export type Credential = Readonly<{
  method: 'oauth' | 'api_key' | 'basic' | 'session'
  /** Whom it was given to; of an API key its owner, if that is a client. */
  clientId: string | undefined
  scopes: ReadonlySet<string>
  /** The levels that the sign-in reached, so the values of `acr` that it satisfies. */
  acrValues: readonly string[]
  amr: readonly string[]
  /** When the person signed in. */
  authenticatedAt: Date | undefined
  /** When it ends, where it does. */
  expiresAt: Date | undefined
  /** Who is behind it, where the person is not: an administrator who acts as them. */
  impersonatorId?: string | undefined
  /** Of an API key: its limit of its own. */
  key?: { id: string; requestsPerMinute: number | null }
}>

export type Requirements = Readonly<{
  api: ApiRecord
  /** All of them. */
  scopes: readonly string[]
  /** One of them. */
  roles?: readonly string[]
  relation?: { relation: string; object: EntityRef } | undefined
  /** One of them (RFC 9470). */
  acrValues?: readonly string[]
  /** Seconds since the sign-in. */
  maxAge?: number | undefined
  /** Both are asked of people only: nobody signs in for a client. */
  spareClients?: boolean
}>

export type ActionQuestion = Readonly<{
  api: ApiRecord
  action: string
  object: EntityRef & { properties?: Readonly<Record<string, unknown>> }
  /** What the caller knows of the request, */
  context: Readonly<Record<string, unknown>>
  /** of the subject, */
  subjectProperties?: Readonly<Record<string, unknown>> | undefined
  /** and of the action. For policies. */
  actionProperties?: Readonly<Record<string, unknown>> | undefined
  /** Of whoever asked. */
  address?: string | undefined
}>

export type DecideDeps = Readonly<{
  database: Database
  now: () => Date
  /** Those in force. */
  policiesOf(apiIdentifier: string): PolicySet | undefined
}>

export async function decideRequirements(
  deps: DecideDeps,
  subject: Subject,
  requirements: Requirements,
): Promise<Decision> {
  const { api, scopes, roles = [], relation } = requirements
  const holdings = await holdingsOf(deps.database, subject, api.identifier)
  if (holdings.disabled) return stopped('subject_disabled')
  const scope = checkScopes(api, subject, holdings, scopes)
  if (scope) return scope
  if (roles.length > 0 && !roles.some((role) => holdings.roles.includes(role))) return stopped('lacks_role', roles)
  if (relation) {
    const related = await anyOf(deps, subject, [relation.relation], relation.object)
    const reason = related === 'too_many' ? 'too_many_relations' : 'ownership'
    if (related !== true) return stopped(reason, [relation.relation])
  }
  return checkSignIn(subject, requirements, deps.now()) ?? permitted()
}

export async function decideAction(deps: DecideDeps, subject: Subject, question: ActionQuestion): Promise<Decision> {
  const { api, action, object } = question
  const holdings = await holdingsOf(deps.database, subject, api.identifier)
  if (holdings.disabled) return stopped('subject_disabled')
  if (subject.credential) {
    const scope = checkScopes(api, subject, holdings, [action])
    if (scope) return scope
  }
  const relations = relationsFor(api, action, object.type)
  const [policy, related] = await Promise.all([
    askPolicies(deps, deps.policiesOf(api.identifier), { subject, holdings, question }),
    holdings.permissions.has(action) ? false : anyOf(deps, subject, relations, object),
  ])
  if (policy?.effect === 'forbid') return stopped('forbidden_by_policy', [], policy.policies)
  if (holdings.permissions.has(action) || related === true) return permitted()
  if (policy?.effect === 'permit') return permitted(policy.policies)
  if (related === 'too_many') return stopped('too_many_relations', relations)
  // What could have granted it says where the door stayed shut.
  if (relations.length > 0) return stopped('ownership', relations)
  return policy ? stopped('no_policy_permits') : stopped('lacks_role', [action])
}

/** What a person let a client do is bounded, at this moment, by what the person may do. */
export function effectiveScopes(
  api: ApiRecord,
  { kind, scopes: shown }: { kind: string; scopes: ReadonlySet<string> },
  holdings: Pick<Holdings, 'permissions'>,
): ReadonlySet<string> {
  if (kind !== 'user') return shown
  const byRole = new Set(api.scopes.filter((scope) => scope.byRole).map((scope) => scope.name))
  return new Set([...shown].filter((scope) => !byRole.has(scope) || holdings.permissions.has(scope)))
}

function checkScopes(
  api: ApiRecord,
  subject: Subject,
  holdings: Holdings,
  needed: readonly string[],
): Refused | undefined {
  const held = effectiveScopes(api, shownBy(subject), holdings)
  const missing = needed.filter((scope) => !held.has(scope))
  if (missing.length === 0) return undefined
  return missing.every((scope) => subject.credential?.scopes.has(scope))
    ? stopped('scope_not_held', missing)
    : stopped('insufficient_scope', needed)
}

function checkSignIn(
  { kind, credential }: Subject,
  { acrValues = [], maxAge, spareClients = false }: Requirements,
  now: Date,
): Refused | undefined {
  if (spareClients && kind === 'client') return undefined
  if (acrValues.length > 0 && !acrValues.some((acr) => credential?.acrValues.includes(acr)))
    return stopped('weak_login', acrValues)
  if (maxAge === undefined) return undefined
  const at = credential?.authenticatedAt
  if (at && now.getTime() - at.getTime() <= maxAge * 1000) return undefined
  return stopped('old_login', [String(maxAge)])
}

/** The relations of which one is enough for the action on objects of the type. */
export function relationsFor(api: ApiRecord, action: string, type: string): string[] {
  const objects = objectsOf(api)
  const relations = Object.hasOwn(objects, type) ? (objects[type] ?? {}) : {}
  return Object.keys(relations).filter((relation) => relations[relation]?.includes(action))
}

/** Directly, by a group, or on a parent. What would cost more than one question may is no yes. */
async function anyOf(
  { database }: DecideDeps,
  subject: Subject,
  relations: readonly string[],
  object: EntityRef,
): Promise<boolean | 'too_many'> {
  const held = async (relation: string) => {
    try {
      return await holdsRelation(database, refOf(subject), relation, object)
    } catch (error) {
      if (error instanceof TooManyRelations) return 'too_many'
      throw error
    }
  }
  const answers = await Promise.all(relations.map(held))
  return answers.includes(true) || (answers.includes('too_many') ? 'too_many' : false)
}

export const shownBy = ({ kind, credential }: Subject) => ({ kind, scopes: credential?.scopes ?? new Set<string>() })

const refOf = ({ kind, id }: Subject): EntityRef => ({ type: kind, id })
