// The policies as the server holds them while it serves, in plain SQL like APIs (apis/api-reads.ts).
import type { Database } from '#src/db/database.ts'
import { createPolicySet, type KeptPolicy, type PolicySet } from './cedar.ts'
import { groundFrom } from './policies.ts'
import type { PolicyGround, PolicySchemaInput } from './schema.ts'

type Row = KeptPolicy & { apiIdentifier: string }
type Ground = { identifier: string; scopes: string[]; objects: unknown; declared: PolicySchemaInput | null }

const enforced = `SELECT api_identifier AS "apiIdentifier", name, text, effect, scope FROM policy WHERE state = 'enforced'
  ORDER BY api_identifier, name`
// to_jsonb: a replica of the release before has no column of that name.
const groundColumns = `SELECT a.identifier, to_jsonb(a) -> 'objects' AS objects, p.declared,
  ARRAY(SELECT s.name FROM scope s WHERE s.api_identifier = a.identifier) AS scopes`
const grounds = `${groundColumns}
  FROM api a LEFT JOIN policy_schema p ON p.api_identifier = a.identifier
  WHERE EXISTS (SELECT FROM policy q WHERE q.api_identifier = a.identifier AND q.state = 'enforced')`
const declaredGrounds = `${groundColumns} FROM policy_schema p JOIN api a ON a.identifier = p.api_identifier`

/** @returns the enforced policies of every API that has some, by its identifier. */
export async function readPolicies({ pool }: Pick<Database, 'pool'>): Promise<ReadonlyMap<string, PolicySet>> {
  const [policies, apis] = await Promise.all([pool.query<Row>(enforced), pool.query<Ground>(grounds)])
  const of = Map.groupBy(policies.rows, (row) => row.apiIdentifier)
  return new Map(
    apis.rows.map(({ identifier, scopes, objects, declared }) => [
      identifier,
      createPolicySet(of.get(identifier) ?? [], groundFrom(scopes, objects, declared ?? {})),
    ]),
  )
}

/** @returns what policies may speak of, of every API that says so, by its identifier. */
export async function readPolicyGrounds({ pool }: Pick<Database, 'pool'>): Promise<ReadonlyMap<string, PolicyGround>> {
  const { rows } = await pool.query<Ground>(declaredGrounds)
  return new Map(
    rows.map(({ identifier, scopes, objects, declared }) => [identifier, groundFrom(scopes, objects, declared ?? {})]),
  )
}
