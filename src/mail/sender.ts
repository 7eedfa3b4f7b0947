// Sends what waits in the outbox. One process of all replicas does it (jobs/schedule.ts), and even two at once would not send a mail
// twice: a row is claimed by moving its next attempt ahead, with SKIP LOCKED. A sender that is killed leaves its claims behind; they
// run out, and the mail is sent then. So a mail arrives at least once, and hardly ever twice.
//
// What fails is tried again after a growing pause, each mail by itself: one that the server will not take holds up no other. When
// nothing gets through at all the server is away, and everything waits a little. After a day a mail is given up, with a record.
import type { AuditEntry } from '#src/audit/audit.ts'
import { recordAudit } from '#src/audit/audit.ts'
import type { Config } from '#src/config.ts'
import type { Database } from '#src/db/database.ts'
import { SealBroken, type SecretKeys } from '#src/keys/secret-key.ts'
import type { Log } from '#src/log.ts'
import { nothing, renderMail } from './letters.ts'
import { unsealMail } from './outbox.ts'
import { type Delivery, openTransport, parallel, sendSeconds, type Transport } from './transport.ts'

const claimSeconds = sendSeconds + 30
const givenUpSeconds = 86_400
/** Between the tries of one mail, doubled each time. Also what was refused for good is tried a few times more: a server that is set up
 *  wrongly refuses every mail alike, and that can be mended within the day. */
const pauseSeconds = {
  away: { first: 5, longest: 60 },
  deferred: { first: 5, longest: 900 },
  refused: { first: 600, longest: 14_400 },
} as const
const longestSilenceSeconds = 30

