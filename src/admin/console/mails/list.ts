// What waits to be sent, and what was sent in the last two days.
import { readAfter } from '#src/admin/api/page.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import { listMailRecords, type MailState, mailStates, readMailFigures } from '#src/mail/records.ts'
import { type Choice, choices, cut, oneOf, textOf } from '../lists.ts'
import type { ConsolePage, PageDeps } from '../page.ts'
import { kindOf, stateOf } from './words.ts'

export type MailsPage = {
  /** Whether mails leave at all, and where to. */
  mail: 'smtp' | 'page' | 'none'
  waiting: number
  delayed: number
  givenUp: number
  oldest: Moment | undefined
  states: readonly Choice[]
  mails: readonly {
    href: string
    kind: string
    to: string | null
    state: MailState
    stateName: string
    attempts: number
    at: Moment
    next: Moment | undefined
  }[]
  next: string | undefined
}

const page = template<MailsPage>('admin/console/mails')
const perPage = 25

export function mailsPage({ config, database, secretKeys, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/mails',
    section: 'mails',
    scope: 'settings:read',
    async show(request) {
      const { ctx, words, now, person } = request
      const state = oneOf(ctx, 'state', mailStates)
      const after = readAfter(textOf(ctx, 'after') || undefined)
      const [figures, found] = await Promise.all([
        readMailFigures(database),
        listMailRecords(database, secretKeys, { state }, { after, limit: perPage + 1 }),
      ])
      const { rows, next } = cut(ctx, found, perPage, ({ id }) => id)
      const at = (time: Date): Moment => moment(words, time, now, person.zoneinfo)
      const { oldestAt, waiting, delayed, givenUp } = figures
      render(
        request,
        page,
        {
          ...{ mail: config.mail, waiting, delayed, givenUp, next },
          oldest: oldestAt ? at(oldestAt) : undefined,
          states: choices(
            mailStates.map((name) => [name, stateOf(words, name)]),
            state,
            words.t('console.any'),
          ),
          mails: rows.map((mail) => ({
            href: `/admin/mails/${mail.id}`,
            kind: kindOf(words, mail.template),
            to: mail.to,
            state: mail.state,
            stateName: stateOf(words, mail.state),
            attempts: mail.attempts,
            at: at(mail.createdAt),
            next: mail.state === 'delayed' && mail.nextAttemptAt ? at(mail.nextAttemptAt) : undefined,
          })),
        },
        { section: 'mails' },
      )
    },
  }
}
