// /api/v1/relations: who stands how to what. Written in bulk, as text or in parts; what is written twice is there once.
import { z } from 'zod'
import { holdsRelation, listRelations, writeRelations } from '#src/access/relations/relations.ts'
import { checkRelationName, parseEntity, parseSubject, refuse } from '#src/access/relations/text.ts'
import { wayOf } from '#src/access/relations/way.ts'
import { listOf, pageOf } from './page.ts'
import { type AdminApiDeps, type AdminRoute, route } from './route.ts'

export function relationRoutes({ database }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /relations', {
      scope: 'relations:read',
      name: 'listRelations',
      summary: 'List relations: those of an object, of a type of objects, of a subject, or all',
      query: pageOf(
        {
          object: z.string().optional().meta({ description: 'As in order:88' }),
          objectType: z
            .string()
            .optional()
            .meta({ description: 'Alone: the relations of all objects of a type, as in order' }),
          relation: z.string().optional(),
          subject: z.string().optional().meta({ description: 'As in user:42 or group:staff#member' }),
        },
        { usual: 100, most: 1000, longest: 8000 },
      ),
      answer: listOf(relationParts),
      async handle({ query: { object, objectType, relation, subject, ...page } }) {
        const filter = {
          object: object === undefined ? undefined : parseEntity(object, 'object'),
          objectType,
          relation,
          subject: subject === undefined ? undefined : parseSubject(subject, 'subject'),
        }
        const { relations, next } = await listRelations(database, filter, page)
        return { data: relations, next }
      },
    }),

    route('get /relations/check', {
      scope: 'relations:read',
      name: 'checkRelation',
      summary: 'Ask whether somebody stands so to an object, and by which relations',
      query: z.strictObject({
        object: z.string().meta({ description: 'As in order:88' }),
        relation: z.string(),
        subject: z.string().meta({ description: 'As in user:42: somebody, not a set' }),
      }),
      answer: z.strictObject({
        holds: z.boolean(),
        way: z.array(relationParts).meta({ description: 'From the object to the subject, one of the shortest ways.' }),
      }),
      async handle({ query: { relation, ...query } }) {
        const [object, subject] = [parseEntity(query.object, 'object'), parseEntity(query.subject, 'subject')]
        refuse(checkRelationName('relation', relation))
        const holds = await holdsRelation(database, subject, relation, object)
        const way = holds ? await wayOf(database, subject, relation, object) : []
        return { holds, way: [...(way ?? [])] }
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
