// What names what: every name in the file must be there once all is done, and nothing that stays may lose what it needs.
import { ownerRole } from '#src/access/roles.ts'
import { type ApiRecord, unknownClients } from '#src/apis/apis.ts'
import { type RouteRecord, routeName } from '#src/apis/routes.ts'
import { unknownScopes } from '#src/clients/clients.ts'
import { type ClientRecord, clientSettings } from '#src/clients/settings.ts'
import { hasSecret } from '#src/clients/types.ts'
import { type Flaw, quote } from '#src/refusal.ts'
import { within } from './check.ts'
import type { Current } from './current.ts'
import { InvalidDeclaration, StillInUse } from './errors.ts'
import { withLines } from './lines.ts'
import { missingLogo } from './logos.ts'
import { inRoute } from './routes.ts'
import type { Declaration } from './schema.ts'

/** Checks every name against what will be there once all is done. */
export function refuseReferences(declaration: Declaration, current: Current): void {
  const { apis = [], roles = [], clients = [], users = [], routes = [], policies = [] } = declaration
  const { removed } = current
  const scopes = new Map<string, readonly string[]>()
  for (const [id, record] of current.apis)
    if (!removed.apis.has(id))
      scopes.set(
        id,
        record.scopes.map((scope) => scope.name),
      )
  for (const api of apis) scopes.set(api.identifier, Object.keys(api.scopes ?? {}))
  const clientIds = new Set([
    ...[...current.clients.keys()].filter((id) => !removed.clients.has(id)),
    ...clients.map((client) => client.clientId),
  ])
  const roleNames = new Set([
    ...[...current.roles.keys()].filter((name) => !removed.roles.has(name)),
    ...roles.map((role) => role.name),
    ownerRole,
  ])

  const flaws = [
    ...apis.flatMap((api, index) =>
      within(`apis[${index}]`, [
        ...unknownClients(api.introspectionClients ?? [], clientIds),
        ...ownApi(current.apis.get(api.identifier)),
      ]),
    ),
    ...clients.flatMap((client, index) =>
      within(`clients[${index}]`, [
        ...unknownScopes(client.apis ?? {}, scopes),
        ...unknownRoles(client.roles ?? [], roleNames),
        ...missingSecret(client, current),
        ...missingLogo('logo', client.logo, current.logos),
      ]),
    ),
    ...roles.flatMap(({ api }, index) =>
      api === undefined ? [] : within(`roles[${index}]`, unknownApi(api, scopes.has(api))),
    ),
    ...users.flatMap((user, index) => within(`users[${index}]`, unknownRoles(user.roles ?? [], roleNames))),
    ...routes.flatMap((route, index) =>
      inRoute(route, index, [
        ...unknownRouteScopes(route.api, route.scopes ?? [], scopes),
        ...unknownRoles(route.roles ?? [], roleNames),
      ]),
    ),
    ...policies.flatMap(({ api }, index) =>
      within(`policies[${index}]`, unknownApi(api, scopes.has(api) && !current.apis.get(api)?.builtIn)),
    ),
  ]
  if (flaws.length > 0) throw new InvalidDeclaration(withLines(declaration, flaws))
  const needed = stillNeeded(declaration, current, { scopes, clientIds, roleNames })
  if (needed.length > 0) throw new StillInUse(needed)
}

