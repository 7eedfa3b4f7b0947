// Signing in by a code from a mail, in the place of the password: the address, then the code, both at one address. Which of the two is
// asked is the state of the pending request (factors/address-proof.ts) and nothing that a browser sends.
import type { Context } from 'koa'
import { dropProof, findProof } from '#src/factors/address-proof.ts'
import { beginEmailCode, finishEmailCode } from '#src/factors/email-code.ts'
import { readForm } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import type { Said } from '#src/http/limited.ts'
import { template } from '#src/http/render.ts'
import { allowFormRedirect } from '#src/http/security-headers.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { checkEmail } from '#src/users/users.ts'
import { limited, readCodeAnswer, renderCode, reserveCode, unlessTooMany } from './code.ts'
import { recordFailure } from './guess.ts'
import { renderMailOff } from './notice.ts'
import { changeBy, type InteractionDeps, type Step, type StepDeps, seeOther, stepUrl } from './step.ts'

export type EmailCodePage = {
  action: string
  back: string
  csrf: string
  client: string
  email: string
  errors: { email?: string }
  problem: string | undefined
}

type Wrong = { email?: MessageKey; problem?: Said }

const emailCodePage = template<EmailCodePage>('interaction/email-code')

/** @returns the address of this screen for the login page; undefined where nobody signs in by mail. */
export function emailCodeUrl({ config }: InteractionDeps, pending: PendingInteraction): string | undefined {
  return config.emailSignIn === 'on' && config.mail !== 'none' ? stepUrl(pending, 'email-code') : undefined
}

export function emailCodeStep(deps: StepDeps): Step {
  const { database, renderer, csrf, config, secretKeys, signIn, now } = deps
  const keyOf = ({ uid }: PendingInteraction) => ({ purpose: 'email_code', uid }) as const
  const find = (pending: PendingInteraction) => findProof(database.prisma, keyOf(pending), { secretKeys, now: now() })

  return {
    async show(ctx, pending) {
      if (isClosed(ctx, pending)) return
      const proof = await find(pending)
      if (proof) code(ctx, pending, { email: proof.email, status: 200 })
      else render(ctx, pending, { email: pending.loginHint ?? '' }, 200)
    },

    async submit(ctx, pending) {
      const form = await readForm(ctx)
      csrf.verify(ctx, form, { binding: pending.uid })
      if (isClosed(ctx, pending)) return
      const proof = await find(pending)
      const typed = form.get('code')
      // The login page's button sends what that page asks for; its password is not looked at.
      const email = (form.get('email') ?? form.get('identifier'))?.trim()
      // Back and once more from the first page, perhaps with another address: the code that was sent is void.
      if (typed === undefined && email !== undefined) {
        if (email !== '' || form.get('email') !== undefined) return begin(ctx, pending, email)
        return render(ctx, pending, { email }, 200)
      }
      if (!proof) return render(ctx, pending, { email: '', wrong: { problem: { key: 'code.error.over' } } }, 422)

      const answer = readCodeAnswer(form)
      if (answer === 'restart') {
        await dropProof(database.prisma, keyOf(pending))
        return render(ctx, pending, { email: proof.email }, 200)
      }
      if (answer === 'resend') {
        const refusal = await mail(ctx, pending, proof.email)
        return code(ctx, pending, { email: proof.email, ...(refusal ?? { status: 200, sent: true }) })
      }
      await take(ctx, pending, typed ?? '', proof.email)
    },
  }

  async function begin(ctx: Context, pending: PendingInteraction, email: string): Promise<void> {
    const wrong = (key: MessageKey) => render(ctx, pending, { email, wrong: { email: key } }, 422)
    if (email === '') return wrong('login.error.identifierMissing')
    if (checkEmail('email', email).length > 0) return wrong('setup.error.emailInvalid')
    const refusal = await mail(ctx, pending, email)
    if (refusal) return render(ctx, pending, { email, wrong: { problem: refusal.problem } }, refusal.status)
    seeOther(ctx, stepUrl(pending, 'email-code'))
  }

  async function take(ctx: Context, pending: PendingInteraction, typed: string, email: string): Promise<void> {
    if (typed.trim() === '') return code(ctx, pending, { email, status: 422, wrong: 'code.error.missing' })
    const reservation = await reserveCode(ctx, deps, { factor: 'email_code', email })
    if (!reservation.allowed) return code(ctx, pending, { email, ...limited(ctx, reservation.retryAfterSeconds) })
    const result = await finishEmailCode(database, { uid: pending.uid, code: typed }, changeBy(ctx, deps), secretKeys)
    if (typeof result === 'object') {
      await reservation.succeed()
      const { userId } = result
      return seeOther(ctx, await signIn.proveFirst(ctx, pending, { userId, factor: 'email_code' }))
    }
    recordFailure(pending, 'email_code', { reason: result, reservation })
    code(ctx, pending, { email, status: 422, wrong: `code.error.${result}` })
  }

  async function mail(ctx: Context, pending: PendingInteraction, email: string) {
    const { locale } = renderer.translator(ctx, pending.uiLocales)
    return unlessTooMany(ctx, () =>
      beginEmailCode(database, { uid: pending.uid, email, locale }, changeBy(ctx, deps), secretKeys),
    )
  }

  /** @returns true when the page says that there is no mail. @throws HttpError 404 where nobody signs in by mail */
  function isClosed(ctx: Context, pending: PendingInteraction): boolean {
    if (config.emailSignIn === 'off')
      throw new HttpError({ status: 404, error: 'not_found', description: 'There is nothing at this address.' })
    if (config.mail !== 'none') return false
    renderMailOff(ctx, renderer, stepUrl(pending, 'login'), pending.uiLocales)
    return true
  }

  function code(
    ctx: Context,
    pending: PendingInteraction,
    page: { email: string; status: number; wrong?: MessageKey; problem?: Said; sent?: boolean },
  ): void {
    const words = { title: 'recovery.codeTitle', restart: 'code.otherAddress' } as const
    renderCode(ctx, deps, pending, { step: 'email-code', ...words, ...page })
  }

  function render(
    ctx: Context,
    pending: PendingInteraction,
    { email, wrong = {} }: { email: string; wrong?: Wrong },
    status: number,
  ): void {
    const { t } = renderer.translator(ctx, pending.uiLocales)
    allowFormRedirect(ctx, pending.redirectOrigin)
    renderer.renderPage(
      ctx,
      emailCodePage,
      {
        action: stepUrl(pending, 'email-code'),
        back: stepUrl(pending, 'login'),
        csrf: csrf.token(ctx, pending.uid),
        client: pending.client.name,
        email,
        errors: wrong.email ? { email: t(wrong.email) } : {},
        problem: wrong.problem && t(wrong.problem.key, wrong.problem.args),
      },
      { status, uiLocales: pending.uiLocales, languageSwitch: true },
    )
  }
}
