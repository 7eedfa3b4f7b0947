// Receipts, for whoever may read them: an operator, and whoever has the client that was refused. Everybody else hears that there is none.
import type { Db, Prisma } from '#src/db/database.ts'
import { Refusal } from '#src/refusal.ts'
import { fixOf, type Reason, reasons } from './gates.ts'

export type ReceiptRecord = Prisma.DecisionReceiptGetPayload<object>

export class ReceiptNotFound extends Refusal {
  constructor() {
    super('missing', [
      {
        field: 'id',
        problem: 'is not that of a decision, or its receipt has left since',
        fix: 'Send the value of X-Decision-Id; DECISION_RECEIPT_TTL_DAYS says how long a receipt is kept.',
      },
    ])
  }
}

/** @param clientId only of decisions about this client. @throws ReceiptNotFound, also for one of somebody else's. */
export async function findReceipt(db: Db, id: string, { clientId }: { clientId?: string | undefined } = {}) {
  const record = uuid.test(id) ? await db.decisionReceipt.findUnique({ where: { id } }) : null
  if (!record || (clientId !== undefined && record.clientId !== clientId)) throw new ReceiptNotFound()
  return record
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** For people and programs: what was asked, the gate that stopped it, and what would help. */
export function describeReceipt(record: ReceiptRecord) {
  const { id, at, endpoint, allowed, gate, reason, needs, policies, api, action, method, clientId } = record
  return {
    id,
    at,
    endpoint,
    allowed,
    gate,
    reason,
    needs,
    policies,
    subject: record.subjectId === null ? null : { type: record.subjectKind, id: record.subjectId },
    credential: method,
    clientId,
    api,
    action,
    object: record.objectId === null ? null : { type: record.objectType, id: record.objectId },
    address: record.address,
    fix: allowed ? null : fixFor(reason, needs),
  }
}

/** One that an older version wrote may have a reason that is no longer in the list. */
function fixFor(reason: string, needs: readonly string[]): string | null {
  return Object.hasOwn(reasons, reason) ? fixOf(reason as Reason, needs) : null
}
