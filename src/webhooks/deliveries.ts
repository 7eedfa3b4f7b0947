// What became of each event at an endpoint, a test, and sending one again by hand.
import { randomUUID } from 'node:crypto'
import type { Change } from '#src/audit/change.ts'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { Refusal } from '#src/refusal.ts'
import { findEndpoint, InvalidWebhook, lockEndpoint, recordWebhook } from './endpoints.ts'
import { writeEvents } from './fan-out.ts'
import { bodyOf, testType } from './types.ts'

export const deliveryStates = ['waiting', 'delivered', 'given_up'] as const
export type DeliveryState = (typeof deliveryStates)[number]

class DeliveryNotFound extends Refusal {
  constructor() {
    super('missing', [
      { field: 'deliveryId', problem: 'is no delivery of this webhook', fix: 'Look at the list of its deliveries.' },
    ])
  }
}

const shown = {
  event: { select: { type: true, at: true, body: true } },
  log: { orderBy: { number: 'desc' } },
} as const satisfies Prisma.WebhookDeliveryInclude

type DeliveryRecord = Prisma.WebhookDeliveryGetPayload<{ include: typeof shown }>

/** Newest first. @param page.after the id of the last one of the page before. @throws WebhookNotFound */
export async function listDeliveries(
  db: Db,
  endpointId: string,
  filter: { state?: DeliveryState | undefined; type?: string | undefined },
  page: { after?: string | undefined; limit: number },
): Promise<DeliveryRecord[]> {
  await findEndpoint(db, endpointId)
  const { state, type } = filter
  return db.webhookDelivery.findMany({
    where: {
      endpointId,
      ...(state && { state }),
      ...(type && { event: { type } }),
      ...(page.after === undefined ? {} : { id: { lt: BigInt(page.after) } }),
    },
    orderBy: { id: 'desc' },
    take: page.limit,
    include: shown,
  })
}

/** @throws WebhookNotFound, DeliveryNotFound, also for one of another endpoint */
export async function findDelivery(db: Db, endpointId: string, id: string): Promise<DeliveryRecord> {
  await findEndpoint(db, endpointId)
  const record = isDeliveryId(id)
    ? await db.webhookDelivery.findFirst({ where: { id: BigInt(id), endpointId }, include: shown })
    : null
  if (!record) throw new DeliveryNotFound()
  return record
}

export function describeDelivery({ event, log, ...record }: DeliveryRecord) {
  const { id, eventId, state, attempts, createdAt, nextAttemptAt, endedAt } = record
  return {
    ...{ id: String(id), eventId, type: event.type, state: state as DeliveryState, attempts },
    ...{ createdAt, nextAttemptAt, endedAt },
    /** What was sent: the bytes that are signed. */
    body: event.body,
    log: log.map(({ number, at, milliseconds, status, problem, answer }) => ({
      ...{ number, at, milliseconds, status, problem, answer },
    })),
  }
}

/** It begins anew: with its own ten attempts, and under the same webhook-id. @throws WebhookNotFound, DeliveryNotFound, InvalidWebhook */
export function resendDelivery(db: Db, endpointId: string, id: string, change: Change): Promise<DeliveryRecord> {
  return atomically(db, async (tx) => {
    refuseDisabled(await lockEndpoint(tx, endpointId))
    const { attempts } = await findDelivery(tx, endpointId, id)
    await tx.webhookDelivery.update({
      where: { id: BigInt(id) },
      data: { state: 'waiting', countedFrom: attempts, nextAttemptAt: change.now, endedAt: null },
    })
    // Whoever asks by hand has mended something, or wants to know.
    await tx.webhookEndpoint.update({ where: { id: endpointId }, data: { silentUntil: null } })
    await recordWebhook(tx, 'webhook.resent', endpointId, change, { delivery: id })
    return findDelivery(tx, endpointId, id)
  })
}

/** An event `webhook.test` for this endpoint alone, whatever it asked for. @throws WebhookNotFound, InvalidWebhook */
export function testEndpoint(db: Db, endpointId: string, change: Change): Promise<DeliveryRecord> {
  return atomically(db, async (tx) => {
    refuseDisabled(await lockEndpoint(tx, endpointId))
    const id = randomUUID()
    const { now } = change
    const target = { kind: 'webhook', id: endpointId }
    const { kind, id: actorId = null } = change.actor
    const data = {
      outcome: 'success',
      actor: { kind, id: actorId },
      target,
      clientId: null,
      requestId: null,
      detail: {},
    }
    await writeEvents(tx, [{ id, at: now, type: testType, body: bodyOf(testType, now, data) }], now)
    const { id: deliveryId } = await tx.webhookDelivery.create({
      data: { endpointId, eventId: id, createdAt: now, nextAttemptAt: now },
    })
    await tx.webhookEndpoint.update({ where: { id: endpointId }, data: { silentUntil: null } })
    await recordWebhook(tx, 'webhook.tested', endpointId, change, { delivery: String(deliveryId) })
    return findDelivery(tx, endpointId, String(deliveryId))
  })
}

export const isDeliveryId = (id: string): boolean => /^[1-9]\d{0,17}$/.test(id)

function refuseDisabled({ disabledAt }: { disabledAt: Date | null }): void {
  if (disabledAt)
    throw new InvalidWebhook([
      { field: 'enabled', problem: 'is false: nothing is sent', fix: 'Enable the webhook first.' },
    ])
}
