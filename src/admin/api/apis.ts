// /api/v1/apis: protected APIs and their scopes. An identifier is an address: in a path it is percent-encoded as a whole.
import { z } from 'zod'
import { ApiNotFound, createApi, describeApi, findApi, listApis } from '#src/apis/apis.ts'
import { patchApi, removeApi } from '#src/apis/editing.ts'
import { cutPage, listOf, pageOf } from './page.ts'
import { type AdminRoute, cascade, deleted, instant, resettable, route } from './route.ts'

export function apiRoutes(): AdminRoute[] {
  return [
    route('get /apis', {
      scope: 'apis:read',
      name: 'listApis',
      summary: 'List APIs',
      query: pageOf(),
      answer: listOf(api),
      async handle({ db, query: { after, limit } }) {
        const records = await listApis(db, { after, limit: limit + 1 })
        return cutPage(records, limit, describeApi, (record) => record.identifier)
      },
    }),

    route('post /apis', {
      scope: 'apis:write',
      name: 'createApi',
      summary: 'Protect an API',
      body: z.strictObject({ identifier: text, name: text, ...settings }),
      answer: api,
      status: 201,
      once: true,
      handle: async ({ db, body, change }) => describeApi(await createApi(db, body, change)),
    }),

    route('get /apis/:id', {
      scope: 'apis:read',
      name: 'readApi',
      summary: 'Read an API',
      answer: api,
      versioned: true,
      async handle({ db, id }) {
        const record = await findApi(db, id)
        if (!record) throw new ApiNotFound(id)
        return describeApi(record)
      },
    }),

    route('patch /apis/:id', {
      scope: 'apis:write',
      name: 'changeApi',
      summary: 'Change an API',
      body: z.strictObject({ name: text.optional(), ...resettable(settings) }),
      answer: api,
      versioned: true,
      handle: async ({ db, id, body, change, seen }) => describeApi(await patchApi(db, id, body, change, seen)),
    }),

    route('delete /apis/:id', {
      scope: 'apis:write',
      name: 'deleteApi',
      summary: 'Delete an API',
      query: cascade,
      answer: deleted,
      async handle({ db, id, query, change }) {
        await removeApi(db, id, query, change)
        return { id, deleted: true }
      },
    }),
  ]
}

const text = z.string()
const list = z.array(text)
const scope = z.union([text, z.strictObject({ description: text, byRole: z.boolean().optional() })])
const objects = z.record(text, z.record(text, list)).meta({
  description: 'By type of object and relation: the actions for which the relation is enough.',
})
const settings = {
  accessTokenFormat: z.enum(['jwt', 'opaque']).optional(),
  accessTokenTtlSeconds: z.number().optional(),
  accept: list.optional().meta({ description: 'Credentials that it takes: oauth, api_key, basic, session.' }),
  introspectionClients: list.optional().meta({ description: 'Clients that may introspect its tokens (RFC 7662).' }),
  hideExistence: z.boolean().optional().meta({ description: '404 in place of 403 for objects.' }),
  tokenClaims: list.optional().meta({ description: 'What its access tokens say of people: roles, permissions.' }),
  scopes: z
    .record(text, scope)
    .optional()
    .meta({ description: 'What each lets one do, in the words of the consent page.' }),
  objects: objects.optional(),
}
const api = z
  .strictObject({
    identifier: text,
    name: text,
    accessTokenFormat: text,
    accessTokenTtlSeconds: z.number(),
    accept: list,
    introspectionClients: list,
    hideExistence: z.boolean(),
    tokenClaims: list,
    scopes: z.record(text, scope),
    objects,
    builtIn: z.boolean(),
    createdAt: instant,
    updatedAt: instant,
  })
  .meta({ id: 'Api' })
