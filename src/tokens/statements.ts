// The hot statements, all of them: one read per kind of row, and the one write that a request makes. They go through the
// pool under Prisma because they cost two to twelve times less there (docs/decisions/004). PostgreSQL 15 and newer.
//
// The write is a single statement, so a request is committed wholly or not at all, in one round trip. Its shape is that of
// many requests at once: every row carries `u`, the number of the request it belongs to, and a request that loses its
// condition (a code somebody else used first) takes only its own rows with it.
import type pg from 'pg'
import { asJson, batchedRead } from '#src/db/batched-reads.ts'
import { tokenKinds } from './kinds.ts'

/** Times cross the border as epoch seconds (exact to a millisecond), binary values as `\x…` text. */
export type TokenWrite = {
  id: string
  kind: number
  clientId: string | null
  userId: string | null
  grantId: string | null
  sessionUid: string | null
  resource: string | null
  scope: string | null
  userCodeHash: string | null
  issuedAt: number
  expiresAt: number | null
  salt: string | null
  predecessorId: string | null
  /** null: this request never looked at it, so what is current at the commit counts. */
  grantGeneration: number | null
  sessionGeneration: number | null
  userGeneration: number | null
  clientGeneration: number | null
  apiGeneration: number | null
  payload: object
}
export type ConsumeWrite = {
  id: string
  predecessorId: string | null
  /** Refresh tokens: the successor this request derived. Null for everything that has no second chance. */
  successorId: string | null
  /** Seconds within which the same successor is answered again (docs/decisions/006). 0: none. */
  leeway: number
  /** Who uses it. Kept at the first use, so that a repeat is recorded with both addresses. */
  address: string | null
  userAgent: string | null
  requestId: string | null
}
export type GrantWrite = {
  id: string
  userId: string
  clientId: string
  sessionUid: string | null
  scopes: string[]
  rejectedScopes: string[]
  resourceScopes: Record<string, string[]>
  rejectedResourceScopes: Record<string, string[]>
  expiresAt: number | null
  payload: object
  /** Where it was given; kept from the first write. */
  originId?: string | null
}
export type GrantEnd = { id: string; ends: boolean }
export type SessionWrite = {
  uid: string
  cookieHash: string
  userId: string | null
  loginAt: number | null
  acr: string | null
  amr: string[]
  /** Changed entries only; null removes one. */
  clients: Record<string, unknown>
  userGeneration: number | null
  expiresAt: number | null
  payload: object
  /** Where it began; kept from the first write. */
  originId?: string | null
}
export type InteractionWrite = {
  id: string
  clientId: string | null
  userId: string | null
  sessionUid: string | null
  prompt: string | null
  expiresAt: number | null
  payload: object
}
/** `version`: the one that the request saw; another in the row means that somebody else took a step meanwhile, and the request is lost.
 *  `done`: the sign-in is complete, nothing is kept. */
export type ProgressWrite = { id: string; version: number; progress: object | null; done: boolean }
/** `once`: the request that finds it ended already is lost: one answer of a person gives one code. */
export type InteractionEnd = { id: string; once: boolean }
export type ReplayWrite = { id: string; expiresAt: number | null; payload: object }
export type ConsentWrite = {
  userId: string
  clientId: string
  scopes: string[]
  resourceScopes: Record<string, string[]>
}
/** An address and a browser, stored once however many sessions come from there. */
export type OriginWrite = { id: string; address: string | null; userAgent: string | null }
export type AuditWrite = Record<string, unknown>
/** Why a request was refused, or let through (src/access/gates.ts). */
export type ReceiptWrite = {
  id: string
  expiresAt: number
  endpoint: string
  allowed: boolean
  gate: string | null
  reason: string
  needs: readonly string[]
  policies: readonly string[]
  subjectKind: string | null
  subjectId: string | null
  method: string | null
  clientId: string | null
  api: string | null
  action: string | null
  objectType: string | null
  objectId: string | null
  address: string | null
  userAgent: string | null
  facts: Readonly<Record<string, unknown>> | null
}

/** What one request writes. Only the arms that have rows are sent. */
export type Writes = {
  consume?: ConsumeWrite[]
  replay?: ReplayWrite[]
  token?: TokenWrite[]
  tokenEnd?: { id: string }[]
  grant?: GrantWrite[]
  grantEnd?: GrantEnd[]
  session?: SessionWrite[]
  sessionEnd?: { cookieHash: string }[]
  interaction?: InteractionWrite[]
  progress?: ProgressWrite[]
  interactionEnd?: InteractionEnd[]
  consent?: ConsentWrite[]
  origin?: OriginWrite[]
  audit?: AuditWrite[]
  receipt?: ReceiptWrite[]
}

/** first: it was unused. The others cost the request its writes:
 *  reused (a second use outside the leeway), exhausted (repeated too often), gone (unknown, ended), replayed (seen before), revoked
 *  (what its tokens would be issued under is over: client_gone and api_gone say which). Of several the first by the alphabet counts:
 *  a reuse is one, whatever was revoked besides. */
export type Verdict = 'reused' | 'exhausted' | 'gone' | 'replayed' | 'revoked' | 'client_gone' | 'api_gone'

/** How often a lost answer may be fetched again (docs/decisions/006). */
export const maxRepeats = 10

