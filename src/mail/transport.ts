// SMTP, and nothing else: one connection pool for a burst of mails, with short limits, so that a mail is sent, refused or known to
// be late well before its claim runs out.
import { setTimeout as delay } from 'node:timers/promises'
import type { Transporter } from 'nodemailer'
import type { Mailbox, SmtpServer } from '#src/config.ts'
import type { RenderedMail } from './letters.ts'

/** What the server made of a mail (RFC 5321 4.2.1). `refused`: for good (5yz). `deferred`: for now (4yz). `away`: there was no
 *  talking to the server at all. */
export type Delivery = { ok: true } | { ok: false; kind: 'refused' | 'deferred' | 'away'; reason: string }

export type Transport = {
  /** @param mail.id makes the Message-ID: a mail that is sent twice, because a process was killed in between, is one mail to its reader. */
  send(mail: RenderedMail & { id: string; to: string }): Promise<Delivery>
  close(): void
}

export const parallel = 3
/** A mail takes no longer, whatever the server does. */
export const sendSeconds = 90

export function openTransport(deps: { smtp: SmtpServer; from: Mailbox; issuerUrl: string }): Transport {
  const { smtp, from, issuerUrl } = deps
  const { host, port, secure, auth } = smtp
  let opened: Promise<Transporter> | undefined
  // Loaded with the first mail: most starts send none for a while (docs/decisions/016).
  const open = async (): Promise<Transporter> =>
    (await import('nodemailer')).createTransport({
      host,
      port,
      secure,
      ...(auth ? { auth: { ...auth }, requireTLS: !secure } : {}),
      tls: { minVersion: 'TLSv1.2' },
      pool: true,
      maxConnections: parallel,
      maxRequeues: 0, // trying again is sender.ts, which remembers it
      name: new URL(issuerUrl).hostname,
      connectionTimeout: 5_000,
      dnsTimeout: 5_000,
      greetingTimeout: 10_000,
      socketTimeout: 20_000,
      disableFileAccess: true,
      disableUrlAccess: true,
    })
  return {
    async send({ id, to, subject, text, html }) {
      try {
        opened ??= open()
        const transporter = await opened
        const sent = transporter.sendMail({
          from: { ...from },
          to: { name: '', address: to },
          subject,
          text,
          html,
          messageId: `<${id}@${from.address.split('@').at(-1)}>`,
          // RFC 3834: no holiday notice answers a machine.
          headers: { 'Auto-Submitted': 'auto-generated', 'X-Auto-Response-Suppress': 'All' },
          textEncoding: 'quoted-printable',
        })
        return await Promise.race([sent.then(() => ({ ok: true }) as const), tooLong()])
      } catch (error) {
        return judge(error)
      }
    },
    close() {
      opened?.then((transporter) => transporter.close())
    },
  }
}

/** For a server that always says just enough to be waited for. */
async function tooLong(): Promise<Delivery> {
  await delay(sendSeconds * 1000, undefined, { ref: false })
  return { ok: false, kind: 'away', reason: 'ETIMEDOUT' }
}

/** Never the message of the error: servers quote the address in it. */
function judge(error: unknown): Delivery {
  const { code, responseCode } = error as { code?: unknown; responseCode?: unknown }
  const answer = typeof responseCode === 'number' ? responseCode : undefined
  const reason = [code, answer].filter(Boolean).join(' ') || 'unknown'
  if (code !== 'EENVELOPE' && code !== 'EMESSAGE') return { ok: false, kind: 'away', reason }
  return { ok: false, kind: answer !== undefined && answer >= 500 ? 'refused' : 'deferred', reason }
}
