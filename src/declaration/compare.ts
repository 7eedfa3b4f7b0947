// What a declaration would change. Reads, compares, refuses; writes nothing. Every change comes with the call that makes it, in
// the order in which the calls can be made: what others name comes before them, what others named goes after them.
//
// Apis, roles, clients and routes are described in full: a field that is left out has its default. A person is described in
// part, because people change themselves: a field that is left out is not touched. `disabled` is never touched unless it is
// there, and secrets count at creation only: a start with an old file must not bring back what was switched off or replaced.
import {
  createRole,
  deleteRole,
  listRoles,
  ownerRole,
  roleSettings,
  settleRole,
  updateRole,
} from '#src/access/roles.ts'
import {
  type ApiRecord,
  apiSettings,
  createApi,
  deleteApi,
  listApis,
  setIntrospectionClients,
  settleApi,
  unknownClients,
  updateApi,
} from '#src/apis/apis.ts'
import {
  deleteRoute,
  listRoutes,
  putRoute,
  type RouteRecord,
  routeName,
  routeSettings,
  settleRoute,
} from '#src/apis/routes.ts'
import type { Change } from '#src/audit/change.ts'
import {
  createClient,
  deleteClient,
  listClients,
  setClientDisabled,
  unknownScopes,
  updateClient,
} from '#src/clients/clients.ts'
import { isDemoClient } from '#src/clients/demo-clients.ts'
import { type ClientRecord, clientSettings, settleClient } from '#src/clients/settings.ts'
import { hasSecret } from '#src/clients/types.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { type Flaw, quote } from '#src/refusal.ts'
import { createUser, deleteUser, emailKey, setUserDisabled, type UserRecord, updateUser } from '#src/users/users.ts'
import { clientInput, within } from './check.ts'
import { InvalidDeclaration, StillInUse } from './errors.ts'
import type { Declaration, DeclaredUser } from './schema.ts'
import { readSecretHash } from './secret-hash.ts'

export type PlannedChange = {
  action: 'create' | 'update' | 'delete'
  kind: 'api' | 'role' | 'client' | 'user' | 'route'
  id: string
  /** Of an update: what was, what will be. Never a secret. */
  fields?: Record<string, { from: unknown; to: unknown }>
}

export type Step = PlannedChange & {
  run(
    tx: Prisma.TransactionClient,
    change: Change,
    secrets: { passwordHash(user: DeclaredUser): Promise<string | undefined> },
  ): Promise<unknown>
  /** After every `run`. */
  finish?(tx: Prisma.TransactionClient): Promise<void>
}

type Current = Awaited<ReturnType<typeof readCurrent>>

/** @param options.prune also removes what a section of the file does not list; a section that is not in the file is left alone.
 *  @throws InvalidDeclaration when it names what does not exist, StillInUse when it takes away what others need. */
export async function compare(db: Db, declaration: Declaration, options: { prune: boolean }): Promise<Step[]> {
  const current = await readCurrent(db, declaration, options)
  refuseReferences(declaration, current)
  const steps = [
    ...compareApis(declaration, current),
    ...compareRoles(declaration, current),
    ...compareClients(declaration, current),
    ...compareUsers(declaration, current),
    ...compareRoutes(declaration, current),
  ]
  const removals = removalSteps(current)
  return [...steps, ...removals]
}

/** What is there, by name, and what `prune` would remove of it. Sallyport's own API, role and demo clients are no part of it. */
async function readCurrent(db: Db, declaration: Declaration, { prune }: { prune: boolean }) {
  const { apis, roles, clients, users, routes } = declaration
  // One after another: inside a transaction there is one connection.
  const apiRecords = await listApis(db)
  const roleRecords = await listRoles(db)
  const clientRecords = await listClients(db)
  const routeRecords = await listRoutes(db)
  const keys = (users ?? []).map((user) => emailKey(user.email) ?? '')
  const userRecords = await db.user.findMany({
    where: prune && users ? {} : { emailKey: { in: keys } },
    include: { roles: true },
  })
  const known = {
    apis: new Map(apiRecords.map((record) => [record.identifier, record])),
    roles: new Map(roleRecords.map((record) => [record.name, record])),
    clients: new Map(clientRecords.map((record) => [record.id, record])),
    users: new Map(userRecords.map((record) => [record.emailKey, record])),
    routes: new Map(routeRecords.map((record) => [routeName(record), record])),
  }
  const unlisted = <T>(
    section: readonly unknown[] | undefined,
    all: ReadonlyMap<string, T>,
    listed: string[],
    own: (name: string, record: T) => boolean,
  ) => {
    if (!prune || !section) return new Map<string, T>()
    const keep = new Set(listed)
    return new Map([...all].filter(([name, record]) => !keep.has(name) && !own(name, record)))
  }
  const none = () => false
  return {
    ...known,
    removed: {
      apis: unlisted(
        apis,
        known.apis,
        (apis ?? []).map((api) => api.identifier),
        (_, record) => record.builtIn,
      ),
      roles: unlisted(
        roles,
        known.roles,
        (roles ?? []).map((role) => role.name),
        (name) => name === ownerRole,
      ),
      clients: unlisted(
        clients,
        known.clients,
        (clients ?? []).map((client) => client.clientId),
        isDemoClient,
      ),
      users: unlisted(users, known.users, keys, none),
      routes: unlisted(routes, known.routes, (routes ?? []).map(routeName), none),
    },
    /** Roles that go and are held by people the file does not speak of. */
    heldRoles: prune && roles ? await rolesHeldByOthers(db, declaration, known) : new Map<string, number>(),
  }
}

