// Whom ids stand for, for a page that shows records: asked in a second step, for those on the page. What is deleted has no name any more.
import type { Database } from '#src/db/database.ts'
import type { AuditRecord } from './search.ts'

export type Names = {
  /** @param kind of an actor or a target. @returns undefined for what has no name, or is gone. */
  of(kind: string | null, id: string | null): string | undefined
}

/** People by their address, everything else by what its operator called it. Sessions, tokens and grants have no names.
 *  For the eyes of operators: addresses stand in it. */
export async function namesOf(
  { pool }: Pick<Database, 'pool'>,
  records: readonly Pick<AuditRecord, 'actorKind' | 'actorId' | 'targetKind' | 'targetId' | 'clientId'>[],
): Promise<Names> {
  const ids = new Map<string, Set<string>>([
    ['user', new Set()],
    ['client', new Set()],
    ['api', new Set()],
    ['api_key', new Set()],
  ])
  const want = (kind: string | null, id: string | null) => {
    if (kind !== null && id !== null) ids.get(kind)?.add(id)
  }
  for (const { actorKind, actorId, targetKind, targetId, clientId } of records) {
    want(actorKind, actorId)
    want(targetKind, targetId)
    want('client', clientId)
  }
  const of = (kind: string) => [...(ids.get(kind) ?? [])]
  const { rows } = await pool.query<{ kind: string; id: string; name: string }>({
    name: 'audit_names',
    text: `SELECT 'user' AS kind, id::text AS id, email AS name FROM users WHERE id = ANY ($1::uuid[])
      UNION ALL SELECT 'client', id, name FROM client WHERE id = ANY ($2)
      UNION ALL SELECT 'api', identifier, name FROM api WHERE identifier = ANY ($3)
      UNION ALL SELECT 'api_key', id::text, name FROM api_key WHERE id = ANY ($4::uuid[])`,
    values: [of('user').filter(isUuid), of('client'), of('api'), of('api_key').filter(isUuid)],
  })
  const names = new Map(rows.map(({ kind, id, name }) => [`${kind} ${id}`, name]))
  return { of: (kind, id) => (kind === null || id === null ? undefined : names.get(`${kind} ${id}`)) }
}

const isUuid = (id: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id)