/** What the token endpoint hands out, JWTs among them: these leave the house and may be verified without asking it. */
const handedOut = [tokenKinds.AccessToken, tokenKinds.RefreshToken, tokenKinds.ClientCredentials]

const code = tokenKinds.AuthorizationCode

const notBefore = `COALESCE((SELECT not_before FROM token_epoch), '-infinity')`

// The limit keeps the planner at looking each parent up by its key: of a table of a few thousand it would rather hash the whole.
const parentOf = (parent: `${string} ${string}`, condition: string) =>
  `LEFT JOIN LATERAL (SELECT * FROM ${parent} WHERE ${condition} LIMIT 1) ${parent.split(' ')[1]} ON true`

/** `judge` decides whether the request may have its writes, `write` makes them.
 *
 *  PostgreSQL runs the writes from the last to the first: consent, interaction, session, grant, token. Whoever locks several elsewhere
 *  (revoke.ts) keeps to that order (test/tokens/locks.test.ts).
 *
 *  Rows are found by `= ANY (ARRAY(…))`, not by joining the input: the planner takes every input for a hundred rows, and would read
 *  a table of some ten thousand as a whole to find one of them (test/tokens/plans.test.ts). */
const arms: Record<keyof Writes, { columns: string; judge?: string; write?: string }> = {
  // Locks first, in the order of ids, the predecessor too: two commits that meet always meet in the same order.
  // The row is judged after its lock was obtained, so what a concurrent commit did is seen.
  // A code that was used, and a generation whose successor was, keep what a second use is told and judged by, no more: rows of these
  // kinds are most of what a busy installation stores. What is missing then oauth/adapter/token-store.ts fills in.
  consume: {
    columns:
      '"id" bytea, "predecessorId" bytea, "successorId" bytea, "leeway" int, "address" text, "userAgent" text, "requestId" text',
    judge: `
  held AS MATERIALIZED (
    SELECT t.id, t.issued_at, t.consumed_at, t.revoked_at, t.successor_id, t.salt, t.repeats, t.client_id, t.grant_id, t.consumed_address
    FROM token t
    WHERE t.id = ANY (ARRAY(SELECT "id" FROM consume UNION ALL SELECT "predecessorId" FROM consume)) ORDER BY t.id FOR UPDATE),
  judged AS MATERIALIZED (
    SELECT c.*, h.client_id, h.grant_id, h.consumed_address, CASE
      WHEN h.id IS NULL OR h.revoked_at IS NOT NULL OR h.issued_at < ${notBefore} THEN 'gone'
      WHEN h.consumed_at IS NULL THEN 'first'
      WHEN c."successorId" IS NULL OR c."leeway" = 0 OR h.salt IS NULL OR h.successor_id IS DISTINCT FROM c."successorId"
        OR h.consumed_at <= clock_timestamp() - make_interval(secs => c."leeway") THEN 'reused'
      WHEN h.repeats >= ${maxRepeats} THEN 'exhausted'
      ELSE 'repeat' END AS verdict
    FROM consume c LEFT JOIN held h ON h.id = c."id")`,
    write: `
  consumed AS (
    UPDATE token t SET consumed_at = COALESCE(t.consumed_at, clock_timestamp()), successor_id = j."successorId",
      consumed_address = CASE j.verdict WHEN 'first' THEN j."address" ELSE t.consumed_address END,
      repeats = t.repeats + CASE j.verdict WHEN 'repeat' THEN 1 ELSE 0 END,
      scope = CASE WHEN t.kind <> ${code} THEN t.scope END, resource = CASE WHEN t.kind <> ${code} THEN t.resource END,
      session_uid = CASE WHEN t.kind <> ${code} THEN t.session_uid END, payload = CASE WHEN t.kind <> ${code} THEN t.payload
        ELSE json_strip_nulls(json_build_object('codeChallenge', t.payload -> 'codeChallenge', 'redirectUri', t.payload -> 'redirectUri',
          'attestationJkt', t.payload -> 'attestationJkt')) END
    FROM judged j WHERE t.id = j."id" AND j.u NOT IN (SELECT u FROM lost)),
  repeated AS (
    INSERT INTO audit_event (event, outcome, target_kind, target_id, client_id, address, user_agent, request_id, detail)
    SELECT 'refresh.repeated', 'success', 'grant', j.grant_id, j.client_id, j."address", j."userAgent", j."requestId",
      jsonb_build_object('firstAddress', j.consumed_address)
    FROM judged j WHERE j.verdict = 'repeat' AND j.u NOT IN (SELECT u FROM lost)),
  forgotten AS (
    UPDATE token t SET salt = NULL, successor_id = NULL, scope = NULL, payload = json_strip_nulls(json_build_object('jkt', t.payload -> 'jkt',
      'x5t#S256', t.payload -> 'x5t#S256', 'expiresWithSession', t.payload -> 'expiresWithSession'))
    FROM judged j WHERE t.id = j."predecessorId" AND j.verdict = 'first' AND j.u NOT IN (SELECT u FROM lost))`,
  },
  // Kept even when the request fails: an identifier that was seen was seen.
  replay: {
    columns: '"id" bytea, "expiresAt" double precision, "payload" text',
    judge: `
  seen AS (
    INSERT INTO replay (id, expires_at, payload) SELECT "id", to_timestamp("expiresAt"), "payload"::json FROM replay_in ORDER BY "id"
    ON CONFLICT (id) DO NOTHING RETURNING id)`,
  },
  // What the token endpoint hands out is judged by what it is issued under: a revocation that was committed before this statement
  // began costs the request its tokens. One that is committed later finds them signed before it, which is what the feed of revocations
  // says of it (docs/decisions/018). What no process looked at (client and API come from memory) must still be there.
  //
  // What was issued for something else (it has a predecessor) is written once; a repeat finds the successor there and changes
  // nothing, its expiry least of all. The time of issue keeps the second that the token names, and the part of it by this clock or
  // the process's, whichever is earlier.
  token: {
    columns:
      '"id" bytea, "kind" smallint, "clientId" text, "userId" uuid, "grantId" text, "sessionUid" text, "resource" text, "scope" text, "userCodeHash" bytea, "issuedAt" double precision, "expiresAt" double precision, "salt" bytea, "predecessorId" bytea, "grantGeneration" int, "sessionGeneration" int, "userGeneration" int, "clientGeneration" int, "apiGeneration" int, "payload" text',
    judge: `
  under AS MATERIALIZED (
    SELECT i.*, COALESCE(i."grantGeneration", g.generation, 0) AS g, COALESCE(i."sessionGeneration", s.generation, 0) AS s,
      COALESCE(i."userGeneration", o.generation, 0) AS o, COALESCE(i."clientGeneration", c.generation, 0) AS c,
      COALESCE(i."apiGeneration", a.generation, 0) AS a, CASE
      WHEN i."kind" <> ALL ('{${handedOut.join()}}') THEN NULL
      WHEN i."clientId" IS NOT NULL AND (c.id IS NULL OR c.disabled_at IS NOT NULL) THEN 'client_gone'
      WHEN i."resource" IS NOT NULL AND a.identifier IS NULL THEN 'api_gone'
      WHEN g.revoked_at IS NOT NULL OR i."grantGeneration" <> COALESCE(g.generation, -1)
        OR i."sessionGeneration" <> s.generation OR i."clientGeneration" <> c.generation OR i."apiGeneration" <> a.generation
        OR i."userId" IS NOT NULL AND (o.id IS NULL OR o.disabled_at IS NOT NULL OR i."userGeneration" <> o.generation) THEN 'revoked'
      END AS verdict
    FROM token_in i ${parentOf('oauth_grant g', 'g.id = i."grantId"')} ${parentOf('session s', 's.uid = i."sessionUid"')}
      ${parentOf('users o', 'o.id = i."userId"')} ${parentOf('client c', 'c.id = i."clientId"')} ${parentOf('api a', 'a.identifier = i."resource"')})`,
    write: `
  token_out AS (
    INSERT INTO token AS t (id, kind, client_id, user_id, grant_id, session_uid, resource, scope, user_code_hash, issued_at, expires_at, salt,
      predecessor_id, grant_generation, session_generation, user_generation, client_generation, api_generation, payload)
    SELECT i."id", i."kind", i."clientId", i."userId", i."grantId", i."sessionUid", i."resource", i."scope", i."userCodeHash",
      GREATEST(to_timestamp(floor(i."issuedAt")), LEAST(to_timestamp(i."issuedAt"), now())), to_timestamp(i."expiresAt"), i."salt",
      i."predecessorId", i.g, i.s, i.o, i.c, i.a, i."payload"::json
    FROM under i WHERE i.u NOT IN (SELECT u FROM lost) ORDER BY i."id"
    ON CONFLICT (id) DO UPDATE SET client_id = EXCLUDED.client_id, user_id = EXCLUDED.user_id, grant_id = EXCLUDED.grant_id,
      session_uid = EXCLUDED.session_uid, resource = EXCLUDED.resource, scope = EXCLUDED.scope, user_code_hash = EXCLUDED.user_code_hash,
      expires_at = EXCLUDED.expires_at, grant_generation = EXCLUDED.grant_generation, session_generation = EXCLUDED.session_generation,
      user_generation = EXCLUDED.user_generation, payload = EXCLUDED.payload
    WHERE t.predecessor_id IS NULL)`,
  },
  tokenEnd: {
    columns: '"id" bytea',
    judge: `
  token_end_held AS MATERIALIZED (
    SELECT t.id FROM token t WHERE t.id = ANY (ARRAY(SELECT "id" FROM token_end_in)) ORDER BY t.id FOR UPDATE)`,
    write: `
  token_ended AS (
    UPDATE token t SET revoked_at = now(), salt = NULL WHERE t.id = ANY (ARRAY(SELECT id FROM token_end_held)) AND t.revoked_at IS NULL)`,
  },
  grant: {
    columns:
      '"id" text, "userId" uuid, "clientId" text, "sessionUid" text, "scopes" text[], "rejectedScopes" text[], "resourceScopes" jsonb, "rejectedResourceScopes" jsonb, "expiresAt" double precision, "payload" text, "originId" bytea',
    write: `
  grant_out AS (
    INSERT INTO oauth_grant (id, user_id, client_id, session_uid, scopes, rejected_scopes, resource_scopes, rejected_resource_scopes, expires_at, payload, origin_id)
    SELECT i."id", i."userId", i."clientId", i."sessionUid", i."scopes", i."rejectedScopes", i."resourceScopes", i."rejectedResourceScopes",
      to_timestamp(i."expiresAt"), i."payload"::json, i."originId"
    FROM grant_in i WHERE i.u NOT IN (SELECT u FROM lost) ORDER BY i."id"
    ON CONFLICT (id) DO UPDATE SET scopes = EXCLUDED.scopes, rejected_scopes = EXCLUDED.rejected_scopes, resource_scopes = EXCLUDED.resource_scopes,
      rejected_resource_scopes = EXCLUDED.rejected_resource_scopes, expires_at = EXCLUDED.expires_at, payload = EXCLUDED.payload)`,
  },
  grantEnd: {
    columns: '"id" text, "ends" boolean',
    judge: `
  grant_end_held AS MATERIALIZED (
    SELECT g.id FROM oauth_grant g WHERE g.id = ANY (ARRAY(SELECT "id" FROM grant_end_in)) ORDER BY g.id FOR UPDATE)`,
    write: `
  grant_ended AS (
    UPDATE oauth_grant g SET generation = g.generation + 1, revoked_at = CASE WHEN i."ends" THEN COALESCE(g.revoked_at, now()) ELSE g.revoked_at END
    FROM grant_end_in i WHERE g.id = i."id" AND g.id = ANY (ARRAY(SELECT id FROM grant_end_held)))`,
  },
  session: {
    columns:
      '"uid" text, "cookieHash" bytea, "userId" uuid, "loginAt" double precision, "acr" text, "amr" text[], "clients" jsonb, "userGeneration" int, "expiresAt" double precision, "payload" text, "originId" bytea',
    write: `
  session_out AS (
    INSERT INTO session AS s (uid, cookie_hash, user_id, login_at, acr, amr, clients, user_generation, expires_at, payload, origin_id)
    SELECT i."uid", i."cookieHash", i."userId", to_timestamp(i."loginAt"), i."acr", i."amr", jsonb_strip_nulls(i."clients"),
      COALESCE(i."userGeneration", (SELECT generation FROM users WHERE id = i."userId"), 0), to_timestamp(i."expiresAt"), i."payload"::json, i."originId"
    FROM session_in i WHERE i.u NOT IN (SELECT u FROM lost) ORDER BY i."uid"
    ON CONFLICT (uid) DO UPDATE SET cookie_hash = EXCLUDED.cookie_hash, user_id = EXCLUDED.user_id, login_at = EXCLUDED.login_at, acr = EXCLUDED.acr,
      amr = EXCLUDED.amr, clients = jsonb_strip_nulls(s.clients || (SELECT x."clients" FROM session_in x WHERE x."uid" = EXCLUDED.uid LIMIT 1)),
      user_generation = EXCLUDED.user_generation, expires_at = EXCLUDED.expires_at, payload = EXCLUDED.payload, updated_at = now(),
      last_used_at = now()
    WHERE s.ended_at IS NULL)`,
  },
  sessionEnd: {
    columns: '"cookieHash" bytea',
    write: `
  session_ended AS (
    UPDATE session s SET ended_at = now() WHERE s.cookie_hash = ANY (ARRAY(SELECT "cookieHash" FROM session_end_in)) AND s.ended_at IS NULL)`,
  },
  interaction: {
    columns:
      '"id" bytea, "clientId" text, "userId" uuid, "sessionUid" text, "prompt" text, "expiresAt" double precision, "payload" text',
    write: `
  interaction_out AS (
    INSERT INTO interaction AS n (id, client_id, user_id, session_uid, prompt, expires_at, payload)
    SELECT i."id", i."clientId", i."userId", i."sessionUid", i."prompt", to_timestamp(i."expiresAt"), i."payload"::json
    FROM interaction_in i WHERE i.u NOT IN (SELECT u FROM lost) ORDER BY i."id"
    ON CONFLICT (id) DO UPDATE SET user_id = EXCLUDED.user_id, session_uid = EXCLUDED.session_uid, prompt = EXCLUDED.prompt,
      expires_at = EXCLUDED.expires_at, payload = EXCLUDED.payload
    WHERE n.ended_at IS NULL)`,
  },
  // Of two steps that saw the same state one counts. When the sign-in is done, the engine's own write (above) is the row's only one:
  // a statement changes a row once.
  progress: {
    columns: '"id" bytea, "version" int, "progress" jsonb, "done" boolean',
    judge: `
  progress_held AS MATERIALIZED (
    SELECT n.id, n.progress_version, n.ended_at FROM interaction n WHERE n.id = ANY (ARRAY(SELECT "id" FROM progress_in)) ORDER BY n.id FOR UPDATE)`,
    write: `
  progress_out AS (
    UPDATE interaction n SET progress = i."progress", progress_version = n.progress_version + 1
    FROM progress_in i WHERE n.id = i."id" AND n.id = ANY (ARRAY(SELECT "id" FROM progress_in)) AND NOT i."done" AND i.u NOT IN (SELECT u FROM lost))`,
  },
  interactionEnd: {
    columns: '"id" bytea, "once" boolean',
    judge: `
  interaction_held AS MATERIALIZED (
    SELECT n.id, n.ended_at FROM interaction n WHERE n.id = ANY (ARRAY(SELECT "id" FROM interaction_end_in)) ORDER BY n.id FOR UPDATE)`,
    write: `
  interaction_ended AS (
    UPDATE interaction n SET ended_at = now(), progress = NULL WHERE n.id = ANY (ARRAY(SELECT "id" FROM interaction_end_in)) AND n.ended_at IS NULL)`,
  },
  consent: {
    columns: '"userId" uuid, "clientId" text, "scopes" text[], "resourceScopes" jsonb',
    write: `
  consent_out AS (
    INSERT INTO consent (user_id, client_id, scopes, resource_scopes)
    SELECT i."userId", i."clientId", i."scopes", i."resourceScopes" FROM consent_in i WHERE i.u NOT IN (SELECT u FROM lost)
    ON CONFLICT (user_id, client_id) DO UPDATE SET scopes = EXCLUDED.scopes, resource_scopes = EXCLUDED.resource_scopes, updated_at = now())`,
  },
  origin: {
    columns: '"id" bytea, "address" text, "userAgent" text',
    write: `
  origin_out AS (
    INSERT INTO origin (id, address, user_agent) SELECT DISTINCT ON (i."id") i."id", i."address", i."userAgent"
    FROM origin_in i WHERE i.u NOT IN (SELECT u FROM lost) ORDER BY i."id" ON CONFLICT (id) DO NOTHING)`,
  },
  audit: {
    columns:
      '"event" text, "outcome" text, "actorKind" text, "actorId" text, "targetKind" text, "targetId" text, "clientId" text, "address" text, "userAgent" text, "requestId" text, "decisionId" text, "detail" jsonb',
    write: `
  audit_out AS (
    INSERT INTO audit_event (event, outcome, actor_kind, actor_id, target_kind, target_id, client_id, address, user_agent, request_id, decision_id, detail)
    SELECT i."event", i."outcome", i."actorKind", i."actorId", i."targetKind", i."targetId", i."clientId", i."address", i."userAgent", i."requestId", i."decisionId", i."detail"
    FROM audit_in i WHERE i.u NOT IN (SELECT u FROM lost))`,
  },
  // A request that is lost is answered anew, and so is its receipt.
  receipt: {
    columns:
      '"id" uuid, "expiresAt" double precision, "endpoint" text, "allowed" boolean, "gate" text, "reason" text, "needs" text[], "policies" text[], "subjectKind" text, "subjectId" text, "method" text, "clientId" text, "api" text, "action" text, "objectType" text, "objectId" text, "address" text, "userAgent" text, "facts" jsonb',
    write: `
  receipt_out AS (
    INSERT INTO decision_receipt (id, expires_at, endpoint, allowed, gate, reason, needs, policies, subject_kind, subject_id, method, client_id, api, action,
      object_type, object_id, address, user_agent, facts)
    SELECT i."id", to_timestamp(i."expiresAt"), i."endpoint", i."allowed", i."gate", i."reason", i."needs", i."policies", i."subjectKind", i."subjectId",
      i."method", i."clientId", i."api", i."action", i."objectType", i."objectId", i."address", i."userAgent", i."facts"
    FROM receipt_in i WHERE i.u NOT IN (SELECT u FROM lost))`,
  },
}

