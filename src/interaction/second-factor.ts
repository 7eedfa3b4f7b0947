// The second factor: a code from an app, a recovery code, or a passkey (passkey.ts). One field takes either code; the two cannot be
// mistaken for one another.
import type { Context } from 'koa'
import { looksLikeRecoveryCode, useRecoveryCode } from '#src/factors/recovery-code.ts'
import { verifyTotp } from '#src/factors/totp.ts'
import { readForm } from '#src/http/form.ts'
import { type Said, sayLimited } from '#src/http/limited.ts'
import { template } from '#src/http/render.ts'
import { allowFormRedirect } from '#src/http/security-headers.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { emailKey } from '#src/users/users.ts'
import { readDecision } from './decision.ts'
import { recordFailure, reserve } from './guess.ts'
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
  code: 'app' | 'recovery' | undefined
  passkey: PasskeyPart | undefined
  /** Leads to the other kind of code. */
  other: { href: string; to: 'app' | 'recovery' } | undefined
  error: string | undefined
}

type At = Extract<Position, { step: 'second-factor' }>

const secondFactorPage = template<SecondFactorPage>('interaction/second-factor')
const withRecoveryCode = '?with=recovery-code'

export function secondFactorStep(deps: StepDeps): Step<At> {
  const { database, interactions, renderer, csrf, secretKeys, signIn, now } = deps
  return {
    async show(ctx, pending, at) {
      render(ctx, pending, at, 200)
    },

    async submit(ctx, pending, at) {
      const form = await readForm(ctx)
      csrf.verify(ctx, form, { binding: pending.uid })
      const decision = readDecision(form, ['restart'])
      if (decision === 'deny') return seeOther(ctx, await interactions.deny(ctx, pending))
      if (decision === 'restart') return seeOther(ctx, signIn.restart(pending))

      const code = form.get('code')?.trim() ?? ''
      if (at.passkeyOnly)
        return render(ctx, pending, at, 422, {
          key: 'secondFactor.error.passkeyOnly',
          args: { client: pending.client.name },
        })
      if (code === '') return render(ctx, pending, at, 422, { key: 'secondFactor.error.missing' })

      const recovery = looksLikeRecoveryCode(code)
      const factor = recovery ? 'recovery_code' : 'totp'
      const { userId, email } = at.person
      const reservation = await reserve(ctx, deps, { factor, person: emailKey(email) })
      if (!reservation.allowed) return render(ctx, pending, at, 429, sayLimited(ctx, reservation.retryAfterSeconds))
      const attempt = { userId, code, now: now() }
      const ok = recovery
        ? (await useRecoveryCode(database.prisma, attempt)).ok
        : await verifyTotp(database.prisma, secretKeys, attempt)
      if (ok) {
        await reservation.succeed()
        return seeOther(ctx, await signIn.proveMore(ctx, pending, at, { factor }))
      }
      recordFailure(pending, factor, { reason: 'wrong_code', userId, reservation })
      ctx.set('WWW-Authenticate', 'Form realm="Sallyport"') // RFC 9110 15.5.2, as at login
      render(ctx, pending, at, 401, { key: recovery ? 'secondFactor.error.recovery' : 'secondFactor.error.code' })
    },
  }

  function render(ctx: Context, pending: PendingInteraction, at: At, status: number, wrong?: Said): void {
    const { t } = renderer.translator(ctx, pending.uiLocales)
    const { person, passkeyOnly } = at
    const usable = { app: person.totp > 0 && !passkeyOnly, recovery: person.recoveryCodes > 0 && !passkeyOnly }
    const asked = ctx.query.with === 'recovery-code' ? 'recovery' : 'app'
    const code = usable[asked]
      ? asked
      : usable.app
        ? 'app'
        : asked === 'recovery' && usable.recovery
          ? 'recovery'
          : undefined
    const action = stepUrl(pending, 'second-factor')
    const other =
      code !== 'recovery' && usable.recovery
        ? { href: action + withRecoveryCode, to: 'recovery' as const }
        : code === 'recovery' && (usable.app || person.passkeys > 0)
          ? { href: action, to: 'app' as const }
          : undefined
    allowFormRedirect(ctx, pending.redirectOrigin)
    renderer.renderPage(
      ctx,
      secondFactorPage,
      {
        action: action + (code === 'recovery' ? withRecoveryCode : ''),
        csrf: csrf.token(ctx, pending.uid),
        person: person.email,
        initial: [...(person.name ?? person.email)][0] ?? '',
        client: pending.client.name,
        code,
        passkey: person.passkeys > 0 ? passkeyPart(ctx, pending, 'get', code === undefined) : undefined,
        other,
        error: wrong && t(wrong.key, wrong.args),
      },
      { status, uiLocales: pending.uiLocales, languageSwitch: true },
    )
  }
}
