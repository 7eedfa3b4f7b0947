// Sends what is due. One process of all replicas does it (jobs/schedule.ts), and even two at once would not send an event twice: a delivery is
// claimed by moving its next attempt ahead, with SKIP LOCKED. A sender that is killed leaves its claims behind; they run out, and the event is sent
// then: at least once, under the same webhook-id. Each endpoint has lanes of its own, so that one that is slow holds up no other; one that is away is
// asked by a single delivery, more and more rarely. What an answer means is outcome.ts.
import { setTimeout as delay } from 'node:timers/promises'
import type { Database } from '#src/db/database.ts'
import { SealBroken, type SecretKeys } from '#src/keys/secret-key.ts'
import type { Log } from '#src/log.ts'
import { guardAddresses } from '#src/outbound/networks.ts'
import { NotPosted, post, type Resolve } from '#src/outbound/post.ts'
import { secretBytes, signatureHeaders } from '#src/outbound/standard-webhooks.ts'
import { secretPurpose } from './endpoints.ts'
import { fanOut } from './fan-out.ts'
import { type Answered, type Claimed, settle } from './outcome.ts'

const sendMilliseconds = 10_000
const claimSeconds = sendMilliseconds / 1000 + 30
const lanes = { endpoint: 4, all: 64 }
const answerBytes = 512
/** When the process stops, what is under way has so long to end. */
const graceMilliseconds = 1_500

export type WebhookSender = {
  isDue(): Promise<boolean>
  /** Sends until nothing is due, or `signal` aborts. */
  run(signal: AbortSignal): Promise<void>
}