const inputs: Record<keyof Writes, string> = {
  consume: 'consume',
  replay: 'replay_in',
  token: 'token_in',
  tokenEnd: 'token_end_in',
  grant: 'grant_in',
  grantEnd: 'grant_end_in',
  session: 'session_in',
  sessionEnd: 'session_end_in',
  interaction: 'interaction_in',
  progress: 'progress_in',
  interactionEnd: 'interaction_end_in',
  consent: 'consent_in',
  origin: 'origin_in',
  audit: 'audit_in',
  receipt: 'receipt_in',
}
const order = Object.keys(arms) as (keyof Writes)[]

/** One prepared statement per combination of arms: about twenty occur, more where requests of many sorts travel together. Each is
 *  kept by every connection, so beyond this number a rare combination is sent as the one with every arm, some of them empty. */
const mostPrepared = 40
const prepared = new Map<string, { name: string; text: string }>()

function commitStatement(present: readonly (keyof Writes)[]): { name: string; text: string } {
  const key = present.join('_')
  let statement = prepared.get(key)
  if (!statement) {
    const recordsets = present.map(
      (arm, index) =>
        `${inputs[arm]} AS MATERIALIZED (SELECT * FROM json_to_recordset($${index + 1}::json) AS r(u int, ${arms[arm].columns}))`,
    )
    const lost = [
      present.includes('consume') ? `SELECT u, verdict FROM judged WHERE verdict NOT IN ('first', 'repeat')` : '',
      present.includes('replay') ? `SELECT u, 'replayed' FROM replay_in WHERE "id" NOT IN (SELECT id FROM seen)` : '',
      present.includes('token') ? 'SELECT u, verdict FROM under WHERE verdict IS NOT NULL' : '',
      present.includes('progress')
        ? `SELECT i.u, 'gone' FROM progress_in i JOIN progress_held h ON h.id = i."id" WHERE h.ended_at IS NOT NULL OR h.progress_version <> i."version"`
        : '',
      present.includes('interactionEnd')
        ? `SELECT i.u, 'gone' FROM interaction_end_in i JOIN interaction_held h ON h.id = i."id" WHERE i."once" AND h.ended_at IS NOT NULL`
        : '',
    ].filter(Boolean)
    const lostArm = `lost(u, verdict) AS MATERIALIZED (${lost.join(' UNION ALL ') || `SELECT 0, '' WHERE false`})`
    const sqlOf = (part: 'judge' | 'write') => present.flatMap((arm) => arms[arm][part]?.trim() ?? [])
    const parts = [...recordsets, ...sqlOf('judge'), lostArm, ...sqlOf('write')]
    statement = {
      name: `commit_${prepared.size}`,
      text: `WITH ${parts.join(',\n')}\nSELECT u, min(verdict) AS verdict FROM lost GROUP BY u`,
    }
    prepared.set(key, statement)
  }
  return statement
}

