// What follows from a first factor: the sign-in goes on, unless the address has to be verified first. Everything that proves who
// somebody is ends here, so no way in passes it by.
import type { Context } from 'koa'
import { beginVerification } from '#src/factors/verification.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { findUser } from '#src/users/users.ts'
import { changeBy, type InteractionDeps, stepUrl } from './step.ts'

/** @returns where the browser goes. @throws MailLimitReached when a code would have to be mailed and must not. */
export async function proveFirst(
  deps: InteractionDeps,
  ctx: Context,
  pending: PendingInteraction,
  { userId }: { userId: string },
): Promise<string> {
  const { database, interactions, csrf, config, renderer, secretKeys } = deps
  if (config.emailVerification === 'required') {
    const user = await findUser(database.prisma, userId)
    if (user && user.emailVerifiedAt === null) {
      const { locale } = renderer.translator(ctx, pending.uiLocales)
      await beginVerification(database, { uid: pending.uid, user, locale }, changeBy(ctx, deps), secretKeys)
      return stepUrl(pending, 'verify')
    }
  }
  currentUnit().audit({
    event: 'login.succeeded',
    outcome: 'success',
    actor: { kind: 'user', id: userId },
    clientId: pending.client.id,
    detail: { amr: ['pwd'] },
  })
  const next = await interactions.completeLogin(ctx, pending, { userId, amr: ['pwd'] })
  csrf.rotate(ctx)
  return next
}
