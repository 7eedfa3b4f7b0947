// Taking single scopes from clients.
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import { raiseConfigurationVersion } from '#src/db/configuration-version.ts'
import type { Db } from '#src/db/database.ts'
import { atomically } from '#src/db/transaction.ts'

export type ScopeOfClient = { clientId: string; api: string; scope: string }

/** Each is recorded with its client. @param why for the record. @returns those that were there. */
export function removeClientScopes(
  db: Db,
  scopes: readonly ScopeOfClient[],
  why: string,
  change: Change,
): Promise<ScopeOfClient[]> {
  return atomically(db, async (tx) => {
    if (scopes.length === 0) return []
    await raiseConfigurationVersion(tx, change.now)
    const of = (part: keyof ScopeOfClient) => scopes.map((one) => one[part])
    const gone = await tx.$queryRaw<ScopeOfClient[]>`
      DELETE FROM client_scope s USING unnest(${of('clientId')}::text[], ${of('api')}::text[], ${of('scope')}::text[]) AS i(client, api, name)
      WHERE s.client_id = i.client AND s.api_identifier = i.api AND s.scope_name = i.name
      RETURNING s.client_id AS "clientId", s.api_identifier AS api, s.scope_name AS scope`
    const byClient = Map.groupBy(gone, ({ clientId }) => clientId)
    await tx.client.updateMany({ where: { id: { in: [...byClient.keys()] } }, data: { updatedAt: change.now } })
    for (const [clientId, removed] of byClient)
      await recordAudit(
        tx,
        {
          event: 'client.scopes_removed',
          outcome: 'success',
          actor: change.actor,
          target: { kind: 'client', id: clientId },
          clientId,
          detail: { why, scopes: removed.map(({ api, scope }) => `${api} ${scope}`) },
        },
        change.origin,
      )
    return gone
  })
}