/** Commits requests, each wholly or not at all.
 *  @returns for each the verdict that cost it its writes, or undefined when it was committed.
 *  @throws the database's error; then nothing was written (or, when the connection broke, it is unknown: answer 503). */
export async function commit(pool: pg.Pool, units: readonly Writes[]): Promise<(Verdict | undefined)[]> {
  const filled = order.filter((arm) => units.some((unit) => (unit[arm]?.length ?? 0) > 0))
  if (filled.length === 0) return units.map(() => undefined)
  const present = prepared.size < mostPrepared || prepared.has(filled.join('_')) ? filled : order
  const values = present.map((arm) => {
    const records: string[] = []
    for (const [u, unit] of units.entries())
      for (const row of (unit[arm] as readonly object[] | undefined) ?? []) records.push(encode(u, row))
    return `[${records.join()}]`
  })
  const { rows } = await pool.query<{ u: number; verdict: Verdict }>({ ...commitStatement(present), values })
  const lost = new Map(rows.map((row) => [row.u, row.verdict]))
  return units.map((_, u) => lost.get(u))
}

/** A payload crosses as text inside the JSON: json_to_recordset would unescape it, and stumble over NUL and lone surrogates. */
function encode(u: number, row: { payload?: object }): string {
  const { payload, ...columns } = row
  const record = `{"u":${u},${JSON.stringify(columns).slice(1)}`
  return payload === undefined ? record : `${record.slice(0, -1)},"payload":${JSON.stringify(JSON.stringify(payload))}}`
}

