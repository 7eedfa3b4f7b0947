// /api/v1/routes: what gateways ask before they let a request through. Routes are tried in order, so the order is a thing of its own, with its
// own ETag.
import { z } from 'zod'
import { createRoute, describeRoute, findRoute, pageRoutes, patchRoute, removeRoute } from '#src/apis/route-editing.ts'
import { describeOrder, orderRoutes } from '#src/apis/route-order.ts'
import { listRoutes, routeMethods } from '#src/apis/routes.ts'
import { listOf, pageOf } from './page.ts'
import { type AdminApiDeps, type AdminRoute, deleted, resettable, route } from './route.ts'

export function gatewayRoutes({ whichRoute }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /routes', {
      scope: 'routes:read',
      name: 'listRoutes',
      summary: 'List gateway routes, in the order in which they are tried',
      query: pageOf(
        { host: text.optional(), api: text.optional().meta({ description: 'The identifier of an API.' }) },
        { longest: 4000 },
      ),
      answer: listOf(gatewayRoute),
      async handle({ db, query: { host, api, ...page } }) {
        const { routes, next } = await pageRoutes(db, { host, api }, page)
        return { data: routes.map(describeRoute), next }
      },
    }),

    route('post /routes', {
      scope: 'routes:write',
      name: 'createRoute',
      summary: 'Create a gateway route',
      body: z.strictObject({
        ...key,
        api: text,
        ...settings,
        before: text
          .optional()
          .meta({ description: 'The id of the route in front of which it is tried; else it is tried last.' }),
      }),
      answer: gatewayRoute,
      status: 201,
      once: true,
      async handle({ db, body: { before, ...input }, change }) {
        return describeRoute(await createRoute(db, input, { before }, change))
      },
    }),

    route('post /routes/match', {
      scope: 'routes:read',
      sensitive: false,
      name: 'matchRoute',
      summary: 'Ask which gateway route answers a request. Nothing is changed',
      body: z.strictObject({
        host: text,
        method: text,
        path: text.meta({ description: 'As it is sent, such as /orders/88.' }),
        scheme: z.enum(['http', 'https']).optional(),
      }),
      answer: z.strictObject({
        route: gatewayRoute.nullable(),
        parameters: z.record(text, text).meta({ description: 'Of its path.' }),
        because: z.enum(['no_route', 'unreadable', 'sign_in']).nullable().meta({
          description:
            'Why none does. unreadable: two parties could read the path in two ways, so it matches nothing. sign_in: the way back of a sign-in.',
        }),
      }),
      async handle({ db, body }) {
        const answer = whichRoute(await listRoutes(db), { scheme: 'https', ...body })
        if ('because' in answer) return { route: null, parameters: {}, because: answer.because }
        return { route: describeRoute(answer.route), parameters: { ...answer.parameters }, because: null }
      },
    }),

    route('get /routes/order', {
      scope: 'routes:read',
      name: 'readRouteOrder',
      summary: 'Read the order in which gateway routes are tried',
      answer: order,
      versioned: true,
      handle: async ({ db }) => describeOrder(await listRoutes(db)),
    }),

    route('put /routes/order', {
      scope: 'routes:write',
      name: 'orderRoutes',
      summary: 'Change the order in which gateway routes are tried',
      body: order,
      bodyLimit: 1024 * 1024,
      answer: order,
      versioned: true,
      handle: async ({ db, body, change, seen }) => describeOrder(await orderRoutes(db, body.data, change, seen)),
    }),

    route('get /routes/:id', {
      scope: 'routes:read',
      name: 'readRoute',
      summary: 'Read a gateway route',
      answer: gatewayRoute,
      versioned: true,
      handle: async ({ db, id }) => describeRoute(await findRoute(db, id)),
    }),

    route('patch /routes/:id', {
      scope: 'routes:write',
      name: 'changeRoute',
      summary: 'Change a gateway route',
      body: z.strictObject({
        host: key.host.optional(),
        method: key.method.optional(),
        path: key.path.optional(),
        api: text.optional(),
        ...resettable(settings),
      }),
      answer: gatewayRoute,
      versioned: true,
      handle: async ({ db, id, body, change, seen }) => describeRoute(await patchRoute(db, id, body, change, seen)),
    }),

    route('delete /routes/:id', {
      scope: 'routes:write',
      name: 'deleteRoute',
      summary: 'Delete a gateway route',
      answer: deleted,
      async handle({ db, id, change }) {
        await removeRoute(db, id, change)
        return { id, deleted: true }
      },
    }),
  ]
}

const text = z.string()
const list = z.array(text)
const key = {
  host: text.meta({ description: 'In lower case, with its port where it has one.' }),
  method: z.enum(routeMethods),
  path: text.meta({ description: 'As in /orders/{id}' }),
}
const settings = {
  scopes: list.optional().meta({ description: 'Of that API: all of them are asked for.' }),
  roles: list.optional().meta({ description: 'Any one of them will do.' }),
  relation: text.optional().meta({ description: 'As in owner@order:{id}' }),
  acrValues: list.optional().meta({ description: 'The sign-in must have reached one of them (RFC 9470).' }),
  maxAge: z.number().optional().meta({ description: 'Seconds since the sign-in, at most.' }),
  anonymous: z.boolean().optional().meta({ description: 'Nobody is asked anything.' }),
}
const gatewayRoute = z
  .strictObject({
    id: text,
    host: text,
    method: text,
    path: text,
    api: text,
    scopes: list,
    roles: list,
    relation: text.nullable(),
    acrValues: list,
    maxAge: z.number().nullable(),
    anonymous: z.boolean(),
  })
  .meta({ id: 'GatewayRoute' })
const order = z.strictObject({ data: list.meta({ description: 'The ids of all routes.' }) }).meta({ id: 'RouteOrder' })
