// A forgotten password: the address, the code from a mail, a new password, all at one address. Which of the three is asked is the
// state of the pending request (factors/address-proof.ts) and nothing that a browser sends: a password without a code that was right in
// this very request is answered with the page that asks for what is missing.
import type { Context } from 'koa'
import { type AddressProof, answerProof, dropProof, findProof } from '#src/factors/address-proof.ts'
import { beginRecovery, finishRecovery } from '#src/factors/recovery.ts'
import { type Form, readForm } from '#src/http/form.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import type { Said } from '#src/http/limited.ts'
import { template } from '#src/http/render.ts'
import { allowFormRedirect } from '#src/http/security-headers.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { checkEmail, findUser } from '#src/users/users.ts'
import { limited, readCodeAnswer, renderCode, reserveCode, unlessTooMany } from './code.ts'
import { recordFailure } from './guess.ts'
import { renderMailOff } from './notice.ts'
import { choosePassword } from './password-choice.ts'
import { changeBy, type Step, type StepDeps, seeOther, stepUrl } from './step.ts'

export type RecoveryPage = {
  action: string
  back: string
  csrf: string
  email: string
  errors: { email?: string }
  problem: string | undefined
}

export type NewPasswordPage = {
  action: string
  csrf: string
  email: string
  errors: { password?: string }
  problem: string | undefined
}

type Wrong = { email?: MessageKey; password?: MessageKey; problem?: Said }

const recoveryPage = template<RecoveryPage>('interaction/recovery')
const newPasswordPage = template<NewPasswordPage>('interaction/new-password')

export function recoveryStep(deps: StepDeps): Step {
  const { database, renderer, csrf, config, secretKeys, signIn, now } = deps
  const keyOf = ({ uid }: PendingInteraction) => ({ purpose: 'recovery', uid }) as const
  const proofDeps = () => ({ secretKeys, now: now() })

  return {
    async show(ctx, pending) {
      if (isClosed(ctx, pending)) return
      const proof = await findProof(database.prisma, keyOf(pending), proofDeps())
      if (!proof) render(ctx, pending, { email: pending.loginHint ?? '' }, 200)
      else if (proof.proven) choose(ctx, pending, proof, {}, 200)
      else code(ctx, pending, { email: proof.email, status: 200 })
    },

    async submit(ctx, pending) {
      const form = await readForm(ctx)
      csrf.verify(ctx, form, { binding: pending.uid })
      if (isClosed(ctx, pending)) return
      const proof = await findProof(database.prisma, keyOf(pending), proofDeps())
      const sent = (name: string) => form.get(name) !== undefined
      // Back and once more from the first page: whatever was proven before is forgotten.
      if (!proof || (sent('email') && !sent('code') && !sent('password')))
        return begin(ctx, pending, form.get('email')?.trim() ?? '')
      if (readCodeAnswer(form) === 'restart') {
        await dropProof(database.prisma, keyOf(pending))
        return render(ctx, pending, { email: proof.email }, 200)
      }
      return proof.proven ? finish(ctx, pending, form, proof) : answer(ctx, pending, form, proof)
    },
  }

  async function begin(ctx: Context, pending: PendingInteraction, email: string): Promise<void> {
    const wrong = (key: MessageKey) => render(ctx, pending, { email, wrong: { email: key } }, 422)
    if (email === '') return wrong('login.error.identifierMissing')
    if (checkEmail('email', email).length > 0) return wrong('setup.error.emailInvalid')
    const refusal = await mail(ctx, pending, email)
    if (refusal) return render(ctx, pending, { email, wrong: { problem: refusal.problem } }, refusal.status)
    seeOther(ctx, stepUrl(pending, 'recovery'))
  }

  async function answer(ctx: Context, pending: PendingInteraction, form: Form, { email }: AddressProof): Promise<void> {
    if (readCodeAnswer(form) === 'resend') {
      const refusal = await mail(ctx, pending, email)
      return code(ctx, pending, { email, ...(refusal ?? { status: 200, sent: true }) })
    }
    const typed = form.get('code') ?? ''
    if (typed.trim() === '') return code(ctx, pending, { email, status: 422, wrong: 'code.error.missing' })
    const reservation = await reserveCode(ctx, deps, { factor: 'reset_code', email })
    if (!reservation.allowed) return code(ctx, pending, { email, ...limited(ctx, reservation.retryAfterSeconds) })
    const verdict = await answerProof(database.prisma, keyOf(pending), typed, proofDeps())
    if (verdict === 'right') {
      await reservation.succeed()
      return seeOther(ctx, stepUrl(pending, 'recovery'))
    }
    recordFailure(pending, 'reset_code', { reason: verdict, reservation })
    code(ctx, pending, { email, status: 422, wrong: `code.error.${verdict}` })
  }

  async function finish(ctx: Context, pending: PendingInteraction, form: Form, proof: AddressProof): Promise<void> {
    const user = proof.userId === undefined ? null : await findUser(database.prisma, proof.userId)
    const choice = await choosePassword(ctx, form.get('password') ?? '', [proof.email, user?.name ?? ''])
    if (!choice.ok) return choose(ctx, pending, proof, choice.wrong, choice.status)
    const { locale } = renderer.translator(ctx, pending.uiLocales)
    const userId = await finishRecovery(
      database,
      { uid: pending.uid, passwordHash: choice.passwordHash, locale, sessionUid: pending.sessionUid },
      changeBy(ctx, deps),
      secretKeys,
    )
    if (userId !== undefined)
      return seeOther(ctx, await signIn.proveFirst(ctx, pending, { userId, factor: 'email_code' }))
    recordFailure(pending, 'reset_code', { reason: 'over' })
    render(ctx, pending, { email: proof.email, wrong: { problem: { key: 'recovery.error.over' } } }, 422)
  }

  async function mail(ctx: Context, pending: PendingInteraction, email: string) {
    const { locale } = renderer.translator(ctx, pending.uiLocales)
    return unlessTooMany(ctx, () =>
      beginRecovery(database, { uid: pending.uid, email, locale }, changeBy(ctx, deps), secretKeys),
    )
  }

  function isClosed(ctx: Context, pending: PendingInteraction): boolean {
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
    renderCode(ctx, deps, pending, { step: 'recovery', ...words, ...page })
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
      recoveryPage,
      {
        action: stepUrl(pending, 'recovery'),
        back: stepUrl(pending, 'login'),
        csrf: csrf.token(ctx, pending.uid),
        email,
        errors: wrong.email ? { email: t(wrong.email) } : {},
        problem: wrong.problem && t(wrong.problem.key, wrong.problem.args),
      },
      { status, uiLocales: pending.uiLocales, languageSwitch: true },
    )
  }

  function choose(
    ctx: Context,
    pending: PendingInteraction,
    { email }: AddressProof,
    wrong: Wrong,
    status: number,
  ): void {
    const { t } = renderer.translator(ctx, pending.uiLocales)
    allowFormRedirect(ctx, pending.redirectOrigin)
    renderer.renderPage(
      ctx,
      newPasswordPage,
      {
        action: stepUrl(pending, 'recovery'),
        csrf: csrf.token(ctx, pending.uid),
        email,
        errors: wrong.password ? { password: t(wrong.password) } : {},
        problem: wrong.problem && t(wrong.problem.key, wrong.problem.args),
      },
      { status, uiLocales: pending.uiLocales, languageSwitch: true },
    )
  }
}
