// Another address to sign in with: a code goes to the new one, a notice to the old one. Whether the new one belongs to somebody already
// is not told: they get no code then, and nobody learns that they are here.
import { atomically } from '#src/db/transaction.ts'
import { accountKey, reserveGuess } from '#src/factors/guessing.ts'
import { type CodeBinding, issueCode, redeemCode } from '#src/factors/one-time-code.ts'
import { type Said, sayLimited } from '#src/http/limited.ts'
import { template } from '#src/http/render.ts'
import { queueMail } from '#src/mail/outbox.ts'
import { changeEmail, checkEmail, EmailTaken, emailKey, findUserByEmail } from '#src/users/users.ts'
import { toLocale } from '#src/words.ts'
import {
  type AccountDeps,
  type AccountPage,
  type AccountRequest,
  changeBy,
  goOn,
  notify,
  renderAccount,
} from './page.ts'

export type EmailPage = {
  current: string
  email: string
  /** A code was asked for; the page waits for it. */
  sent: boolean
  errors: { email?: string; code?: string }
  problem: string | undefined
}

type Wrong = { email?: Said; code?: Said; problem?: Said }

const emailTemplate = template<EmailPage>('account/email')

export function emailPage(deps: AccountDeps): AccountPage {
  const { database, secretKeys, devices, renderer } = deps
  return {
    path: '/account/profile/email',
    section: 'profile',
    sensitive: true,

    async show(request) {
      render(request, { email: '', sent: false }, 200)
    },

    async submit(request, form) {
      const email = form.get('email')?.trim() ?? ''
      const key = emailKey(email)
      const typed = form.get('decision') === 'again' ? undefined : form.get('code')
      if (key === undefined || checkEmail('email', email).length > 0)
        return render(request, { email, sent: false }, 422, { email: { key: 'account.email.error.address' } })
      if (key === request.person.emailKey)
        return render(request, { email, sent: false }, 422, { email: { key: 'account.email.error.same' } })
      if (form.get('decision') === 'other') return render(request, { email, sent: false }, 200)
      return typed === undefined ? send(request, { email, key }) : confirm(request, { email, key, typed })
    },
  }

  async function send(request: AccountRequest, { email, key }: { email: string; key: string }): Promise<void> {
    const { ctx, person, now } = request
    const locale = toLocale(person.locale ?? '') ?? request.words.locale
    // The same work, whoever has the address.
    const queued = await atomically(database.prisma, async (tx) => {
      const taken = (await findUserByEmail(tx, email)) !== null
      const code = await issueCode(tx, bindingOf(request, key), { secretKeys, now })
      const mail = { to: email, locale, userId: person.id, askedFrom: ctx.ip }
      return taken
        ? queueMail(tx, { ...mail, template: 'nothing', data: {} }, { secretKeys, now })
        : queueMail(tx, { ...mail, template: 'email_change_code', data: { code } }, { secretKeys, now })
    })
    if (!queued) return render(request, { email, sent: false }, 429, { problem: sayLimited(ctx, 900) })
    render(request, { email, sent: true }, 200)
  }

  async function confirm(
    request: AccountRequest,
    { email, key, typed }: { email: string; key: string; typed: string },
  ): Promise<void> {
    const { ctx, person, now } = request
    const page = { email, sent: true }
    if (typed.trim() === '') return render(request, page, 422, { code: { key: 'account.email.error.codeMissing' } })
    const reservation = await reserveGuess(database, {
      factor: 'email_code',
      account: accountKey(secretKeys, person.emailKey),
      address: ctx.ip,
      device: devices.find(ctx, person.emailKey),
      now,
    })
    if (!reservation.allowed)
      return render(request, page, 429, { problem: sayLimited(ctx, reservation.retryAfterSeconds) })
    const verdict = await redeemCode(database.prisma, bindingOf(request, key), typed, { secretKeys, now })
    if (verdict === 'over') await reservation.release()
    if (verdict !== 'right')
      return render(request, page, 422, {
        code: { key: verdict === 'over' ? 'account.email.error.over' : 'account.email.error.wrong' },
      })
    await reservation.succeed()
    try {
      await atomically(database.prisma, async (tx) => {
        await notify(deps, tx, request, 'emailChanged') // to the old address: the person as they were
        await changeEmail(tx, person.id, email, changeBy(request))
      })
    } catch (error) {
      // Somebody else confirmed it first, a moment ago.
      if (error instanceof EmailTaken) return render(request, page, 422, { code: { key: 'account.email.error.over' } })
      throw error
    }
    devices.remember(ctx, key)
    goOn(ctx, '/account/profile', 'email')
  }

  function render(
    request: AccountRequest,
    { email, sent }: { email: string; sent: boolean },
    status: number,
    wrong: Wrong = {},
  ): void {
    const { words, person } = request
    const say = ({ key, args }: Said) => words.t(key, args)
    renderAccount(
      renderer,
      request,
      emailTemplate,
      {
        current: person.email,
        email,
        sent,
        errors: {
          ...(wrong.email ? { email: say(wrong.email) } : {}),
          ...(wrong.code ? { code: say(wrong.code) } : {}),
        },
        problem: wrong.problem && say(wrong.problem),
      },
      { section: 'profile', status },
    )
  }
}

/** The new address is part of what the code is good for, so the page may carry it. */
function bindingOf({ visitor }: AccountRequest, key: string): CodeBinding {
  return { purpose: 'email_change', flow: { session: visitor.sessionUid }, subject: key }
}
