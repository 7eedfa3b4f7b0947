// Who can do what, at one moment, as lines that somebody can judge: the roles and second factors of people who hold a role, the roles and APIs of
// clients, API keys in force. Read in pages, so it belongs in a transaction with one picture of everything (REPEATABLE READ).
import { keyStands } from '#src/apis/keys-in-force.ts'
import type { Prisma } from '#src/db/database.ts'
import { secondFactorKinds } from '#src/factors/credentials.ts'

export const lineKinds = ['person_role', 'person_factor', 'client_role', 'client_api', 'api_key'] as const
export type LineKind = (typeof lineKinds)[number]

export type SnapshotLine = {
  kind: LineKind
  subjectKind: 'user' | 'client'
  subjectId: string
  target: string
  administrator: boolean
  /** Ids, names of scopes and roles, moments: nothing that opens anything. */
  detail: Record<string, unknown>
}

const pageSize = 500

/** In the order of people, clients and keys; what belongs to one of them stands together. */
export async function* readSnapshot(tx: Prisma.TransactionClient, now: Date): AsyncGenerator<SnapshotLine[]> {
  for (const { ids, lines, first } of walks)
    for (let after = first; ; ) {
      const found = await tx.$queryRawUnsafe<{ id: string }[]>(ids, after, pageSize)
      const last = found.at(-1)
      if (!last) break
      const parameters = [found.map(({ id }) => id), ...(lines.includes('$2') ? [now] : [])]
      yield await tx.$queryRawUnsafe<SnapshotLine[]>(lines, ...parameters)
      after = last.id
    }
}

// What roles and scopes are worth here: those of this server's own API make an administrator.
const ownApi = '(SELECT a.identifier FROM api a WHERE a.built_in)'
const roleAdministers = (role: string) => `EXISTS (SELECT FROM role r JOIN role_permission rp ON rp.role_name = r.name
    JOIN scope s ON s.name = rp.permission AND s.api_identifier = ${ownApi}
    WHERE r.name = ${role} AND COALESCE(r.api_identifier, ${ownApi}) = ${ownApi})`
const permissionsOfRole = (role: string) =>
  `(SELECT COALESCE(jsonb_agg(rp.permission ORDER BY rp.permission COLLATE "C"), '[]') FROM role_permission rp WHERE rp.role_name = ${role})`
const moment = (column: string) => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`
const secondFactors = secondFactorKinds.map((kind) => `'${kind}'`).join(', ')

const nobody = '00000000-0000-0000-0000-000000000000'

const people = {
  first: nobody,
  ids: `SELECT DISTINCT ur.user_id::text AS id, ur.user_id FROM user_role ur WHERE ur.user_id > $1::uuid ORDER BY ur.user_id LIMIT $2`,
  lines: `SELECT kind, 'user' AS "subjectKind", subject AS "subjectId", target, administrator, detail FROM (
      SELECT 1 AS place, 'person_role' AS kind, ur.user_id::text AS subject, ur.role_name AS target, ${roleAdministers('ur.role_name')} AS administrator,
        jsonb_build_object('permissions', ${permissionsOfRole('ur.role_name')}, 'disabled', u.disabled_at IS NOT NULL,
          'api', (SELECT r.api_identifier FROM role r WHERE r.name = ur.role_name),
          'secondFactor', EXISTS (SELECT FROM credential c WHERE c.user_id = ur.user_id AND c.kind IN (${secondFactors})),
          'secondFactorRequired', (SELECT r.second_factor = 'required' FROM role r WHERE r.name = ur.role_name)) AS detail
        FROM user_role ur JOIN users u ON u.id = ur.user_id WHERE ur.user_id = ANY ($1::uuid[])
      UNION ALL
      SELECT 2, 'person_factor', c.user_id::text, c.id::text, false,
        jsonb_build_object('factor', c.kind, 'createdAt', ${moment('c.created_at')}, 'lastUsedAt', ${moment('c.last_used_at')})
        FROM credential c WHERE c.user_id = ANY ($1::uuid[]) AND c.kind IN (${secondFactors})
    ) l ORDER BY subject COLLATE "C", place, target COLLATE "C"`,
}

const clients = {
  first: '',
  ids: `SELECT c.id FROM client c WHERE c.id > $1 AND (c.roles <> '{}' OR EXISTS (SELECT FROM client_scope cs WHERE cs.client_id = c.id)) ORDER BY c.id LIMIT $2`,
  lines: `SELECT kind, 'client' AS "subjectKind", subject AS "subjectId", target, administrator, detail FROM (
      SELECT 1 AS place, 'client_role' AS kind, c.id AS subject, held.role AS target, ${roleAdministers('held.role')} AS administrator,
        jsonb_build_object('permissions', ${permissionsOfRole('held.role')}, 'disabled', c.disabled_at IS NOT NULL,
          'api', (SELECT r.api_identifier FROM role r WHERE r.name = held.role)) AS detail
        FROM client c CROSS JOIN LATERAL unnest(c.roles) AS held(role) WHERE c.id = ANY ($1::text[])
      UNION ALL
      SELECT 2, 'client_api', c.id, cs.api_identifier, cs.api_identifier = ${ownApi},
        jsonb_build_object('scopes', jsonb_agg(cs.scope_name ORDER BY cs.scope_name COLLATE "C"), 'disabled', c.disabled_at IS NOT NULL, 'type', c.type)
        FROM client c JOIN client_scope cs ON cs.client_id = c.id WHERE c.id = ANY ($1::text[]) GROUP BY c.id, cs.api_identifier
    ) l ORDER BY subject COLLATE "C", place, target COLLATE "C"`,
}

const apiKeys = {
  first: nobody,
  ids: `SELECT k.id::text AS id, k.id AS own FROM api_key k WHERE k.id > $1::uuid AND k.revoked_at IS NULL ORDER BY k.id LIMIT $2`,
  lines: `SELECT 'api_key' AS kind, CASE WHEN k.user_id IS NULL THEN 'client' ELSE 'user' END AS "subjectKind",
      COALESCE(k.user_id::text, k.client_id) AS "subjectId", k.id::text AS target,
      EXISTS (SELECT FROM api_key_api a WHERE a.key_id = k.id AND a.api_identifier = ${ownApi}) AS administrator,
      jsonb_build_object(
        'apis', (SELECT COALESCE(jsonb_object_agg(a.api_identifier, to_jsonb(a.scopes)), '{}') FROM api_key_api a WHERE a.key_id = k.id),
        'createdAt', ${moment('k.created_at')},
        'expiresAt', (SELECT ${moment('v.expires_at')} FROM api_key_value v WHERE v.key_id = k.id ORDER BY v.version DESC LIMIT 1),
        'lastUsedAt', (SELECT ${moment('max(v.last_used_at)')} FROM api_key_value v WHERE v.key_id = k.id)) AS detail
    FROM api_key k LEFT JOIN users u ON u.id = k.user_id LEFT JOIN client c ON c.id = k.client_id
    WHERE k.id = ANY ($1::uuid[]) AND ${keyStands} IS TRUE
      AND EXISTS (SELECT FROM api_key_value v WHERE v.key_id = k.id AND (v.expires_at IS NULL OR v.expires_at > $2))
    ORDER BY k.id`,
}

const walks = [people, clients, apiKeys]
