// What is there, before anything is compared.
import type { PolicySchemaInput } from '#src/access/policies/schema.ts'
import { listRoles, ownerRole } from '#src/access/roles.ts'
import { listApis } from '#src/apis/apis.ts'
import { listRoutes, routeName } from '#src/apis/routes.ts'
import { listClients } from '#src/clients/clients.ts'
import { isDemoClient } from '#src/clients/demo-clients.ts'
import { findLogosByHash } from '#src/clients/logos.ts'
import type { Db } from '#src/db/database.ts'
import { emailKey } from '#src/users/users.ts'
import { type EndpointRecord, listEndpoints } from '#src/webhooks/endpoints.ts'
import { policyKey } from './check.ts'
import { type Logos, logoHashesIn } from './logos.ts'
import type { Declaration } from './schema.ts'

export type Current = Awaited<ReturnType<typeof readCurrent>>

/** What is there, by name, and what `prune` would remove of it. Sallyport's own API, role and demo clients are no part of it. */
export async function readCurrent(
  db: Db,
  declaration: Declaration,
  { prune, logos = new Map() }: { prune: boolean; logos?: Logos },
) {
  const { apis, roles, clients, users, routes, policies, webhooks } = declaration
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
  const { policyRecords, policySchemas } = await readPoliciesOf(db, declaration, prune)
  const webhookRecords: EndpointRecord[] = webhooks ? await listEndpoints(db) : []
  const known = {
    apis: new Map(apiRecords.map((record) => [record.identifier, record])),
    roles: new Map(roleRecords.map((record) => [record.name, record])),
    clients: new Map(clientRecords.map((record) => [record.id, record])),
    users: new Map(userRecords.map((record) => [record.emailKey, record])),
    routes: new Map(routeRecords.map((record) => [routeName(record), record])),
    policies: new Map(
      policyRecords.map((record) => [policyKey({ api: record.apiIdentifier, name: record.name }), record]),
    ),
    webhooks: new Map(webhookRecords.map((record) => [record.name, record])),
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
    /** What is declared, by API. */
    policySchemas,
    /** By what stands in the file. */
    logos: new Map([...(await findLogosByHash(db, logoHashesIn(declaration))), ...logos]),
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
      policies: unlisted(policies, known.policies, (policies ?? []).map(policyKey), none),
      webhooks: unlisted(
        webhooks,
        known.webhooks,
        (webhooks ?? []).map(({ name }) => name),
        none,
      ),
    },
    /** Roles that go and are held by people the file does not speak of. */
    heldRoles: prune && roles ? await rolesHeldByOthers(db, declaration, known) : new Map<string, number>(),
  }
}

/** Of the APIs that the file says something about in this; of all where those that it does not list are to go. */
async function readPoliciesOf(db: Db, { apis = [], policies }: Declaration, prune: boolean) {
  const named = [
    ...apis.flatMap((api) => (api.policySchema ? [api.identifier] : [])),
    ...(policies ?? []).map(({ api }) => api),
  ]
  const where = prune && policies ? {} : { apiIdentifier: { in: [...new Set(named)] } }
  if (named.length === 0 && !(prune && policies))
    return { policyRecords: [], policySchemas: new Map<string, PolicySchemaInput>() }
  const policyRecords = await db.policy.findMany({ where })
  const schemas = await db.policySchema.findMany({ where })
  return {
    policyRecords,
    policySchemas: new Map(schemas.map((row) => [row.apiIdentifier, row.declared as PolicySchemaInput])),
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
