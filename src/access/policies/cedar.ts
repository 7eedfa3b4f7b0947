// Policies (ABAC) in Cedar: checked against the schema of their API before they are kept, evaluated from preparsed sets. No database here and
// no clock.
//   check: text -> what it may look like (text.ts) -> Cedar's parser and strict validator against schema.ts
//   evaluate: question -> Cedar's words (question.ts) -> which policies may concern it (candidate-index.ts) -> the set of those, preparsed
//   (cedar-runtime.ts) -> forbid beats permit, and an error in a forbid is a forbid
// Cedar looks at each policy of a set for each question, about 3 us a piece; the index keeps the sets small (docs/decisions/036).
import { hash } from 'node:crypto'
import type { CedarValueJson, DetailedError, EntityJson } from '@cedar-policy/cedar-wasm/nodejs'
import type { Flaw } from '#src/refusal.ts'
import { createPolicyIndex, type PolicyScope, plainEntity, readScope } from './candidate-index.ts'
import { CedarFailure, preparsed, withCedar } from './cedar-runtime.ts'
import { type CedarQuestion, entityKey, type PolicyQuestion, toCedarQuestion } from './question.ts'
import { compilePolicySchema, type PolicyGround, type PolicySchema } from './schema.ts'
import { checkCedarText, toFlaw } from './text.ts'

export type PolicyEffect = 'permit' | 'forbid'

/** A policy that was checked. */
export type KeptPolicy = Readonly<{ name: string; text: string; effect: PolicyEffect; scope: PolicyScope }>

export type PolicySet = Readonly<{
  size: number
  evaluate(question: PolicyQuestion): PolicyAnswer
}>

/** none: no policy speaks for or against it. `policies` are the names of those that decided. `errors` are for operators. */
export type PolicyAnswer = Readonly<{
  effect: PolicyEffect | 'none'
  policies: readonly string[]
  errors: readonly string[]
}>

const nothing: PolicyAnswer = Object.freeze({ effect: 'none', policies: [], errors: [] })

/** For many at once, because Cedar reads the schema each time. @returns flaws of those that do not hold up, by name. */
export function recheckPolicies(
  policies: readonly Readonly<{ name: string; text: string }>[],
  schema: PolicySchema,
): { flaws: Flaw[] } {
  const texts = new Map(policies.map(({ name, text }) => [name, text]))
  const answer = withCedar((cedar) =>
    cedar.validate({ schema: schema.cedar, policies: { staticPolicies: Object.fromEntries(texts) } }),
  )
  if (answer.type === 'failure') return { flaws: answer.errors.map((error) => toFlaw('policies', error, '')) }
  return {
    flaws: answer.validationErrors.map(({ policyId, error }) =>
      toFlaw(`policies.${policyId}`, error, texts.get(policyId) ?? ''),
    ),
  }
}

/** @param schema of compilePolicySchema. @returns what is wrong with it, or what is kept beside the text. */
export function checkPolicy(
  text: string,
  schema: PolicySchema,
  field = 'text',
): { flaws: Flaw[] } | { effect: PolicyEffect; scope: PolicyScope } {
  const flaws = checkCedarText(field, text)
  if (flaws.length > 0) return { flaws }
  const found = (errors: readonly DetailedError[]) => ({ flaws: errors.map((error) => toFlaw(field, error, text)) })
  try {
    return withCedar((cedar) => {
      const parsed = cedar.policyToJson(text)
      if (parsed.type === 'failure') return found(parsed.errors)
      const answer = cedar.validate({ schema: schema.cedar, policies: { staticPolicies: { policy: text } } })
      if (answer.type === 'failure') return found(answer.errors)
      if (answer.validationErrors.length > 0) return found(answer.validationErrors.map(({ error }) => error))
      // A forbid that can never hold protects nothing, and whoever wrote it believes that it does.
      if (answer.validationWarnings.some(({ error }) => /policy is impossible/.test(error.message)))
        return {
          flaws: [
            { field, problem: 'can never hold, whatever is asked', fix: 'Look for a condition that excludes itself.' },
          ],
        }
      return { effect: parsed.json.effect, scope: readScope(parsed.json) }
    })
  } catch (error) {
    if (!(error instanceof CedarFailure)) throw error
    return { flaws: [{ field, problem: 'is more than Cedar can read', fix: 'Divide it into several policies.' }] }
  }
}

/** Values that Cedar reads from text, a third of what a question costs. They are left out where no policy concerned has the word; one
 *  with an escape in it might have the word in disguise. */
const dear = ['now', 'address'] as const

/** Costs no engine: that is loaded by the first question that a policy may concern.
 *  @param policies of one API, enforced; names are unique. */
