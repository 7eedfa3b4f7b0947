// /api/v1/relations: who stands how to what. Written in bulk, as text or in parts; what is written twice is there once.
import { z } from 'zod'
import { listRelations, writeRelations } from '#src/access/relations/relations.ts'
import { parseEntity, parseSubject } from '#src/access/relations/text.ts'
import { listOf, pageOf } from './page.ts'
import { type AdminApiDeps, type AdminRoute, route } from './route.ts'

export function relationRoutes({ database }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /relations', {
      scope: 'relations:read',
      name: 'listRelations',
      summary: 'List relations: those of an object, of a subject, or all',
      query: pageOf(
        {
          object: z.string().optional().meta({ description: 'As in order:88' }),
          relation: z.string().optional(),
          subject: z.string().optional().meta({ description: 'As in user:42 or group:staff#member' }),
        },
        { usual: 100, most: 1000, longest: 8000 },
      ),
      answer: listOf(relationParts),
      async handle({ query: { object, relation, subject, ...page } }) {
        const filter = {
          object: object === undefined ? undefined : parseEntity(object, 'object'),
          relation,
          subject: subject === undefined ? undefined : parseSubject(subject, 'subject'),
        }
        const { relations, next } = await listRelations(database, filter, page)
        return { data: relations, next }
      },
    }),

    route('post /relations', {
      scope: 'relations:write',
      name: 'writeRelations',
      summary: 'Write and delete relations, in one transaction',
      body: z.strictObject({ write: z.array(relation).optional(), delete: z.array(relation).optional() }),
      bodyLimit: 1024 * 1024,
      answer: z.strictObject({ written: z.number(), deleted: z.number() }),
      once: true,
      handle: ({ db, body, change }) => writeRelations(db, body, change),
    }),
  ]
}

const relationParts = z
  .strictObject({
    object: z.strictObject({ type: z.string(), id: z.string() }),
    relation: z.string(),
    subject: z.strictObject({ type: z.string(), id: z.string(), relation: z.string().optional() }),
  })
  .meta({ id: 'Relation' })
const relation = z.union([z.string().meta({ description: 'As in order:88#owner@user:42' }), relationParts])
