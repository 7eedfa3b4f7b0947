// Creating an account: who somebody is and a password, then the code from a mail. Which of the two is asked is the state of the
// pending request (factors/address-proof.ts); after the code the sign-in goes on by itself.
import type { Context } from 'koa'
import { dropProof, findProof } from '#src/factors/address-proof.ts'
import { type Form, readForm } from '#src/http/form.ts'
import { HttpError } from '#src/http/http-error.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import type { Said } from '#src/http/limited.ts'
import { template } from '#src/http/render.ts'
import { allowFormRedirect } from '#src/http/security-headers.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { checkText } from '#src/refusal.ts'
import { beginSignUp, finishSignUp } from '#src/registration/sign-up.ts'
import { checkEmail } from '#src/users/users.ts'
import { limited, readCodeAnswer, renderCode, reserveCode, unlessTooMany } from './code.ts'
import { recordFailure } from './guess.ts'
import { renderMailOff, renderNotice } from './notice.ts'
import { choosePassword } from './password-choice.ts'
import { changeBy, type Step, type StepDeps, seeOther, stepUrl } from './step.ts'

export type SignUpPage = {
  action: string
  back: string
  csrf: string
  client: string
  email: string
  name: string
  focus: Field
  errors: Partial<Record<Field, string>>
  problem: string | undefined
}

const fields = ['name', 'email', 'password'] as const
type Field = (typeof fields)[number]
type Wrong = Partial<Record<Field, MessageKey>> & { problem?: Said }

const signUpPage = template<SignUpPage>('interaction/sign-up')