/** What stays although the file does not speak of it, and would lose something it names. */
function stillNeeded(
  declaration: Declaration,
  current: Current,
  left: {
    scopes: ReadonlyMap<string, readonly string[]>
    clientIds: ReadonlySet<string>
    roleNames: ReadonlySet<string>
  },
): Flaw[] {
  const listedClients = new Set((declaration.clients ?? []).map((client) => client.clientId))
  const listedApis = new Set((declaration.apis ?? []).map((api) => api.identifier))
  const listedRoutes = new Set((declaration.routes ?? []).map(routeName))
  const fix = 'List what needs it as well, changed; or keep it.'
  const lacks = (api: string, names: readonly string[]) => {
    const scopes = left.scopes.get(api)
    return scopes ? names.find((name) => !scopes.includes(name)) : api
  }
  const stays = <T>(all: ReadonlyMap<string, T>, going: ReadonlyMap<string, T>, listed: ReadonlySet<string>) =>
    [...all].filter(([name]) => !going.has(name) && !listed.has(name))

  return [
    ...stays<ClientRecord>(current.clients, current.removed.clients, listedClients).flatMap(([id, client]) =>
      Object.entries(clientSettings(client).apis).flatMap(([api, names]) => {
        const lost = lacks(api, names)
        return lost === undefined
          ? []
          : [
              {
                field: `apis ${quote(api)}`,
                problem: `would lose ${quote(lost)}, which the client ${id} may ask for`,
                fix,
              },
            ]
      }),
    ),
    ...stays<RouteRecord>(current.routes, current.removed.routes, listedRoutes).flatMap(([id, route]) => {
      const lost = lacks(route.apiIdentifier, route.scopes)
      return lost === undefined
        ? []
        : [
            {
              field: `apis ${quote(route.apiIdentifier)}`,
              problem: `would lose ${quote(lost)}, which the route ${id} asks for`,
              fix,
            },
          ]
    }),
    ...stays<ApiRecord>(current.apis, current.removed.apis, listedApis).flatMap(([id, api]) =>
      api.introspectionClients
        .filter((link) => !left.clientIds.has(link.clientId))
        .map((link) => ({
          field: `clients ${link.clientId}`,
          problem: `would go, but it introspects tokens for ${quote(id)}`,
          fix,
        })),
    ),
    ...[...current.heldRoles].map(([name, count]) => ({
      field: `roles ${name}`,
      problem: `would go, but ${count} people hold it`,
      fix,
    })),
  ]
}

function unknownApi(api: string, isKnown: boolean): Flaw[] {
  if (isKnown) return []
  return [{ field: 'api', problem: `is ${quote(api)}, which is not an API here`, fix: 'Add the API to the file.' }]
}

function ownApi(record: ApiRecord | undefined): Flaw[] {
  if (!record?.builtIn) return []
  return [
    {
      field: 'identifier',
      problem: "is Sallyport's own API",
      fix: 'Remove it from the file: it comes with the server.',
    },
  ]
}

function missingSecret(
  client: { clientId: string; type: string; clientSecret?: string | undefined; clientSecretHash?: unknown },
  current: Current,
): Flaw[] {
  if (current.clients.has(client.clientId) || !hasSecret(client.type as Parameters<typeof hasSecret>[0])) return []
  if (client.clientSecret !== undefined || client.clientSecretHash !== undefined) return []
  return [
    {
      field: 'clientSecret',
      problem: 'is missing',
      fix: `A new client of type ${client.type} needs one of at least 32 characters (openssl rand -hex 32), or clientSecretHash.`,
    },
  ]
}

function unknownRoles(names: readonly string[], known: ReadonlySet<string>): Flaw[] {
  return names.flatMap((name, index) =>
    known.has(name)
      ? []
      : [
          {
            field: `roles[${index}]`,
            problem: `is ${quote(name)}, which is not a role here`,
            fix: 'List it under roles, or correct its name.',
          },
        ],
  )
}

function unknownRouteScopes(
  api: string,
  names: readonly string[],
  known: ReadonlyMap<string, readonly string[]>,
): Flaw[] {
  const scopes = known.get(api)
  if (!scopes)
    return [
      {
        field: 'api',
        problem: `is ${quote(api)}, which is not an API here`,
        fix: 'List it under apis, or correct its identifier.',
      },
    ]
  return names.flatMap((name, index) =>
    scopes.includes(name)
      ? []
      : [
          {
            field: `scopes[${index}]`,
            problem: `is ${quote(name)}, which is not a scope of that API`,
            fix: 'Add it to the API, or correct its name.',
          },
        ],
  )
}
