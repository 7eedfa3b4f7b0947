// Writes what is there as a declarative file. The same content gives the same bytes, wherever it is and whenever it was made:
// entries are sorted here, not by the database (whose order depends on its locale), defaults are left out, and there is no time
// in it. Secrets appear as hashes, those of webhooks not at all. Sallyport's own API, role and demo clients are left out; API keys belong to their owners.
import { stringify } from 'yaml'
import { listRoles, ownerRole, roleSettings, settleRole } from '#src/access/roles.ts'
import { apiSettings, listApis, settleApi } from '#src/apis/apis.ts'
import { listRoutes, routeSettings } from '#src/apis/routes.ts'
import { listClients } from '#src/clients/clients.ts'
import { isDemoClient } from '#src/clients/demo-clients.ts'
import { logoHash } from '#src/clients/logos.ts'
import { type ClientInput, clientSettings, settleClient } from '#src/clients/settings.ts'
import { hasSecret } from '#src/clients/types.ts'
import type { Db } from '#src/db/database.ts'
import { listEndpoints } from '#src/webhooks/endpoints.ts'
import { policyKey } from './check.ts'
import { exportSettings } from './kinds/settings.ts'
import { userSettings } from './kinds/users.ts'
import type { DeclaredRoute } from './schema.ts'
import { writeSecretHash } from './secret-hash.ts'

const header = `# Sallyport configuration. Apply it with: sallyport apply --file FILE
# A section that is removed is not looked at; an empty list says "none" to --prune.
# Webhooks are without their secrets: one that is made of this file gets a new one (sallyport webhooks rotate).
`

/** @returns YAML that parseDeclaration reads. */
export async function exportDeclaration(db: Db): Promise<string> {
  const declaration = {
    apis: await exportApis(db),
    roles: await exportRoles(db),
    clients: await exportClients(db),
    users: await exportUsers(db),
    routes: await exportRoutes(db),
    policies: await exportPolicies(db),
    webhooks: await exportWebhooks(db),
    ...(await exportSettings(db)),
  }
  return header + write(declaration)
}

/** A section of a file that parseDeclaration reads. */
export const writeRoutes = (routes: readonly DeclaredRoute[]): string => write({ routes })

function write(value: unknown): string {
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false, version: '1.2', schema: 'core' })
}

async function exportApis(db: Db) {
  const records = (await listApis(db)).filter((record) => !record.builtIn)
  const schemas = new Map((await db.policySchema.findMany()).map((row) => [row.apiIdentifier, row.declared]))
  return sortedBy(records, (record) => record.identifier).map((record) => ({
    identifier: record.identifier,
    name: record.name,
    ...withoutDefaults(apiSettings(record), settleApi({ name: record.name })),
    ...withoutDefaults({ policySchema: schemas.get(record.identifier) ?? {} }, { policySchema: {} }),
  }))
}

async function exportRoles(db: Db) {
  const records = (await listRoles(db)).filter((record) => record.name !== ownerRole)
  return sortedBy(records, (record) => record.name).map((record) => ({
    name: record.name,
    ...withoutDefaults(roleSettings(record), settleRole({})),
  }))
}

async function exportClients(db: Db) {
  const records = (await listClients(db)).filter((record) => !isDemoClient(record.id))
  return sortedBy(records, (record) => record.id).map((record) => {
    const settings = clientSettings(record)
    const { type, profile } = settings
    const hashes = sortedBy(record.secrets.map(writeSecretHash), (written) => JSON.stringify(written))
    const only = hashes.length === 1 && typeof hashes[0] === 'string' ? hashes[0] : hashes
    return {
      clientId: record.id,
      type,
      ...(record.disabledAt ? { disabled: true } : {}),
      ...(hasSecret(type) ? { clientSecretHash: only } : {}),
      // `profile` decides other defaults, so the defaults of this one are what is compared with.
      ...withoutDefaults(
        { ...settings, profile },
        { ...settleClient(record.id, { type, profile } as ClientInput), profile: 'default' },
      ),
      ...(record.logo === null ? {} : { logo: logoHash(record.logo) }),
    }
  })
}

async function exportUsers(db: Db) {
  const records = await db.user.findMany({
    include: { roles: true, credentials: { where: { kind: 'password' }, select: { secret: true } } },
  })
  const nobody = { disabled: false, emailVerified: false, attributes: {}, roles: [] }
  return sortedBy(records, (record) => record.emailKey).map((record) => ({
    email: record.email,
    ...(record.credentials[0] ? { passwordHash: record.credentials[0].secret } : {}),
    ...withoutDefaults(userSettings(record), nobody),
  }))
}

async function exportRoutes(db: Db) {
  return (await listRoutes(db)).map((record) => {
    const { position: _, api, ...settings } = routeSettings(record)
    const { host, method, path } = record
    return {
      host,
      method,
      path,
      api,
      ...withoutDefaults(settings, { scopes: [], roles: [], acrValues: [], anonymous: false }),
    }
  })
}

/** The state is always there: left out, it would be what it is wherever the file is applied. */
async function exportPolicies(db: Db) {
  const records = await db.policy.findMany()
  return sortedBy(records, ({ apiIdentifier: api, name }) => policyKey({ api, name })).map(
    ({ apiIdentifier: api, name, description, state, text }) => ({
      api,
      name,
      ...(description === '' ? {} : { description }),
      state,
      text,
    }),
  )
}

/** Without their secrets: they sign, so a hash would be of no use and the secret itself has no place in a file. Whoever applies the file elsewhere gets
 *  new ones, and tells the receivers by rotating them (docs/webhooks.md). */
async function exportWebhooks(db: Db) {
  return sortedBy(await listEndpoints(db), ({ name }) => name).map(({ name, url, types, description, disabledAt }) => ({
    name,
    url,
    types,
    ...(description === '' ? {} : { description }),
    ...(disabledAt ? { disabled: true } : {}),
  }))
}

/** In the order of `settings`; names inside objects are sorted. Null is always a default. */
function withoutDefaults(
  settings: Record<string, unknown>,
  defaults: Record<string, unknown>,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(settings)
      .filter(([name, value]) => value !== null && JSON.stringify(value) !== JSON.stringify(defaults[name]))
      .map(([name, value]) => [name, sorted(value)]),
  )
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    sortedBy(Object.entries(value), ([name]) => name).map(([name, inner]) => [name, sorted(inner)]),
  )
}

function sortedBy<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...items].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0))
}
