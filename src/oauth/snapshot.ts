// The configuration as one process holds it: apis, signing keys, and the clients it has met, all of one version. Immutable in
// effect: when the version in the database moves, a new snapshot and a new engine take over (oauth/provider.ts).
import type { PolicySet } from '#src/access/policies/cedar.ts'
import { readPolicies, readPolicyGrounds } from '#src/access/policies/reads.ts'
import type { PolicyGround } from '#src/access/policies/schema.ts'
import { readApis, readRoutes } from '#src/apis/api-reads.ts'
import type { ApiRecord } from '#src/apis/apis.ts'
import type { RouteRecord } from '#src/apis/routes.ts'
import { readClient } from '#src/clients/client-reads.ts'
import type { ClientRecord } from '#src/clients/settings.ts'
import type { StoredSettings } from '#src/config.ts'
import { readConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { loadSigningKeys, type SigningKey } from '#src/keys/signing-keys.ts'
import { createRecent } from '#src/recent.ts'
import { readSettings } from '#src/settings/settings.ts'

export type Snapshot = Readonly<{
  version: bigint
  apis: ReadonlyMap<string, ApiRecord>
  /** Of gateways, in the order in which they are tried. */
  routes: readonly RouteRecord[]
  keys: readonly SigningKey[]
  /** In force, by API. */
  policies: ReadonlyMap<string, PolicySet>
  /** Of APIs that say what their policies may speak of, also while none is in force. */
  policyGrounds: ReadonlyMap<string, PolicyGround>
  /** Of the configuration, what is stored. */
  settings: StoredSettings
  /** undefined for unknown and disabled clients: both are the same to the protocol. */
  client(id: string): Promise<ClientRecord | undefined>
  /** The same for a client this request has already asked for, where the engine's hooks cannot wait. */
  knownClient(id: string): ClientRecord | undefined
}>

/** @param builtIn clients that are code: they are there without a row. */
export async function readSnapshot(
  database: Database,
  secretKeys: SecretKeys,
  builtIn: readonly ClientRecord[] = [],
): Promise<Snapshot> {
  // The version first: a change that lands in between is then read twice, never missed.
  const version = await readConfigurationVersion(database)
  const [apis, routes, keys, policies, policyGrounds, settings] = await Promise.all([
    readApis(database),
    readRoutes(database),
    loadSigningKeys(database, secretKeys),
    readPolicies(database),
    readPolicyGrounds(database),
    readSettings(database),
  ])
  const clients = createRecent<ClientRecord>(10_000)
  const ours = new Map(builtIn.map((record) => [record.id, record]))

  return Object.freeze({
    version,
    apis: new Map(apis.map((api) => [api.identifier, api])),
    routes,
    keys,
    policies,
    policyGrounds,
    settings,
    async client(id: string) {
      const known = ours.get(id) ?? clients.get(id)
      if (known) return known
      const record = await readClient(database, id)
      if (!record || record.disabledAt) return undefined // unknown ids are not remembered: guesses must not fill the memory
      clients.set(id, record)
      return record
    },
    knownClient: (id: string) => ours.get(id) ?? clients.get(id),
  })
}

/** `<issuer>/api`. Where it is not there (nothing has started on this database yet) nobody has a scope of it. */
export function ownApiOf({ apis }: Pick<Snapshot, 'apis'>, issuer: string): ApiRecord {
  const identifier = `${issuer}/api`
  return apis.get(identifier) ?? { ...nothingThere, identifier }
}

const nothingThere: Omit<ApiRecord, 'identifier'> = {
  name: '',
  accessTokenFormat: 'opaque',
  accessTokenTtlSeconds: 0,
  accept: [],
  hideExistence: false,
  tokenClaims: [],
  objects: {},
  generation: 0,
  builtIn: true,
  createdAt: new Date(0),
  updatedAt: new Date(0),
  scopes: [],
  introspectionClients: [],
}

/** The scopes of one API that a client is registered for. */
export function allowedScopes(record: ClientRecord, apiIdentifier: string): string[] {
  return record.apiScopes.filter((row) => row.apiIdentifier === apiIdentifier).map((row) => row.scopeName)
}

/** Those of one API in a request that names no scope. */
export function defaultScopes(record: ClientRecord, apiIdentifier: string): string[] {
  return record.apiScopes
    .filter((row) => row.apiIdentifier === apiIdentifier && row.byDefault)
    .map((row) => row.scopeName)
}