export type TokenRow = {
  id: Buffer
  kind: number
  clientId: string | null
  userId: string | null
  grantId: string | null
  sessionUid: string | null
  resource: string | null
  scope: string | null
  issuedAt: number
  expiresAt: number | null
  consumedAt: number | null
  /** Seconds; the client's refreshLeewaySeconds. */
  leeway: number
  /** Consumed, but within the leeway and with a successor nobody used. */
  inLeeway: boolean
  repeats: number
  salt: Buffer | null
  predecessorId: Buffer | null
  successorId: Buffer | null
  grantGeneration: number
  sessionGeneration: number
  userGeneration: number
  clientGeneration: number
  apiGeneration: number
  payload: Record<string, unknown>
  /** Nothing it was issued under has been revoked since. */
  live: boolean
  /** What a request that holds the token asks for next, read along with it. Null: there is none, or it is over. */
  grant: GrantRow | null
  session: SessionRow | null
  person: PersonRow | null
}

export type GrantRow = GrantWrite & { generation: number; createdAt: number }

export type SessionRow = {
  uid: string
  cookieHash: Buffer
  userId: string | null
  loginAt: number | null
  acr: string | null
  amr: string[]
  clients: Record<string, object>
  generation: number
  userGeneration: number
  createdAt: number
  lastUsedAt: number
  expiresAt: number | null
  payload: Record<string, unknown>
}

