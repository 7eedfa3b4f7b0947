// What follows from a first factor: the sign-in goes on, unless the address has to be verified first. Everything that proves who
// somebody is ends here, so no way in passes it by.
import type { Context } from 'koa'
import { beginVerification } from '#src/factors/verification.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { findUser } from '#src/users/users.ts'
import { changeBy, type StepDeps, stepUrl } from './step.ts'

/** @param proof.factor what the person has shown: a password, or a code from their mail.
 *  @returns where the browser goes. @throws MailLimitReached when a code would have to be mailed and must not. */
export async function proveFirst(
  deps: StepDeps,
  ctx: Context,
  pending: PendingInteraction,
  proof: { userId: string; factor: 'password' | 'email_code' },
): Promise<string> {
  const { database, config, renderer, secretKeys, signIn } = deps
  if (config.emailVerification === 'required') {
    const user = await findUser(database.prisma, proof.userId)
    if (user && user.emailVerifiedAt === null) {
      const { locale } = renderer.translator(ctx, pending.uiLocales)
      await beginVerification(database, { uid: pending.uid, user, locale }, changeBy(ctx, deps), secretKeys)
      return stepUrl(pending, 'verify')
    }
  }
  return signIn.proveFirst(ctx, pending, proof)
}
