// Which policies of many may concern a question, by what they name between `permit (` and `)`. Cedar looks again, so one too many is only
// slower; one too few would be a hole. Found by three steps: the subject or what it is in, the action, the object or what it is in.
import type { EntityJson, PolicyJson, TypeAndId } from '@cedar-policy/cedar-wasm/nodejs'
import { type CedarQuestion, entityKey } from './question.ts'

/** For each of the three, the keys under which a policy is found. */
export type PolicyScope = Readonly<{ principal: string; actions: readonly string[]; resource: string }>

export type PolicyIndex = Readonly<{
  /** Positions, ascending. */
  concerned(question: CedarQuestion): number[]
}>

const anything = '*'
const typeKey = (type: string): string => `is ${type}`

export function readScope({
  principal,
  action,
  resource,
}: Pick<PolicyJson, 'principal' | 'action' | 'resource'>): PolicyScope {
  return { principal: keyOf(principal), actions: actionKeys(action), resource: keyOf(resource) }
}

function keyOf(constraint: PolicyJson['principal']): string {
  switch (constraint.op) {
    case 'All':
      return anything
    case 'is':
      return constraint.in ? inKey(constraint.in) : typeKey(constraint.entity_type)
    default:
      return inKey(constraint)
  }
}

/** Templates, which have a slot in place of an entity, are not kept here. */
function inKey(constraint: { entity: EntityJson['uid'] } | { slot: string }): string {
  return 'entity' in constraint ? entityKey(plainEntity(constraint.entity)) : anything
}

function actionKeys(constraint: PolicyJson['action']): string[] {
  if (constraint.op === 'All') return [anything]
  if ('entities' in constraint) return [...new Set(constraint.entities.map((entity) => entityKey(plainEntity(entity))))]
  return 'entity' in constraint ? [entityKey(plainEntity(constraint.entity))] : [anything]
}

export const plainEntity = (entity: EntityJson['uid']): TypeAndId => ('__entity' in entity ? entity.__entity : entity)

export function createPolicyIndex(policies: readonly { scope: PolicyScope }[]): PolicyIndex {
  const byPrincipal = new Map<string, Map<string, Map<string, number[]>>>()
  for (const [at, { scope }] of policies.entries())
    for (const action of scope.actions) {
      const byAction = step(byPrincipal, scope.principal, () => new Map<string, Map<string, number[]>>())
      const byResource = step(byAction, action, () => new Map<string, number[]>())
      step(byResource, scope.resource, () => []).push(at)
    }

  return {
    concerned({ principal, action, resource, entities }) {
      const above = new Map(entities.map(({ uid, parents }) => [entityKey(plainEntity(uid)), parents.map(plainEntity)]))
      const principals = keysOf(principal, above)
      const actions = [anything, entityKey(action)]
      const resources = keysOf(resource, above)
      const found: number[] = []
      for (const who of principals) {
        const byAction = byPrincipal.get(who)
        if (!byAction) continue
        for (const what of actions) {
          const byResource = byAction.get(what)
          if (!byResource) continue
          for (const which of resources) found.push(...(byResource.get(which) ?? []))
        }
      }
      return found.sort((a, b) => a - b)
    },
  }
}

/** Everything a policy may name it by: itself, its type, whatever it is in, directly or not. */
function keysOf(entity: TypeAndId, above: ReadonlyMap<string, readonly TypeAndId[]>): Set<string> {
  const keys = new Set([anything, typeKey(entity.type)])
  const waiting = [entityKey(entity)]
  for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) {
    if (keys.has(key)) continue
    keys.add(key)
    waiting.push(...(above.get(key) ?? []).map(entityKey))
  }
  return keys
}

function step<Value>(map: Map<string, Value>, key: string, make: () => Value): Value {
  let value = map.get(key)
  if (value === undefined) {
    value = make()
    map.set(key, value)
  }
  return value
}
