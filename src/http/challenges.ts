// The words of the RFCs for whoever is refused by one of the two doors: status, error code, `WWW-Authenticate`. Never more than these.
import { HttpError } from './http-error.ts'

/** RFC 6585 4. */
export function tooMany(
  seconds: number,
  description = 'Too many requests with wrong credentials came from this address. Come back later.',
): HttpError {
  return new HttpError({
    status: 429,
    error: 'too_many_requests',
    description,
    headers: { 'Retry-After': String(seconds) },
  })
}

/** How a token was sent: the challenge is that scheme's. */
export type TokenScheme = 'Bearer' | 'DPoP'

/** RFC 6750 3: no error code for a request that carried no credential. */
export function unidentified(realm: string, error: 'invalid_token' | undefined): HttpError {
  return new HttpError({
    status: 401,
    error: error ?? 'unauthorized',
    description: error
      ? 'The credential is unknown, has expired, was revoked, or is meant for another API.'
      : 'Send an access token (Authorization: Bearer), an API key (X-API-Key) or the credentials of a service client (Authorization: Basic).',
    headers: { 'WWW-Authenticate': `Bearer realm="${realm}"${error ? `, error="${error}"` : ''}` },
  })
}

/** RFC 9449 7.1 and 9: the token is bound to a key, or says so, and what shows possession of it is missing or wrong.
 *  @param nonce for the next proof. */
export function unproven(
  realm: string,
  error: 'invalid_token' | 'invalid_dpop_proof' | 'use_dpop_nonce',
  { algorithms, nonce }: { algorithms: readonly string[]; nonce?: string | undefined },
): HttpError {
  const descriptions = {
    invalid_token:
      'The token is unknown, has expired, was revoked, is meant for another API, or is not bound to this key.',
    invalid_dpop_proof:
      'Send one new DPoP proof for this request and this token, signed by the key that it is bound to.',
    use_dpop_nonce: 'Make a new DPoP proof with the nonce of the header DPoP-Nonce.',
  }
  const parameters = { realm, error, algs: algorithms.join(' ') }
  const challenge = Object.entries(parameters).map(([name, value]) => `${name}="${value}"`)
  return new HttpError({
    status: 401,
    error,
    description: descriptions[error],
    headers: {
      'WWW-Authenticate': `DPoP ${challenge.join(', ')}`,
      ...(nonce !== undefined && { 'DPoP-Nonce': nonce }),
    },
  })
}

/** RFC 6750 3.1. */
export function forbidden(realm: string, scope: string, scheme: TokenScheme = 'Bearer'): HttpError {
  return new HttpError({
    status: 403,
    error: 'insufficient_scope',
    description: `This needs the scope ${scope}, which the credential or its owner does not have.`,
    headers: { 'WWW-Authenticate': `${scheme} realm="${realm}", error="insufficient_scope", scope="${scope}"` },
  })
}

/** RFC 9470 3. */
export function stepUp(
  realm: string,
  { acrValues = [], maxAge }: { acrValues?: readonly string[] | undefined; maxAge?: number | undefined },
  scheme: TokenScheme = 'Bearer',
): HttpError {
  const asked = [
    ...(acrValues.length > 0 ? [`acr_values="${acrValues.join(' ')}"`] : []),
    ...(maxAge === undefined ? [] : [`max_age=${maxAge}`]),
  ]
  return new HttpError({
    status: 401,
    error: 'insufficient_user_authentication',
    description: 'A stronger or a more recent sign-in is needed.',
    headers: {
      'WWW-Authenticate': [`${scheme} realm="${realm}"`, 'error="insufficient_user_authentication"', ...asked].join(
        ', ',
      ),
    },
  })
}

/** Known, and still not allowed; why is in the receipt. */
export function accessDenied(): HttpError {
  return new HttpError({ status: 403, error: 'access_denied', description: 'You may not do this.' })
}
