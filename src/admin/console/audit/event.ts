// One line of the record in full, with its place in the chain.
import { findRecord } from '#src/audit/find.ts'
import { readChain } from '#src/audit/seal.ts'
import { type Moment, moment } from '#src/http/moments.ts'
import { template } from '#src/http/render.ts'
import type { ConsolePage, PageDeps } from '../page.ts'
import { addressOf, type Entity, entities } from './search.ts'

export type AuditEventPage = {
  event: string
  failed: boolean
  at: Moment
  actor: Entity | undefined
  target: Entity | undefined
  client: Entity | undefined
  address: string | null
  userAgent: string | null
  /** Ids, and where everything else that has them is found. */
  request: { id: string; href: string } | undefined
  decision: { id: string; href: string } | undefined
  detail: string | undefined
  seal: { position: number; hash: string | null; signed: boolean } | undefined
}

const page = template<AuditEventPage>('admin/console/audit-event')

export function auditEventPage({ database, render }: PageDeps): ConsolePage {
  return {
    path: '/admin/audit/events/:id',
    section: 'audit',
    scope: 'audit:read',
    async show(request) {
      const { ctx, words, now, person } = request
      const record = await findRecord(database, String(ctx.params.id))
      const entityOf = await entities(database, request, [record])
      const { signedPosition } = await readChain(database.pool)
      const { event, outcome, at, address, userAgent, requestId, decisionId, detail, position, hash } = record
      render(
        request,
        page,
        {
          ...{ event, address, userAgent },
          failed: outcome === 'failure',
          at: moment(words, at, now, person.zoneinfo),
          actor: entityOf(record.actorKind, record.actorId),
          target: entityOf(record.targetKind, record.targetId),
          client: record.clientId === null ? undefined : entityOf('client', record.clientId),
          request: requestId === null ? undefined : { id: requestId, href: addressOf({ request: requestId }) },
          decision: decisionId === null ? undefined : { id: decisionId, href: addressOf({ decision: decisionId }) },
          detail: detail === null ? undefined : JSON.stringify(detail, null, 2),
          seal: position === null ? undefined : { position, hash, signed: position <= signedPosition },
        },
        { section: 'audit' },
      )
    },
  }
}
