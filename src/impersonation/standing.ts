// Whether an impersonation is under way, and if not, why it is over, in SQL: the same rules when it begins, at every look, and for the job that
// ends what is over. Over `impersonation i`, LEFT JOIN `users a` (who is behind it) and JOIN `users u` (as whom), with the time as $1.
import { ownScopes } from '#src/apis/scope-names.ts'

/** What it takes, and what nobody has by a role that was not meant to give it. */
export const impersonatePermission = 'users:impersonate'

const ownApi = '(SELECT identifier FROM api WHERE built_in LIMIT 1)'
const roles = (of: string, condition: string) => `EXISTS (
    SELECT 1 FROM user_role ur JOIN role r ON r.name = ur.role_name WHERE ur.user_id = ${of}.id AND ${condition})`
const permits = (condition: string) => `(r.api_identifier IS NULL OR r.api_identifier = ${ownApi})
    AND EXISTS (SELECT 1 FROM role_permission rp WHERE rp.role_name = r.name AND ${condition})`

export const mayImpersonate = roles('a', permits(`rp.permission = '${impersonatePermission}'`))
/** Somebody who may do anything in the console or the admin API. */
export const isAdministrator = roles('u', permits(`rp.permission = ANY ('{${Object.keys(ownScopes).join()}}')`))
/** A role of theirs asks for a second factor at every sign-in, which nobody can prove for them. */
export const needsSecondFactor = roles('u', `r.second_factor = 'required'`)

export const standing = `(CASE
  WHEN i.ended_at IS NOT NULL THEN 'ended'
  WHEN i.expires_at <= $1 THEN 'expired'
  WHEN a.id IS NULL THEN 'impersonator_deleted'
  WHEN a.disabled_at IS NOT NULL THEN 'impersonator_disabled'
  WHEN a.generation <> i.impersonator_generation THEN 'impersonator_signed_out'
  WHEN NOT ${mayImpersonate} THEN 'permission_lost'
  WHEN u.disabled_at IS NOT NULL THEN 'person_disabled'
  WHEN ${isAdministrator} THEN 'person_is_administrator'
  WHEN ${needsSecondFactor} THEN 'person_needs_second_factor'
  ELSE 'underway' END)`

export const parties = 'LEFT JOIN users a ON a.id = i.impersonator_id JOIN users u ON u.id = i.user_id'
