// /api/v1/tokens: one token and its family. A value travels in a body only: addresses end up in logs (RFC 9700 4.3.2).
import type { Context } from 'koa'
import { z } from 'zod'
import { readJson } from '#src/http/json-body.ts'
import { findFamily, findFamilyById } from '#src/tokens/lineage.ts'
import { rowIdOfValue } from '#src/tokens/row-ids.ts'
import { readQuery } from './page.ts'
import type { AdminApiDeps, AdminRoute } from './route.ts'

const question = z.strictObject({ token: z.string() })

export function tokenRoutes({ database }: AdminApiDeps): AdminRoute[] {
  return [
    { method: 'get', path: '/tokens/:id', scope: 'tokens:read', handle: show },
    { method: 'post', path: '/tokens/lookup', scope: 'tokens:read', handle: lookUp },
  ]

  async function show(ctx: Context): Promise<void> {
    readQuery(ctx, [])
    ctx.body = await findFamilyById(database, ctx.params.id)
  }

  async function lookUp(ctx: Context): Promise<void> {
    readQuery(ctx, [])
    const { token } = await readJson(ctx, question)
    ctx.body = await findFamily(database, [rowIdOfValue(token)])
  }
}
