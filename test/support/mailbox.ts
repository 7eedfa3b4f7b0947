// A real mail server in the test: what it was sent, parsed, and the ways in which mail servers fail.
import { setTimeout as delay } from 'node:timers/promises'
import { type AddressObject, simpleParser } from 'mailparser'
import { SMTPServer, type SMTPServerOptions } from 'smtp-server'
import { createLog } from '#src/log.ts'
import { createMailSender } from '#src/mail/sender.ts'
import type { TestServer } from './server.ts'

export type Received = {
  to: string
  from: string
  subject: string
  text: string
  html: string
  headers: Map<string, unknown>
  messageId: string
}

export type Mailbox = {
  url: string
  port: number
  mails: Received[]
  /** Codes, links and all of the newest mail to an address. */
  newest(to: string): Received
  /** What the server answers to a recipient or a whole mail, until changed. */
  behaviour: { recipient?: (address: string) => Error | undefined; data?: () => Promise<void> }
  connections: number
  stop(): Promise<void>
}

/** @param options.port to come back on after it was away. */
export async function startMailbox(options: SMTPServerOptions & { port?: number } = {}): Promise<Mailbox> {
  const { port = 0, ...server } = options
  const behaviour: Mailbox['behaviour'] = {}
  const mails: Received[] = []
  const mailbox = { behaviour, mails, connections: 0 } as Mailbox
  const smtp = new SMTPServer({
    authOptional: true,
    disabledCommands: server.key ? [] : ['STARTTLS'],
    ...server,
    onConnect(_session, callback) {
      mailbox.connections++
      callback()
    },
    onRcptTo({ address }, _session, callback) {
      callback(behaviour.recipient?.(address))
    },
    async onData(stream, _session, callback) {
      try {
        const parsed = await simpleParser(stream)
        await behaviour.data?.()
        mails.push({
          to: textOf(parsed.to),
          from: textOf(parsed.from),
          subject: parsed.subject ?? '',
          text: parsed.text ?? '',
          html: parsed.html || '',
          headers: parsed.headers as Map<string, unknown>,
          messageId: parsed.messageId ?? '',
        })
        callback()
      } catch (error) {
        callback(error as Error)
      }
    },
  })
  smtp.on('error', () => undefined) // clients that break off are part of the tests
  const listening = await new Promise<{ port: number }>((resolve, reject) => {
    smtp.server.once('error', reject)
    smtp.listen(port, '127.0.0.1', () => resolve(smtp.server.address() as { port: number }))
  })
  mailbox.port = listening.port
  mailbox.url = `smtp://127.0.0.1:${listening.port}`
  mailbox.newest = (to) => {
    const found = mails.findLast((mail) => mail.to === to)
    if (!found) throw new Error(`no mail to ${to}; there are some to: ${mails.map((mail) => mail.to).join(', ')}`)
    return found
  }
  mailbox.stop = () => new Promise((resolve) => smtp.close(() => resolve()))
  return mailbox
}

/** Sends what the server under test has queued. */
export async function deliver(server: Pick<TestServer, 'database' | 'secretKeys' | 'config'>): Promise<void> {
  const sender = createMailSender({ ...server, log: createLog({ logLevel: 'silent' }), now: () => new Date() })
  for (let tries = 0; (await sender.isDue()) && tries < 20; tries++) {
    await sender.run(new AbortController().signal)
    await delay(5)
  }
}

/** The eight digits of a mail. */
export function codeIn({ text }: Pick<Received, 'text'>): string {
  const [, first = '', second = ''] = /^\s*(\d{4}) (\d{4})\s*$/m.exec(text) ?? []
  if (!first) throw new Error(`no code in: ${text}`)
  return first + second
}

function textOf(address: AddressObject | AddressObject[] | undefined): string {
  return [address ?? []]
    .flat()
    .flatMap(({ value }) => value.map((one) => one.address ?? ''))
    .join(', ')
}
