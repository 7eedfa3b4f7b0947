// Searches that an administrator keeps under a name. They are their own: nobody else sees them, and they leave with their owner.
import { randomUUID } from 'node:crypto'
import type { Db, Prisma } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'
import { checkText, type Flaw, Refusal } from '#src/refusal.ts'
import { recordAudit } from './audit.ts'
import type { Change } from './change.ts'
import { readSearch, type SearchParameters } from './search.ts'

/** A person, or a client that works here by itself. */
export type ViewOwner = { userId: string } | { clientId: string }
export type ViewRecord = Prisma.AuditViewGetPayload<object>

export class InvalidView extends Refusal {
  constructor(flaws: readonly Flaw[]) {
    super('invalid', flaws)
  }
}

export class ViewExists extends Refusal {
  constructor(name: string) {
    super('taken', [
      {
        field: 'name',
        problem: `is that of a view you have: ${name}`,
        fix: 'Delete that one, or choose another name.',
      },
    ])
  }
}

export class ViewNotFound extends Refusal {
  constructor() {
    super('missing', [{ field: 'id', problem: 'is not that of a view of yours', fix: 'List your views.' }])
  }
}

const mostViews = 100

/** By name. */
export function listViews(db: Db, owner: ViewOwner): Promise<ViewRecord[]> {
  return db.auditView.findMany({ where: owner, orderBy: [{ name: 'asc' }, { id: 'asc' }] })
}

/** @param input.filter parameters of a search. @throws InvalidView, UnknownSearch, ViewExists */
export function createView(
  db: Db,
  owner: ViewOwner,
  input: { name: string; filter: SearchParameters },
  change: Change,
): Promise<ViewRecord> {
  const { name, filter } = input
  const flaws = checkText('name', name, 100)
  if (flaws.length > 0) throw new InvalidView(flaws)
  readSearch(filter)
  return atomically(db, async (tx) => {
    if ((await tx.auditView.count({ where: owner })) >= mostViews)
      throw new InvalidView([
        { field: 'name', problem: `would be view ${mostViews + 1}`, fix: 'Delete one that you do not need.' },
      ])
    const id = randomUUID()
    const { count } = await tx.auditView.createMany({
      data: [{ id, ...owner, name, filter: { ...filter }, createdAt: change.now }],
      skipDuplicates: true,
    })
    if (count === 0) throw new ViewExists(name)
    await record(tx, 'audit_view.created', id, change)
    return tx.auditView.findUniqueOrThrow({ where: { id } })
  })
}

/** @throws ViewNotFound, also for somebody else's. */
export function deleteView(db: Db, owner: ViewOwner, id: string, change: Change): Promise<void> {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) throw new ViewNotFound()
  return atomically(db, async (tx) => {
    const { count } = await tx.auditView.deleteMany({ where: { id, ...owner } })
    if (count === 0) throw new ViewNotFound()
    await record(tx, 'audit_view.deleted', id, change)
  })
}

export function describeView({ id, name, filter, createdAt }: ViewRecord) {
  return { id, name, filter, createdAt }
}

function record(
  db: Db,
  event: 'audit_view.created' | 'audit_view.deleted',
  id: string,
  { actor, origin }: Change,
): Promise<void> {
  return recordAudit(db, { event, outcome: 'success', actor, target: { kind: 'audit_view', id } }, origin)
}