export type MailSender = {
  isDue(): Promise<boolean>
  /** Sends until nothing is due, the server is away, or `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}

type Claimed = {
  id: string
  template: string
  userId: string | null
  sealed: string | null
  attempts: number
  old: boolean
}

export function createMailSender(deps: {
  database: Database
  secretKeys: SecretKeys
  config: Pick<Config, 'smtp' | 'mail' | 'mailFrom' | 'issuerUrl'>
  log: Log
  now: () => Date
}): MailSender {
  const { database, secretKeys, config, log, now } = deps
  let silentUntil = 0
  let failures = 0 // batches in a row in which nothing got through

  return {
    async isDue() {
      const at = now()
      if (at.getTime() < silentUntil) return false
      // Without a mail server only what is too old is dealt with.
      const since = config.mail === 'none' ? new Date(at.getTime() - givenUpSeconds * 1000) : at
      const { rows } = await database.pool.query<{ due: boolean }>({
        name: 'mail_due',
        text: 'SELECT EXISTS (SELECT FROM mail WHERE next_attempt_at <= $1::timestamptz) AS due',
        values: [since],
      })
      return rows[0]?.due ?? false
    },

    async run(signal) {
      const transport = config.smtp && openTransport({ ...config, smtp: config.smtp, from: config.mailFrom })
      try {
        while (!signal.aborted) {
          const mails = await claim()
          if (mails.length === 0) return
          const outcomes = await Promise.all(mails.map((mail) => handle(mail, transport)))
          if (!carryOn(outcomes)) return
        }
      } finally {
        transport?.close()
      }
    },
  }

  async function claim(): Promise<Claimed[]> {
    const at = now()
    const old = new Date(at.getTime() - givenUpSeconds * 1000)
    const until = new Date(at.getTime() + claimSeconds * 1000)
    return database.prisma.$queryRaw<Claimed[]>`
      UPDATE mail SET attempts = LEAST(attempts + 1, 32000), next_attempt_at = ${until}::timestamptz, attempted_at = ${at}::timestamptz,
        problem = NULL
      WHERE id = ANY (ARRAY(
        SELECT id FROM mail WHERE next_attempt_at <= ${config.mail === 'none' ? old : at}::timestamptz
        ORDER BY next_attempt_at LIMIT ${parallel} FOR UPDATE SKIP LOCKED))
      RETURNING id, template, user_id AS "userId", sealed, attempts, created_at <= ${old}::timestamptz AS old`
  }

  /** @returns what the server said, or undefined when it was not asked. */
  async function handle(mail: Claimed, transport: Transport | undefined): Promise<Delivery | undefined> {
    if (mail.template === nothing) await settle(mail, { sentAt: now() })
    else if (config.mail === 'page') await settle(mail, { sentAt: now() }, { keep: true })
    else if (mail.old || !transport) await giveUp(mail, 'too_late')
    else {
      const letter = read(mail)
      if (!letter) await giveUp(mail, 'unreadable')
      else {
        const delivery = await transport.send({ ...letter, id: mail.id })
        if (delivery.ok) {
          await settle(mail, { sentAt: now() })
          log.info({ event: 'mail.sent', mail: mail.id, template: mail.template, attempts: mail.attempts })
        } else await postpone(mail, delivery)
        return delivery
      }
    }
    return undefined
  }

  function read({ id, template, sealed }: Claimed) {
    if (sealed === null) return undefined
    try {
      const { to, locale, data } = unsealMail(secretKeys, { id, sealed })
      const letter = renderMail({ template, locale, data }, config.issuerUrl)
      return letter && { ...letter, to }
    } catch (error) {
      // One that cannot be read or rendered must not stop the others.
      if (!(error instanceof SealBroken)) log.error({ event: 'mail.unreadable', mail: id, err: error })
      return undefined
    }
  }

  /** Of a mail that is done only its record stays: no address, no code, no link. */
  async function settle(
    { id }: Claimed,
    done: { sentAt: Date } | { givenUpAt: Date },
    { keep = false } = {},
  ): Promise<void> {
    await database.prisma.mail.updateMany({
      where: { id },
      data: { ...done, nextAttemptAt: null, ...(keep ? {} : { sealed: null }) },
    })
  }

  async function giveUp(mail: Claimed, reason: string): Promise<void> {
    await database.prisma.$transaction(async (tx) => {
      const { count } = await tx.mail.updateMany({
        where: { id: mail.id, nextAttemptAt: { not: null } },
        data: { givenUpAt: now(), nextAttemptAt: null, sealed: null, problem: reason },
      })
      if (count > 0) await recordAudit(tx, givenUp(mail, reason))
    })
    log.warn({ event: 'mail.given_up', mail: mail.id, template: mail.template, attempts: mail.attempts, reason })
  }

  async function postpone(
    { id, template, attempts }: Claimed,
    { kind, reason }: Delivery & { ok: false },
  ): Promise<void> {
    const { first, longest } = pauseSeconds[kind]
    const seconds = Math.min(first * 2 ** Math.min(attempts - 1, 20), longest)
    await database.prisma.mail.updateMany({
      where: { id, nextAttemptAt: { not: null } },
      data: { nextAttemptAt: new Date(now().getTime() + seconds * 1000), problem: reason },
    })
    log.warn({ event: 'mail.delayed', mail: id, template, attempts, reason, seconds })
  }

  /** @returns false when the server is away: asking for each of a thousand mails would take a thousand timeouts. */
  function carryOn(outcomes: readonly (Delivery | undefined)[]): boolean {
    const asked = outcomes.filter((outcome) => outcome !== undefined)
    if (asked.length === 0) return true
    if (asked.some((outcome) => outcome.ok || outcome.kind !== 'away')) {
      if (failures > 0) log.info({ event: 'mail.server_returned' })
      failures = 0
      return true
    }
    if (failures === 0) log.error({ event: 'mail.server_away', reason: (asked[0] as { reason: string }).reason })
    failures++
    silentUntil = now().getTime() + Math.min(2 ** (failures - 1), longestSilenceSeconds) * 1000
    return false
  }
}

function givenUp({ id, template, userId, attempts }: Claimed, reason: string): AuditEntry {
  return {
    event: 'mail.given_up',
    outcome: 'failure',
    actor: { kind: 'system', id: 'mail' },
    target: userId ? { kind: 'user', id: userId } : { kind: 'mail', id },
    detail: { template, attempts, reason },
  }
}
