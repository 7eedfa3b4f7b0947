// What a journey finds in place: an API, people, clients. Made through the rooms, as an operator would.
import { randomBytes } from 'node:crypto'
import { createApi } from '#src/apis/apis.ts'
import type { Change } from '#src/audit/change.ts'
import { createClient } from '#src/clients/clients.ts'
import type { ClientInput } from '#src/clients/settings.ts'
import type { Database } from '#src/db/database.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createUser } from '#src/users/users.ts'

export const orders = 'https://api.example.com/orders'
export const stock = 'https://api.example.com/stock'
export const password = 'correct horse battery staple'
export const change = (): Change => ({ now: new Date(), actor: { kind: 'cli' } })

const callback = 'https://shop.example/cb'

export async function furnish(server: { database: Database; settle: () => Promise<unknown> }) {
  const { prisma } = server.database
  await createApi(
    prisma,
    {
      identifier: orders,
      name: 'Orders',
      scopes: { 'orders:read': 'See orders', 'orders:write': 'Create and change orders' },
    },
    change(),
  )
  await createApi(
    prisma,
    { identifier: stock, name: 'Stock', accessTokenFormat: 'opaque', scopes: { 'stock:read': 'See stock' } },
    change(),
  )
  const alice = await createUser(
    prisma,
    {
      email: 'Alice@Example.com',
      emailVerified: true,
      name: 'Alice Liddell',
      passwordHash: await hashPassword(password),
    },
    change(),
  )
  const secret = randomBytes(32).toString('base64url')
  const client = async (id: string, input: Partial<ClientInput> & { type: ClientInput['type'] }) => {
    await createClient(
      prisma,
      { id, name: id, ...input } as ClientInput & { id: string },
      ['web', 'service'].includes(input.type ?? '') ? [{ value: secret }] : [],
      change(),
    )
    return id
  }
  await client('shop-web', {
    type: 'web',
    redirectUris: [callback],
    postLogoutRedirectUris: ['https://shop.example/bye'],
    scopes: ['openid', 'profile', 'email', 'offline_access'],
    apis: { [orders]: ['orders:read', 'orders:write'], [stock]: ['stock:read'] },
  })
  await client('shop-spa', {
    type: 'spa',
    redirectUris: [callback],
    scopes: ['openid', 'profile', 'email'],
    apis: { [orders]: ['orders:read'] },
  })
  await client('reports', { type: 'service', apis: { [orders]: ['orders:read'], [stock]: ['stock:read'] } })
  await client('orders-api', { type: 'service' })
  await client('stock-api', { type: 'service' })
  await prisma.apiIntrospectionClient.createMany({
    data: [
      { apiIdentifier: orders, clientId: 'orders-api' },
      { apiIdentifier: stock, clientId: 'stock-api' },
    ],
  })
  await prisma.configurationVersion.update({ where: { id: 1 }, data: { version: { increment: 1 } } })
  await server.settle()
  return { alice, secret, callback }
}
