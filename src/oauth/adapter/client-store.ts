// Clients come from the configuration in memory (oauth/snapshot.ts); the engine never writes them.
import type { Adapter, AdapterPayload } from 'oidc-provider'
import { type AdapterDeps, unsupported } from './store.ts'

export function clientStore({ findClientMetadata }: AdapterDeps): Adapter {
  return {
    async find(clientId) {
      return (await findClientMetadata(clientId)) as AdapterPayload | undefined
    },
    upsert: unsupported('Client', 'upsert'),
    destroy: unsupported('Client', 'destroy'),
    consume: unsupported('Client', 'consume'),
    revokeByGrantId: unsupported('Client', 'revokeByGrantId'),
    findByUid: unsupported('Client', 'uid'),
    findByUserCode: unsupported('Client', 'user code'),
  }
}
