// What one answer means, by the credential that was sent. One answer is one finding at most: the gravest that it shows.
import type { FindingKind } from './findings.ts'
import type { Answer } from './wire.ts'

/** What is sent that must not be taken. */
export const badCredentials = {
  unknown: { what: 'a token that nobody issued', taken: 'malformed_accepted' },
  expired: { what: 'a token that expired an hour ago', taken: 'expired_accepted' },
  tampered: { what: 'a token with a changed signature', taken: 'tampered_accepted' },
  unsigned: { what: 'a token with alg: none', taken: 'unsigned_accepted' },
  otherAudience: { what: 'a token for another API', taken: 'audience_ignored' },
} as const satisfies Record<string, { what: string; taken: FindingKind }>

export type BadCredential = keyof typeof badCredentials

/** What the same operation answers to nobody and, where it was asked, to a good token. */
export type Baseline = { none: Answer; good: Answer | undefined }

export const isSuccess = ({ status }: Answer): boolean => status >= 200 && status < 300

/** Let in. An operation may answer a good token with 404 (the id was made up) or 422 (so was the body): a bad one that comes as far, where
 *  nobody is refused with 401, was taken for good. */
export function isLetIn(answer: Answer, { none, good }: Baseline): boolean {
  if (isSuccess(answer)) return true
  if (none.status !== 401 || ![404, 409, 415, 422].includes(answer.status)) return false
  return good === undefined || good.status === answer.status
}

/** It says something about who may call. Anything else (there is no such path, too many requests, a redirect) does not. */
export const isJudged = (answer: Answer): boolean =>
  isSuccess(answer) || [401, 403].includes(answer.status) || answer.status >= 500

/** Nothing was sent. */
export function judgeStranger(answer: Answer): FindingKind | undefined {
  if (isSuccess(answer)) return 'open'
  return refusedStranger(answer, (errors) => errors.length === 0)
}

export function judgeBad(credential: BadCredential, answer: Answer, baseline: Baseline): FindingKind | undefined {
  if (isLetIn(answer, baseline)) return badCredentials[credential].taken
  // RFC 6750 3.1: the error is to be there where a token was.
  return refusedStranger(answer, (errors) => errors.includes('invalid_token'))
}

/** `Bearer` and no token: 400 (RFC 6750 3.1), and 401 is as good. */
export function judgeEmpty(answer: Answer, baseline: Baseline): FindingKind | undefined {
  return isLetIn(answer, baseline) ? 'malformed_accepted' : refusedStranger(answer, () => true)
}

/** No credential, but what a gateway would say about one. */
export function judgeHeaders(answer: Answer, baseline: Baseline): FindingKind | undefined {
  // 403 where nobody hears 401: they were read, and somebody was known by them.
  const isKnown = answer.status === 403 && baseline.none.status === 401
  if (isKnown || isLetIn(answer, baseline)) return 'headers_believed'
  return answer.status >= 500 ? 'server_error' : undefined
}

/** A credential at a place where none may be, or two of them: any refusal will do. A 403 to a token in the address, where nobody hears 401, is
 *  no refusal of the token: somebody looked at it, and knew who it is. */
export function judgeMisplaced(
  taken: 'query_accepted' | 'two_credentials_accepted',
  answer: Answer,
  baseline: Baseline,
): FindingKind | undefined {
  const isKnown = taken === 'query_accepted' && answer.status === 403 && baseline.none.status === 401
  if (isKnown || isLetIn(answer, baseline)) return taken
  return answer.status >= 500 ? 'server_error' : undefined
}

/** A good token that lacks the scope. */
export function judgeWithoutScope(answer: Answer): FindingKind | undefined {
  if (isSuccess(answer)) return 'scope_ignored'
  if (answer.status === 401) return 'unauthorized_to_known'
  if (answer.status === 403) return judgeChallenge(answer, (errors) => errors.includes('insufficient_scope'))
  return answer.status >= 500 ? 'server_error' : undefined
}

/** A good token of a person who lacks the role, or whose sign-in is not what is asked: they used a key, and nobody was there. */
export function judgeLacking(
  answer: Answer,
  { asksRole, asksSignIn }: { asksRole: boolean; asksSignIn: boolean },
): FindingKind | undefined {
  if (isSuccess(answer)) return asksRole ? 'role_ignored' : 'sign_in_ignored'
  // RFC 9470 3. Who lacks both may hear of either.
  if (answer.status === 401)
    return asksSignIn
      ? judgeChallenge(answer, (errors) => errors.includes('insufficient_user_authentication'))
      : 'unauthorized_to_known'
  return answer.status >= 500 ? 'server_error' : undefined
}

/** B, with a good token of their own, at an object of A's. */
export function judgeOther(answer: Answer, changes: boolean): FindingKind | undefined {
  if (isSuccess(answer)) return changes ? 'object_changed' : 'object_read'
  if (answer.status === 401) return 'unauthorized_to_known'
  return answer.status >= 500 ? 'server_error' : undefined
}

export function judgeGood({ status }: Answer): FindingKind | undefined {
  if (status === 401) return 'good_token_refused'
  return status >= 500 ? 'server_error' : undefined
}

function refusedStranger(answer: Answer, isRight: (errors: string[]) => boolean): FindingKind | undefined {
  if (answer.status >= 500) return 'server_error'
  if (answer.status === 403) return 'forbidden_to_stranger'
  return answer.status === 401 ? judgeChallenge(answer, isRight) : undefined
}

function judgeChallenge({ challenge }: Answer, isRight: (errors: string[]) => boolean): FindingKind | undefined {
  if (challenge === undefined || challenge.trim() === '') return 'challenge_missing'
  const errors = [...challenge.matchAll(/(?:^|[\s,])error\s*=\s*"?([A-Za-z_]+)"?/g)].map((match) => match[1] ?? '')
  // RFC 6750 3, RFC 9449 7.1: the schemes that take these tokens.
  return /(?:^|[\s,])(?:Bearer|DPoP)(?=[\s,]|$)/i.test(challenge) && isRight(errors) ? undefined : 'challenge_wrong'
}
