// A question put to the policies of an API: with everything they may look at, read at this moment. Without a policy in force nothing is read.

import type { ActionQuestion, DecideDeps, Subject } from '#src/access/decide.ts'
import type { Holdings } from '#src/access/holdings.ts'
import { type EntityRef, groupsOf, type Relation, relationsOf } from '#src/access/relations/relations.ts'
import { evaluatePolicies, type PolicyAnswer, type PolicySet } from './cedar.ts'
import type { PolicyQuestion } from './question.ts'

/** @returns undefined where the API has no policy in force. */
export async function askPolicies(
  { database, now }: Pick<DecideDeps, 'database' | 'now'>,
  set: PolicySet | undefined,
  asked: { subject: Subject; holdings: Holdings; question: ActionQuestion },
): Promise<PolicyAnswer | undefined> {
  if (!set) return undefined
  const { subject, holdings, question } = asked
  const { kind, id, credential } = subject
  // Other types of subjects are known to relations only.
  if (kind !== 'user' && kind !== 'client') return { effect: 'none', policies: [], errors: [] }
  const { object } = question
  const [groups, around] = await Promise.all([groupsOf(database, { type: kind, id }), relationsOf(database, object)])
  // Half of what there is could hide what a policy forbids by.
  if (!groups.complete || !around.complete) return { effect: 'forbid', policies: [], errors: ['too many relations'] }
  const at = now()
  const policyQuestion: PolicyQuestion = {
    principal: {
      kind,
      id,
      attributes: holdings.attributes,
      emailVerified: holdings.emailVerified,
      roles: holdings.roles,
      groups: groups.groups.filter(({ type }) => type === 'group').map((group) => group.id),
    },
    action: question.action,
    resource: {
      type: object.type,
      id: object.id,
      relations: byName(around.relations, object),
      parents: around.parents,
      properties: object.properties,
    },
    context: {
      now: at,
      address: question.address,
      acr: credential?.acrValues.at(-1),
      amr: credential?.amr,
      authAge: credential?.authenticatedAt && Math.floor((at.getTime() - credential.authenticatedAt.getTime()) / 1000),
      credential: credential?.method,
      properties: question.context,
      subjectProperties: question.subjectProperties,
      actionProperties: question.actionProperties,
    },
  }
  return evaluatePolicies(set, policyQuestion)
}

/** Those of the object itself: what its parents have is reached through them. */
function byName(relations: readonly Relation[], object: EntityRef): Record<string, EntityRef[]> {
  const named: Record<string, EntityRef[]> = Object.create(null)
  for (const { object: whose, relation, subject } of relations) {
    if (whose.type !== object.type || whose.id !== object.id) continue
    named[relation] = [...(named[relation] ?? []), { type: subject.type, id: subject.id }]
  }
  return named
}
