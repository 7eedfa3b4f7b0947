// Does somebody stand so to an object, and by which relations? Where not: the groups and parents that were looked at.
import { groupsOf, holdsRelation, relationsOf } from '#src/access/relations/relations.ts'
import { checkRelationName, InvalidRelation, parseEntity, type Relation, refuse } from '#src/access/relations/text.ts'
import { wayOf } from '#src/access/relations/way.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { textOf } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, type PageDeps } from '../page.ts'
import { readSubject, relationsPath, type Shown, shownAs } from './words.ts'

export type CheckRelationPage = {
  input: Input
  unknown: boolean
  answer:
    | {
        holds: boolean
        question: { object: Shown; subject: Shown }
        /** From the object to the subject. */
        way: readonly { object: Shown; relation: string; subject: Shown }[]
        groups: readonly Shown[]
        parents: readonly Shown[]
      }
    | undefined
  flaws: readonly Flaw[]
}

type Input = { object: string; relation: string; subject: string }

const page = template<CheckRelationPage>('admin/console/relations-check')
const mostBeside = 50

export function checkRelationPage(deps: PageDeps): ConsolePage {
  const { database, render } = deps
  return {
    path: `${relationsPath}/check`,
    section: 'relations',
    scope: 'relations:read',
    async show(request) {
      const text = (name: string) => textOf(request.ctx, name, 700)
      const input: Input = { object: text('object'), relation: text('relation'), subject: text('subject') }
      const isAsked = Object.values(input).every((value) => value !== '')
      const result = isAsked ? await attempt(() => ask(request, input)) : ({ ok: true, value: undefined } as const)
      render(
        request,
        page,
        {
          input,
          unknown: isAsked && result.ok && result.value === undefined,
          answer: result.ok ? result.value : undefined,
          flaws: result.ok ? [] : result.flaws,
        },
        { section: 'relations', status: result.ok ? 200 : 422 },
      )
    },
  }

  async function ask(request: ConsoleRequest, input: Input): Promise<CheckRelationPage['answer']> {
    const object = parseEntity(input.object, 'object')
    refuse(checkRelationName('relation', input.relation))
    const subject = await readSubject(deps, input.subject)
    if (!subject) return undefined
    if (subject.relation !== undefined)
      throw new InvalidRelation([
        { field: 'subject', problem: 'is a set', fix: 'Ask about somebody, such as user:42 or a member of the group.' },
      ])
    const holds = await holdsRelation(database, subject, input.relation, object)
    const [way, groups, parents] = await Promise.all([
      holds ? wayOf(database, subject, input.relation, object) : undefined,
      groupsOf(database, subject).then((found) => found.groups.slice(0, mostBeside)),
      relationsOf(database, object).then((found) => found.parents.slice(0, mostBeside)),
    ])
    const rows: readonly Relation[] = way ?? []
    const show = await shownAs(deps, request, [subject, object, ...rows.flatMap((row) => [row.object, row.subject])])
    return {
      holds,
      question: { object: show('object', object), subject: show('subject', subject) },
      way: rows.map((row) => ({
        object: show('object', row.object),
        relation: row.relation,
        subject: show('subject', row.subject),
      })),
      groups: groups.map((group) => show('subject', { ...group, relation: 'member' })),
      parents: parents.map((parent) => show('object', parent)),
    }
  }
}
