// Somebody guessed at this account so often that a limit closed: what is closed, until when, and lifting it. The limits are those of
// strangers and those of the person's own devices; lifting them gives whoever guesses new tries, so it takes a fresh sign-in.
import { accountKeys, type GuessFactor, liftGuessLimits, listGuessLimits } from '#src/factors/guessing.ts'
import { refuseDecision } from '#src/http/decision.ts'
import type { MessageKey } from '#src/http/i18n.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { type AccountDeps, type AccountPage, type AccountRequest, changeBy, goOn, renderAccount } from './page.ts'

export type AttemptLine = {
  what: string
  failures: number
  last: Moment
  knownDevice: boolean
  /** Undefined: it is open again, and closes at the next wrong one. */
  until: Moment | undefined
}

const attemptsTemplate = template<{ attempts: readonly AttemptLine[] }>('account/attempts')
const path = '/account/security/attempts'

export function attemptsPage(deps: AccountDeps): AccountPage {
  const { database, secretKeys, renderer } = deps
  return {
    path,
    section: 'security',
    sensitive: true,

    async show(request) {
      const attempts = await findAttempts(deps, request)
      if (attempts.length === 0) return goOn(request.ctx, '/account/security')
      renderAccount(renderer, request, attemptsTemplate, { attempts }, { section: 'security' })
    },

    async submit(request, form) {
      if (form.get('decision') !== 'lift') refuseDecision()
      const { ctx, person } = request
      const accounts = accountKeys(secretKeys, person.emailKey)
      await liftGuessLimits(database.prisma, { id: person.id, accounts }, changeBy(request))
      goOn(ctx, '/account/security', 'lifted')
    },
  }
}

/** Those that closed. A wrong password now and then is nobody's news. */
export async function findAttempts(
  { database, secretKeys }: AccountDeps,
  { person, words, now }: AccountRequest,
): Promise<AttemptLine[]> {
  const limits = await listGuessLimits(database.prisma, accountKeys(secretKeys, person.emailKey), now)
  const at = (time: Date) => moment(words, time, now, person.zoneinfo)
  return limits
    .filter(({ reached }) => reached)
    .map(({ factor, failures, knownDevice, lastAt, closedUntil }) => ({
      what: words.t(factorWords(factor)),
      failures,
      knownDevice,
      last: at(lastAt),
      until: closedUntil ? at(closedUntil) : undefined,
    }))
}

/** A limit of a factor that this version does not know is told as one of all. */
function factorWords(factor: string): MessageKey {
  return Object.hasOwn(kindWords, factor) ? kindWords[factor as keyof typeof kindWords] : kindWords.all
}

const kindWords = {
  all: 'account.attempts.factor.all',
  password: 'account.password.label',
  totp: 'account.attempts.factor.totp',
  recovery_code: 'secondFactor.recovery.label',
  email_code: 'account.attempts.factor.email_code',
  passkey: 'account.factors.passkey',
  push: 'account.attempts.factor.push',
  sms_code: 'account.attempts.factor.sms_code',
  sign_up_code: 'account.attempts.factor.sign_up_code',
  reset_code: 'account.attempts.factor.reset_code',
  user_code: 'account.attempts.factor.user_code',
  setup_code: 'account.attempts.factor.setup_code',
} as const satisfies Record<GuessFactor | 'all', MessageKey>
