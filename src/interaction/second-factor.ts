// The second factor: a code from an app or a text message (out-of-band.ts), a recovery code, or a passkey (passkey.ts), an approval on a phone. One field takes
// every code; none can be mistaken for another.
import type { Context } from 'koa'
import { readCode } from '#src/factors/one-time-code.ts'
import { listPhones, takeSmsCode } from '#src/factors/phone.ts'
import { findPush, listPushDevices } from '#src/factors/push.ts'
import { looksLikeRecoveryCode, useRecoveryCode } from '#src/factors/recovery-code.ts'
import { verifyTotp } from '#src/factors/totp.ts'
import { readForm } from '#src/http/form.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { type Said, sayLimited } from '#src/http/limited.ts'
import { template } from '#src/http/render.ts'
import { allowFormRedirect } from '#src/http/security-headers.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { emailKey } from '#src/users/users.ts'
import { readDecision } from './decision.ts'
import { recordFailure, reserve } from './guess.ts'
import { askForApproval, readPush, sendCode, takeApproval, withPhone, withPush } from './out-of-band.ts'
import { type PasskeyPart, passkeyPart } from './passkey.ts'
import type { Position } from './sign-in.ts'
import { type Step, type StepDeps, seeOther, stepUrl } from './step.ts'

export type SecondFactorPage = {
  action: string
  csrf: string
  person: string
  initial: string
  client: string
  /** What the field is for; undefined: there is none. */
  code: Mode | undefined
  /** Where a code was sent. */
  sentTo: string | undefined
  /** Where one can be sent. */
  phones: readonly { id: string; ending: string; again: boolean }[]
  /** The number to carry over into the app, while it waits for that. */
  push: string | undefined
  /** Where a request for approval can be sent. */
  devices: readonly { id: string; name: string | undefined; again: boolean }[]
  passkey: PasskeyPart | undefined
  /** Leads to the other kinds of proof. */
  other: { href: string; to: 'app' | 'recovery' } | undefined
  /** Not to be asked again in this browser; undefined: it is not offered. */
  remember: { days: number; checked: boolean } | undefined
  error: string | undefined
  problem: string | undefined
}

type At = Extract<Position, { step: 'second-factor' }>
type Mode = 'app' | 'recovery' | 'sms'
type Wrong = { code?: Said; problem?: Said }

const secondFactorPage = template<SecondFactorPage>('interaction/second-factor')
const withRecoveryCode = '?with=recovery-code'

