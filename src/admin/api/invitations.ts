// /api/v1/invitations
import { z } from 'zod'
import { HttpError } from '#src/http/http-error.ts'
import { MailLimitReached } from '#src/mail/outbox.ts'
import { invite } from '#src/registration/invitations.ts'
import { type AdminApiDeps, type AdminRoute, instant, route } from './route.ts'

export function invitationRoutes({ config, secretKeys }: AdminApiDeps): AdminRoute[] {
  return [
    // Roles are not given this way: whoever may invite people may not therefore make administrators (CVE-2026-9795).
    route('post /invitations', {
      scope: 'users:write',
      name: 'invite',
      summary: 'Mail an invitation to create an account',
      body: z.strictObject({
        email: z.string(),
        days: z.number().int().optional(),
        language: z.enum(['en', 'de', 'fr']).optional().meta({ description: 'Of the mail.' }),
      }),
      answer: z.strictObject({ id: z.string(), email: z.string(), expiresAt: instant }),
      status: 201,
      once: true,
      async handle({ db, body: { email, days, language }, change }) {
        try {
          return await invite(db, { email, days, locale: language }, change, { secretKeys, signUp: config.signUp })
        } catch (error) {
          if (!(error instanceof MailLimitReached)) throw error
          throw new HttpError({
            status: 429,
            error: 'too_many_requests',
            description: 'Too many mails were asked for in a short time.',
            headers: { 'Retry-After': String(error.retryAfterSeconds) },
          })
        }
      },
    }),
  ]
}
