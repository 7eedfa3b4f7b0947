// In the place of the sign-in, when an administrator asked to act as somebody (src/impersonation): their session ends, and one of the person begins
// that says who is behind it. No form: the console asked for everything that is needed a moment ago, in this browser.
import type { Context } from 'koa'
import { HttpError } from '#src/http/http-error.ts'
import { beginImpersonation } from '#src/impersonation/begin.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { changeBy, type InteractionDeps } from './step.ts'

/** @returns where the browser goes. @throws HttpError 410 it was not this browser that asked, it was too long ago, or it is not allowed any more. */
export async function becomeSomebody(
  ctx: Context,
  pending: PendingInteraction,
  deps: InteractionDeps,
): Promise<string> {
  const { database, interactions, config, csrf, secretKeys } = deps
  const { impersonation: id, userId, sessionUid } = pending
  const change = changeBy(ctx, deps)
  const begun =
    config.impersonation === 'on' && id !== undefined && userId !== undefined && sessionUid !== undefined
      ? await beginImpersonation(database.prisma, { id, by: { userId, sessionUid } }, change, { secretKeys })
      : undefined
  if (!begun || id === undefined)
    throw new HttpError({
      status: 410,
      error: 'interaction_expired',
      description: 'This was not asked for in this browser in the last minute, or is not allowed any more.',
      screen: 'expired',
    })
  const at = Math.floor(change.now.getTime() / 1000)
  const next = await interactions.completeImpersonation(ctx, pending, { id, userId: begun.userId, at })
  csrf.rotate(ctx)
  return next
}
