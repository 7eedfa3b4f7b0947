// The API and the clients that the examples are written for.
import { createApi } from '#src/apis/apis.ts'
import { createClient } from '#src/clients/clients.ts'
import type { TestServer } from '#test/support/server.ts'

export const ordersApi = 'https://api.example.com/orders'
export const reports = { id: 'reports-service', secret: 'space, plus+ and colon: 0123456789abcdef' }

/** `reports-service` may read orders and nothing else. */
export async function createOrdersApi({ app, database }: TestServer): Promise<void> {
  const { prisma } = database
  const change = { now: new Date(), actor: { kind: 'system' as const } }
  await createApi(
    prisma,
    {
      identifier: ordersApi,
      name: 'Orders',
      scopes: {
        'orders:read': 'See orders',
        'orders:write': 'Create and change orders',
        'orders:delete': 'Delete orders',
      },
    },
    change,
  )
  await createClient(
    prisma,
    { id: reports.id, type: 'service', apis: { [ordersApi]: ['orders:read', 'orders:write'] } },
    [{ value: reports.secret }],
    change,
  )
  await app.providers.refresh()
}

/** @returns the answer of the token endpoint to client_credentials for the orders API. */
export async function requestToken(issuer: string, scope = 'orders:read'): Promise<string> {
  const pair = `${encodeURIComponent(reports.id)}:${encodeURIComponent(reports.secret)}`
  const response = await fetch(`${issuer}/oauth/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(pair)}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope, resource: ordersApi }),
  })
  const body = (await response.json()) as { access_token?: string }
  if (!body.access_token) throw new Error(`no token: ${response.status} ${JSON.stringify(body)}`)
  return body.access_token
}
