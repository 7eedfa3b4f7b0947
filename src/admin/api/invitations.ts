// /api/v1/invitations
import type { Context } from 'koa'
import { z } from 'zod'
import { HttpError } from '#src/http/http-error.ts'
import { readJson } from '#src/http/json-body.ts'
import { MailLimitReached } from '#src/mail/outbox.ts'
import { invite } from '#src/registration/invitations.ts'
import { readQuery } from './page.ts'
import { type AdminApiDeps, type AdminRoute, changeBy } from './route.ts'

export function invitationRoutes({ database, config, secretKeys, now }: AdminApiDeps): AdminRoute[] {
  return [{ method: 'post', path: '/invitations', scope: 'users:write', handle: create }]

  /** Roles are not given this way: whoever may invite people may not therefore make administrators (CVE-2026-9795). */
  async function create(ctx: Context): Promise<void> {
    readQuery(ctx, [])
    const { email, days, language } = await readJson(ctx, body)
    try {
      const made = await invite(database.prisma, { email, days, locale: language }, changeBy(ctx, now()), {
        secretKeys,
        signUp: config.signUp,
      })
      ctx.status = 201
      ctx.body = made
    } catch (error) {
      if (!(error instanceof MailLimitReached)) throw error
      throw new HttpError({
        status: 429,
        error: 'too_many_requests',
        description: 'Too many mails were asked for in a short time.',
        headers: { 'Retry-After': String(error.retryAfterSeconds) },
      })
    }
  }
}

const body = z.strictObject({
  email: z.string(),
  days: z.number().int().optional(),
  language: z.enum(['en', 'de', 'fr']).optional(),
})
