// Recovery codes, shown after the first second factor was set up and until the person says that they wrote them down.
import { readForm } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'
import { template } from '#src/http/render.ts'
import { allowFormRedirect } from '#src/http/security-headers.ts'
import type { Position } from './sign-in.ts'
import { type Step, type StepDeps, seeOther, stepUrl } from './step.ts'

export type RecoveryCodesPage = { action: string; csrf: string; codes: readonly string[] }

type At = Extract<Position, { step: 'recovery-codes' }>

const recoveryCodesPage = template<RecoveryCodesPage>('interaction/recovery-codes')

export function recoveryCodesStep({ renderer, csrf, signIn }: StepDeps): Step<At> {
  return {
    async show(ctx, pending, { progress }) {
      allowFormRedirect(ctx, pending.redirectOrigin)
      renderer.renderPage(
        ctx,
        recoveryCodesPage,
        {
          action: stepUrl(pending, 'recovery-codes'),
          csrf: csrf.token(ctx, pending.uid),
          codes: signIn.unseal(pending, 'codes', progress.codes ?? '').split(' '),
        },
        { uiLocales: pending.uiLocales, languageSwitch: true },
      )
    },

    async submit(ctx, pending, at) {
      const form = await readForm(ctx)
      csrf.verify(ctx, form, { binding: pending.uid })
      if (form.get('decision') !== 'continue')
        throw new HttpError({
          status: 400,
          error: 'invalid_request',
          description: 'The field decision must be "continue".',
          screen: 'interrupted',
        })
      seeOther(ctx, await signIn.codesWritten(ctx, pending, at))
    },
  }
}
