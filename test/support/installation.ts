// What a journey finds in place: an API, people, clients. An operator's installation made it, exported it, and this one applied the export: so
// every journey also shows that what comes out of a file is an installation in which everything works.
import { randomBytes } from 'node:crypto'
import { inject } from 'vitest'
import { createApi } from '#src/apis/apis.ts'
import type { Change } from '#src/audit/change.ts'
import { createClient } from '#src/clients/clients.ts'
import type { ClientInput } from '#src/clients/settings.ts'
import type { Database } from '#src/db/database.ts'
import { applyDeclaration } from '#src/declaration/apply.ts'
import { exportDeclaration } from '#src/declaration/export.ts'
import { parseDeclaration } from '#src/declaration/parse.ts'
import { hashPassword } from '#src/factors/password.ts'
import { createUser, findUserByEmail } from '#src/users/users.ts'

export const orders = 'https://api.example.com/orders'
export const stock = 'https://api.example.com/stock'
export const password = 'correct horse battery staple'
export const change = (): Change => ({ now: new Date(), actor: { kind: 'cli' } })

const callback = 'https://shop.example/cb'

/** The file, and what no export holds: the secret of its clients. */
export type Exported = { file: string; secret: string }

/** @param server with nothing in it yet. */
export async function furnish(server: { database: Database; settle: () => Promise<unknown> }) {
  const { prisma } = server.database
  // Outside a test run (npm run chaos) nobody has exported anything.
  const { file, secret } = process.env.VITEST ? inject('installation') : await exportOf(server.database)
  await applyDeclaration(server.database, parseDeclaration(file), { ...change(), prune: false, dryRun: false })
  await server.settle()
  const alice = await findUserByEmail(prisma, 'alice@example.com')
  if (!alice) throw new Error('nobody is called Alice in the export')
  return { alice, secret, callback }
}

/** Furnishes a database through the rooms, as an operator would, and exports it. */
export async function exportOf(database: Database): Promise<Exported> {
  const { prisma } = database
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
  await createUser(
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
  return { file: await exportDeclaration(prisma), secret }
}
