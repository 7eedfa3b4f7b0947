// From the outbox to deliveries: each audit event that waits becomes one event in public words, and a delivery for each endpoint that wants it. The
// row of the outbox leaves in the same transaction, so that neither a crash nor a second process loses or doubles anything.
import { randomUUID } from 'node:crypto'
import type { Database, Prisma } from '#src/db/database.ts'
import { type AuditFacts, publish, wants } from './types.ts'

const batchRows = 200
/** An event can be sent again by hand for so long. */
export const keptSeconds = 30 * 86_400

/** @returns how many rows of the outbox were looked at: 0 when none is left. */
export function fanOut({ prisma }: Pick<Database, 'prisma'>, now: Date): Promise<number> {
  return prisma.$transaction(async (tx) => {
    const rows = await take(tx)
    const told = rows.flatMap((facts) => {
      const published = publish(facts)
      return published ? [{ id: randomUUID(), at: facts.at, ...published }] : []
    })
    if (told.length > 0) await tell(tx, told, now)
    return rows.length
  })
}

type Told = { id: string; at: Date; type: string; body: string }

/** In the transaction of its cause. @param events in their order. */
async function tell(tx: Prisma.TransactionClient, events: readonly Told[], now: Date): Promise<void> {
  const endpoints = await tx.webhookEndpoint.findMany({
    where: { disabledAt: null },
    select: { id: true, types: true },
  })
  const deliveries = events.flatMap((event) =>
    endpoints.filter(({ types }) => wants(types, event.type)).map(({ id }) => ({ event, endpointId: id })),
  )
  const wanted = new Set(deliveries.map(({ event }) => event))
  await writeEvents(tx, [...wanted], now)
  await tx.webhookDelivery.createMany({
    data: deliveries.map(({ event, endpointId }) => ({
      ...{ endpointId, eventId: event.id },
      createdAt: now,
      nextAttemptAt: now,
    })),
  })
}

export async function writeEvents(tx: Prisma.TransactionClient, events: readonly Told[], now: Date): Promise<void> {
  const expiresAt = new Date(now.getTime() + keptSeconds * 1000)
  await tx.webhookEvent.createMany({ data: events.map((event) => ({ ...event, expiresAt })) })
}

/** Rows that another process has taken are passed over. */
function take(tx: Prisma.TransactionClient): Promise<(AuditFacts & { id: bigint })[]> {
  return tx.$queryRaw`
    WITH taken AS (
      DELETE FROM webhook_outbox WHERE audit_event_id = ANY (ARRAY(
        SELECT audit_event_id FROM webhook_outbox ORDER BY audit_event_id LIMIT ${batchRows} FOR UPDATE SKIP LOCKED))
      RETURNING audit_event_id)
    SELECT e.id, e.event, e.outcome, e.at, e.actor_kind AS "actorKind", e.actor_id AS "actorId", e.target_kind AS "targetKind",
      e.target_id AS "targetId", e.client_id AS "clientId", e.request_id AS "requestId", e.detail
    FROM taken t JOIN audit_event e ON e.id = t.audit_event_id ORDER BY e.id`
}
