// Another password: the current one is asked for as well as a fresh sign-in (ASVS 6.2.3), and everything else that was signed in with
// the old one ends.
import { atomically } from '#src/db/transaction.ts'
import { HashingBusy } from '#src/factors/hashing.ts'
import { hashPassword, verifyPassword } from '#src/factors/password.ts'
import { checkPassword } from '#src/factors/password-rules.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { template } from '#src/http/render.ts'
import { keepSession } from '#src/tokens/sessions.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { setPassword, type UserRecord } from '#src/users/users.ts'
import { type AccountDeps, type AccountPage, type AccountRequest, changeBy, goOn, renderAccount } from './page.ts'

export type PasswordPage = {
  email: string
  errors: { current?: string; password?: string }
  problem: string | undefined
  focus: 'current' | 'password'
}

type Wrong = { current?: MessageKey; password?: MessageKey; problem?: MessageKey }

const password = template<PasswordPage>('account/password')

export function passwordPage({ database: { prisma }, renderer }: AccountDeps): AccountPage {
  return {
    path: '/account/security/password',
    section: 'security',
    sensitive: true,

    async show(request) {
      render(request, {}, 200)
    },

    async submit(request, form) {
      const { ctx, person, visitor } = request
      const current = form.get('current') ?? ''
      const next = form.get('password') ?? ''
      const wrong = findWrong(person, current, next)
      if (wrong) return render(request, wrong, 422)

      const verdict = await verifyPassword(prisma, { identifier: person.email, password: current })
      if (!verdict.ok) {
        if (verdict.reason === 'busy') return busy(request)
        currentUnit().audit({
          event: 'login.failed',
          outcome: 'failure',
          actor: { kind: 'user', id: person.id },
          detail: { reason: verdict.reason, at: 'password change' },
        })
        return render(request, { current: 'account.password.error.current' }, 422)
      }
      try {
        const hash = await hashPassword(next)
        await atomically(prisma, async (tx) => {
          await setPassword(tx, person.id, hash, changeBy(request))
          await keepSession(tx, { userId: person.id, uid: visitor.sessionUid })
        })
      } catch (error) {
        if (error instanceof HashingBusy) return busy(request)
        throw error
      }
      goOn(ctx, '/account/security', 'password')
    },
  }

  function busy(request: AccountRequest): void {
    request.ctx.state.unavailable = 'hash_queue'
    request.ctx.set('Retry-After', '5')
    render(request, { problem: 'setup.error.busy' }, 503)
  }

  function render(request: AccountRequest, wrong: Wrong, status: number): void {
    const { t } = request.words
    renderAccount(
      renderer,
      request,
      password,
      {
        email: request.person.email,
        errors: {
          ...(wrong.current ? { current: t(wrong.current) } : {}),
          ...(wrong.password ? { password: t(wrong.password) } : {}),
        },
        problem: wrong.problem && t(wrong.problem),
        focus: wrong.password && !wrong.current ? 'password' : 'current',
      },
      { section: 'security', status },
    )
  }
}

/** What can be said before any work is done on it. */
function findWrong(person: UserRecord, current: string, next: string): Wrong | undefined {
  const wrong: Wrong = {}
  if (current === '') wrong.current = 'account.password.error.currentMissing'
  const { name, givenName, familyName, email } = person
  const [flaw] = checkPassword(
    next,
    [email, name, givenName, familyName].filter((text) => text !== null),
  )
  if (flaw) wrong.password = `setup.error.password.${flaw.code}`
  return wrong.current || wrong.password ? wrong : undefined
}
