// /api/v1/revocations: the feed for verifiers that check JWTs by themselves (docs/revocation.md), and revoking.
import type { Context } from 'koa'
import { z } from 'zod'
import { readJson } from '#src/http/json-body.ts'
import { countRevocation } from '#src/tokens/dry-run.ts'
import { readFeed } from '#src/tokens/feed.ts'
import { UnknownCursor } from '#src/tokens/feed-cursor.ts'
import { findTokenId } from '#src/tokens/lineage.ts'
import { type RevocationTarget, revoke } from '#src/tokens/revoke.ts'
import { badQuery, readPage, readQuery } from './page.ts'
import { type AdminApiDeps, type AdminRoute, changeBy } from './route.ts'

export function revocationRoutes({ database, now }: AdminApiDeps): AdminRoute[] {
  return [
    // A scope of its own: an API that follows the feed has no business with who holds which token.
    { method: 'get', path: '/revocations', scope: 'revocations:read', handle: follow },
    { method: 'post', path: '/revocations', scope: 'tokens:write', handle: end },
  ]

  async function follow(ctx: Context): Promise<void> {
    const { after, limit } = readPage(ctx, { usual: 200, most: 1000, longest: 6000 })
    const { data, next } = await readFeed(database, after, limit).catch((error: unknown) => {
      throw error instanceof UnknownCursor
        ? badQuery('after must be the value of next in an answer of this feed.')
        : error
    })
    // What follows a cursor is told by where it leads: a poll that finds nothing new gets no body. Compared here and not by
    // ctx.fresh, which believes the `Cache-Control: no-cache` that fetch() adds to every conditional request.
    const etag = `W/"${next}"`
    ctx.set({ 'Cache-Control': 'private, no-cache', ETag: etag })
    if (
      ctx
        .get('If-None-Match')
        .split(/\s*,\s*/)
        .includes(etag)
    ) {
      ctx.status = 304
      return
    }
    ctx.body = { data: data.map(({ age: _, ...entry }) => entry), next }
  }

  async function end(ctx: Context): Promise<void> {
    readQuery(ctx, [])
    const { target, dryRun = false } = await readJson(ctx, order)
    const meant = await settleTarget(target)
    if (dryRun) ctx.body = { dryRun, counts: await countRevocation(database.prisma, meant) }
    else {
      await revoke(database.prisma, meant, changeBy(ctx, now()))
      ctx.body = { dryRun, revoked: true }
    }
  }

  async function settleTarget(target: z.infer<typeof order>['target']): Promise<RevocationTarget> {
    if (target.token !== undefined) return { kind: 'token', id: await findTokenId(database, target.token) }
    if (target.grant !== undefined) return { kind: 'grant', id: target.grant }
    if (target.session !== undefined) return { kind: 'session', uid: target.session }
    if (target.user !== undefined) return { kind: 'user', id: target.user }
    if (target.client !== undefined) return { kind: 'client', id: target.client }
    if (target.api !== undefined) return { kind: 'api', identifier: target.api }
    if (target.before !== undefined)
      return { kind: 'before', moment: target.before === 'now' ? 'now' : new Date(target.before) }
    if (target.consent !== undefined)
      return { kind: 'consent', userId: target.consent.user, clientId: target.consent.client }
    throw new Error('the schema let a target through that names nothing')
  }
}

const text = z.string()
const order = z.strictObject({
  target: z
    .strictObject({
      /** Its value, or the id of its row. */
      token: text.optional(),
      grant: text.optional(),
      session: text.optional(),
      consent: z.strictObject({ user: text, client: text }).optional(),
      user: text.optional(),
      client: text.optional(),
      api: text.optional(),
      /** With its offset from UTC: a moment without one means another hour to everybody who reads it. */
      before: z.union([z.literal('now'), z.iso.datetime({ offset: true })]).optional(),
    })
    .refine((target) => Object.keys(target).length === 1, {
      message: 'The field "target" must name one of token, grant, session, consent, user, client, api and before.',
    }),
  dryRun: z.boolean().optional(),
})
