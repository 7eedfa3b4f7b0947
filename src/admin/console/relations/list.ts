// Who stands how to what: the relations of an object, of a type of objects or of a subject, as they were written, a page at a time. Every one of
// these is read along an index, however many there are.
import { groupsOf, listRelations, relationsOf } from '#src/access/relations/relations.ts'
import { type EntityRef, formatRelation, parseEntity, type SubjectRef } from '#src/access/relations/text.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { textOf } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, type PageDeps } from '../page.ts'
import { readSubject, relationsPath, type Shown, shownAs } from './words.ts'

export type RelationsPage = {
  input: { object: string; relation: string; subject: string }
  unknown: boolean
  relations: readonly { object: Shown; relation: string; subject: Shown; deletion: string }[]
  /** What the object lies in, and what the subject is a member of. */
  parents: readonly Shown[]
  groups: readonly Shown[]
  next: string | undefined
  flaws: readonly Flaw[]
}

const page = template<RelationsPage>('admin/console/relations')
const perPage = 100
/** Of what stands beside the list. */
const mostBeside = 50

export function relationsPage(deps: PageDeps): ConsolePage {
  const { database, render } = deps
  return {
    path: relationsPath,
    section: 'relations',
    scope: 'relations:read',
    async show(request) {
      const text = (name: string) => textOf(request.ctx, name, 700)
      const input = { object: text('object'), relation: text('relation'), subject: text('subject') }
      const result = await attempt(() => find(request, input))
      const found = result.ok
        ? result.value
        : { unknown: false, relations: [], parents: [], groups: [], next: undefined }
      const flaws = result.ok ? [] : result.flaws
      render(request, page, { input, ...found, flaws }, { section: 'relations', status: result.ok ? 200 : 422 })
    },
  }

  async function find(
    request: ConsoleRequest,
    input: RelationsPage['input'],
  ): Promise<Omit<RelationsPage, 'input' | 'flaws'>> {
    const { object, objectType } = readObject(input.object)
    const subject = input.subject === '' ? undefined : await readSubject(deps, input.subject)
    const unknown = input.subject !== '' && subject === undefined
    if (unknown) return { unknown, relations: [], parents: [], groups: [], next: undefined }
    const after = textOf(request.ctx, 'after', 8000) || undefined
    const filter = { object, objectType, relation: input.relation || undefined, subject }
    const [{ relations, next }, parents, groups] = await Promise.all([
      listRelations(database, filter, { after, limit: perPage }),
      object ? relationsOf(database, object).then((found) => found.parents.slice(0, mostBeside)) : [],
      subject && subject.relation === undefined
        ? groupsOf(database, subject).then((found) => found.groups.slice(0, mostBeside))
        : [],
    ])
    const show = await shownAs(
      deps,
      request,
      relations.flatMap((one): EntityRef[] => [one.object, one.subject]),
    )
    const asGroup = (group: EntityRef): SubjectRef => ({ ...group, relation: 'member' })
    return {
      unknown,
      relations: relations.map((one) => ({
        object: show('object', one.object),
        relation: one.relation,
        subject: show('subject', one.subject),
        deletion: `${relationsPath}/delete?${new URLSearchParams({ relation: formatRelation(one) })}`,
      })),
      parents: parents.map((parent) => show('object', parent)),
      groups: groups.map((group) => show('subject', asGroup(group))),
      next: next === null ? undefined : `${relationsPath}?${new URLSearchParams({ ...said(input), after: next })}`,
    }
  }
}

const said = (input: RelationsPage['input']): Record<string, string> =>
  Object.fromEntries(Object.entries(input).filter(([, value]) => value !== ''))

/** `order:88`, or a type alone. @throws InvalidRelation */
function readObject(text: string): { object?: EntityRef; objectType?: string } {
  if (text === '') return {}
  const type = /^([a-z][a-z0-9_]{0,63}):?$/.exec(text)?.[1]
  return type === undefined ? { object: parseEntity(text, 'object') } : { objectType: type }
}
