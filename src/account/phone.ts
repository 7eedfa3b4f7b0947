// Adding a phone number: a code is sent to it, and nothing is kept before that code was typed here. The number travels with the page: it is
// part of what the code is good for.
import { atomically } from '#src/db/transaction.ts'
import { accountKey, reserveGuess } from '#src/factors/guessing.ts'
import { confirmPhone, readPhoneNumber, sendEnrolmentCode } from '#src/factors/phone.ts'
import { findStanding } from '#src/factors/second-factors.ts'
import { HttpError } from '#src/http/http-error.ts'
import { type Said, sayLimited } from '#src/http/limited.ts'
import { template } from '#src/http/render.ts'
import { requestOf } from '#src/http/request-context.ts'
import { currentUnit } from '#src/tokens/unit-of-work.ts'
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

export type PhonePage = {
  number: string
  /** A code was asked for; the page waits for it. */
  sent: boolean
  errors: { number?: string; code?: string }
  problem: string | undefined
}

type Wrong = { number?: Said; code?: Said; problem?: Said }

const phone = template<PhonePage>('account/phone')

export function phonePage(deps: AccountDeps): AccountPage {
  const { database, secretKeys, devices, outOfBand: transport, renderer } = deps
  return {
    path: '/account/security/phone',
    section: 'security',
    sensitive: true,

    async show(request) {
      refuseWithoutTransport()
      render(request, { number: '', sent: false }, 200)
    },

    async submit(request, form) {
      refuseWithoutTransport()
      const typed = form.get('number')?.trim() ?? ''
      const number = readPhoneNumber(typed)
      if (number === undefined)
        return render(request, { number: typed, sent: false }, 422, { number: { key: 'phone.error.number' } })
      const decision = form.get('decision')
      if (decision === 'other') return render(request, { number: typed, sent: false }, 200)
      const code = decision === 'again' ? undefined : form.get('code')
      return code === undefined ? send(request, number) : confirm(request, number, code)
    },
  }

  async function send(request: AccountRequest, number: string): Promise<void> {
    const { ctx, visitor, person, words, now } = request
    const { log } = requestOf(ctx)
    const sending = await sendEnrolmentCode(
      { database, secretKeys, transport, now },
      {
        userId: person.id,
        session: visitor.sessionUid,
        number,
        locale: toLocale(person.locale ?? '') ?? words.locale,
        askedFrom: ctx.ip,
      },
    )
    const page = { number, sent: false }
    switch (sending.outcome) {
      case 'taken':
        return render(request, page, 422, { number: { key: 'phone.error.taken' } })
      case 'full':
        return render(request, page, 422, { number: { key: 'phone.error.full' } })
      case 'limited':
        return render(request, page, 429, { problem: sayLimited(ctx, sending.retryAfterSeconds) })
      case 'failed':
        log.warn({ event: 'out_of_band.failed', message: sending.id, reason: sending.reason })
        return render(request, page, 503, { problem: { key: 'phone.error.unsent' } })
      case 'sent':
        log.info({ event: 'out_of_band.sent', message: sending.id })
        currentUnit().audit({
          event: 'factor.code_sent',
          outcome: 'success',
          actor: { kind: 'user', id: person.id },
          detail: { factor: 'phone', message: sending.id, enrolment: true },
        })
        return render(request, { number, sent: true }, 200)
    }
  }

  async function confirm(request: AccountRequest, number: string, code: string): Promise<void> {
    const { ctx, visitor, person, words, now } = request
    const page = { number, sent: true }
    if (code.trim() === '') return render(request, page, 422, { code: { key: 'secondFactor.error.missing' } })
    const reservation = await reserveGuess(database, {
      factor: 'sms_code',
      account: accountKey(secretKeys, person.emailKey),
      address: ctx.ip,
      device: devices.find(ctx, person.emailKey),
      now,
    })
    if (!reservation.allowed)
      return render(request, page, 429, { problem: sayLimited(ctx, reservation.retryAfterSeconds) })
    const before = await findStanding(database.prisma, person.id)
    const name = words.t('phone.name')
    const { generation } = request
    const input = { userId: person.id, generation, session: visitor.sessionUid, number, code, name }
    const added = await atomically(database.prisma, async (tx) => {
      const result = await confirmPhone(tx, input, secretKeys, changeBy(request))
      if (typeof result === 'object') await notify(deps, tx, request, 'factorAdded')
      return result
    })
    if (added === 'over') await reservation.release()
    if (typeof added === 'string') {
      currentUnit().audit({
        event: 'factor.failed',
        outcome: 'failure',
        actor: { kind: 'user', id: person.id },
        detail: { factor: 'phone', reason: 'enrolment' },
      })
      return render(request, page, 422, { code: { key: `phone.error.${added}` } })
    }
    await reservation.succeed()
    if (before?.recoveryCodes === 0) return goOn(ctx, '/account/security/recovery-codes', 'first')
    goOn(ctx, `/account/security/factors/${added.id}`, 'factor')
  }

  function render(
    request: AccountRequest,
    { number, sent }: { number: string; sent: boolean },
    status: number,
    wrong: Wrong = {},
  ): void {
    const say = ({ key, args }: Said) => request.words.t(key, args)
    renderAccount(
      renderer,
      request,
      phone,
      {
        number,
        sent,
        errors: {
          ...(wrong.number ? { number: say(wrong.number) } : {}),
          ...(wrong.code ? { code: say(wrong.code) } : {}),
        },
        problem: wrong.problem && say(wrong.problem),
      },
      { section: 'security', status },
    )
  }

  /** Where codes cannot be sent there is no such page. */
  function refuseWithoutTransport(): void {
    if (!transport)
      throw new HttpError({ status: 404, error: 'not_found', description: 'There is nothing at this address.' })
  }
}
