// Mails in the console.
import { queueMail } from '#src/mail/outbox.ts'
import { lookAtConsole } from '#test/support/console-pages.ts'

let delayed = ''
let sent = ''

lookAtConsole(
  'mails',
  [
    { name: 'mails', path: () => '/admin/mails' },
    { name: 'mails-none', path: () => '/admin/mails?state=waiting&after=00000000-0000-4000-8000-000000000000' },
    { name: 'mail', path: () => `/admin/mails/${delayed}`, shows: '/admin/mails/:id' },
    { name: 'mail-sent', path: () => `/admin/mails/${sent}` },
  ],
  async ({ server: { database, secretKeys }, alice }) => {
    const { prisma } = database
    const kinds = ['recovery_code', 'email_code', 'verification_code', 'sign_up_code'] as const
    for (let n = 0; n < 14; n++)
      await queueMail(
        prisma,
        {
          template: kinds[n % 4] ?? 'email_code',
          to: `${'abcdefghijklmn'[n]}ugust@${n % 3 ? 'example.com' : 'mail.example.org'}`,
          locale: 'en',
          data: { code: '12345678' },
          userId: n % 2 ? alice.id : undefined,
        },
        { secretKeys, now: new Date(Date.now() - n * 3_000_000) },
      )
    const mails = await prisma.mail.findMany({ orderBy: { createdAt: 'desc' } })
    for (const [index, { id, createdAt }] of mails.entries()) {
      const attemptedAt = new Date(createdAt.getTime() + 4_000)
      if (index === 2) {
        delayed = id
        const nextAttemptAt = new Date(Date.now() + 1_200_000)
        await prisma.mail.update({
          where: { id },
          data: { attempts: 4, problem: 'EENVELOPE 451', attemptedAt, nextAttemptAt },
        })
      }
      if (index === 13)
        await prisma.mail.update({
          where: { id },
          data: {
            attempts: 12,
            problem: 'too_late',
            attemptedAt,
            givenUpAt: new Date(),
            nextAttemptAt: null,
            sealed: null,
          },
        })
      else if (index > 2) {
        sent = id
        await prisma.mail.update({
          where: { id },
          data: { attempts: 1, attemptedAt, sentAt: attemptedAt, nextAttemptAt: null, sealed: null },
        })
      }
    }
  },
)
