// /api/v1/users
import type { Context } from 'koa'
import { permissionsOf } from '#src/access/roles.ts'
import { type Caller, forbidden } from '#src/admin/guard.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { accountKeys, liftGuessLimits, listGuessLimits } from '#src/factors/guessing.ts'
import { findStanding, listFactors, resetFactors } from '#src/factors/second-factors.ts'
import { describeUser, findUser, isUserId, listUsers, UserNotFound, type UserRecord } from '#src/users/users.ts'
import { badQuery, pageOf, readPage, readQuery } from './page.ts'
import { type AdminApiDeps, type AdminRoute, changeBy } from './route.ts'

export function userRoutes({ database: { prisma }, ownApi, secretKeys, now }: AdminApiDeps): AdminRoute[] {
  return [
    { method: 'get', path: '/users', scope: 'users:read', handle: list },
    { method: 'get', path: '/users/:id', scope: 'users:read', handle: show },
    // What failed guesses closed for strangers and devices (docs/decisions/020).
    { method: 'get', path: '/users/:id/guess-limits', scope: 'users:read', handle: showLimits },
    { method: 'post', path: '/users/:id/unlock', scope: 'users:write', handle: unlock },
    { method: 'get', path: '/users/:id/factors', scope: 'users:read', handle: showFactors },
    { method: 'delete', path: '/users/:id/factors', scope: 'users:write', handle: reset },
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
    ctx.body = describeUser(await find(ctx))
  }

  async function showLimits(ctx: Context): Promise<void> {
    readQuery(ctx, [])
    const { emailKey } = await find(ctx)
    ctx.body = { data: await listGuessLimits(prisma, accountKeys(secretKeys, emailKey), now()) }
  }

  async function unlock(ctx: Context): Promise<void> {
    readQuery(ctx, [])
    const { id, emailKey } = await find(ctx)
    const lifted = await liftGuessLimits(
      prisma,
      { id, accounts: accountKeys(secretKeys, emailKey) },
      changeBy(ctx, now()),
    )
    ctx.body = { id, lifted }
  }

  async function find(ctx: Context): Promise<UserRecord> {
    const record = await findUser(prisma, ctx.params.id)
    if (!record) throw new UserNotFound(ctx.params.id)
    return record
  }

  async function showFactors(ctx: Context): Promise<void> {
    readQuery(ctx, [])
    const standing = await findStanding(prisma, ctx.params.id)
    if (!standing) throw new UserNotFound(ctx.params.id)
    const { userId, recoveryCodes } = standing
    ctx.body = { data: await listFactors(prisma, userId), recoveryCodes }
  }

  /** For somebody who lost their device: takes the factors away, gives nothing. */
  async function reset(ctx: Context): Promise<void> {
    readQuery(ctx, [])
    const { id } = ctx.params
    if (!isUserId(id)) throw new UserNotFound(id)
    const { scopes } = ctx.state.caller as Caller
    // Whoever may do more than the caller would be weakened by somebody below them.
    const more = [...(await permissionsOf(prisma, id))].find(
      (name) => Object.hasOwn(ownScopes, name) && !scopes.has(name),
    )
    if (more !== undefined) throw forbidden(ownApi, more)
    ctx.body = { removed: await resetFactors(prisma, id, changeBy(ctx, now())) }
  }
}
