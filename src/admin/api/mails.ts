// /api/v1/mails: what waits in the outbox, and what became of the mails of the last two days. Never what they say.
import { z } from 'zod'
import { hurryMail, listMailRecords, mailStates, readMailRecord } from '#src/mail/records.ts'
import { cutPage, listOf, pageOf, readAfter } from './page.ts'
import { type AdminApiDeps, type AdminRoute, instant, route } from './route.ts'

export function mailRoutes({ database, secretKeys }: AdminApiDeps): AdminRoute[] {
  return [
    route('get /mails', {
      scope: 'settings:read',
      name: 'listMails',
      summary: 'List the mails of the last two days, the newest first',
      query: pageOf({ state: z.enum(mailStates).optional() }),
      answer: listOf(mail),
      async handle({ query: { after, limit, state } }) {
        const page = { after: readAfter(after), limit: limit + 1 }
        const found = await listMailRecords(database, secretKeys, { state }, page)
        return cutPage(
          found,
          limit,
          (record) => record,
          ({ id }) => id,
        )
      },
    }),

    route('get /mails/:id', {
      scope: 'settings:read',
      name: 'readMail',
      summary: 'Read what became of a mail',
      answer: mail,
      handle: ({ id }) => readMailRecord(database, secretKeys, id),
    }),

    route('post /mails/:id/retry', {
      scope: 'settings:write',
      sensitive: false,
      name: 'retryMail',
      summary: 'Try a mail again now that was tried in vain',
      body: z.strictObject({}),
      answer: z.strictObject({ id: z.string(), retried: z.literal(true) }),
      async handle({ db, id, change }) {
        await hurryMail(db, id, change)
        return { id, retried: true as const }
      },
    }),
  ]
}

const mail = z
  .strictObject({
    id: z.string(),
    template: z.string().meta({ description: 'What kind of mail it is.' }),
    state: z.enum(mailStates),
    userId: z.string().nullable(),
    to: z.string().nullable().meta({ description: 'A part of the address, while it is known.' }),
    attempts: z.number().int(),
    createdAt: instant,
    attemptedAt: instant.nullable(),
    problem: z.string().nullable().meta({ description: 'What the mail server answered last, or why it was given up.' }),
    nextAttemptAt: instant.nullable(),
    sentAt: instant.nullable(),
    givenUpAt: instant.nullable(),
  })
  .meta({ id: 'Mail' })
