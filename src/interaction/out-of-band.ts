// The buttons of the second factor that send something to the person's phone. What is sent is counted, and only in the request it was sent
// for does the answer count.
import type { Context } from 'koa'
import type { Sending } from '#src/factors/out-of-band.ts'
import { sendSignInCode } from '#src/factors/phone.ts'
import { findPush, type PushState, sendPush, takePush } from '#src/factors/push.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { type Said, sayLimited } from '#src/http/limited.ts'
import { requestOf } from '#src/http/request-context.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { emailKey } from '#src/users/users.ts'
import { toLocale } from '#src/words.ts'
import type { Position } from './sign-in.ts'
import { type StepDeps, seeOther, stepUrl } from './step.ts'

type At = Extract<Position, { step: 'second-factor' }>

export const withPhone = '?with=phone'
export const withPush = '?with=push'

type Refused = { status: number; problem: Said }

/** Sends a code and leads to where it is typed.
 *  @param phoneId what the button said; somebody else's and one that is gone are passed over.
 *  @returns what went wrong, for the page. */
export async function sendCode(
  ctx: Context,
  { database, secretKeys, outOfBand: transport, renderer, signIn, now }: StepDeps,
  { pending, at, phoneId }: { pending: PendingInteraction; at: At; phoneId: string },
): Promise<Refused | undefined> {
  const { userId } = at.person
  const { locale } = renderer.translator(ctx, pending.uiLocales)
  const sending = await sendSignInCode(
    { database, secretKeys, transport, now: now() },
    { userId, phoneId, uid: pending.uid, locale: toLocale(locale) ?? 'en', askedFrom: ctx.ip },
  )
  if (!sending) {
    seeOther(ctx, stepUrl(pending, 'second-factor'))
    return undefined
  }
  if (sending.outcome !== 'sent') return refusalOf(ctx, sending, 'phone.error.unsent')
  requestOf(ctx).log.info({ event: 'out_of_band.sent', message: sending.id })
  currentUnit().audit({
    event: 'factor.code_sent',
    outcome: 'success',
    actor: { kind: 'user', id: userId },
    clientId: pending.client.id,
    detail: { factor: 'phone', message: sending.id },
  })
  signIn.keep(pending, { ...at.progress, phone: phoneId })
  seeOther(ctx, stepUrl(pending, 'second-factor') + withPhone)
  return undefined
}

/** Sends a request for approval and leads to the screen with its number.
 *  @param deviceId what the button said; somebody else's and one that is gone are passed over.
 *  @returns what went wrong, for the page. */
export async function askForApproval(
  ctx: Context,
  { database, secretKeys, devices, outOfBand: transport, renderer, signIn, now }: StepDeps,
  { pending, at, deviceId }: { pending: PendingInteraction; at: At; deviceId: string },
): Promise<Refused | undefined> {
  const { userId, email } = at.person
  const key = emailKey(email)
  const { locale } = renderer.translator(ctx, pending.uiLocales)
  const sending = await sendPush(
    { database, secretKeys, transport, now: now() },
    {
      ...{ userId, deviceId, uid: pending.uid, locale: toLocale(locale) ?? 'en', askedFrom: ctx.ip },
      application: pending.client.name,
      device: key === undefined ? undefined : devices.find(ctx, key),
    },
  )
  if (!sending) {
    seeOther(ctx, stepUrl(pending, 'second-factor'))
    return undefined
  }
  if (sending.outcome !== 'sent') return refusalOf(ctx, sending, 'push.error.unsent')
  requestOf(ctx).log.info({ event: 'out_of_band.sent', message: sending.id })
  currentUnit().audit({
    event: 'factor.push_sent',
    outcome: 'success',
    actor: { kind: 'user', id: userId },
    clientId: pending.client.id,
    detail: { message: sending.id },
  })
  const push = signIn.seal(pending, 'push', `${sending.id} ${sending.number} ${deviceId}`)
  signIn.keep(pending, { ...at.progress, push })
  seeOther(ctx, stepUrl(pending, 'second-factor') + withPush)
  return undefined
}

function refusalOf(ctx: Context, sending: Exclude<Sending, { outcome: 'sent' }>, unsent: MessageKey): Refused {
  if (sending.outcome === 'limited') return { status: 429, problem: sayLimited(ctx, sending.retryAfterSeconds) }
  requestOf(ctx).log.warn({ event: 'out_of_band.failed', message: sending.id, reason: sending.reason })
  return { status: 503, problem: { key: unsent } }
}

export type SentPush = { id: string; number: string; deviceId: string }

/** What was sent in this request. */
export function readPush({ signIn }: StepDeps, pending: PendingInteraction, { progress }: At): SentPush | undefined {
  if (progress.push === undefined) return undefined
  const [id = '', number = '', deviceId = ''] = signIn.unseal(pending, 'push', progress.push).split(' ')
  return { id, number, deviceId }
}

/** Takes the approval, if the person gave it. */
export async function takeApproval(
  { database: { prisma }, now }: StepDeps,
  pending: PendingInteraction,
  { person: { userId } }: At,
  push: SentPush,
): Promise<PushState> {
  const { uid } = pending
  if (await takePush(prisma, { userId, uid, id: push.id, now: now() })) return 'approved'
  const state = await findPush(prisma, { uid, id: push.id }, now())
  return state === 'approved' ? 'over' : state
}
