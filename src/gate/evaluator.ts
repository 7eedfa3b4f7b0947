// From a question as it was sent to a decision: whom it is about, which API it belongs to, and then the second door.
import { type ActionQuestion, type DecideDeps, decideAction, type Subject } from '#src/access/decide.ts'
import { type Decision, stopped } from '#src/access/gates.ts'
import { type ApiRecord, objectsOf } from '#src/apis/apis.ts'
import { type IdentifyDeps, identify } from '#src/oauth/identify.ts'
import type { EvaluationRequest } from './question.ts'

export type EvaluatorDeps = IdentifyDeps & DecideDeps & { apis: () => Iterable<ApiRecord> }

export type Evaluated = Readonly<{
  decision: Decision
  subject: Subject | undefined
  api: ApiRecord | undefined
  /** Whose client the credential was, where one was sent as the subject. */
  owner: string | undefined
  /** As the second door was asked. */
  question?: ActionQuestion
}>

export async function evaluate(deps: EvaluatorDeps, request: EvaluationRequest): Promise<Evaluated> {
  const { action, resource, context = {} } = request
  const found = apiFor(deps.apis(), action.name, resource.type, context)
  if ('decision' in found) return { ...found, subject: undefined, api: undefined, owner: undefined }
  const { api } = found
  const who = await subjectOf(deps, request.subject, api)
  if (!who.subject) return { decision: who.refused, subject: undefined, api, owner: who.owner }
  const question = questionOf(api, { action, resource, context, subjectProperties: request.subject.properties })
  const decision = await decideAction(deps, who.subject, question)
  return { decision, subject: who.subject, api, owner: who.owner, question }
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined)

export function questionOf(
  api: ApiRecord,
  asked: Pick<EvaluationRequest, 'action' | 'resource'> & {
    context: Readonly<Record<string, unknown>>
    subjectProperties?: Readonly<Record<string, unknown>> | undefined
  },
): ActionQuestion {
  const { action, resource, context, subjectProperties } = asked
  const { type, id, properties = {} } = resource
  return {
    api,
    action: action.name,
    object: { type, id, properties },
    ...{ context, subjectProperties, actionProperties: action.properties },
    address: textOf(context.address),
  }
}

/** A person or client by its id; or whoever a credential stands for, with what that credential allows. */
export async function subjectOf(deps: EvaluatorDeps, { type, id }: { type: string; id: string }, api: ApiRecord) {
  if (type === 'access_token') return identify(deps, { kind: 'bearer', value: id }, api)
  if (type === 'api_key') return identify(deps, { kind: 'api_key', value: id }, api)
  return { subject: { kind: type, id }, refused: undefined, owner: undefined }
}

/** The API that the caller names (`context.audience`), else the one that has the action; of several, the one that also knows the type of
 *  the object. */
export function apiFor(
  apis: Iterable<ApiRecord>,
  action: string,
  type: string,
  context: Readonly<Record<string, unknown>>,
): { api: ApiRecord } | { decision: Decision } {
  const { audience } = context
  const having = [...apis].filter(
    (api) => (audience === undefined || api.identifier === audience) && actionsOf(api).has(action),
  )
  const knowing = having.length > 1 ? having.filter((api) => Object.hasOwn(objectsOf(api), type)) : having
  const [api, ...others] = knowing
  if (api && others.length === 0) return { api }
  return { decision: stopped(having.length > 1 ? 'which_api' : 'unknown_action', [action]) }
}

/** Its scopes, and what its objects name. */
export function actionsOf(api: ApiRecord): Set<string> {
  const named = Object.values(objectsOf(api)).flatMap((relations) => Object.values(relations).flat())
  return new Set([...api.scopes.map((scope) => scope.name), ...named])
}
