// The configuration as one process holds it: apis, signing keys, and the clients it has met, all of one version. Immutable in
// effect: when the version in the database moves, a new snapshot and a new engine take over (oauth/provider.ts).
import { LRUCache } from 'lru-cache'
import { type ApiRecord, findAllApis } from '#src/apis/apis.ts'
import { findClient } from '#src/clients/clients.ts'
import type { ClientRecord } from '#src/clients/settings.ts'
import { readConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Database } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import { loadSigningKeys, type SigningKeyPair } from '#src/keys/signing-keys.ts'

export type Snapshot = Readonly<{
  version: bigint
  apis: ReadonlyMap<string, ApiRecord>
  keys: readonly SigningKeyPair[]
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
  const version = await readConfigurationVersion(database.prisma)
  const [apis, keys] = await Promise.all([findAllApis(database.prisma), loadSigningKeys(database.prisma, secretKeys)])
  const clients = new LRUCache<string, ClientRecord>({ max: 10_000 })
  const ours = new Map(builtIn.map((record) => [record.id, record]))

  return Object.freeze({
    version,
    apis: new Map(apis.map((api) => [api.identifier, api])),
    keys,
    async client(id: string) {
      const known = ours.get(id) ?? clients.get(id)
      if (known) return known
      const record = await findClient(database.prisma, id)
      if (!record || record.disabledAt) return undefined // unknown ids are not remembered: guesses must not fill the memory
      clients.set(id, record)
      return record
    },
    knownClient: (id: string) => ours.get(id) ?? clients.get(id),
  })
}

/** The scopes of one API that a client is registered for. */
export function allowedScopes(record: ClientRecord, apiIdentifier: string): string[] {
  return record.apiScopes.filter((row) => row.apiIdentifier === apiIdentifier).map((row) => row.scopeName)
}