/** A person as tokens and claims need them. */
export type PersonRow = {
  id: string
  generation: number
  disabled: boolean
  email: string
  emailVerified: boolean
  name: string | null
  givenName: string | null
  familyName: string | null
  picture: string | null
  locale: string | null
  zoneinfo: string | null
  updatedAt: number
}

const epoch = (column: string) => `extract(epoch FROM ${column})::double precision`

const grantJson = `json_build_object('id', g.id, 'userId', g.user_id, 'clientId', g.client_id, 'sessionUid', g.session_uid, 'scopes', g.scopes,
    'rejectedScopes', g.rejected_scopes, 'resourceScopes', g.resource_scopes, 'rejectedResourceScopes', g.rejected_resource_scopes,
    'expiresAt', ${epoch('g.expires_at')}, 'createdAt', ${epoch('g.created_at')}, 'generation', g.generation, 'payload', g.payload)`
const sessionJson = `json_build_object('uid', s.uid, 'cookieHash', encode(s.cookie_hash, 'hex'), 'userId', s.user_id, 'loginAt', ${epoch('s.login_at')},
    'acr', s.acr, 'amr', s.amr, 'clients', s.clients, 'generation', s.generation, 'userGeneration', s.user_generation,
    'createdAt', ${epoch('s.created_at')}, 'lastUsedAt', ${epoch('s.last_used_at')}, 'expiresAt', ${epoch('s.expires_at')}, 'payload', s.payload)`
