// One mail: whom it is for as far as that may be seen, when it was tried, what came of it, and another try at once.
import { refuseDecision } from '#src/http/decision.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { hurryMail, type MailState, readMailRecord } from '#src/mail/records.ts'
import type { Flaw } from '#src/refusal.ts'
import { attempt, type ConsolePage, type ConsoleRequest, goOn, holds, type PageDeps } from '../page.ts'
import { kindOf, stateOf } from './words.ts'

export type MailPage = {
  id: string
  kind: string
  state: MailState
  stateName: string
  to: string | null
  person: string | undefined
  attempts: number
  problem: string | null
  created: Moment
  attempted: Moment | undefined
  next: Moment | undefined
  sent: Moment | undefined
  givenUp: Moment | undefined
  flaws: readonly Flaw[]
}

const page = template<MailPage>('admin/console/mail')

export function mailPage({ database, secretKeys, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/mails/:id',
    section: 'mails',
    scope: 'settings:read',
    writes: 'settings:write',
    show: (request) => show(request),
    async submit(request, form) {
      const id = idOf(request)
      if (form.get('decision') !== 'retry') refuseDecision()
      const done = await attempt(() => hurryMail(database.prisma, id, request.change))
      if (!done.ok) return show(request, done)
      goOn(request.ctx, `/admin/mails/${id}`, 'hurried')
    },
  }

  async function show(request: ConsoleRequest, refused?: { status: number; flaws: readonly Flaw[] }): Promise<void> {
    const { words, now, person, held } = request
    const mail = await readMailRecord(database, secretKeys, idOf(request))
    const at = (time: Date | null): Moment | undefined => (time ? moment(words, time, now, person.zoneinfo) : undefined)
    render(
      request,
      page,
      {
        id: mail.id,
        kind: kindOf(words, mail.template),
        state: mail.state,
        stateName: stateOf(words, mail.state),
        to: mail.to,
        person: mail.userId && holds(held, 'users:read') ? `/admin/people/${mail.userId}` : undefined,
        attempts: mail.attempts,
        problem: mail.problem,
        created: moment(words, mail.createdAt, now, person.zoneinfo),
        attempted: at(mail.attemptedAt),
        next: mail.state === 'delayed' ? at(mail.nextAttemptAt) : undefined,
        sent: at(mail.sentAt),
        givenUp: at(mail.givenUpAt),
        flaws: refused?.flaws ?? [],
      },
      { section: 'mails', ...(refused ? { status: refused.status } : {}) },
    )
  }
}

const idOf = ({ ctx }: ConsoleRequest): string => String(ctx.params.id)
