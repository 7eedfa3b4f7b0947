// /api/v1/revocations: the feed for verifiers that check JWTs by themselves (docs/revocation.md), and revoking.
import { z } from 'zod'
import { countRevocation } from '#src/tokens/dry-run.ts'
import { readFeed } from '#src/tokens/feed.ts'
import { UnknownCursor } from '#src/tokens/feed-cursor.ts'
import { findTokenId } from '#src/tokens/lineage.ts'
import { type RevocationTarget, revoke } from '#src/tokens/revoke.ts'
import { badQuery, pageOf } from './page.ts'
import { type AdminApiDeps, type AdminRoute, instant, route } from './route.ts'

export function revocationRoutes({ database }: AdminApiDeps): AdminRoute[] {
  return [
    // A scope of its own: an API that follows the feed has no business with who holds which token.
    route('get /revocations', {
      scope: 'revocations:read',
      name: 'followRevocations',
      summary: 'Follow what was revoked, for verifiers that check JWTs by themselves',
      query: pageOf({}, { usual: 200, most: 1000, longest: 6000 }),
      answer: z.strictObject({ data: z.array(entry), next: text }),
      async handle({ ctx, query: { after, limit } }) {
        const { data, next } = await readFeed(database, after, limit).catch((error: unknown) => {
          throw error instanceof UnknownCursor
            ? badQuery('after must be the value of next in an answer of this feed.')
            : error
        })
        // What follows a cursor is told by where it leads: a poll that finds nothing new gets no body. Compared here and not by
        // ctx.fresh, which believes the `Cache-Control: no-cache` that fetch() adds to every conditional request.
        const etag = `W/"${next}"`
        ctx.set({ 'Cache-Control': 'private, no-cache', ETag: etag })
        const held = ctx.get('If-None-Match').split(/\s*,\s*/)
        if (held.includes(etag)) ctx.status = 304
        return { data: data.map(({ age: _, ...shown }) => shown), next }
      },
    }),

    route('post /revocations', {
      scope: 'tokens:write',
      name: 'revoke',
      summary: 'Revoke a token, or everything of a grant, session, person, application, API or before a moment',
      body: z.strictObject({ target, dryRun: z.boolean().default(false) }),
      answer: z.union([
        z.strictObject({ dryRun: z.literal(true), counts: z.record(text, z.union([z.number(), z.boolean()])) }),
        z.strictObject({ dryRun: z.literal(false), revoked: z.literal(true) }),
      ]),
      async handle({ db, body, change }) {
        const meant = await settleTarget(body.target)
        if (body.dryRun) return { dryRun: true as const, counts: await countRevocation(db, meant) }
        await revoke(db, meant, change)
        return { dryRun: false as const, revoked: true as const }
      },
    }),
  ]

  async function settleTarget(target: Target): Promise<RevocationTarget> {
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

type Target = z.infer<typeof target>

const text = z.string()
const target = z
  .strictObject({
    token: text.optional().meta({ description: 'Its value, or the id of its row.' }),
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
  })
const entry = z.strictObject({
  kind: text.meta({ description: 'token, grant, user, client, api or all' }),
  target: text.meta({ description: 'The jti, the claim grant_id, sub, client_id, aud, or *' }),
  issuedBefore: z.number().meta({ description: 'Epoch seconds: a token whose iat is not greater is over.' }),
  at: instant,
})
