// The gates of the two doors, in the order in which a request meets them, and why each stops it. One list, because whoever reads
// a receipt, a metric or a page should meet the same words.

/** Who are you? Whoever is stopped here is not identified: 400 at `form`, 401 at the others. */
export const firstDoor = ['form', 'found', 'signature', 'time', 'revoked', 'audience', 'accepted'] as const
/** May you do this? 403; at `step_up` 401, because a stronger sign-in opens it (RFC 9470). */
export const secondDoor = ['scope', 'role', 'policy', 'relation', 'step_up'] as const

export type Gate = (typeof firstDoor)[number] | (typeof secondDoor)[number]

/** What stops a request at each gate, and what would help. `{…}` is filled from the needs of the decision. Operators and owners of clients
 *  read this, never the caller, who hears the words of the RFCs. */
export const reasons = {
  malformed: { gate: 'form', fix: 'Send one credential, in one header, in its right form.' },
  none: {
    gate: 'form',
    fix: 'Send a credential: an access token, an API key, or the id and secret of a service client.',
  },
  unknown: {
    gate: 'found',
    fix: 'Get a new credential: this one was never issued here, or its row has left since it expired.',
  },
  subject_disabled: {
    gate: 'found',
    fix: 'Enable the account or the client again; until then nothing of theirs counts.',
  },
  bad_signature: {
    gate: 'signature',
    fix: 'Get a new token: this one was changed on its way, or signed by somebody else.',
  },
  bound_to_key: {
    gate: 'signature',
    fix: 'Send the proof of possession that the token is bound to (RFC 9449, RFC 8705).',
  },
  not_bound: { gate: 'signature', fix: 'Send it as `Authorization: Bearer`: the token is bound to no key.' },
  bad_proof: {
    gate: 'signature',
    fix: 'Make a DPoP proof for this request, this token and this moment (RFC 9449 4.2): what it lacks is {needs}.',
  },
  other_certificate: {
    gate: 'signature',
    fix: 'Use the client certificate that the token was issued to, or get a new token with this one (RFC 8705 3).',
  },
  grant_refused: {
    gate: 'found',
    fix: 'Begin a new authorization: the code or refresh token was used, has expired, was revoked, or belongs to another request.',
  },
  stale_proof: {
    gate: 'time',
    fix: 'Make a new DPoP proof for each request, set the clock, or use the nonce that came with the refusal (RFC 9449 9).',
  },
  used_proof: {
    gate: 'time',
    fix: 'Make a new DPoP proof for each request: this one was used before (RFC 9449 11.1).',
  },
  expired: { gate: 'time', fix: 'A new token will help: refresh it, or sign in again.' },
  revoked: { gate: 'revoked', fix: 'A new sign-in will help, if whoever revoked it still allows one.' },
  other_audience: { gate: 'audience', fix: 'Ask for a token for this API: name it with the resource parameter.' },
  not_accepted: {
    gate: 'accepted',
    fix: 'Use a kind of credential that the API accepts, or add this kind to its `accept`.',
  },
  which_api: { gate: 'audience', fix: 'Name the API in context.audience: several have the action {needs}.' },
  unknown_action: { gate: 'scope', fix: 'No API has the action {needs}: add it to the scopes or the objects of one.' },
  insufficient_scope: {
    gate: 'scope',
    fix: 'Ask for the scope {needs} at the next sign-in; the client must be registered for it.',
  },
  scope_not_held: {
    gate: 'scope',
    fix: 'Give the person a role that carries {needs}: the token has the scope, its owner no longer does.',
  },
  no_route: { gate: 'role', fix: 'Add a route for this method, host and path: what no route names is refused.' },
  lacks_role: {
    gate: 'role',
    fix: 'Give the subject one of the roles {needs}, or a role whose permissions have that name.',
  },
  impersonated: {
    gate: 'role',
    fix: 'Sign in as yourself: while an administrator acts as a person, this server’s own API and gateways, whose headers name one person, are closed to them.',
  },
  forbidden_by_policy: {
    gate: 'policy',
    fix: 'A policy that forbids it holds: change what it looks at, or the policy.',
  },
  no_policy_permits: { gate: 'policy', fix: 'No policy permits it, and no role does: write one, or give the role.' },
  ownership: {
    gate: 'relation',
    fix: 'The subject has none of the relations {needs} to this object: the object is somebody else’s.',
  },
  too_many_relations: {
    gate: 'relation',
    fix: 'Too many groups and parents lie between subject and object to follow them for {needs}: put fewer between them.',
  },
  weak_login: { gate: 'step_up', fix: 'Sign in again with what {needs} asks for.' },
  old_login: { gate: 'step_up', fix: 'Sign in again: the last sign-in is longer ago than {needs} seconds.' },
} as const satisfies Record<string, { gate: Gate; fix: string }>

export type Reason = keyof typeof reasons

export type Refused = Readonly<{
  allowed: false
  gate: Gate
  reason: Reason
  needs: readonly string[]
  policies: readonly string[]
}>
export type Permitted = Readonly<{
  allowed: true
  gate: null
  reason: 'permitted'
  needs: readonly []
  policies: readonly string[]
}>
export type Decision = Refused | Permitted

export function stopped(reason: Reason, needs: readonly string[] = [], policies: readonly string[] = []): Refused {
  return { allowed: false, gate: reasons[reason].gate, reason, needs, policies }
}

export function permitted(policies: readonly string[] = []): Permitted {
  return { allowed: true, gate: null, reason: 'permitted', needs: [], policies }
}

/** @returns the sentence that says what would help. */
export function fixOf(reason: Reason, needs: readonly string[]): string {
  return reasons[reason].fix.replace('{needs}', needs.join(' or '))
}
