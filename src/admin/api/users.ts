// /api/v1/users
import type { Context } from 'koa'
import { describeUser, findUser, listUsers, UserNotFound } from '#src/users/users.ts'
import { badQuery, pageOf, readPage, readQuery } from './page.ts'
import type { AdminApiDeps, AdminRoute } from './route.ts'

export function userRoutes({ database: { prisma } }: AdminApiDeps): AdminRoute[] {
  return [
    { method: 'get', path: '/users', scope: 'users:read', handle: list },
    { method: 'get', path: '/users/:id', scope: 'users:read', handle: show },
  ]

  async function list(ctx: Context): Promise<void> {
    const page = readPage(ctx)
    if (page.after !== undefined && !/^[0-9a-f-]{36}$/.test(page.after))
      throw badQuery('after must be the value of next in the page before.')
    const records = await listUsers(prisma, { after: page.after, limit: page.limit + 1 })
    ctx.body = pageOf(records, page, describeUser, (record) => record.id)
  }

  async function show(ctx: Context): Promise<void> {
    readQuery(ctx, [])
    const record = await findUser(prisma, ctx.params.id)
    if (!record) throw new UserNotFound(ctx.params.id)
    ctx.body = describeUser(record)
  }
}
