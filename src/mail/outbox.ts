// Mails are rows first. queueMail writes one in the transaction of what it tells about, so a mail is sent if and only if its cause
// was committed, and a mail server that is down delays mails and loses none. Addresses, codes and links are sealed under
// SECRET_KEY while they wait and gone afterwards. What a mail says is letters.ts; who sends it is sender.ts.
//
// Order of events: queueMail (limits, sealed row) -> commit -> sender.ts claims, renders, sends -> the row keeps only that it was sent.
import { randomUUID } from 'node:crypto'
import { isIPv6 } from 'node:net'
import type { Db } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import type { Locale } from '#src/words.ts'
import type { LetterData, LetterName } from './letters.ts'

export type OutgoingMail<Name extends LetterName = LetterName> = {
  [N in Name]: {
    template: N
    /** An address that users.checkEmail has passed. */
    to: string
    locale: Locale
    data: LetterData<N>
    userId?: string | undefined
    /** The network address of whoever asked for it. Left out for notices, which nobody asks for and no limit holds back. */
    askedFrom?: string | undefined
  }
}[Name]

/** What anybody can have sent to an address is bounded, or this server could be used to flood a mailbox. By network first: a
 *  stranger who uses up his share leaves the rest to the owner of the mailbox. */
const limits = {
  recipientFromNetwork: { seconds: 900, mails: 4 },
  recipient: { seconds: 3600, mails: 10 },
  network: { seconds: 3600, mails: 60 },
} as const

const keptSeconds = 2 * 86_400

/** For callers that undo what a mail was to tell about when it is held back. */
export class MailLimitReached extends Error {
  override name = 'MailLimitReached'
  /** When it is worth asking again. */
  readonly retryAfterSeconds = limits.recipientFromNetwork.seconds
}

/** In the transaction of what the mail tells about. @returns false when one of the limits holds it back: nothing was written. */
export async function queueMail(
  db: Db,
  mail: OutgoingMail,
  { secretKeys, now }: { secretKeys: SecretKeys; now: Date },
): Promise<boolean> {
  const { template, to, locale, data, userId, askedFrom } = mail
  const recipient = secretKeys.mac('mail-recipient', to.normalize('NFC').toLowerCase())
  const network = askedFrom === undefined ? undefined : secretKeys.mac('mail-network', networkOf(askedFrom))
  if (network && (await isOverLimit(db, { recipient, network, now }))) return false
  const id = randomUUID()
  await db.mail.create({
    data: {
      id,
      template,
      userId: userId ?? null,
      recipient: new Uint8Array(recipient),
      askedFrom: network ? new Uint8Array(network) : null,
      sealed: secretKeys.seal('mail', id, JSON.stringify({ to, locale, data } satisfies SealedMail)),
      createdAt: now,
      nextAttemptAt: now,
      expiresAt: new Date(now.getTime() + keptSeconds * 1000),
    },
  })
  return true
}

export type SealedMail = { to: string; locale: Locale; data: unknown }

/** @throws SealBroken when its key has left SECRET_KEY. */
export function unsealMail(secretKeys: SecretKeys, row: { id: string; sealed: string }): SealedMail {
  return JSON.parse(secretKeys.unseal('mail', row.id, row.sealed).toString())
}

async function isOverLimit(
  db: Db,
  { recipient, network, now }: { recipient: Buffer; network: Buffer; now: Date },
): Promise<boolean> {
  // Of several requests for one mailbox each counts what the others wrote. Always in this order, so nobody waits in a circle.
  for (const key of [network, recipient])
    await db.$executeRaw`SELECT pg_advisory_xact_lock(${mailLocks}, ${key.readInt32BE()})`
  const since = (limit: { seconds: number }) => new Date(now.getTime() - limit.seconds * 1000)
  const [counts] = await db.$queryRaw<{ recipientFromNetwork: bigint; recipient: bigint; network: bigint }[]>`
    SELECT
      (SELECT count(*) FROM mail WHERE recipient = ${recipient} AND asked_from = ${network}
        AND created_at > ${since(limits.recipientFromNetwork)}::timestamptz) AS "recipientFromNetwork",
      (SELECT count(*) FROM mail WHERE recipient = ${recipient} AND asked_from IS NOT NULL
        AND created_at > ${since(limits.recipient)}::timestamptz) AS recipient,
      (SELECT count(*) FROM mail WHERE asked_from = ${network}
        AND created_at > ${since(limits.network)}::timestamptz) AS network`
  return counts !== undefined && Object.entries(limits).some(([name, { mails }]) => counts[name as never] >= mails)
}

// Arbitrary, the first half of the locks above.
const mailLocks = 7_270_748

/** A household or a company: /24 of IPv4, /64 of IPv6. */
function networkOf(address: string): string {
  if (!isIPv6(address)) return address.split('.').slice(0, 3).join('.')
  const [head = '', tail] = address.split('::')
  const groups = head.split(':').filter(Boolean)
  const missing = 8 - groups.length - (tail?.split(':').filter(Boolean).length ?? 0)
  const full = tail === undefined ? groups : [...groups, ...Array<string>(missing).fill('0'), ...tail.split(':')]
  return full
    .slice(0, 4)
    .map((group) => group.padStart(4, '0'))
    .join(':')
}