export function secondFactorStep(deps: StepDeps): Step<At> {
  const { database, interactions, renderer, csrf, secretKeys, signIn, remembered, now } = deps
  return {
    async show(ctx, pending, at) {
      await render(ctx, pending, at, { status: 200 })
    },

    async submit(ctx, pending, at) {
      const form = await readForm(ctx)
      csrf.verify(ctx, form, { binding: pending.uid })
      const decision = readDecision(form, ['restart', 'approved'])
      if (decision === 'deny') return seeOther(ctx, await interactions.deny(ctx, pending))
      if (decision === 'restart') return seeOther(ctx, signIn.restart(pending))

      const remember = at.rememberable && form.get('remember') === 'yes'
      const again = (status: number, wrong: Wrong) => render(ctx, pending, at, { status, wrong, remember })
      if (at.passkeyOnly)
        return again(422, {
          code: { key: 'secondFactor.error.passkeyOnly', args: { client: pending.client.name } },
        })
      const phoneId = form.get('send')
      if (phoneId !== undefined) {
        const refused = await sendCode(ctx, deps, { pending, at, phoneId })
        return refused && again(refused.status, refused)
      }
      const deviceId = form.get('push')
      if (deviceId !== undefined) {
        const refused = await askForApproval(ctx, deps, { pending, at, deviceId })
        return refused && again(refused.status, refused)
      }
      if (decision === 'approved') return approved(ctx, pending, at, remember)
      const code = form.get('code')?.trim() ?? ''
      if (code === '') return again(422, { code: { key: 'secondFactor.error.missing' } })

      const factor = factorOf(code, at, ctx)
      const { userId, email } = at.person
      const reservation = await reserve(ctx, deps, { factor, person: emailKey(email) })
      if (!reservation.allowed) return again(429, { code: sayLimited(ctx, reservation.retryAfterSeconds) })
      const wrong = await evaluate(pending, at, { factor, code })
      if (wrong === undefined) {
        await reservation.succeed()
        return seeOther(ctx, await signIn.proveMore(ctx, pending, at, { factor, remember }))
      }
      recordFailure(pending, factor, { reason: 'wrong_code', userId, reservation })
      ctx.set('WWW-Authenticate', 'Form realm="Sallyport"') // RFC 9110 15.5.2, as at login
      await again(401, { code: { key: wrong } })
    },
  }

  /** The person says that they approved: so did their phone, or not. */
  async function approved(ctx: Context, pending: PendingInteraction, at: At, remember: boolean): Promise<void> {
    const push = readPush(deps, pending, at)
    const state = push ? await takeApproval(deps, pending, at, push) : 'over'
    if (state === 'approved')
      return seeOther(ctx, await signIn.proveMore(ctx, pending, at, { factor: 'push', remember }))
    await render(ctx, pending, at, { status: 422, wrong: { problem: { key: `push.error.${state}` } }, remember })
  }

  /** @returns undefined for the right code, which is used up then, or else what to say. */
  async function evaluate(
    pending: PendingInteraction,
    { person: { userId }, progress }: At,
    { factor, code }: { factor: CodeFactor; code: string },
  ): Promise<MessageKey | undefined> {
    const attempt = { userId, code, now: now() }
    switch (factor) {
      case 'recovery_code':
        return (await useRecoveryCode(database.prisma, attempt)).ok ? undefined : 'secondFactor.error.recovery'
      case 'totp':
        return (await verifyTotp(database.prisma, secretKeys, attempt)) ? undefined : 'secondFactor.error.code'
      case 'sms_code': {
        const { phone: phoneId } = progress
        if (phoneId === undefined) return 'phone.error.over'
        const verdict = await takeSmsCode(database.prisma, secretKeys, { ...attempt, phoneId, uid: pending.uid })
        return verdict === 'right' ? undefined : `phone.error.${verdict}`
      }
    }
  }

  async function render(
    ctx: Context,
    pending: PendingInteraction,
    at: At,
    { status, wrong = {}, remember = false }: { status: number; wrong?: Wrong; remember?: boolean },
  ): Promise<void> {
    const { t } = renderer.translator(ctx, pending.uiLocales)
    const { person, passkeyOnly, progress } = at
    const phones = person.phones > 0 && !passkeyOnly ? await listPhones(database.prisma, person.userId) : []
    const devices = person.pushDevices > 0 && !passkeyOnly ? await listPushDevices(database.prisma, person.userId) : []
    const push = devices.length > 0 && ctx.query.with === 'push' ? readPush(deps, pending, at) : undefined
    const state = push && (await findPush(database.prisma, { uid: pending.uid, id: push.id }, now()))
    const ended = state === 'refused' || state === 'over' ? ({ key: `push.error.${state}` } as const) : undefined
    const sentTo = phones.find(({ id }) => id === progress.phone)
    const usable = {
      app: person.totp > 0 && !passkeyOnly,
      recovery: person.recoveryCodes > 0 && !passkeyOnly,
      sms: sentTo !== undefined,
    }
    const code = push ? undefined : modeOf(ctx, usable)
    const action = stepUrl(pending, 'second-factor')
    const others =
      usable.app || person.passkeys > 0 || devices.length > (push ? 1 : 0) || phones.length > (code === 'sms' ? 1 : 0)
    const other =
      code !== 'recovery' && usable.recovery && !(push && others)
        ? { href: action + withRecoveryCode, to: 'recovery' as const }
        : (push || (code !== 'app' && code !== undefined)) && others
          ? { href: action, to: 'app' as const }
          : undefined
    const say = (said: Said | undefined) => said && t(said.key, said.args)
    allowFormRedirect(ctx, pending.redirectOrigin)
    renderer.renderPage(
      ctx,
      secondFactorPage,
      {
        action: action + (code === 'recovery' ? withRecoveryCode : code === 'sms' ? withPhone : push ? withPush : ''),
        csrf: csrf.token(ctx, pending.uid),
        person: person.email,
        initial: [...(person.name ?? person.email)][0] ?? '',
        client: pending.client.name,
        code,
        sentTo: code === 'sms' ? sentTo?.ending : undefined,
        phones:
          code === 'recovery' ? [] : phones.map((phone) => ({ ...phone, again: code === 'sms' && phone === sentTo })),
        push: ended ? undefined : push?.number,
        devices:
          code === 'recovery'
            ? []
            : devices.map(({ id, name }) => ({
                id,
                name: devices.length > 1 ? (name ?? undefined) : undefined,
                again: id === push?.deviceId,
              })),
        passkey: person.passkeys > 0 ? passkeyPart(ctx, pending, 'get', code === undefined) : undefined,
        other,
        remember: at.rememberable ? { days: remembered.days, checked: remember } : undefined,
        error: code && say(wrong.code),
        problem: say(wrong.problem ?? (code ? undefined : wrong.code) ?? ended),
      },
      { status, uiLocales: pending.uiLocales, languageSwitch: true },
    )
  }
}

type CodeFactor = 'totp' | 'recovery_code' | 'sms_code'

/** The three have lengths of their own. What has none of them is taken for what the page asked for. */
function factorOf(code: string, { person }: At, ctx: Context): CodeFactor {
  if (looksLikeRecoveryCode(code)) return 'recovery_code'
  if (person.phones === 0) return 'totp'
  if (readCode(code) !== undefined || person.totp === 0) return 'sms_code'
  return ctx.query.with === 'phone' && code.replace(/\s/g, '').length !== 6 ? 'sms_code' : 'totp'
}

/** What was asked for, if there is such a code. */
function modeOf(ctx: Context, usable: Record<Mode, boolean>): Mode | undefined {
  const asked = ctx.query.with === 'recovery-code' ? 'recovery' : ctx.query.with === 'phone' ? 'sms' : 'app'
  if (usable[asked]) return asked
  return usable.app ? 'app' : undefined
}
