// Writing relations, up to a thousand at once and all of them or none, and deleting one.
import { mostWritten, writeRelations } from '#src/access/relations/relations.ts'
import {
  formatEntity,
  formatRelation,
  parseRelation,
  parseRelationLines,
  readRelation,
} from '#src/access/relations/text.ts'
import { HttpError } from '#src/http/http-error.ts'
import { template } from '#src/http/render.ts'
import type { Flaw } from '#src/refusal.ts'
import { textOf } from '../lists.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, type PageDeps } from '../page.ts'
import { relationsPath } from './words.ts'

export type WriteRelationsPage = { input: string; most: number; flaws: readonly Flaw[] }
export type DeleteRelationPage = { relation: string; back: { href: string; label: string }; flaws: readonly Flaw[] }

const writePage = template<WriteRelationsPage>('admin/console/relations-write')
const deletePage = template<DeleteRelationPage>('admin/console/relation-delete')
const common = { section: 'relations', scope: 'relations:write', sensitive: true } as const

export function writeRelationsPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    ...{ ...common, path: `${relationsPath}/write`, lines: ['relations'], formLimit: 1024 * 1024 },
    show: async (request) => show(request, { input: textOf(request.ctx, 'object', 400), flaws: [] }, 200),
    async submit(request, form) {
      const input = form.get('relations') ?? ''
      const result = await attempt(async () => {
        const write = parseRelationLines(input)
        await writeRelations(prisma, { write }, request.change)
        return write
      })
      if (!result.ok) return show(request, { input, flaws: result.flaws }, result.status)
      const [first, ...others] = new Set(result.value.map(({ object }) => formatEntity(object)))
      const shown = first !== undefined && others.length === 0 ? `?${new URLSearchParams({ object: first })}` : ''
      goOn(request.ctx, relationsPath + shown, 'saved')
    },
  }

  function show(request: ConsoleRequest, shown: Pick<WriteRelationsPage, 'input' | 'flaws'>, status: number): void {
    render(request, writePage, { ...shown, most: mostWritten }, { section: 'relations', status })
  }
}

export function deleteRelationPage({ database: { prisma }, render }: PageDeps): ConsolePage {
  return {
    ...{ ...common, path: `${relationsPath}/delete` },
    async show(request) {
      const read = readRelation(textOf(request.ctx, 'relation', 900), 'relation')
      if ('flaws' in read)
        throw new HttpError({ status: 404, error: 'not_found', description: 'There is nothing at this address.' })
      show(request, { relation: formatRelation(read.relation), flaws: [] }, 200)
    },
    async submit(request, form) {
      const text = form.get('relation') ?? ''
      const result = await attempt(async () => {
        const relation = parseRelation(text)
        await writeRelations(prisma, { delete: [relation] }, request.change)
        return relation
      })
      if (!result.ok) return show(request, { relation: text, flaws: result.flaws }, result.status)
      const object = formatEntity(result.value.object)
      goOn(request.ctx, `${relationsPath}?${new URLSearchParams({ object })}`, 'deleted')
    },
  }

  function show(request: ConsoleRequest, shown: Pick<DeleteRelationPage, 'relation' | 'flaws'>, status: number): void {
    const back = { href: relationsPath, label: request.words.t('console.relations.title') }
    render(request, deletePage, { ...shown, back }, { section: 'relations', status })
  }
}
