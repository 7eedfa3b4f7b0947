// POST /access/v1/search/{subject,resource,action} (AuthZEN 8): who may, what may they, which actions. Candidates in the order of their ids, and
// the second door is asked about each: so a search never finds what an evaluation would refuse. A page looks at a bounded number of candidates
// and says where to go on, also when it found nothing.
import type { Context } from 'koa'
import { decideAction, relationsFor, type Subject } from '#src/access/decide.ts'
import { holdingsOf } from '#src/access/holdings.ts'
import { listCandidates } from '#src/access/relations/candidates.ts'
import { type Found, groupsOf, type RelationPage, searchObjects } from '#src/access/relations/relations.ts'
import type { ApiRecord } from '#src/apis/apis.ts'
import { readJson } from '#src/http/json-body.ts'
import { actionsOf, apiFor, type EvaluatorDeps, questionOf, subjectOf } from './evaluator.ts'
import { type PlacedPage, placePage } from './page-token.ts'
import { actionSearchShape, resourceSearchShape, subjectSearchShape } from './question.ts'

/** Looked at for one page. */
const mostLookedAt = 1_000
const atOnce = 50

export async function searchSubject(deps: EvaluatorDeps, ctx: Context): Promise<void> {
  const { subject, action, resource, context = {}, page } = await readJson(ctx, subjectSearchShape)
  const placed = placePage(page, [
    'subject',
    subject.type,
    subject.properties,
    action,
    resource,
    context,
    page?.properties,
  ])
  const found = apiFor(deps.apis(), action.name, resource.type, context)
  if ('decision' in found) return answer(ctx, [], undefined)
  const question = questionOf(found.api, { action, resource, context })
  const { results, next } = await pageOf(
    placed,
    (from) => listCandidates(deps.database, { side: 'subject', type: subject.type }, from),
    async (id) => (await decideAction(deps, { kind: subject.type, id }, question)).allowed,
  )
  answer(
    ctx,
    results.map((id) => ({ type: subject.type, id })),
    next,
  )
}

export async function searchResource(deps: EvaluatorDeps, ctx: Context): Promise<void> {
  const { subject, action, resource, context = {}, page, options } = await readJson(ctx, resourceSearchShape)
  const { type } = resource
  const placed = placePage(page, ['resource', subject, action, type, resource.properties, context, page?.properties])
  const found = apiFor(deps.apis(), action.name, type, context)
  if ('decision' in found) return answer(ctx, [], undefined)
  const { api } = found
  const who = await subjectOf(deps, subject, api)
  if (options?.as === 'filter') {
    ctx.body = {
      filter: who.subject ? await filterFor(deps, { api, subject: who.subject, action: action.name, type }) : null,
    }
    return
  }
  if (!who.subject) return answer(ctx, [], undefined)
  const asking = who.subject
  const { results, next } = await pageOf(
    placed,
    await candidatesFor(deps, { api, subject: asking, action: action.name, type }),
    async (id) => {
      const question = questionOf(api, {
        action,
        resource: { ...resource, id },
        context,
        subjectProperties: subject.properties,
      })
      return (await decideAction(deps, asking, question)).allowed
    },
  )
  answer(
    ctx,
    results.map((id) => ({ type, id })),
    next,
  )
}

export async function searchAction(deps: EvaluatorDeps, ctx: Context): Promise<void> {
  const { subject, resource, context = {} } = await readJson(ctx, actionSearchShape)
  const { audience } = context
  const apis = [...deps.apis()].filter((api) => !api.builtIn && (audience === undefined || api.identifier === audience))
  const names: string[] = []
  for (const api of apis) {
    const who = await subjectOf(deps, subject, api)
    if (!who.subject) continue
    const asking = who.subject
    const allowed = await Promise.all(
      [...actionsOf(api)].map(async (name) => {
        const question = questionOf(api, {
          action: { name },
          resource,
          context,
          subjectProperties: subject.properties,
        })
        const { allowed } = await decideAction(deps, asking, question)
        return allowed ? [name] : []
      }),
    )
    names.push(...allowed.flat())
  }
  answer(
    ctx,
    [...new Set(names)].sort().map((name) => ({ name })),
    undefined,
  )
}

type Search = { api: ApiRecord; subject: Subject; action: string; type: string }

/** Where relations alone can grant it, only what they lead to; otherwise every object that is known. */
async function candidatesFor(deps: EvaluatorDeps, { api, subject, action, type }: Search) {
  const relations = relationsFor(api, action, type)
  const holdings = await holdingsOf(deps.database, subject, api.identifier)
  const byRelation = !holdings.permissions.has(action) && !deps.policiesOf(api.identifier)
  return async (from: RelationPage): Promise<Found> => {
    if (!byRelation) return listCandidates(deps.database, { side: 'object', type }, from)
    if (relations.length === 0) return { ids: [], next: null }
    const { kind, id } = subject
    return searchObjects(deps.database, { objectType: type, relations, subject: { type: kind, id } }, from)
  }
}

/** What an API may put into its own query: everything, nothing, or whatever has one of these relations to one of these subjects. Null where
 *  policies have to be asked about each. Objects that are reached through a parent are not in it. */
async function filterFor(deps: EvaluatorDeps, { api, subject, action, type }: Search) {
  const holdings = await holdingsOf(deps.database, subject, api.identifier)
  if (deps.policiesOf(api.identifier)) return null
  if (holdings.disabled || (subject.credential && !subject.credential.scopes.has(action))) return { none: true }
  if (holdings.permissions.has(action)) return { all: true }
  const relations = relationsFor(api, action, type)
  if (relations.length === 0) return { none: true }
  const { groups } = await groupsOf(deps.database, { type: subject.kind, id: subject.id })
  const subjects = [{ type: subject.kind, id: subject.id }, ...groups]
  return { relations, subjects }
}

/** Candidates in portions, until the page is full and there is one more, enough were looked at, or there is none left. */
async function pageOf(
  { limit, after: start, tokenOf }: PlacedPage,
  candidates: (from: RelationPage) => Promise<Found>,
  isAllowed: (id: string) => Promise<boolean>,
): Promise<{ results: string[]; next: string | undefined }> {
  const results: string[] = []
  let after = start
  let pageEnd = start
  for (let looked = 0; looked < mostLookedAt; looked += atOnce) {
    const room = limit - results.length
    // Never more than there is room for: a page ends where its candidates do. Of a full one only whether it is the last.
    const { ids, next } = await candidates({ after, limit: room > 0 ? Math.min(atOnce, room) : atOnce })
    const allowed = await Promise.all(ids.map(isAllowed))
    if (room === 0 && allowed.includes(true)) break
    if (room > 0) results.push(...ids.filter((_, index) => allowed[index]))
    if (next === null) return { results, next: undefined }
    after = next
    if (room > 0) pageEnd = next
  }
  return { results, next: tokenOf(pageEnd) }
}

/** 8.3: `page` comes first. */
function answer(ctx: Context, results: object[], next: string | undefined): void {
  ctx.body = { page: { next_token: next ?? '', count: results.length }, results }
}
