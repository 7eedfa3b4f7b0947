// From the outbox to a real mail server, through everything that goes wrong on the way.
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { SMTPServerOptions } from 'smtp-server'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { readConfig } from '#src/config.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createLog } from '#src/log.ts'
import { type OutgoingMail, queueMail } from '#src/mail/outbox.ts'
import { hurryMail, MailNotDelayed } from '#src/mail/records.ts'
import { createMailSender } from '#src/mail/sender.ts'
import { clearAudit } from '#test/support/audit.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { codeIn, type Mailbox, startMailbox } from '#test/support/mailbox.ts'
import { killAll, runNode } from '#test/support/processes.ts'
import { makeCertificate } from '#test/support/tls.ts'

const key = randomBytes(32)
const secretKeys = createSecretKeys([key])
let test: TestDatabase
let mailbox: Mailbox
const open: Mailbox[] = []
let clock = Date.parse('2026-11-26T12:00:00Z')
let lines: string[] = []
beforeAll(async () => {
  test = await createTestDatabase()
})
afterAll(() => test.drop())
beforeEach(async () => {
  clock = Date.parse('2026-11-26T12:00:00Z')
  lines = []
  await test.database.prisma.mail.deleteMany()
  await clearAudit(test.database)
  mailbox = await begin()
})
afterEach(async () => {
  killAll()
  await Promise.all(open.splice(0).map((one) => one.stop()))
})

async function begin(options: Parameters<typeof startMailbox>[0] = {}): Promise<Mailbox> {
  const started = await startMailbox(options)
  open.push(started)
  return started
}

const env = (url: string) => ({
  ISSUER_URL: 'http://localhost:3000',
  SMTP_URL: url,
  MAIL_FROM: 'Harbour Shop <post@shop.example>',
  SECRET_KEY: key.toString('base64url'),
  DATABASE_URL: test.url,
})

function sender(url = mailbox.url, more: Record<string, string> = {}) {
  return createMailSender({
    database: test.database,
    secretKeys,
    config: readConfig({ ...env(url), ...more }),
    log: createLog({ logLevel: 'debug' }, { write: (line: string) => void lines.push(line) }),
    now: () => new Date(clock),
  })
}
type Sender = ReturnType<typeof sender>
const run = (one: Sender) => one.run(new AbortController().signal)
/** Lets time pass until nothing is due or left. */
async function runFor(one: Sender, seconds: number, step = 1): Promise<void> {
  for (const end = clock + seconds * 1000; clock < end; clock += step * 1000) if (await one.isDue()) await run(one)
}

const mail = (to: string, change: Partial<OutgoingMail<'recovery_code'>> = {}): OutgoingMail => ({
  template: 'recovery_code',
  to,
  locale: 'en',
  data: { code: '13572468' },
  ...change,
})
const queue = (...mails: OutgoingMail[]) =>
  test.database.prisma.$transaction(async (tx) => {
    for (const one of mails) await queueMail(tx, one, { secretKeys, now: new Date(clock) })
  })
const rows = () => test.database.prisma.mail.findMany({ orderBy: [{ createdAt: 'asc' }, { id: 'asc' }] })
const events = () => lines.map((line) => JSON.parse(line).event)

it('sends text and HTML, in the language of the reader, marked as made by a machine (RFC 3834)', async () => {
  await queue(mail('Alice@example.com'), mail('benoît@exämple.fr', { locale: 'fr' }))
  const one = sender()
  expect(await one.isDue()).toBe(true)
  await run(one)
  expect(await one.isDue()).toBe(false)
  const received = mailbox.newest('Alice@example.com')
  expect(received).toMatchObject({ from: 'post@shop.example', subject: 'Set a new password' })
  expect(codeIn(received)).toBe('13572468')
  expect(received.html).toContain('1357 2468')
  expect(received.headers.get('auto-submitted')).toBe('auto-generated')
  const [row] = await rows()
  expect(mailbox.mails.map(({ messageId }) => messageId)).toContain(`<${row?.id}@shop.example>`)
  expect(mailbox.mails.find(({ subject }) => subject === 'Choisissez un nouveau mot de passe')?.text).toContain(
    'dix minutes',
  )
})

it('keeps of what was sent only that it was, and says so without an address', async () => {
  await queue(mail('canary@example.com'))
  await run(sender())
  expect(await rows()).toMatchObject([{ sealed: null, nextAttemptAt: null, attempts: 1, sentAt: new Date(clock) }])
  expect(events()).toEqual(['mail.sent'])
  expect(lines.join('')).not.toMatch(/canary|13572468/)
})

it('two senders at once send each mail once', async () => {
  await queue(...Array.from({ length: 30 }, (_, n) => mail(`p${n}@example.com`)))
  await Promise.all([run(sender()), run(sender()), run(sender())])
  expect(mailbox.mails.map(({ to }) => to).sort()).toEqual(
    Array.from({ length: 30 }, (_, n) => `p${n}@example.com`).sort(),
  )
  expect((await rows()).every((row) => row.sentAt)).toBe(true)
})