export function createPolicySet(policies: readonly KeptPolicy[], ground: PolicyGround): PolicySet {
  const index = createPolicyIndex(policies)
  const forbids = policies.some(({ effect }) => effect === 'forbid')
  const needs = policies.map(({ text }) => dear.filter((name) => text.includes(name) || text.includes('\\')))
  // What is preparsed once serves every set that says the same: configurations are read again after each change of anything.
  let identity: string | undefined
  let schema: PolicySchema | undefined

  return Object.freeze({
    size: policies.length,
    evaluate(question) {
      if (policies.length === 0) return nothing
      let concerned: readonly number[] | undefined
      try {
        schema ??= compile(ground)
        const asked = toCedarQuestion(question, schema)
        concerned = index.concerned(asked)
        if (concerned.length === 0) return nothing
        identity ??= hash('sha256', JSON.stringify(policies.map(({ name, text }) => [name, text])), 'base64url')
        return evaluate(asked, concerned, identity)
      } catch (error) {
        // Nobody knows what the policies would have said: where one of them may forbid, it does.
        const mayForbid = concerned ? concerned.some((at) => policies[at]?.effect === 'forbid') : forbids
        return { effect: mayForbid ? 'forbid' : 'none', policies: [], errors: [messageOf(error)] }
      }
    },
  })

  function evaluate(asked: CedarQuestion, concerned: readonly number[], identity: string): PolicyAnswer {
    const { name, literals } = preparsed(
      `${identity} ${concerned.join(' ')}`,
      () => Object.fromEntries(concerned.map((at) => [String(at), policies[at]?.text ?? ''])),
      concerned.length,
    )
    const { now, address, ...others } = asked.context
    const needed = (name: (typeof dear)[number]) => concerned.some((at) => needs[at]?.includes(name))
    const context = {
      ...others,
      ...(now !== undefined && needed('now') ? { now } : {}),
      ...(address !== undefined && needed('address') ? { address } : {}),
    }
    const entities = withoutUnspoken(asked, literals)
    const answer = withCedar((cedar) =>
      cedar.statefulIsAuthorized({ ...asked, context, entities, preparsedPolicySetId: name }),
    )
    if (answer.type === 'failure') throw new CedarFailure(answer.errors.map(({ message }) => message).join('; '))
    const { decision, diagnostics } = answer.response
    const policy = (id: string) => policies[Number(id)]
    const named = (ids: readonly string[]) => ids.flatMap((id) => policy(id)?.name ?? []).sort()
    const errors = diagnostics.errors.map(({ policyId, error }) => `${policy(policyId)?.name}: ${error.message}`).sort()
    // Cedar leaves a policy out that errs. Left out, a forbid would open the door that it was written to close.
    const failed = diagnostics.errors.map(({ policyId }) => policyId).filter((id) => policy(id)?.effect === 'forbid')
    const held = decision === 'deny' ? diagnostics.reason : []
    if (held.length + failed.length > 0) return { effect: 'forbid', policies: named([...held, ...failed]), errors }
    if (decision === 'allow') return { effect: 'permit', policies: named(diagnostics.reason), errors }
    return { effect: 'none', policies: [], errors }
  }
}

/** The subject's roles and groups that nothing here can ask for: no policy has their name, no relation names them. Each costs a few
 *  microseconds, and people are in hundreds. */
function withoutUnspoken(
  { principal, entities }: CedarQuestion,
  literals: ReadonlySet<string> | undefined,
): EntityJson[] {
  if (!literals) return entities
  const subject = entityKey(principal)
  // Relations are the only entities in attributes (question.ts).
  const named = new Set(
    entities.flatMap(({ uid, attrs }) => [
      entityKey(plainEntity(uid)),
      ...Object.values(attrs).flatMap((held) => (Array.isArray(held) ? held.flatMap(namedBy) : [])),
    ]),
  )
  return entities.map((entity) =>
    entityKey(plainEntity(entity.uid)) === subject
      ? {
          ...entity,
          parents: entity.parents.filter((parent) => {
            const plain = plainEntity(parent)
            return literals.has(plain.id) || named.has(entityKey(plain))
          }),
        }
      : entity,
  )
}

function namedBy(held: CedarValueJson): string[] {
  return typeof held === 'object' && held !== null && '__entity' in held
    ? [entityKey(plainEntity(held as EntityJson['uid']))]
    : []
}

export const evaluatePolicies = (set: PolicySet, question: PolicyQuestion): PolicyAnswer => set.evaluate(question)

function compile(ground: PolicyGround): PolicySchema {
  const compiled = compilePolicySchema(ground)
  if ('schema' in compiled) return compiled.schema
  throw new CedarFailure(`the policy schema cannot be used: ${compiled.flaws.map(({ problem }) => problem).join('; ')}`)
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return 'the policies could not be evaluated'
  const { cause } = error
  return cause instanceof Error ? `${error.message}: ${cause.message}` : error.message
}
