// /api/v1/clients
import type { Context } from 'koa'
import { findClient, listClients } from '#src/clients/clients.ts'
import { ClientNotFound } from '#src/clients/errors.ts'
import { describeClient } from '#src/clients/settings.ts'
import { pageOf, readPage, readQuery } from './page.ts'
import type { AdminApiDeps, AdminRoute } from './route.ts'

export function clientRoutes({ database: { prisma } }: AdminApiDeps): AdminRoute[] {
  return [
    { method: 'get', path: '/clients', scope: 'clients:read', handle: list },
    { method: 'get', path: '/clients/:id', scope: 'clients:read', handle: show },
  ]

  async function list(ctx: Context): Promise<void> {
    const page = readPage(ctx)
    const records = await listClients(prisma, { after: page.after, limit: page.limit + 1 })
    ctx.body = pageOf(records, page, describeClient, (record) => record.id)
  }

  async function show(ctx: Context): Promise<void> {
    readQuery(ctx, [])
    const record = await findClient(prisma, ctx.params.id)
    if (!record) throw new ClientNotFound(ctx.params.id)
    ctx.body = describeClient(record)
  }
}