it('a row where nobody is to be told anything is cleared away unsent', async () => {
  await queue({ template: 'nothing', to: 'canary@example.com', locale: 'en', data: {} })
  await run(sender())
  expect(mailbox.mails).toEqual([])
  expect(await rows()).toMatchObject([{ sealed: null, nextAttemptAt: null }])
  expect(lines).toEqual([])
})

describe('a mail server that is down', () => {
  it('delays mails and loses none', async () => {
    await mailbox.stop()
    await queue(...Array.from({ length: 8 }, (_, n) => mail(`p${n}@example.com`)))
    const one = sender()
    await runFor(one, 600, 20)
    expect((await rows()).every((row) => row.sealed && !row.sentAt)).toBe(true)
    expect(events().filter((event) => event === 'mail.server_away')).toHaveLength(1)
    expect(lines.join('')).not.toContain('example.com')
    mailbox = await begin({ port: mailbox.port })
    await runFor(one, 80, 20)
    expect(mailbox.mails).toHaveLength(8)
    expect(events()).toContain('mail.server_returned')
  })

  it('is asked more and more rarely, once for all mails', async () => {
    let connections = 0
    const silent = createServer((socket) => {
      connections++
      socket.destroy()
    }).listen(0, '127.0.0.1')
    await new Promise((resolve) => silent.once('listening', resolve))
    await queue(...Array.from({ length: 50 }, (_, n) => mail(`p${n}@example.com`)))
    await runFor(sender(`smtp://127.0.0.1:${(silent.address() as { port: number }).port}`), 300)
    silent.close()
    expect(connections).toBeGreaterThan(5)
    expect(connections).toBeLessThan(60)
  })

  it('is given up on after a day, with a record that names no address', async () => {
    await mailbox.stop()
    await queue(mail('canary@example.com', { userId: '00000000-0000-4000-8000-000000000001' }))
    const one = sender()
    await runFor(one, 86_400 + 3600, 1800)
    expect(await rows()).toMatchObject([{ sealed: null, nextAttemptAt: null, sentAt: null }])
    const audits = await test.database.prisma.auditEvent.findMany()
    expect(audits).toMatchObject([
      {
        event: 'mail.given_up',
        outcome: 'failure',
        targetKind: 'user',
        targetId: '00000000-0000-4000-8000-000000000001',
        detail: { template: 'recovery_code', reason: 'too_late' },
      },
    ])
    expect(JSON.stringify(audits.map(({ detail }) => detail)) + lines.join('')).not.toContain('canary')
  })
})

describe('a mail that will not go', () => {
  const refuse = (code: number, text: string) => Object.assign(new Error(text), { responseCode: code })

  it('says when it was tried and what came of it, without the address, and goes at once when somebody asks for it', async () => {
    mailbox.behaviour.recipient = (address) => refuse(451, `try later, ${address}`)
    await queue(mail('canary@example.com'))
    await run(sender())
    const [row] = await rows()
    expect(row).toMatchObject({ attemptedAt: new Date(clock), problem: 'EENVELOPE 451' })
    mailbox.behaviour.recipient = () => undefined
    clock += 1_000
    await run(sender())
    expect(mailbox.mails).toEqual([])
    const change = { now: new Date(clock), actor: { kind: 'cli' } } as const
    await hurryMail(test.database.prisma, row?.id ?? '', change)
    await run(sender())
    expect(mailbox.mails.map(({ to }) => to)).toEqual(['canary@example.com'])
    expect(await rows()).toMatchObject([{ problem: null, attempts: 2 }])
    await expect(hurryMail(test.database.prisma, row?.id ?? '', change)).rejects.toThrow(MailNotDelayed)
  })

  it('holds up no other, and is tried again after growing pauses', async () => {
    mailbox.behaviour.recipient = (address) =>
      address.startsWith('poison') ? refuse(451, `try later, ${address}`) : undefined
    await queue(
      mail('poison@example.com'),
      mail('poison2@example.com'),
      mail('poison3@example.com'),
      mail('a@example.com'),
    )
    const one = sender()
    await run(one)
    expect(mailbox.mails.map(({ to }) => to)).toEqual(['a@example.com'])
    const pauses: number[] = []
    for (let n = 0; n < 12; n++) {
      const [row] = (await rows()).filter(({ sentAt }) => !sentAt)
      pauses.push(((row?.nextAttemptAt?.getTime() ?? 0) - clock) / 1000)
      clock = row?.nextAttemptAt?.getTime() ?? clock
      await queue(mail(`b${n}@example.com`))
      await run(one)
      expect(mailbox.newest(`b${n}@example.com`)).toBeTruthy()
    }
    expect(pauses).toEqual([5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900])
    expect(lines.join('')).not.toContain('example.com')
    mailbox.behaviour.recipient = () => undefined
    clock += 900_000
    await run(one)
    expect(mailbox.mails.filter(({ to }) => to.startsWith('poison'))).toHaveLength(3)
  })

  it('and was refused for good is asked a few times a day: a wrong setting can be mended', async () => {
    mailbox.behaviour.recipient = () => refuse(550, 'no such user')
    await queue(mail('gone@example.com'))
    const one = sender()
    let asked = 0
    for (const end = clock + 86_400_000; clock < end; clock += 600_000)
      if (await one.isDue()) {
        asked++
        await run(one)
      }
    expect(asked).toBeGreaterThan(3)
    expect(asked).toBeLessThan(12)
  })

  it('because nobody can read it any more is given up', async () => {
    await queue(mail('a@example.com'), mail('b@example.com'))
    const [row] = await rows()
    const foreign = createSecretKeys([randomBytes(32)]).seal('mail', row?.id ?? '', '{}')
    await test.database.prisma.mail.update({ where: { id: row?.id ?? '' }, data: { sealed: foreign } })
    await run(sender())
    expect(mailbox.mails).toHaveLength(1)
    expect(await test.database.prisma.auditEvent.findMany()).toMatchObject([{ detail: { reason: 'unreadable' } }])
  })

  it('because its letter belongs to another version of the program is given up', async () => {
    await queue(mail('a@example.com'))
    await test.database.prisma.mail.updateMany({ data: { template: 'letter_of_tomorrow' } })
    await run(sender())
    expect(await test.database.prisma.auditEvent.count()).toBe(1)
  })
})

