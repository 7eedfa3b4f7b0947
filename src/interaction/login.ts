// The login screen: an email address and a password, on one page or one after the other.
import type { Context } from 'koa'
import { fitsPassword, verifyPassword } from '#src/factors/password.ts'
import { readForm } from '#src/http/form.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { type Said, sayLimited } from '#src/http/limited.ts'
import { template } from '#src/http/render.ts'
import { allowFormRedirect } from '#src/http/security-headers.ts'
import type { PendingInteraction } from '#src/oauth/interactions.ts'
import { emailKey } from '#src/users/users.ts'
import { readDecision } from './decision.ts'
import { emailCodeUrl } from './email-code.ts'
import { recordFailure, reserve } from './guess.ts'
import { type PasskeyPart, passkeyPart } from './passkey.ts'
import { type Step, type StepDeps, seeOther, stepUrl } from './step.ts'

export type LoginPage = {
  action: string
  csrf: string
  client: string
  logo: string | undefined
  /** Signed in already, and asked to prove it once more. */
  again: boolean
  identifier: string
  focus: 'identifier' | 'password'
  errors: { identifier?: string; password?: string }
  problem: string | undefined
  recovery: string
  signUp: string | undefined
  /** Where the form may be sent as well, for a code instead of the password. */
  emailCode: string | undefined
  passkey: PasskeyPart
}

/** What went wrong, in message keys. */
type Wrong = { identifier?: MessageKey; password?: MessageKey; problem?: Said }

const loginPage = template<LoginPage>('interaction/login')

export function loginStep(deps: StepDeps): Step {
  const { database, interactions, renderer, csrf, config, signIn } = deps
  return {
    async show(ctx, pending) {
      render(ctx, pending, {
        identifier: pending.impersonation === undefined ? (pending.loginHint ?? '') : '',
        status: 200,
      })
    },

    async submit(ctx, pending) {
      const form = await readForm(ctx)
      csrf.verify(ctx, form, { binding: pending.uid })
      if (readDecision(form) === 'deny') return seeOther(ctx, await interactions.deny(ctx, pending))

      const identifier = form.get('identifier')?.trim() ?? ''
      const password = form.get('password')
      if (identifier === '')
        return render(ctx, pending, { identifier, status: 422, wrong: { identifier: 'login.error.identifierMissing' } })
      // Only the address was asked so far: a client that sends one step at a time gets the next one.
      if (password === undefined) return render(ctx, pending, { identifier, status: 200, focus: 'password' })
      if (password === '')
        return render(ctx, pending, { identifier, status: 422, wrong: { password: 'login.error.passwordMissing' } })

      // Before any work is done on it.
      const person = emailKey(identifier)
      if (person === undefined)
        return render(ctx, pending, { identifier, status: 400, wrong: { identifier: 'login.error.identifierInvalid' } })
      if (!fitsPassword(password))
        return render(ctx, pending, { identifier, status: 400, wrong: { password: 'login.error.passwordInvalid' } })

      const reservation = await reserve(ctx, deps, { factor: 'password', person })
      if (!reservation.allowed) {
        const problem = sayLimited(ctx, reservation.retryAfterSeconds)
        return render(ctx, pending, { identifier, status: 429, wrong: { problem } })
      }
      const verdict = await verifyPassword(database.prisma, { identifier, password })
      if (verdict.ok) {
        await reservation.succeed()
        const { userId } = verdict
        return seeOther(ctx, await signIn.proveFirst(ctx, pending, { userId, factor: 'password' }))
      }

      if (verdict.reason === 'busy') {
        await reservation.release()
        recordFailure(pending, 'password', { reason: 'busy' })
        ctx.state.unavailable = 'hash_queue'
        ctx.set('Retry-After', '5')
        return render(ctx, pending, { identifier, status: 503, wrong: { problem: { key: 'login.error.busy' } } })
      }
      recordFailure(pending, 'password', { reason: verdict.reason, reservation })
      // RFC 9110 15.5.2: a 401 names a scheme; browsers pass over one they do not know and show the page.
      ctx.set('WWW-Authenticate', 'Form realm="Sallyport"')
      render(ctx, pending, { identifier, status: 401, wrong: { password: 'login.error.wrongCredentials' } })
    },
  }

  function render(
    ctx: Context,
    pending: PendingInteraction,
    page: { identifier: string; status: number; wrong?: Wrong; focus?: LoginPage['focus'] },
  ): void {
    const { identifier, status, wrong = {} } = page
    const { t } = renderer.translator(ctx, pending.uiLocales)
    allowFormRedirect(ctx, pending.redirectOrigin)
    renderer.renderPage(
      ctx,
      loginPage,
      {
        action: stepUrl(pending, 'login'),
        recovery: stepUrl(pending, 'recovery'),
        signUp: config.signUp === 'open' ? stepUrl(pending, 'signup') : undefined,
        emailCode: emailCodeUrl(deps, pending),
        csrf: csrf.token(ctx, pending.uid),
        client: pending.client.name,
        logo: pending.client.logo,
        again: pending.prompt === 'login' && pending.userId !== undefined,
        identifier,
        focus: page.focus ?? (wrong.password || (identifier && !wrong.identifier) ? 'password' : 'identifier'),
        errors: {
          ...(wrong.identifier ? { identifier: t(wrong.identifier) } : {}),
          ...(wrong.password ? { password: t(wrong.password) } : {}),
        },
        problem: wrong.problem && t(wrong.problem.key, wrong.problem.args),
        passkey: passkeyPart(ctx, pending, 'get', false),
      },
      { status, uiLocales: pending.uiLocales, languageSwitch: true },
    )
  }
}
