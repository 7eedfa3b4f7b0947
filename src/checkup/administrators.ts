// People who administer, and how they prove it.
import { ownScopes } from '#src/apis/scope-names.ts'
import { secondFactorKinds } from '#src/factors/credentials.ts'
import { type Check, most, totalOf } from './finding.ts'

/** Asking for decisions changes nothing, and programs do it. */
const own = Object.keys(ownScopes).filter((scope) => scope !== 'access:evaluate')
/** Roles that permit something of Sallyport's own API. $1 its scopes, $2 its identifier. */
const administering = `SELECT r.name FROM role r WHERE (r.api_identifier IS NULL OR r.api_identifier = $2)
  AND EXISTS (SELECT FROM role_permission p WHERE p.role_name = r.name AND p.permission = ANY ($1))`

export const administrators: Check = {
  name: 'administrators',
  about: 'administrators without a second factor',
  async look({ database: { pool }, config }) {
    const { rows } = await pool.query<{ id: string; roles: string[]; total: number }>(
      `SELECT u.id, array_agg(ur.role_name ORDER BY ur.role_name) AS roles, count(*) OVER ()::int AS total
        FROM user_role ur JOIN users u ON u.id = ur.user_id AND u.disabled_at IS NULL
        WHERE ur.role_name IN (${administering})
          AND NOT EXISTS (SELECT FROM credential c WHERE c.user_id = u.id AND c.kind = ANY ($3))
        GROUP BY u.id ORDER BY u.id LIMIT ${most}`,
      [own, `${config.issuerUrl}/api`, secondFactorKinds],
    )
    return {
      total: totalOf(rows),
      said: rows.map(({ id, roles }) => ({
        severity: 'critical',
        subject: { kind: 'user', id },
        what: `A person with the role ${roles.join(', ')} has no second factor.`,
        why: 'Their password alone is enough to add one of a stranger, and then to administer everything.',
        section: 'ASVS 6.3.3',
        fix: 'Have them sign in and add one (a passkey is best), or take the role from them.',
      })),
    }
  },
}

export const administeringRoles: Check = {
  name: 'administering-roles',
  about: 'roles that administer and ask for no second factor',
  async look({ database: { pool }, config }) {
    const { rows } = await pool.query<{ id: string; total: number }>(
      `SELECT name AS id, count(*) OVER ()::int AS total FROM role WHERE name IN (${administering}) AND second_factor <> 'required'
        ORDER BY name LIMIT ${most}`,
      [own, `${config.issuerUrl}/api`],
    )
    return {
      total: totalOf(rows),
      said: rows.map(({ id }) => ({
        severity: 'warning',
        subject: { kind: 'role', id },
        what: 'It permits administering Sallyport and asks for no second factor.',
        why: 'Whoever holds it is as safe as one password.',
        section: 'ASVS 6.3.3',
        fix: 'Set its secondFactor to required.',
      })),
    }
  },
}
