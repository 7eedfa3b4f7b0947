// What somebody holds at this moment: the one read behind the second door. Never remembered from one question to the next, so that a
// role that was taken away is gone with the next decision.
import { batchedRead } from '#src/db/batched-reads.ts'
import type { Database } from '#src/db/database.ts'

export type Holdings = Readonly<{
  /** Switched off: may do nothing, whatever is held. */
  disabled: boolean
  roles: readonly string[]
  /** What the roles carry, and of clients the scopes of the API that they are registered for. */
  permissions: ReadonlySet<string>
  /** Of people, as the operator wrote them. */
  attributes: Readonly<Record<string, unknown>>
  emailVerified: boolean
}>

/** Of whoever is not known here: relations may speak of people of another directory. */
export const nothing: Holdings = Object.freeze({
  disabled: false,
  roles: [],
  permissions: new Set<string>(),
  attributes: {},
  emailVerified: false,
})

type HeldRole = { name: string; api: string | null; permissions: string[] }

// Each role is looked up by its name: the planner would rather read the whole of a small table.
const rolesNamed = (held: string) => `(SELECT json_agg(json_build_object('name', h.name,
        'api', (SELECT r.api_identifier FROM role r WHERE r.name = h.name),
        'permissions', ARRAY(SELECT rp.permission FROM role_permission rp WHERE rp.role_name = h.name))) FROM (${held}) h)`

type PersonRow = {
  id: string
  disabled: boolean
  emailVerified: boolean
  attributes: Record<string, unknown>
  roles: HeldRole[] | null
}

const people = batchedRead<PersonRow>(
  {
    name: 'holdings_of_people',
    text: `SELECT u.id, u.disabled_at IS NOT NULL AS disabled, u.email_verified_at IS NOT NULL AS "emailVerified", u.attributes,
      ${rolesNamed('SELECT ur.role_name AS name FROM user_role ur WHERE ur.user_id = u.id')} AS roles
      FROM users u WHERE u.id = ANY($1::uuid[])`,
  },
  (row) => row.id,
)

type ClientRow = {
  id: string
  disabled: boolean
  scopes: { api: string; scope: string }[] | null
  roles: HeldRole[] | null
}

const clients = batchedRead<ClientRow>(
  {
    name: 'holdings_of_clients',
    text: `SELECT c.id, c.disabled_at IS NOT NULL AS disabled,
      (SELECT json_agg(json_build_object('api', cs.api_identifier, 'scope', cs.scope_name)) FROM client_scope cs WHERE cs.client_id = c.id) AS scopes,
      ${rolesNamed('SELECT unnest(c.roles) AS name')} AS roles
      FROM client c WHERE c.id = ANY($1::text[])`,
  },
  (row) => row.id,
)

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** @param api for which the roles and permissions are to count.
 *  @returns `nothing` for whoever is not known here. */
export async function holdingsOf(
  { pool }: Pick<Database, 'pool'>,
  { kind, id }: { kind: string; id: string },
  api: string | undefined,
): Promise<Holdings> {
  if (kind === 'user' && uuid.test(id)) {
    const row = await people(pool, id, id)
    if (!row) return nothing
    const { disabled, emailVerified, attributes } = row
    return { disabled, emailVerified, attributes, ...countingFor(api, row.roles ?? []) }
  }
  if (kind === 'client') {
    const row = await clients(pool, id, id)
    if (!row) return nothing
    const registered = (row.scopes ?? []).filter((held) => held.api === api).map((held) => held.scope)
    const { roles, permissions } = countingFor(api, row.roles ?? [])
    return { ...nothing, disabled: row.disabled, roles, permissions: new Set([...registered, ...permissions]) }
  }
  return nothing
}

/** Roles for another API are none here. */
function countingFor(api: string | undefined, held: readonly HeldRole[]): Pick<Holdings, 'roles' | 'permissions'> {
  const counting = held.filter((role) => role.api === null || role.api === api)
  return {
    roles: counting.map(({ name }) => name),
    permissions: new Set(counting.flatMap(({ permissions }) => permissions)),
  }
}