async function rolesHeldByOthers(
  db: Db,
  { roles = [], users }: Declaration,
  known: { roles: ReadonlyMap<string, unknown> },
): Promise<Map<string, number>> {
  if (users) return new Map() // then everybody who stays is in the file, and the references are checked there
  const listed = new Set(roles.map((role) => role.name))
  const going = [...known.roles.keys()].filter((name) => !listed.has(name) && name !== ownerRole)
  const counts = await db.userRole.groupBy({ by: ['roleName'], where: { roleName: { in: going } }, _count: true })
  return new Map(counts.map((row) => [row.roleName, row._count]))
}

function compareApis({ apis = [] }: Declaration, current: Current): Step[] {
  return apis.flatMap((api): Step[] => {
    const { identifier, ...input } = api
    const record = current.apis.get(identifier)
    const to = settleApi(input)
    // Clients that it names may not be there yet, and those clients may name it: the links come last.
    const finish = (tx: Prisma.TransactionClient) => setIntrospectionClients(tx, identifier, to.introspectionClients)
    if (!record) {
      const first = { ...input, identifier, introspectionClients: [] }
      return [
        { action: 'create', kind: 'api', id: identifier, run: (tx, change) => createApi(tx, first, change), finish },
      ]
    }
    const from = apiSettings(record)
    const fields = differences(from, to)
    const first = { ...input, introspectionClients: from.introspectionClients }
    if (!fields) return []
    return [
      {
        action: 'update',
        kind: 'api',
        id: identifier,
        fields,
        run: (tx, change) => updateApi(tx, identifier, first, change),
        finish,
      },
    ]
  })
}

function compareRoles({ roles = [] }: Declaration, current: Current): Step[] {
  return roles.flatMap(({ name, ...input }): Step[] => {
    const record = current.roles.get(name)
    if (!record)
      return [{ action: 'create', kind: 'role', id: name, run: (tx, change) => createRole(tx, name, input, change) }]
    const fields = differences(roleSettings(record), settleRole(input))
    if (!fields) return []
    return [
      { action: 'update', kind: 'role', id: name, fields, run: (tx, change) => updateRole(tx, name, input, change) },
    ]
  })
}

function compareClients({ clients = [] }: Declaration, current: Current): Step[] {
  return clients.flatMap((client): Step[] => {
    const { clientId: id, disabled, clientSecret, clientSecretHash } = client
    const input = clientInput(client)
    const record = current.clients.get(id)
    if (!record) {
      const secrets = [
        ...(clientSecret === undefined ? [] : [{ value: clientSecret }]),
        ...[clientSecretHash ?? []].flat().flatMap((written) => readSecretHash(written) ?? []),
      ]
      return [
        {
          action: 'create',
          kind: 'client',
          id,
          async run(tx, change) {
            await createClient(tx, { ...input, id }, secrets, change)
            if (disabled) await setClientDisabled(tx, id, true, change)
          },
        },
      ]
    }
    const from = { ...clientSettings(record), disabled: record.disabledAt !== null }
    const settings = settleClient(id, input)
    const fields = differences(from, { ...settings, disabled: disabled ?? from.disabled })
    if (!fields) return []
    return [
      {
        action: 'update',
        kind: 'client',
        id,
        fields,
        async run(tx, change) {
          if (Object.keys(fields).some((field) => field !== 'disabled')) await updateClient(tx, id, input, change)
          if (fields.disabled) await setClientDisabled(tx, id, disabled ?? false, change)
        },
      },
    ]
  })
}