it('a sender that is killed between claim and delivery loses nothing: the claim runs out', async () => {
  const reached = Promise.withResolvers<void>()
  mailbox.behaviour.data = () => {
    reached.resolve()
    return delay(60_000, undefined, { ref: false })
  }
  clock = Date.now()
  await queue(mail('a@example.com'))
  const running = runNode(['test/support/mail-process.ts'], { env: env(mailbox.url) })
  await reached.promise
  running.child.kill('SIGKILL')
  await running.ended()
  mailbox.behaviour.data = async () => undefined
  const one = sender()
  clock = Date.now()
  expect(await one.isDue()).toBe(false) // the mail is claimed, by somebody who may still be sending it
  expect((await rows())[0]).toMatchObject({ attempts: 1, sentAt: null })
  clock += 121_000
  await run(one)
  expect(mailbox.mails.filter(({ to }) => to === 'a@example.com')).toHaveLength(1)
}, 60_000)

describe('user name and password', () => {
  const certificate = makeCertificate()
  const options = {
    ...certificate,
    authOptional: false,
    onAuth: ((auth, _session, callback) =>
      auth.username === 'us@er' && auth.password === 'p:w'
        ? callback(null, { user: 'us@er' })
        : callback(new Error('wrong'))) satisfies SMTPServerOptions['onAuth'],
  }

  it('never leave without TLS: a server that does not offer it gets neither them nor the mail', async () => {
    const attempts: unknown[] = []
    const plain = await begin({
      authOptional: false,
      disabledCommands: ['STARTTLS'],
      allowInsecureAuth: true,
      onAuth(auth, _session, callback) {
        attempts.push(auth)
        callback(null, { user: 'us@er' })
      },
    })
    await queue(mail('a@example.com'))
    await run(sender(`smtp://us%40er:p%3Aw@127.0.0.1:${plain.port}`))
    expect([attempts, plain.mails]).toEqual([[], []])
    expect(lines.join('')).toMatch(/ETLS/)
    expect(lines.join('')).not.toContain('p:w')
  })

  it('go to no server whose certificate nobody vouches for', async () => {
    const unknown = await begin({ ...options, secure: true })
    await queue(mail('a@example.com'))
    await run(sender(`smtps://us%40er:p%3Aw@localhost:${unknown.port}`))
    expect(unknown.mails).toEqual([])
  })

  it.each(['smtps', 'smtp'])(
    'are taken over TLS (%s)',
    async (scheme) => {
      const trusted = await begin({ ...options, secure: scheme === 'smtps' })
      clock = Date.now()
      await queue(mail('a@example.com'))
      const url = `${scheme}://us%40er:p%3Aw@localhost:${trusted.port}`
      const running = runNode(['test/support/mail-process.ts'], {
        env: { ...env(url), NODE_EXTRA_CA_CERTS: certificate.file },
      })
      await running.prints('mail.sent')
      running.child.kill()
      expect(trusted.mails).toHaveLength(1)
    },
    60_000,
  )
})

describe('without a mail server', () => {
  it('mails stay readable for the page of a developer', async () => {
    await queue(mail('a@example.com'))
    const one = sender(mailbox.url, { SMTP_URL: '' })
    await run(one)
    expect(await one.isDue()).toBe(false)
    expect(await rows()).toMatchObject([{ sealed: expect.any(String), nextAttemptAt: null }])
  })

  it('mails wait a day for one to be set up in production', async () => {
    const production = { SMTP_URL: '', NODE_ENV: 'production' }
    await queue(mail('a@example.com'))
    const one = sender(mailbox.url, production)
    expect(await one.isDue()).toBe(false)
    clock += 3_600_000
    await run(sender())
    expect(mailbox.mails).toHaveLength(1)
    await queue(mail('b@example.com'))
    clock += 86_401_000
    expect(await one.isDue()).toBe(true)
    await run(one)
    expect(await test.database.prisma.auditEvent.count()).toBe(1)
  })
})
