// Another password: the current one is asked for as well as a fresh sign-in (ASVS 6.2.3), and everything else that was signed in with
// the old one ends.
import { atomically } from '#src/db/transaction.ts'
import { accountKey, reserveGuess } from '#src/factors/guessing.ts'
import { HashingBusy } from '#src/factors/hashing.ts'
import { hashPassword, verifyPassword } from '#src/factors/password.ts'
import { checkPassword, minPasswordLength } from '#src/factors/password-rules.ts'
import { findStanding, hasSecondFactor } from '#src/factors/second-factors.ts'
import { type Said, sayLimited } from '#src/http/limited.ts'
import { template } from '#src/http/render.ts'
import { carrySessionOver } from '#src/tokens/revoke.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
import { setPassword, type UserRecord } from '#src/users/users.ts'
import {
  type AccountDeps,
  type AccountPage,
  type AccountRequest,
  changeBy,
  goOn,
  notify,
  renderAccount,
} from './page.ts'

export type PasswordPage = {
  email: string
  /** What is asked of the new one: fewer characters beside another factor. */
  rule: string
  least: number
  errors: { current?: string; password?: string }
  problem: string | undefined
  focus: 'current' | 'password'
}

type Asked = AccountRequest & { besideAnother: boolean }
type Wrong = { current?: Said; password?: Said; problem?: Said }

const password = template<PasswordPage>('account/password')

export function passwordPage(deps: AccountDeps): AccountPage {
  const { database, secretKeys, devices, renderer } = deps
  const { prisma } = database
  return {
    path: '/account/security/password',
    section: 'security',
    sensitive: true,

    async show(request) {
      render(await ask(request), {}, 200)
    },

    async submit(fresh, form) {
      const request = await ask(fresh)
      const { ctx, person, visitor, now, besideAnother } = request
      const current = form.get('current') ?? ''
      const next = form.get('password') ?? ''
      const wrong = findWrong(person, { current, next, besideAnother })
      if (wrong) return render(request, wrong, 422)

      // Somebody at an unlocked screen guesses like anybody else.
      const reservation = await reserveGuess(database, {
        factor: 'password',
        account: accountKey(secretKeys, person.emailKey),
        address: ctx.ip,
        device: devices.find(ctx, person.emailKey),
        now,
      })
      if (!reservation.allowed) return render(request, { problem: sayLimited(ctx, reservation.retryAfterSeconds) }, 429)
      const verdict = await verifyPassword(prisma, { identifier: person.email, password: current })
      if (!verdict.ok) {
        if (verdict.reason === 'busy') {
          await reservation.release()
          return busy(request)
        }
        currentUnit().audit({
          event: 'login.failed',
          outcome: 'failure',
          actor: { kind: 'user', id: person.id },
          detail: { factor: 'password', reason: verdict.reason, at: 'password change' },
        })
        return render(request, { current: { key: 'account.password.error.current' } }, 422)
      }
      await reservation.succeed()
      try {
        const hash = await hashPassword(next)
        await atomically(prisma, async (tx) => {
          await setPassword(tx, person.id, hash, changeBy(request))
          await carrySessionOver(tx, { userId: person.id, uid: visitor.sessionUid })
          await notify(deps, tx, request, 'passwordChanged')
        })
      } catch (error) {
        if (error instanceof HashingBusy) return busy(request)
        throw error
      }
      goOn(ctx, '/account/security', 'password')
    },
  }

  async function ask(request: AccountRequest): Promise<Asked> {
    const standing = await findStanding(prisma, request.person.id)
    return { ...request, besideAnother: standing !== undefined && hasSecondFactor(standing) }
  }

  function busy(request: Asked): void {
    request.ctx.state.unavailable = 'hash_queue'
    request.ctx.set('Retry-After', '5')
    render(request, { problem: { key: 'setup.error.busy' } }, 503)
  }

  function render(request: Asked, wrong: Wrong, status: number): void {
    const say = ({ key, args }: Said) => request.words.t(key, args)
    const { besideAnother } = request
    renderAccount(
      renderer,
      request,
      password,
      {
        email: request.person.email,
        rule: say({ key: besideAnother ? 'setup.passwordHintBeside' : 'setup.passwordHint' }),
        least: besideAnother ? minPasswordLength.besideAnother : minPasswordLength.alone,
        errors: {
          ...(wrong.current ? { current: say(wrong.current) } : {}),
          ...(wrong.password ? { password: say(wrong.password) } : {}),
        },
        problem: wrong.problem && say(wrong.problem),
        focus: wrong.password && !wrong.current ? 'password' : 'current',
      },
      { section: 'security', status },
    )
  }
}

/** What can be said before any work is done on it. */
function findWrong(
  person: UserRecord,
  { current, next, besideAnother }: { current: string; next: string; besideAnother: boolean },
): Wrong | undefined {
  const wrong: Wrong = {}
  if (current === '') wrong.current = { key: 'account.password.error.currentMissing' }
  const { name, givenName, familyName, email } = person
  const [flaw] = checkPassword(
    next,
    [email, name, givenName, familyName].filter((text) => text !== null),
    { besideAnother },
  )
  if (flaw) wrong.password = { key: `setup.error.password.${flaw.code}` }
  return wrong.current || wrong.password ? wrong : undefined
}
