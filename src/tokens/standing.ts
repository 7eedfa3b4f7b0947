// Why something is over, in SQL, for people: the rules of `live` and `sessionIsOpen` (statements.ts) taken apart, plus the three
// that are not revocations: used, expired, and bound to a session that has ended. test/tokens/lineage.test.ts holds both to
// the same answer. The names are what the admin API says; `live` is the one that is good.

const notBefore = `(SELECT not_before FROM token_epoch)`

const sessionState = `CASE
  WHEN s.ended_at IS NOT NULL THEN 'ended'
  WHEN s.expires_at <= clock_timestamp() THEN 'expired'
  WHEN s.user_id IS NOT NULL AND u.id IS NULL THEN 'user_deleted'
  WHEN u.disabled_at IS NOT NULL THEN 'user_disabled'
  WHEN s.user_id IS NOT NULL AND u.generation <> s.user_generation THEN 'user_revoked'
  WHEN COALESCE(s.login_at, s.created_at) < ${notBefore} THEN 'before_epoch'
  ELSE 'live' END`

/** Over `session s`, with its person. */
export const sessionStanding = `(${sessionState})`
export const sessionParents = parent('users', 'u', 'id', 's.user_id')

/** Over `oauth_grant g`, with its person and client. A grant outlives what ends tokens alone. */
export const grantStanding = `(CASE
  WHEN g.revoked_at IS NOT NULL THEN 'revoked'
  WHEN g.expires_at <= clock_timestamp() THEN 'expired'
  WHEN u.id IS NULL THEN 'user_deleted'
  WHEN u.disabled_at IS NOT NULL THEN 'user_disabled'
  WHEN c.id IS NULL THEN 'client_deleted'
  WHEN c.disabled_at IS NOT NULL THEN 'client_disabled'
  ELSE 'live' END)`
export const grantParents = `${parent('users', 'u', 'id', 'g.user_id')} ${parent('client', 'c', 'id', 'g.client_id')}`

// What the row itself says comes first: it is the nearest reason, and the only one with a time.
// The engine refuses a token that is bound to a session with that session (oidc-provider, expiresWithSession).
/** Over `token t`, with everything it was issued under. */
export const tokenStanding = `(CASE
  WHEN t.revoked_at IS NOT NULL THEN 'revoked'
  WHEN t.consumed_at IS NOT NULL THEN 'used'
  WHEN t.expires_at <= clock_timestamp() THEN 'expired'
  WHEN t.grant_id IS NOT NULL AND g.id IS NULL THEN 'grant_gone'
  WHEN g.revoked_at IS NOT NULL OR g.generation <> t.grant_generation THEN 'grant_revoked'
  WHEN s.generation <> t.session_generation THEN 'session_revoked'
  WHEN t.user_id IS NOT NULL AND u.id IS NULL THEN 'user_deleted'
  WHEN u.disabled_at IS NOT NULL THEN 'user_disabled'
  WHEN u.generation <> t.user_generation THEN 'user_revoked'
  WHEN t.client_id IS NOT NULL AND c.id IS NULL THEN 'client_deleted'
  WHEN c.disabled_at IS NOT NULL THEN 'client_disabled'
  WHEN c.generation <> t.client_generation THEN 'client_revoked'
  WHEN t.resource IS NOT NULL AND a.identifier IS NULL THEN 'api_deleted'
  WHEN a.generation <> t.api_generation THEN 'api_revoked'
  WHEN t.issued_at < ${notBefore} THEN 'before_epoch'
  WHEN t.payload::text LIKE '%"expiresWithSession":true%' AND (s.uid IS NULL OR (${sessionState}) <> 'live') THEN 'session_ended'
  ELSE 'live' END)`
export const tokenParents = [
  parent('oauth_grant', 'g', 'id', 't.grant_id'),
  parent('users', 'u', 'id', 't.user_id'),
  parent('client', 'c', 'id', 't.client_id'),
  parent('session', 's', 'uid', 't.session_uid'),
  parent('api', 'a', 'identifier', 't.resource'),
].join(' ')

/** Row by row, by its key: for some thousand rows the planner would otherwise read a table of millions whole. */
function parent(table: string, name: string, key: string, value: string): string {
  return `LEFT JOIN LATERAL (SELECT * FROM ${table} x WHERE x.${key} = ${value} LIMIT 1) ${name} ON true`
}