const personJson = `json_build_object('id', u.id, 'generation', u.generation, 'disabled', u.disabled_at IS NOT NULL, 'email', u.email,
    'emailVerified', u.email_verified_at IS NOT NULL, 'name', u.name, 'givenName', u.given_name, 'familyName', u.family_name,
    'picture', u.picture, 'locale', u.locale, 'zoneinfo', u.zoneinfo, 'updatedAt', ${epoch('u.updated_at')})`

// A session dies with the person's generation: a password change or a disabled account ends it at once.
const sessionIsOpen = `s.ended_at IS NULL AND COALESCE(s.login_at, s.created_at) >= ${notBefore}
    AND (s.user_id IS NULL OR (u.disabled_at IS NULL AND u.generation = s.user_generation))`

// A parent that is gone (deleted, swept) ends what was issued under it, sessions aside: they may be swept before what outlives them,
// since a token that is bound to one is checked against it by the engine and the others outlive it.

const tokenColumns = `
  encode(t.id, 'hex') AS id, t.kind, t.client_id AS "clientId", t.user_id AS "userId", t.grant_id AS "grantId", t.session_uid AS "sessionUid", t.resource, t.scope,
  ${epoch('t.issued_at')} AS "issuedAt", ${epoch('t.expires_at')} AS "expiresAt", ${epoch('t.consumed_at')} AS "consumedAt",
  (t.consumed_at IS NOT NULL AND t.salt IS NOT NULL AND t.successor_id IS NOT NULL
    AND t.consumed_at > clock_timestamp() - make_interval(secs => COALESCE(c.refresh_leeway_seconds, 0))) AS "inLeeway", t.repeats,
  COALESCE(c.refresh_leeway_seconds, 0) AS leeway, encode(t.salt, 'hex') AS salt,
  encode(t.predecessor_id, 'hex') AS "predecessorId", encode(t.successor_id, 'hex') AS "successorId", t.grant_generation AS "grantGeneration", t.session_generation AS "sessionGeneration",
  t.user_generation AS "userGeneration", t.client_generation AS "clientGeneration", t.api_generation AS "apiGeneration", t.payload,
  (t.revoked_at IS NULL AND t.issued_at >= ${notBefore}
    AND (t.grant_id IS NULL OR (g.revoked_at IS NULL AND g.generation = t.grant_generation))
    AND (t.user_id IS NULL OR (u.disabled_at IS NULL AND u.generation = t.user_generation))
    AND (t.client_id IS NULL OR (c.disabled_at IS NULL AND c.generation = t.client_generation))
    AND (s.uid IS NULL OR s.generation = t.session_generation)
    AND (t.resource IS NULL OR a.generation = t.api_generation)) IS TRUE AS live,
  CASE WHEN g.revoked_at IS NULL AND g.id IS NOT NULL THEN ${grantJson} END AS grant,
  CASE WHEN s.uid IS NOT NULL AND s.user_id IS NOT DISTINCT FROM t.user_id AND ${sessionIsOpen} THEN ${sessionJson} END AS session,
  CASE WHEN u.id IS NOT NULL THEN ${personJson} END AS person
  FROM token t ${parentOf('oauth_grant g', 'g.id = t.grant_id')} ${parentOf('users u', 'u.id = t.user_id')}
    ${parentOf('client c', 'c.id = t.client_id')} ${parentOf('session s', 's.uid = t.session_uid')} ${parentOf('api a', 'a.identifier = t.resource')}`

const hexOf = (id: Buffer) => id.toString('hex')

/** Rows cross as JSON, in which binary values are hexadecimal text. */
type Wire<Row, Binary extends keyof Row> = Omit<Row, Binary> & {
  [Key in Binary]: Row[Key] extends Buffer ? string : string | null
}
type SessionWire = Wire<SessionRow, 'cookieHash'>
type TokenWire = Omit<Wire<TokenRow, 'id' | 'salt' | 'predecessorId' | 'successorId'>, 'session'> & {
  session: SessionWire | null
}

const bytes = (text: string) => Buffer.from(text, 'hex')
const decodeSession = (session: SessionWire): SessionRow => ({ ...session, cookieHash: bytes(session.cookieHash) })
const decodeToken = (row: TokenWire): TokenRow => ({
  ...row,
  id: bytes(row.id),
  salt: row.salt === null ? null : bytes(row.salt),
  predecessorId: row.predecessorId === null ? null : bytes(row.predecessorId),
  successorId: row.successorId === null ? null : bytes(row.successorId),
  session: row.session && decodeSession(row.session),
})

const tokensById = batchedRead<TokenWire>(
  { name: 'tokens_by_id', text: `SELECT ${tokenColumns} WHERE t.id = ANY($1::bytea[])` },
  (row) => row.id,
)

export async function readToken(pool: pg.Pool, id: Buffer): Promise<TokenRow | undefined> {
  const row = await tokensById(pool, hexOf(id), id)
  return row && decodeToken(row)
}

/** The newest: user codes are short, and an old one may come up again (RFC 8628 6.1). */
export async function readTokenByUserCode(pool: pg.Pool, userCodeHash: Buffer): Promise<TokenRow | undefined> {
  const { rows } = await pool.query<{ row: TokenWire }>({
    name: 'token_by_user_code',
    text: asJson(`SELECT ${tokenColumns} WHERE t.user_code_hash = $1 ORDER BY t.issued_at DESC LIMIT 1`),
    values: [userCodeHash],
  })
  return rows[0] && decodeToken(rows[0].row)
}

