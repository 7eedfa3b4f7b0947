// The address of somebody whose password was right, but who never showed that the address is theirs: a code, and the sign-in goes
// on. Without the row that the right password left (factors/address-proof.ts) this page leads back to the beginning.
import type { Context } from 'koa'
import { dropProof, findProof } from '#src/factors/address-proof.ts'
import { beginVerification, finishVerification } from '#src/factors/verification.ts'
import { readForm } from '#src/http/form.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import type { Said } from '#src/http/limited.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { findUser } from '#src/users/users.ts'
import { limited, readCodeAnswer, renderCode, reserveCode, unlessTooMany } from './code.ts'
import { goOn } from './first-factor.ts'
import { recordFailure } from './guess.ts'
import { changeBy, type Step, type StepDeps, seeOther, stepUrl } from './step.ts'

export function verifyStep(deps: StepDeps): Step {
  const { database, renderer, csrf, secretKeys, signIn, now } = deps
  const keyOf = ({ uid }: PendingInteraction) => ({ purpose: 'email_verification', uid }) as const
  const find = (pending: PendingInteraction) => findProof(database.prisma, keyOf(pending), { secretKeys, now: now() })

  return {
    async show(ctx, pending) {
      const proof = await find(pending)
      if (proof) render(ctx, pending, { email: proof.email, status: 200 })
      else seeOther(ctx, stepUrl(pending, 'login'))
    },

    async submit(ctx, pending) {
      const form = await readForm(ctx)
      csrf.verify(ctx, form, { binding: pending.uid })
      const proof = await find(pending)
      if (!proof) return seeOther(ctx, stepUrl(pending, 'login'))
      const { email, userId = '' } = proof
      const answer = readCodeAnswer(form)
      if (answer === 'restart') {
        await dropProof(database.prisma, keyOf(pending))
        return seeOther(ctx, stepUrl(pending, 'login'))
      }
      if (answer === 'resend') {
        const refusal = await resend(ctx, pending, userId, proof.data)
        return render(ctx, pending, { email, ...(refusal ?? { status: 200, sent: true }) })
      }
      const typed = form.get('code') ?? ''
      if (typed.trim() === '') return render(ctx, pending, { email, status: 422, wrong: 'code.error.missing' })
      const reservation = await reserveCode(ctx, deps, { factor: 'email_code', email })
      if (!reservation.allowed) return render(ctx, pending, { email, ...limited(ctx, reservation.retryAfterSeconds) })
      const ask = { uid: pending.uid, code: typed }
      const result = await finishVerification(database, ask, changeBy(ctx, deps), secretKeys)
      if (typeof result === 'object') {
        await reservation.succeed()
        return seeOther(ctx, await goOn(signIn, ctx, pending, result))
      }
      recordFailure(pending, 'email_code', { reason: result, reservation })
      render(ctx, pending, { email, status: 422, wrong: `code.error.${result}` })
    },
  }

  async function resend(ctx: Context, pending: PendingInteraction, userId: string, data: Record<string, string>) {
    const { generation, ...proven } = data
    const user = await findUser(database.prisma, userId)
    // Their sessions were ended since the password was right: a new code would be no code for this sign-in.
    if (!user || user.disabledAt || String(user.generation) !== generation) return undefined
    const { locale } = renderer.translator(ctx, pending.uiLocales)
    return unlessTooMany(ctx, () =>
      beginVerification(database, { uid: pending.uid, user, locale, proven }, changeBy(ctx, deps), secretKeys),
    )
  }

  function render(
    ctx: Context,
    pending: PendingInteraction,
    page: { email: string; status: number; wrong?: MessageKey; problem?: Said; sent?: boolean },
  ): void {
    renderCode(ctx, deps, pending, { step: 'verify', title: 'verify.title', restart: 'verify.otherAccount', ...page })
  }
}