export function signUpStep(deps: StepDeps): Step {
  const { database, renderer, csrf, config, secretKeys, signIn, now } = deps
  const keyOf = ({ uid }: PendingInteraction) => ({ purpose: 'sign_up', uid }) as const
  const proofDeps = () => ({ secretKeys, now: now() })

  return {
    async show(ctx, pending) {
      if (isClosed(ctx, pending)) return
      const proof = await findProof(database.prisma, keyOf(pending), proofDeps())
      if (proof) code(ctx, pending, { email: proof.email, status: 200 })
      else render(ctx, pending, { email: '', name: '' }, {}, 200)
    },

    async submit(ctx, pending) {
      const form = await readForm(ctx)
      csrf.verify(ctx, form, { binding: pending.uid })
      if (isClosed(ctx, pending)) return
      const proof = await findProof(database.prisma, keyOf(pending), proofDeps())
      // Back and once more from the first page, perhaps with another address: the code that was sent is void.
      const isNew = form.get('code') === undefined && form.get('email') !== undefined
      if (!proof || isNew) return begin(ctx, pending, form)

      const answer = readCodeAnswer(form)
      const { email, data } = proof
      if (answer === 'restart') {
        await dropProof(database.prisma, keyOf(pending))
        return render(ctx, pending, { email, name: data.name ?? '' }, {}, 200)
      }
      if (answer === 'resend') {
        const { name = '', passwordHash = '' } = data
        const refusal = await mail(ctx, pending, { email, name, passwordHash })
        return code(ctx, pending, { email, ...(refusal ?? { status: 200, sent: true }) })
      }
      const typed = form.get('code') ?? ''
      if (typed.trim() === '') return code(ctx, pending, { email, status: 422, wrong: 'code.error.missing' })
      const reservation = await reserveCode(ctx, deps, { factor: 'sign_up_code', email })
      if (!reservation.allowed) return code(ctx, pending, { email, ...limited(ctx, reservation.retryAfterSeconds) })
      const result = await finishSignUp(database, { uid: pending.uid, code: typed }, changeBy(ctx, deps), secretKeys)
      if (typeof result === 'object') {
        await reservation.succeed()
        return seeOther(ctx, await signIn.proveFirst(ctx, pending, { userId: result.userId, factor: 'email_code' }))
      }
      if (result === 'taken') {
        await reservation.release()
        await dropProof(database.prisma, keyOf(pending))
        return render(ctx, pending, { email, name: data.name ?? '' }, { problem: { key: 'signUp.error.taken' } }, 409)
      }
      recordFailure(pending, 'sign_up_code', { reason: result, reservation })
      code(ctx, pending, { email, status: 422, wrong: `code.error.${result}` })
    },
  }

  async function begin(ctx: Context, pending: PendingInteraction, form: Form): Promise<void> {
    const [email, name] = [form.get('email')?.trim() ?? '', form.get('name')?.trim() ?? '']
    const input = { email, name }
    const wrong: Wrong = {
      ...(name === '' ? { name: 'setup.error.nameMissing' } : {}),
      ...(name !== '' && checkText('name', name, 128).length > 0 ? { name: 'setup.error.nameInvalid' } : {}),
      ...(checkEmail('email', email).length > 0 ? { email: 'setup.error.emailInvalid' } : {}),
    }
    const password = form.get('password') ?? ''
    if (Object.keys(wrong).length > 0) {
      if (password === '') wrong.password = 'login.error.passwordMissing'
      return render(ctx, pending, input, wrong, 422)
    }
    const choice = await choosePassword(ctx, password, [email, name])
    if (!choice.ok) return render(ctx, pending, input, choice.wrong, choice.status)
    const refusal = await mail(ctx, pending, { email, name, passwordHash: choice.passwordHash })
    if (refusal) return render(ctx, pending, input, { problem: refusal.problem }, refusal.status)
    seeOther(ctx, stepUrl(pending, 'signup'))
  }

  async function mail(
    ctx: Context,
    pending: PendingInteraction,
    who: { email: string; name: string; passwordHash: string },
  ) {
    const { locale } = renderer.translator(ctx, pending.uiLocales)
    return unlessTooMany(ctx, () =>
      beginSignUp(database, { uid: pending.uid, ...who, locale }, changeBy(ctx, deps), secretKeys),
    )
  }

  /** @returns true when the page says why nobody can sign up here. @throws HttpError 404 where there is no sign-up at all. */
  function isClosed(ctx: Context, pending: PendingInteraction): boolean {
    if (config.signUp === 'off')
      throw new HttpError({ status: 404, error: 'not_found', description: 'There is nothing at this address.' })
    const back = stepUrl(pending, 'login')
    const { uiLocales } = pending
    if (config.signUp === 'invitation') {
      const link = { words: 'signUp.back', href: back } as const
      renderNotice(ctx, renderer, { title: 'invited.title', text: 'invited.text', link, status: 403, uiLocales })
    } else if (config.mail === 'none') renderMailOff(ctx, renderer, back, uiLocales)
    else return false
    return true
  }

  function code(
    ctx: Context,
    pending: PendingInteraction,
    page: { email: string; status: number; wrong?: MessageKey; problem?: Said; sent?: boolean },
  ): void {
    renderCode(ctx, deps, pending, { step: 'signup', title: 'signUp.codeTitle', restart: 'code.otherAddress', ...page })
  }

  function render(
    ctx: Context,
    pending: PendingInteraction,
    { email, name }: { email: string; name: string },
    wrong: Wrong,
    status: number,
  ): void {
    const { t } = renderer.translator(ctx, pending.uiLocales)
    const errors: SignUpPage['errors'] = {}
    for (const field of fields) if (wrong[field]) errors[field] = t(wrong[field])
    allowFormRedirect(ctx, pending.redirectOrigin)
    renderer.renderPage(
      ctx,
      signUpPage,
      {
        action: stepUrl(pending, 'signup'),
        back: stepUrl(pending, 'login'),
        csrf: csrf.token(ctx, pending.uid),
        client: pending.client.name,
        email,
        name,
        focus: fields.find((field) => wrong[field]) ?? 'name',
        errors,
        problem: wrong.problem && t(wrong.problem.key, wrong.problem.args),
      },
      { status, uiLocales: pending.uiLocales, languageSwitch: true },
    )
  }
}
