// One look at what every start makes sure of, in one statement and without a lock: most starts find everything, and then there is
// nothing to wait for (docs/decisions/016). It only tells that something is missing; who makes it looks again under the lock.
import { ownerPermissions, ownerRole } from '#src/access/roles.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { demoServiceId, demoWebId } from '#src/clients/demo-clients.ts'
import type { Database } from '#src/db/database.ts'
import { signingPlaces } from '#src/keys/signing-keys.ts'

export type Look = Readonly<{
  ownApi: boolean
  ownerRole: boolean
  signingKeys: boolean
  /** Somebody is an owner, and no set-up code is left that could make another. */
  administrator: boolean
  /** One of the demo clients, at least. */
  demo: boolean
}>

/** @param ownApi its identifier, as it should be. @throws the database's error. */
export async function lookAround({ pool }: Pick<Database, 'pool'>, ownApi: string): Promise<Look> {
  const { rows } = await pool.query<Look>({
    text: `SELECT
      EXISTS (SELECT FROM api WHERE built_in AND identifier = $1)
        AND $2::text[] <@ ARRAY(SELECT name FROM scope WHERE api_identifier = $1) AS "ownApi",
      EXISTS (SELECT FROM role WHERE name = $3)
        AND ARRAY(SELECT permission FROM role_permission WHERE role_name = $3 ORDER BY permission COLLATE "C") = $4::text[] AS "ownerRole",
      $5::text[] <@ ARRAY(SELECT alg || ' ' || state FROM signing_key) AS "signingKeys",
      EXISTS (SELECT FROM user_role WHERE role_name = $3)
        AND NOT EXISTS (SELECT FROM setup_code WHERE consumed_at IS NULL) AS "administrator",
      EXISTS (SELECT FROM client WHERE id = ANY ($6::text[])) AS "demo"`,
    values: [
      ownApi,
      Object.keys(ownScopes),
      ownerRole,
      ownerPermissions,
      signingPlaces.map(({ alg, state }) => `${alg} ${state}`),
      [demoServiceId, demoWebId],
    ],
  })
  const [found] = rows
  if (!found) throw new Error('a SELECT without FROM gave no row')
  return found
}
