// /api/v1/apis
import type { Context } from 'koa'
import { describeApi, listApis } from '#src/apis/apis.ts'
import { pageOf, readPage } from './page.ts'
import type { AdminApiDeps, AdminRoute } from './route.ts'

export function apiRoutes({ database: { prisma } }: AdminApiDeps): AdminRoute[] {
  return [{ method: 'get', path: '/apis', scope: 'apis:read', handle: list }]

  async function list(ctx: Context): Promise<void> {
    const page = readPage(ctx)
    const records = await listApis(prisma, { after: page.after, limit: page.limit + 1 })
    ctx.body = pageOf(records, page, describeApi, (record) => record.identifier)
  }
}
