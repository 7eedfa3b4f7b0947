// A try at a factor of the hosted sign-in, for every screen that takes one: reserve, evaluate, then succeed() or recordFailure().
import type { Context } from 'koa'
import { accountKey, type GuessFactor, type Reservation, reserveGuess } from '#src/factors/guessing.ts'
import { requestOf } from '#src/http/request-context.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import type { InteractionDeps } from './step.ts'

/** @param what.person the key of the email address that the try is for, known here or not. Undefined: the factor says whose it is.
 *  @returns refused: evaluate nothing, and answer 429 (http/limited.ts). */
export async function reserve(
  ctx: Context,
  { database, secretKeys, devices, now }: InteractionDeps,
  { factor, person }: { factor: GuessFactor; person: string | undefined },
): Promise<Reservation> {
  const reservation = await reserveGuess(database, {
    factor,
    account: person === undefined ? undefined : accountKey(secretKeys, person),
    address: ctx.ip,
    device: person === undefined ? undefined : devices.find(ctx, person),
    now: now(),
  })
  // A line, not a row: strangers must not be able to fill the table.
  if (!reservation.allowed) requestOf(ctx).log.info({ event: 'guess.refused', factor })
  return reservation
}

/** With a person (whose first factor was right) it is a failure of a factor, without one of a login. Never what was typed: people type their password into the first field. Of a limit there is one row each time that it closes.
 *  @param failure.reservation of a try that was evaluated. */
export function recordFailure(
  pending: PendingInteraction,
  factor: GuessFactor,
  failure: { reason: string; userId?: string | undefined; reservation?: Reservation & { allowed: true } },
): void {
  const { reason, userId, reservation } = failure
  const actor = userId === undefined ? {} : { actor: { kind: 'user', id: userId } as const }
  const entry = { outcome: 'failure', clientId: pending.client.id, ...actor } as const
  const event = userId === undefined ? 'login.failed' : 'factor.failed'
  currentUnit().audit({ ...entry, event, detail: { factor, reason } })
  for (const { limit, seconds } of reservation?.closes ?? [])
    currentUnit().audit({ ...entry, event: 'login.limited', detail: { factor, limit, seconds } })
}
