// Outside production only: two clients and an API key to try things with. Their secrets are derived from SECRET_KEY, so that every
// start can print them again while the database holds hashes, as for every other secret.

import { revokeApiKey, storeApiKey } from '#src/access/api-keys/api-keys.ts'
import { findApiKeyId, listApiKeys } from '#src/access/api-keys/reads.ts'
import { formatApiKey } from '#src/access/api-keys/values.ts'
import type { Change } from '#src/audit/change.ts'
import { createClient, deleteClient, findClient, updateClient } from '#src/clients/clients.ts'
import { demoServiceId, demoWebId } from '#src/clients/demo-clients.ts'
import { addClientSecret, removeClientSecret, verifyClientSecret } from '#src/clients/secrets.ts'
import { type ClientInput, clientSettings, settleClient } from '#src/clients/settings.ts'
import type { Database, Prisma } from '#src/db/database.ts'
import { withConfigurationLock } from '#src/db/transaction.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'

export type Demo = {
  service: { clientId: string; clientSecret: string }
  web: { clientId: string; clientSecret: string; redirectUri: string }
  apiKey: string
}

const redirectUri = 'http://localhost:4000/callback'

export function ensureDemo(database: Database, secretKeys: SecretKeys, ownApi: string, change: Change): Promise<Demo> {
  const derive = (what: string) => secretKeys.mac('demo', what)
  const serviceSecret = derive('client-secret').toString('base64url')
  const webSecret = derive('web-client-secret').toString('base64url')
  const apiKey = formatApiKey(derive('api-key'))
  return withConfigurationLock(database, async (tx) => {
    const service: ClientInput = { type: 'service', name: 'Demo service', apis: { [ownApi]: ['clients:read'] } }
    const web: ClientInput = {
      type: 'web',
      name: 'Demo web application',
      redirectUris: [redirectUri],
      postLogoutRedirectUris: ['http://localhost:4000/'],
      scopes: ['openid', 'profile', 'email', 'offline_access'],
    }
    await ensureClient(tx, demoServiceId, service, serviceSecret, change)
    await ensureClient(tx, demoWebId, web, webSecret, change)
    await ensureApiKey(tx, ownApi, apiKey, change)
    return {
      service: { clientId: demoServiceId, clientSecret: serviceSecret },
      web: { clientId: demoWebId, clientSecret: webSecret, redirectUri },
      apiKey,
    }
  })
}

/** A database that once served development must not bring its demo clients to production. */
export function removeDemo(database: Database, change: Change): Promise<void> {
  return withConfigurationLock(database, async (tx) => {
    for (const id of [demoServiceId, demoWebId]) if (await findClient(tx, id)) await deleteClient(tx, id, change)
  })
}

async function ensureClient(
  tx: Prisma.TransactionClient,
  id: string,
  input: ClientInput,
  secret: string,
  change: Change,
): Promise<void> {
  const record = await findClient(tx, id)
  if (!record) {
    await createClient(tx, { ...input, id }, [{ value: secret }], change)
    return
  }
  if (JSON.stringify(clientSettings(record)) !== JSON.stringify(settleClient(id, input)))
    await updateClient(tx, id, input, change)
  if (record.secrets.length === 1 && verifyClientSecret(record, secret, change.now)) return
  for (const old of record.secrets) await removeClientSecret(tx, id, old.id, change)
  await addClientSecret(tx, id, { value: secret }, change)
}

/** Keys derived from a SECRET_KEY that has gone are revoked. A demo key that an operator revoked stays revoked; one that ended with all
 *  tokens of its client is made again, since its value cannot be another. */
async function ensureApiKey(
  tx: Prisma.TransactionClient,
  ownApi: string,
  value: string,
  change: Change,
): Promise<void> {
  const owner = { clientId: demoServiceId }
  const [keys, id, client] = [
    await listApiKeys(tx, { owner }, change.now),
    await findApiKeyId(tx, value),
    await findClient(tx, demoServiceId),
  ]
  for (const key of keys) if (key.id !== id && !key.revokedAt) await revokeApiKey(tx, key.id, change)
  if (client?.disabledAt || (id !== undefined && keys.find((key) => key.id === id)?.state !== 'ended')) return
  if (id !== undefined) await tx.apiKey.delete({ where: { id } })
  const apis = { [ownApi]: ['clients:read'] }
  await storeApiKey(tx, value, { name: 'Demo key', apis, owner, expiresAt: null }, change)
}
