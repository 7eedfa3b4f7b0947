// A second factor for somebody who must have one and has none: a passkey, or an app on the phone. Open only after the first factor, and
// only while the person has nothing: who has a factor proves it, and adds more in their account.
import type { Context } from 'koa'
import { holdsSecondFactor } from '#src/factors/credentials.ts'
import { confirmTotp, createSeed, qrCode, totpUri } from '#src/factors/totp.ts'
import { readForm } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { template } from '#src/http/render.ts'
import { allowFormRedirect } from '#src/http/security-headers.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { readDecision } from './decision.ts'
import { type PasskeyPart, passkeyPart } from './passkey.ts'
import type { Position } from './sign-in.ts'
import { interactionUrl, type Step, type StepDeps, seeOther, stepUrl } from './step.ts'

export type EnrolmentPage = {
  action: string
  csrf: string
  client: string
  passkey: PasskeyPart
  /** An app would not be enough for what the application asks. */
  passkeyOnly: boolean
}

export type TotpEnrolmentPage = {
  action: string
  csrf: string
  qr: string
  /** For who cannot scan, in groups of four. */
  seed: string
  /** Opens the app where the app is on this device. */
  uri: string
  error: string | undefined
}

type At = Extract<Position, { step: 'enrolment' }>

const enrolmentPage = template<EnrolmentPage>('interaction/enrolment')
const totpPage = template<TotpEnrolmentPage>('interaction/enrolment-totp')

export function enrolmentStep({ interactions, renderer, csrf, signIn }: StepDeps): Step<At> {
  return {
    async show(ctx, pending, at) {
      allowFormRedirect(ctx, pending.redirectOrigin)
      renderer.renderPage(
        ctx,
        enrolmentPage,
        {
          action: stepUrl(pending, 'enrolment'),
          csrf: csrf.token(ctx, pending.uid),
          client: pending.client.name,
          passkey: passkeyPart(ctx, pending, 'create', true),
          passkeyOnly: at.passkeyOnly,
        },
        { uiLocales: pending.uiLocales, languageSwitch: true },
      )
    },

    async submit(ctx, pending, at) {
      const form = await readForm(ctx)
      csrf.verify(ctx, form, { binding: pending.uid })
      if (readDecision(form) === 'deny') return seeOther(ctx, await interactions.deny(ctx, pending))
      if (form.get('factor') !== 'totp' || at.passkeyOnly)
        throw new HttpError({
          status: 400,
          error: 'invalid_request',
          description: 'The field factor must be "totp"; a passkey is set up by the script of this page.',
          screen: 'interrupted',
        })
      signIn.keep(pending, { ...at.progress, seed: signIn.seal(pending, 'seed', createSeed()) })
      seeOther(ctx, stepUrl(pending, 'enrolment/totp'))
    },
  }
}

export function totpEnrolmentStep(deps: StepDeps): Step<At> & {
  showQrCode(ctx: Context, pending: PendingInteraction, at: At): void
} {
  const { database, renderer, csrf, secretKeys, relyingParty, signIn } = deps

  return {
    async show(ctx, pending, at) {
      const seed = seedOf(pending, at)
      if (seed === undefined) return seeOther(ctx, stepUrl(pending, 'enrolment'))
      render(ctx, pending, { seed, uri: uriOf(seed, at), status: 200 })
    },

    async submit(ctx, pending, at) {
      const form = await readForm(ctx)
      csrf.verify(ctx, form, { binding: pending.uid })
      if (readDecision(form, ['back']) === 'back') return seeOther(ctx, stepUrl(pending, 'enrolment'))
      const seed = seedOf(pending, at)
      if (seed === undefined) return seeOther(ctx, stepUrl(pending, 'enrolment'))
      const page = { seed, uri: uriOf(seed, at) }
      const code = form.get('code')?.trim() ?? ''
      if (code === '') return render(ctx, pending, { ...page, status: 422, wrong: 'secondFactor.error.missing' })

      const name = renderer.translator(ctx, pending.uiLocales).t('enrolment.totp.name')
      const { userId, generation } = at.person
      const change = signIn.changeBy(ctx, at.person)
      if (await confirmTotp(database.prisma, secretKeys, { userId, generation, seed, code, name, first: true }, change))
        return seeOther(ctx, await signIn.proveMore(ctx, pending, at, { factor: 'totp', enrolled: true }))
      // The form was sent twice, or another enrolment was faster: whatever waits now.
      if (await holdsSecondFactor(database.prisma, userId)) return seeOther(ctx, interactionUrl(pending))
      currentUnit().audit({
        event: 'factor.failed',
        outcome: 'failure',
        actor: { kind: 'user', id: userId },
        clientId: pending.client.id,
        detail: { factor: 'totp', enrolment: true },
      })
      render(ctx, pending, { ...page, status: 422, wrong: 'enrolment.totp.error' })
    },

    /** As an image of its own: the policy of the pages takes none that is written into them. */
    showQrCode(ctx, pending, at) {
      const seed = seedOf(pending, at)
      if (seed === undefined) return
      ctx.type = 'image/svg+xml'
      ctx.set('Cache-Control', 'no-store')
      ctx.body = qrCode(uriOf(seed, at))
    },
  }

  function seedOf(pending: PendingInteraction, at: At): string | undefined {
    if (at.passkeyOnly || at.progress.seed === undefined) return undefined
    return signIn.unseal(pending, 'seed', at.progress.seed)
  }

  function uriOf(seed: string, at: At): string {
    return totpUri(seed, { issuer: relyingParty.name, account: at.person.email })
  }

  function render(
    ctx: Context,
    pending: PendingInteraction,
    page: { seed: string; uri: string; status: number; wrong?: MessageKey },
  ): void {
    const { t } = renderer.translator(ctx, pending.uiLocales)
    const action = stepUrl(pending, 'enrolment/totp')
    allowFormRedirect(ctx, pending.redirectOrigin)
    renderer.renderPage(
      ctx,
      totpPage,
      {
        action,
        csrf: csrf.token(ctx, pending.uid),
        qr: `${action}/qr.svg`,
        seed: page.seed.replace(/.{4}(?=.)/g, '$& '),
        uri: page.uri,
        error: page.wrong && t(page.wrong),
      },
      { status: page.status, uiLocales: pending.uiLocales, languageSwitch: true },
    )
  }
}