function compareUsers({ users = [] }: Declaration, current: Current): Step[] {
  return users.flatMap((user): Step[] => {
    const { email, disabled, password: _, passwordHash: __, ...input } = user
    const record = current.users.get(emailKey(email) ?? '')
    if (!record)
      return [
        {
          action: 'create',
          kind: 'user',
          id: email,
          async run(tx, change, secrets) {
            const created = await createUser(
              tx,
              { ...input, email, passwordHash: await secrets.passwordHash(user) },
              change,
            )
            if (disabled) await setUserDisabled(tx, created.id, true, change)
          },
        },
      ]
    const from = userSettings(record)
    const to = { ...from, ...definedOnly(input), ...definedOnly({ disabled }) }
    const fields = differences(from, { ...to, roles: [...to.roles].sort() })
    if (!fields) return []
    return [
      {
        action: 'update',
        kind: 'user',
        id: record.email,
        fields,
        async run(tx, change) {
          if (Object.keys(fields).some((field) => field !== 'disabled')) await updateUser(tx, record.id, input, change)
          if (fields.disabled) await setUserDisabled(tx, record.id, disabled ?? false, change)
        },
      },
    ]
  })
}

/** What the file may say about a person, as it is now. */
export function userSettings(record: UserRecord) {
  const { name, givenName, familyName, picture, locale, zoneinfo } = record
  return {
    disabled: record.disabledAt !== null,
    emailVerified: record.emailVerifiedAt !== null,
    ...{ name, givenName, familyName, picture, locale, zoneinfo },
    attributes: record.attributes as Record<string, unknown>,
    roles: record.roles.map((role) => role.roleName).sort(),
  }
}

/** Routes are tried in order: those of the file first, in its order, then the others in theirs. */
function compareRoutes({ routes }: Declaration, current: Current): Step[] {
  if (!routes) return []
  const staying = [...current.routes].filter(([name]) => !current.removed.routes.has(name))
  const listed = new Set(routes.map(routeName))
  const others = staying.filter(([name]) => !listed.has(name)).map(([, record]) => describeRoute(record))
  const wanted = [...routes, ...others]
  const sameOrder = staying.map(([name]) => name).join('\n') === wanted.map(routeName).join('\n')
  return wanted.flatMap((route, index): Step[] => {
    const { host, method, path } = route
    const key = { host, method, path }
    const id = routeName(route)
    const record = current.routes.get(id)
    // Gaps are no difference: only the order counts.
    const input = { ...route, position: sameOrder && record ? record.position : index }
    const run: Step['run'] = (tx, change) => putRoute(tx, key, input, change)
    if (!record) return [{ action: 'create', kind: 'route', id, run }]
    const fields = differences(routeSettings(record), settleRoute(input))
    return fields ? [{ action: 'update', kind: 'route', id, fields, run }] : []
  })
}

function describeRoute({ host, method, path, apiIdentifier, scopes, roles, relation, anonymous }: RouteRecord) {
  return { host, method, path, api: apiIdentifier, scopes, roles, relation: relation ?? undefined, anonymous }
}

/** In the reverse order of dependence. */
function removalSteps({ removed }: Current): Step[] {
  const step = (kind: Step['kind'], id: string, run: Step['run']): Step => ({ action: 'delete', kind, id, run })
  return [
    ...[...removed.routes].map(([id, route]) =>
      step('route', id, (tx, change) =>
        deleteRoute(tx, { host: route.host, method: route.method, path: route.path }, change),
      ),
    ),
    ...[...removed.users.values()].map((user) =>
      step('user', user.email, (tx, change) => deleteUser(tx, user.id, change)),
    ),
    ...[...removed.clients.keys()].map((id) => step('client', id, (tx, change) => deleteClient(tx, id, change))),
    ...[...removed.roles.keys()].map((name) => step('role', name, (tx, change) => deleteRole(tx, name, change))),
    ...[...removed.apis.keys()].map((id) => step('api', id, (tx, change) => deleteApi(tx, id, change))),
  ]
}

/** Checks every name against what will be there once all is done. */
function refuseReferences(declaration: Declaration, current: Current): void {
  const { apis = [], roles = [], clients = [], users = [], routes = [] } = declaration
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
      within(`clients[${index}]`, [...unknownScopes(client.apis ?? {}, scopes), ...missingSecret(client, current)]),
    ),
    ...users.flatMap((user, index) => within(`users[${index}]`, unknownRoles(user.roles ?? [], roleNames))),
    ...routes.flatMap((route, index) =>
      within(`routes[${index}]`, [
        ...unknownRouteScopes(route.api, route.scopes ?? [], scopes),
        ...unknownRoles(route.roles ?? [], roleNames),
      ]),
    ),
  ]
  if (flaws.length > 0) throw new InvalidDeclaration(flaws)
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

/** @returns undefined when nothing differs. */
function differences(from: Record<string, unknown>, to: Record<string, unknown>) {
  const fields = Object.keys(to).filter((name) => canonical(from[name]) !== canonical(to[name]))
  if (fields.length === 0) return undefined
  return Object.fromEntries(fields.map((name) => [name, { from: from[name], to: to[name] }]))
}

/** One text for equal JSON: the database keeps no order of names. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner) =>
    inner && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
}

function definedOnly<T extends object>(input: T) {
  return Object.fromEntries(Object.entries(input).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}