/** @param deps.networks what may be reached besides public addresses. @param deps.observe for metrics. */
export function createWebhookSender(deps: {
  database: Database
  secretKeys: SecretKeys
  networks: readonly string[]
  log: Log
  now: () => Date
  random?: () => number
  milliseconds?: number
  resolve?: Resolve
  observe?: (outcome: 'delivered' | 'failed' | 'given_up', seconds: number) => void
}): WebhookSender {
  const { database, secretKeys, log, now, random = Math.random, observe = () => undefined } = deps
  const guard = guardAddresses(deps.networks)

  return {
    async isDue() {
      const { rows } = await database.pool.query<{ due: boolean }>({
        name: 'webhooks_due',
        text: `SELECT EXISTS (SELECT FROM webhook_outbox) OR EXISTS (SELECT FROM webhook_endpoint e WHERE ${isOpen}
          AND EXISTS (SELECT FROM webhook_delivery d WHERE d.endpoint_id = e.id AND d.next_attempt_at <= $1::timestamptz)) AS due`,
        values: [now()],
      })
      return rows[0]?.due ?? false
    },

    async run(signal) {
      const underWay = new Map<Promise<void>, string>()
      const cut = new AbortController()
      let grace: NodeJS.Timeout | undefined
      signal.addEventListener('abort', () => {
        grace = setTimeout(() => cut.abort(), graceMilliseconds)
      })
      let failure: unknown
      try {
        while (!signal.aborted && failure === undefined) {
          while (!signal.aborted && (await fanOut(database, now())) > 0);
          for (const delivery of await claim([...underWay.values()])) {
            const work = handle(delivery, cut.signal)
              .catch((error: unknown) => {
                failure ??= error
              })
              .finally(() => underWay.delete(work))
            underWay.set(work, delivery.endpointId)
          }
          if (underWay.size === 0) return
          // A lane that is free is filled at once; what became due meanwhile is looked for twice a second.
          await Promise.race([...underWay.keys(), delay(500)])
        }
      } finally {
        await Promise.all(underWay.keys())
        clearTimeout(grace)
      }
      if (failure !== undefined) throw failure
    },
  }

  /** @param busy the endpoints of what is under way here. */
  async function claim(busy: readonly string[]): Promise<Claimed[]> {
    if (busy.length >= lanes.all) return []
    const at = now()
    const until = new Date(at.getTime() + claimSeconds * 1000)
    const { rows } = await database.pool.query<Claimed>({
      name: 'webhooks_claim',
      text: `WITH due AS MATERIALIZED (
        SELECT d.id FROM webhook_endpoint e CROSS JOIN LATERAL (
          SELECT d.id FROM webhook_delivery d WHERE d.endpoint_id = e.id AND d.next_attempt_at <= $1::timestamptz
          ORDER BY d.next_attempt_at, d.id
          LIMIT GREATEST(0, CASE WHEN e.failures > 0 THEN 1 ELSE ${lanes.endpoint} END
            - (SELECT count(*) FROM unnest($3::uuid[]) b WHERE b = e.id))
          FOR UPDATE SKIP LOCKED) d
        WHERE ${isOpen} LIMIT $4)
      UPDATE webhook_delivery d SET attempts = d.attempts + 1, next_attempt_at = $2::timestamptz
      FROM webhook_endpoint e, webhook_event v WHERE d.id = ANY (ARRAY(SELECT id FROM due)) AND e.id = d.endpoint_id AND v.id = d.event_id
      RETURNING d.id, d.endpoint_id AS "endpointId", d.event_id AS "eventId", d.attempts, d.counted_from AS "countedFrom",
        d.created_at AS "createdAt", v.body, e.url, e.secret, e.previous_secret AS "previousSecret",
        e.previous_secret_until AS "previousSecretUntil"`,
      values: [at, until, busy, lanes.all - busy.length],
    })
    return rows.sort((a, b) => Number(BigInt(a.id) - BigInt(b.id)))
  }

  async function handle(delivery: Claimed, cut: AbortSignal): Promise<void> {
    const begun = performance.now()
    const answered = await send(delivery, cut)
    if (answered === 'interrupted') return release(delivery)
    const milliseconds = Math.round(performance.now() - begun)
    const outcome = await settle(database, delivery, { ...answered, milliseconds }, { now: now(), random, log })
    observe(outcome, milliseconds / 1000)
  }

  async function send(delivery: Claimed, cut: AbortSignal): Promise<Answered | 'interrupted'> {
    const { url, eventId: id, body } = delivery
    const at = now()
    const secrets = readSecrets(delivery, at)
    if (!secrets) return { status: null, problem: 'secret_unreadable', answer: '', retryAfter: undefined }
    try {
      return await post(url, body, {
        headers: signatureHeaders(secrets, { id, at, body }),
        ...{ guard, answerBytes, signal: cut },
        milliseconds: deps.milliseconds ?? sendMilliseconds,
        resolve: deps.resolve,
      })
    } catch (error) {
      if (!(error instanceof NotPosted)) throw error
      if (cut.aborted) return 'interrupted'
      return { status: null, problem: error.reason, answer: '', retryAfter: undefined }
    }
  }

  /** The newest first; the one before it while it overlaps. */
  function readSecrets(delivery: Claimed, at: Date): Buffer[] | undefined {
    const { endpointId, secret, previousSecret, previousSecretUntil } = delivery
    const overlaps = previousSecret !== null && previousSecretUntil !== null && previousSecretUntil > at
    try {
      return [secret, ...(overlaps ? [previousSecret] : [])].map((sealed) =>
        secretBytes(secretKeys.unseal(secretPurpose, endpointId, sealed).toString()),
      )
    } catch (error) {
      if (!(error instanceof SealBroken)) throw error
      log.error({ event: 'webhook.secret_unreadable', webhook: endpointId })
      return undefined
    }
  }

  /** Whoever sends next need not wait for the claim to run out. */
  async function release({ id, attempts }: Claimed): Promise<void> {
    await database.prisma.webhookDelivery.updateMany({
      where: { id: BigInt(id), attempts, nextAttemptAt: { not: null } },
      data: { nextAttemptAt: now() },
    })
  }
}

const isOpen = 'e.disabled_at IS NULL AND (e.silent_until IS NULL OR e.silent_until <= $1::timestamptz)'
