// What reaches a person by another way than their browser. How it gets there (a provider of text messages, an app) is the operator's: all
// that is asked of it is OutOfBandTransport. Here is how often it may be asked. Each message costs money, and disturbs somebody who may
// not have asked for it.
//
// Order of events: limits, the row that counts, what the message is about (one transaction) -> commit -> send. So nothing leaves uncounted.
import { randomUUID } from 'node:crypto'
import { addressRange } from '#src/address-range.ts'
import type { Database, Db } from '#src/db/database.ts'
import type { SecretKeys } from '#src/keys/secret-key.ts'
import type { Locale } from '#src/words.ts'

export type OutOfBandMessage = Readonly<{
  /** One for each message: whoever receives it twice has received it once. */
  id: string
  /** A phone number (E.164), or what the operator's app calls a device. */
  to: string
  locale: Locale
  expiresAt: Date
  purpose: 'sign_in' | 'enrolment'
}> &
  (
    | Readonly<{
        channel: 'sms'
        /** For the person to type where they asked for it. */
        code: string
      }>
    // Without the number that the screen shows: an app that has it would show it beside its button (docs/decisions/029).
    | Readonly<{
        channel: 'push'
        /** What the person signs in to, and from where: so that they know a request that is not theirs. */
        application: string
        askedFrom: string | undefined
      }>
  )
type Channel = OutOfBandMessage['channel']

export type OutOfBandTransport = Readonly<{
  /** Hands the message over, within seconds. @throws NotSent */
  send(message: OutOfBandMessage): Promise<void>
}>

export class NotSent extends Error {
  override name = 'NotSent'
  /** For the operator's log: never an address, a code or somebody else's words. */
  readonly reason: string
  /** Somebody may have received it nevertheless, so it counts. */
  readonly mayHaveLeft: boolean
  constructor(reason: string, { mayHaveLeft }: { mayHaveLeft: boolean }) {
    super(`The message was not sent: ${reason}`)
    this.reason = reason
    this.mayHaveLeft = mayHaveLeft
  }
}

export type OutOfBandDeps = Readonly<{
  database: Pick<Database, 'prisma'>
  secretKeys: SecretKeys
  /** Undefined: there is none, and nothing can be sent. */
  transport: OutOfBandTransport | undefined
  now: Date
}>

/** Whom a message is for, and who asked for it. */
export type Asking = Readonly<{ userId: string; channel: Channel; to: string; askedFrom: string | undefined }>

export type Sending =
  | Readonly<{ outcome: 'sent'; id: string }>
  | Readonly<{ outcome: 'limited'; retryAfterSeconds: number }>
  | Readonly<{ outcome: 'failed'; id: string; reason: string }>

type Limit = { seconds: number; messages: number }

/** `recipient` over all accounts: a number can be added to any. `network`: numbers that cost much to call are called for profit. */
const limits = {
  sms: {
    person: { seconds: 3600, messages: 5 },
    recipient: { seconds: 3600, messages: 5 },
    network: { seconds: 3600, messages: 20 },
  },
  push: {
    person: { seconds: 900, messages: 5 },
    recipient: { seconds: 900, messages: 5 },
    network: { seconds: 3600, messages: 60 },
  },
} as const satisfies Record<Channel, Record<string, Limit>>

const keptSeconds = 86_400

/** @param write what the message is about, in the transaction that counts it. */
export async function sendOutOfBand(
  { database: { prisma }, secretKeys, transport, now }: OutOfBandDeps,
  asking: Asking,
  write: (tx: Db, id: string) => Promise<OutOfBandMessage>,
): Promise<Sending> {
  const id = randomUUID()
  const counted = await prisma.$transaction(async (tx) => {
    const row = {
      channel: asking.channel,
      userId: asking.userId,
      recipient: new Uint8Array(secretKeys.mac('out-of-band-recipient', asking.to)),
      askedFrom: new Uint8Array(secretKeys.mac('out-of-band-network', addressRange(asking.askedFrom))),
    }
    const reached = await findLimit(tx, row, now)
    if (reached) return reached
    const expiresAt = new Date(now.getTime() + keptSeconds * 1000)
    await tx.outOfBandMessage.create({ data: { id, ...row, createdAt: now, expiresAt } })
    return write(tx, id)
  })
  if ('seconds' in counted) return { outcome: 'limited', retryAfterSeconds: counted.seconds }
  try {
    if (!transport) throw new NotSent('off', { mayHaveLeft: false })
    await transport.send(counted)
    return { outcome: 'sent', id }
  } catch (error) {
    if (!(error instanceof NotSent)) throw error
    if (!error.mayHaveLeft) await prisma.outOfBandMessage.deleteMany({ where: { id } })
    return { outcome: 'failed', id, reason: error.reason }
  }
}

type Counted = { channel: Channel; userId: string; recipient: Uint8Array; askedFrom: Uint8Array }

/** @returns the limit that this message would pass. */
async function findLimit(
  tx: Db,
  { channel, userId, recipient, askedFrom }: Counted,
  now: Date,
): Promise<Limit | undefined> {
  // Of several requests at once each counts what the others wrote. In one order, so nobody waits in a circle.
  const keys = [Buffer.from(userId.replaceAll('-', ''), 'hex'), Buffer.from(recipient), Buffer.from(askedFrom)]
  for (const key of keys.map((bytes) => bytes.readInt32BE()).sort((a, b) => a - b))
    await tx.$executeRaw`SELECT pg_advisory_xact_lock(${messageLocks}, ${key})`
  const { person, recipient: number, network } = limits[channel]
  const since = ({ seconds }: Limit) => new Date(now.getTime() - seconds * 1000)
  const [counts] = await tx.$queryRaw<{ person: bigint; recipient: bigint; network: bigint }[]>`
    SELECT
      (SELECT count(*) FROM out_of_band_message WHERE user_id = ${userId}::uuid AND channel = ${channel}
        AND created_at > ${since(person)}::timestamptz) AS person,
      (SELECT count(*) FROM out_of_band_message WHERE recipient = ${recipient} AND channel = ${channel}
        AND created_at > ${since(number)}::timestamptz) AS recipient,
      (SELECT count(*) FROM out_of_band_message WHERE asked_from = ${askedFrom} AND channel = ${channel}
        AND created_at > ${since(network)}::timestamptz) AS network`
  const all = Object.entries<Limit>(limits[channel])
  return counts && all.find(([name, { messages }]) => counts[name as keyof typeof counts] >= messages)?.[1]
}

// Arbitrary, the first half of the locks above.
const messageLocks = 7_270_749
