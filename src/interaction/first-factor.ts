// An address that has to be verified before its owner is in (EMAIL_VERIFICATION=required). It stands in front of the order of
// sign-in.ts: whatever first factor somebody proved, by whatever way in, ends here, and goes on when the address is verified.
import type { Context } from 'koa'
import type { AddressProof } from '#src/factors/address-proof.ts'
import type { FactorKind } from '#src/factors/assurance.ts'
import { beginVerification } from '#src/factors/verification.ts'
import { HttpError } from '#src/http/http-error.ts'
import { MailLimitReached } from '#src/mail/outbox.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { findUser } from '#src/users/users.ts'
import type { SignIn } from './sign-in.ts'
import { changeBy, type InteractionDeps, stepUrl } from './step.ts'

export function verifyFirst(signIn: SignIn, deps: InteractionDeps): SignIn {
  const { config, database, renderer, secretKeys } = deps
  return {
    ...signIn,
    async proveFirst(ctx, pending, proof) {
      if (config.emailVerification === 'optional') return signIn.proveFirst(ctx, pending, proof)
      const user = await findUser(database.prisma, proof.userId)
      if (!user || user.emailVerifiedAt !== null) return signIn.proveFirst(ctx, pending, proof)
      const { locale } = renderer.translator(ctx, pending.uiLocales)
      const { factor, amr } = proof
      const ask = { uid: pending.uid, user, locale, proven: { factor, ...(amr ? { amr: amr.join(' ') } : {}) } }
      try {
        await beginVerification(database, ask, changeBy(ctx, deps), secretKeys)
      } catch (error) {
        throw error instanceof MailLimitReached ? tooManyMails(error) : error
      }
      return stepUrl(pending, 'verify')
    },
  }
}

/** The sign-in goes on with the first factor that was proven before the address. @returns where the browser goes. */
export function goOn(
  signIn: SignIn,
  ctx: Context,
  pending: PendingInteraction,
  { userId, data }: { userId: string; data: AddressProof['data'] },
): Promise<string> {
  const { factor = 'password', amr } = data
  const methods = amr === undefined ? {} : { amr: amr.split(' ').filter(Boolean) }
  return signIn.proveFirst(ctx, pending, { userId, factor: factor as FactorKind, ...methods })
}

function tooManyMails({ retryAfterSeconds }: MailLimitReached): HttpError {
  return new HttpError({
    status: 429,
    error: 'too_many_requests',
    description: 'Too many mails were asked for in a short time. Wait a while, then try again.',
    headers: { 'Retry-After': String(retryAfterSeconds) },
    screen: 'busy',
  })
}