const grantsById = batchedRead<{ id: string; revoked: boolean; grant: GrantRow }>(
  {
    name: 'grants_by_id',
    text: `SELECT g.id, g.revoked_at IS NOT NULL AS revoked, ${grantJson} AS grant FROM oauth_grant g WHERE g.id = ANY($1::text[])`,
  },
  (row) => row.id,
)

export async function readGrant(pool: pg.Pool, id: string): Promise<GrantRow | 'revoked' | undefined> {
  const row = await grantsById(pool, id, id)
  return row?.revoked ? 'revoked' : row?.grant
}

export type SessionAndPerson = { session: SessionRow; person: PersonRow | null }

const sessionAndPerson = `SELECT s.uid, encode(s.cookie_hash, 'hex') AS cookie, ${sessionJson} AS session, CASE WHEN u.id IS NOT NULL THEN ${personJson} END AS person
  FROM session s ${parentOf('users u', 'u.id = s.user_id')} WHERE ${sessionIsOpen}`

type SessionAndPersonRow = { uid: string; cookie: string; session: SessionWire; person: PersonRow | null }
const sessionsByCookie = batchedRead<SessionAndPersonRow>(
  { name: 'sessions_by_cookie', text: `${sessionAndPerson} AND s.cookie_hash = ANY($1::bytea[])` },
  (row) => row.cookie,
)
const sessionsByUid = batchedRead<SessionAndPersonRow>(
  { name: 'sessions_by_uid', text: `${sessionAndPerson} AND s.uid = ANY($1::text[])` },
  (row) => row.uid,
)

export async function readSession(pool: pg.Pool, cookieHash: Buffer): Promise<SessionAndPerson | undefined> {
  const row = await sessionsByCookie(pool, hexOf(cookieHash), cookieHash)
  return row && { session: decodeSession(row.session), person: row.person }
}

export async function readSessionByUid(pool: pg.Pool, uid: string): Promise<SessionAndPerson | undefined> {
  const row = await sessionsByUid(pool, uid, uid)
  return row && { session: decodeSession(row.session), person: row.person }
}

const peopleById = batchedRead<{ id: string; person: PersonRow }>(
  {
    name: 'people_by_id',
    text: `SELECT u.id, ${personJson} AS person FROM users u WHERE u.id = ANY($1::uuid[])`,
  },
  (row) => row.id,
)

/** @param id a UUID. */
export async function readPerson(pool: pg.Pool, id: string): Promise<PersonRow | undefined> {
  return (await peopleById(pool, id.toLowerCase(), id))?.person
}

/** What a person agreed to before, for one client. */
export type ConsentRow = Pick<ConsentWrite, 'scopes' | 'resourceScopes'>

export type InteractionRow = {
  id: string
  clientId: string | null
  userId: string | null
  expiresAt: number | null
  createdAt: number
  payload: Record<string, unknown>
  /** What the request asks for next, read along with it. Null: there is none, or it is over. */
  session: SessionRow | null
  person: PersonRow | null
  consent: ConsentRow | null
  progress: unknown
  progressVersion: number
}
type InteractionWire = Omit<InteractionRow, 'session'> & { session: SessionWire | null }

const interactionsById = batchedRead<InteractionWire>(
  {
    name: 'interactions_by_id',
    text: `SELECT encode(n.id, 'hex') AS id, n.client_id AS "clientId", n.user_id AS "userId", n.payload,
      ${epoch('n.created_at')} AS "createdAt", ${epoch('n.expires_at')} AS "expiresAt", n.progress, n.progress_version AS "progressVersion",
      CASE WHEN s.uid IS NOT NULL AND s.user_id IS NOT DISTINCT FROM n.user_id AND ${sessionIsOpen} THEN ${sessionJson} END AS session,
      CASE WHEN u.id IS NOT NULL THEN ${personJson} END AS person,
      CASE WHEN c.user_id IS NOT NULL THEN json_build_object('scopes', c.scopes, 'resourceScopes', c.resource_scopes) END AS consent
      FROM interaction n ${parentOf('users u', 'u.id = n.user_id')} ${parentOf('session s', 's.uid = n.session_uid')}
        ${parentOf('consent c', 'c.user_id = n.user_id AND c.client_id = n.client_id')}
      WHERE n.id = ANY($1::bytea[]) AND n.ended_at IS NULL`,
  },
  (row) => row.id,
)

export async function readInteraction(pool: pg.Pool, id: Buffer): Promise<InteractionRow | undefined> {
  const row = await interactionsById(pool, hexOf(id), id)
  return row && { ...row, session: row.session && decodeSession(row.session) }
}

export type ReplayRow = { id: string; expiresAt: number | null; payload: Record<string, unknown> }
const replaysById = batchedRead<ReplayRow>(
  {
    name: 'replays_by_id',
    text: `SELECT encode(id, 'hex') AS id, payload, ${epoch('expires_at')} AS "expiresAt" FROM replay WHERE id = ANY($1::bytea[])`,
  },
  (row) => row.id,
)

export function readReplay(pool: pg.Pool, id: Buffer): Promise<ReplayRow | undefined> {
  return replaysById(pool, hexOf(id), id)
}
