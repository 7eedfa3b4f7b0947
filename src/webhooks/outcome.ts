// What an attempt means for the delivery, and for the endpoint. A delivery is tried ten times over three days, after growing pauses, each a little
// longer or shorter by chance: a thousand deliveries that failed together do not come back together. Then it is given up. If nothing else got
// through since its event either, the endpoint is marked failing, and when it is still so two days later, it is disabled. Each is in the record.
import { recordAudit } from '#src/audit/audit.ts'
import type { Database, Prisma } from '#src/db/database.ts'
import type { Log } from '#src/log.ts'

export type Claimed = {
  /** A number that fits no JavaScript number. */
  id: string
  endpointId: string
  eventId: string
  /** With this one. */
  attempts: number
  countedFrom: number
  createdAt: Date
  body: string
  url: string
  secret: string
  previousSecret: string | null
  previousSecretUntil: Date | null
}

/** `status` null: there was no answer, and `problem` says why. */
export type Answered = { status: number | null; problem?: string; answer: string; retryAfter: string | undefined }

/** After the first attempt, the second, … Together three days. */
export const pauseSeconds = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400] as const
/** A share of the pause, either way. */
const jitter = 0.2
/** How long an endpoint that is away is left alone, doubled with every failure. */
const silence = { first: 5, longest: 300 }
const longestRetryAfterSeconds = 86_400
const disabledAfterSeconds = 2 * 86_400
/** How exactly the last success is kept: each note costs a write. */
const successSeconds = 60

export async function settle(
  { prisma }: Pick<Database, 'prisma'>,
  delivery: Claimed,
  answered: Answered & { milliseconds: number },
  { now, random, log }: { now: Date; random: () => number; log: Log },
): Promise<'delivered' | 'failed' | 'given_up'> {
  const { status, milliseconds, answer } = answered
  const ok = status !== null && status >= 200 && status <= 299
  const problem = ok ? null : (answered.problem ?? `status_${status}`)
  const about = {
    ...{ webhook: delivery.endpointId, delivery: delivery.id, attempts: delivery.attempts, status, milliseconds },
  }
  // In one order everywhere: the endpoint, the delivery, its log. So nobody waits in a circle.
  const outcome = await prisma.$transaction(async (tx) => {
    const found = ok ? await succeed(tx, delivery, now) : await fail(tx, delivery, answered, { now, random })
    await tx.$executeRaw`INSERT INTO webhook_attempt (delivery_id, number, at, milliseconds, status, problem, answer)
      SELECT id, ${delivery.attempts}::int, ${now}::timestamptz, ${milliseconds}::int, ${status}::int, ${problem}, ${answer}
      FROM webhook_delivery WHERE id = ${BigInt(delivery.id)} FOR KEY SHARE ON CONFLICT DO NOTHING` // gone with its endpoint: nothing
    return found
  })
  if (ok) log.debug({ event: 'webhook.delivered', ...about })
  else log.warn({ event: outcome === 'given_up' ? 'webhook.given_up' : 'webhook.delayed', ...about, reason: problem })
  return outcome
}

async function succeed(tx: Prisma.TransactionClient, { id, endpointId }: Claimed, now: Date): Promise<'delivered'> {
  const lately = new Date(now.getTime() - successSeconds * 1000)
  await tx.webhookEndpoint.updateMany({
    where: {
      id: endpointId,
      OR: [
        { failures: { gt: 0 } },
        { failingSince: { not: null } },
        { lastSuccessAt: null },
        { lastSuccessAt: { lt: lately } },
      ],
    },
    data: { failures: 0, failingSince: null, silentUntil: null, lastSuccessAt: now },
  })
  // Also when somebody asked for it again meanwhile: it has arrived.
  await tx.webhookDelivery.updateMany({
    where: { id: BigInt(id), nextAttemptAt: { not: null } },
    data: { state: 'delivered', nextAttemptAt: null, endedAt: now },
  })
  return 'delivered'
}

async function fail(
  tx: Prisma.TransactionClient,
  delivery: Claimed,
  { status, retryAfter }: Answered,
  { now, random }: { now: Date; random: () => number },
): Promise<'failed' | 'given_up'> {
  const { id, endpointId, attempts, countedFrom } = delivery
  const after = (seconds: number) => new Date(now.getTime() + Math.round(seconds * 1000))
  const spread = (seconds: number) => seconds * (1 - jitter + 2 * jitter * random())
  // Standard Webhooks 1.0: 410 says that nobody there wants to hear any more; 429 and 503 may say when to ask again.
  const gone = status === 410
  const pause = gone ? undefined : pauseSeconds[attempts - countedFrom - 1]
  const asked = status === 429 || status === 503 ? retryAfterSeconds(retryAfter, now) : 0
  const away = status === null || status >= 500 || status === 429

  const [endpoint] = await tx.$queryRaw<
    { failures: number; failingSince: Date | null; lastSuccessAt: Date | null; disabled: boolean }[]
  >`SELECT failures, failing_since AS "failingSince", last_success_at AS "lastSuccessAt", disabled_at IS NOT NULL AS disabled
    FROM webhook_endpoint WHERE id = ${endpointId}::uuid FOR UPDATE`
  const outcome = pause === undefined ? 'given_up' : 'failed'
  if (!endpoint) return outcome
  const { count } = await tx.webhookDelivery.updateMany({
    // Not: somebody asked for it again meanwhile, or was faster.
    where: { id: BigInt(id), attempts, countedFrom, nextAttemptAt: { not: null } },
    data:
      pause === undefined
        ? { state: 'given_up', nextAttemptAt: null, endedAt: now }
        : { nextAttemptAt: after(Math.max(spread(pause), asked)) },
  })
  const { failures, failingSince, lastSuccessAt } = endpoint
  const marks =
    outcome === 'given_up' && count > 0 && !failingSince && !(lastSuccessAt && lastSuccessAt > delivery.createdAt)
  const overdue = failingSince !== null && now.getTime() - failingSince.getTime() >= disabledAfterSeconds * 1000
  const because = gone ? 'gone' : overdue ? 'failing' : undefined
  const silent = Math.max(spread(Math.min(silence.first * 2 ** Math.min(failures, 20), silence.longest)), asked)
  await tx.webhookEndpoint.update({
    where: { id: endpointId },
    data: {
      ...(away ? { failures: failures + 1, silentUntil: after(silent) } : { failures: 0, silentUntil: null }),
      ...(marks ? { failingSince: now } : {}),
      ...(because && !endpoint.disabled ? { disabledAt: now, disabledBecause: because } : {}),
    },
  })
  if (marks && !because) await record(tx, 'webhook.failing', delivery)
  if (because && !endpoint.disabled) await record(tx, 'webhook.disabled', delivery, { because })
  return outcome
}

function record(
  tx: Prisma.TransactionClient,
  event: 'webhook.failing' | 'webhook.disabled',
  { endpointId, id, attempts }: Claimed,
  detail: Record<string, string> = {},
): Promise<void> {
  return recordAudit(tx, {
    event,
    outcome: 'failure',
    actor: { kind: 'system', id: 'webhooks' },
    target: { kind: 'webhook', id: endpointId },
    detail: { delivery: id, attempts, ...detail },
  })
}

/** RFC 9110 10.2.3: seconds, or a date. */
function retryAfterSeconds(value: string | undefined, now: Date): number {
  const seconds = /^\d{1,9}$/.test(value ?? '') ? Number(value) : (Date.parse(value ?? '') - now.getTime()) / 1000
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0), longestRetryAfterSeconds) : 0
}
