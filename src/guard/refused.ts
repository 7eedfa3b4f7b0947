// Every answer but yes. What a program reads (status, code, challenge) and what the operator reads (cause) are two things.

/** Thrown by every step of the guard. `headers` and `body` are the whole answer; an adapter only writes them. */
export class Refused extends Error {
  override name = 'Refused'
  readonly status: number
  readonly error: string
  readonly headers: Readonly<Record<string, string>>

  /** @param message public. @param options.cause for the operator's log only. */
  constructor(
    status: number,
    error: string,
    message: string,
    options: { headers?: Record<string, string>; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.status = status
    this.error = error
    this.headers = { 'cache-control': 'no-store', ...options.headers }
  }

  get body(): { error: string; error_description: string } {
    return { error: this.error, error_description: this.message }
  }

  /** The answer as the Fetch standard has it. Hono's own error handler asks every error for it by this name. */
  getResponse(): Response {
    return Response.json(this.body, { status: this.status, headers: this.headers })
  }
}

/** How the credential was sent; undefined where none was. The challenge of that scheme names the error. */
export type Scheme = 'Bearer' | 'DPoP'

export type Answers = ReturnType<typeof createAnswers>

/** @param settings.dpopAlgorithms undefined where DPoP is not taken. @param settings.bearer false where only DPoP is. */
export function createAnswers(settings: {
  realm: string | undefined
  metadataUrl: string | undefined
  bearer: boolean
  dpopAlgorithms: readonly string[] | undefined
  hideExistence: boolean
}) {
  const { realm, metadataUrl, bearer, dpopAlgorithms, hideExistence } = settings

  /** RFC 6750 3, RFC 9449 7.1: one challenge for each scheme that is taken, and the reason in that of the scheme which was used. */
  function challenge(used: Scheme | undefined, reason: Readonly<Record<string, string>>): Record<string, string> {
    const one = (scheme: Scheme, more: Record<string, string>) => {
      const parameters = {
        ...(realm !== undefined && { realm }),
        ...((used ?? scheme) === scheme ? reason : {}),
        ...more,
        ...(metadataUrl !== undefined && { resource_metadata: metadataUrl }),
      }
      const text = Object.entries(parameters).map(([name, value]) => `${name}="${quotable(value)}"`)
      return [scheme, text.join(', ')].filter(Boolean).join(' ')
    }
    const offered = [
      // A token that came as Bearer is told so in a Bearer challenge, even where only DPoP would do.
      ...(bearer || used === 'Bearer' ? [one('Bearer', {})] : []),
      ...(dpopAlgorithms ? [one('DPoP', { algs: dpopAlgorithms.join(' ') })] : []),
    ]
    return { 'www-authenticate': offered.join(', ') }
  }

  return {
    /** RFC 6750 3.1: not clearly one credential. */
    malformed: (message: string) =>
      new Refused(400, 'invalid_request', message, {
        headers: challenge(undefined, { error: 'invalid_request', error_description: message }),
      }),

    /** RFC 6750 3.1: no error code where no credential of a kind that is taken was sent. */
    missing: () => new Refused(401, 'unauthorized', 'A credential is needed.', { headers: challenge(undefined, {}) }),

    /** One text for every reason: which check failed helps only those who forge tokens. */
    invalidToken: (scheme: Scheme | undefined, cause?: unknown) =>
      new Refused(401, 'invalid_token', 'The credential is not valid here.', {
        headers: challenge(scheme, { error: 'invalid_token' }),
        cause,
      }),

    /** RFC 9449 7.1: the token may be good, what shows possession of its key is not. */
    invalidProof: (message: string) =>
      new Refused(401, 'invalid_dpop_proof', message, {
        headers: challenge('DPoP', { error: 'invalid_dpop_proof', error_description: message }),
      }),

    /** RFC 9449 9: the proof may be good, but was not made with a nonce that is taken now. */
    useNonce: (nonce: string) => {
      const message = 'Make a new DPoP proof with the nonce of the header DPoP-Nonce.'
      const reason = { error: 'use_dpop_nonce', error_description: message }
      return new Refused(401, 'use_dpop_nonce', message, {
        headers: { ...challenge('DPoP', reason), 'dpop-nonce': nonce },
      })
    },

    insufficientScope: (scheme: Scheme | undefined, scopes: readonly string[]) =>
      new Refused(403, 'insufficient_scope', `This needs ${scopes.join(' ')}.`, {
        headers: challenge(scheme, { error: 'insufficient_scope', scope: scopes.join(' ') }),
      }),

    /** RFC 9470 3: a new sign-in helps, so it is a 401. */
    strongerLogin: (scheme: Scheme | undefined, wanted: { acr_values?: string; max_age?: string }) =>
      new Refused(401, 'insufficient_user_authentication', 'This needs a stronger or a more recent sign-in.', {
        headers: challenge(scheme, { error: 'insufficient_user_authentication', ...wanted }),
      }),

    /** Without a challenge: no other token of the same person would help. */
    forbidden: () =>
      hideExistence ? notFound() : new Refused(403, 'access_denied', 'You may not do this to that object.'),

    notFound,

    /** Our trouble is not the caller's: a 401 here would make every client throw a good token away. */
    unavailable: (cause: unknown) =>
      new Refused(503, 'temporarily_unavailable', 'This cannot be decided right now.', {
        headers: { 'retry-after': '1' },
        cause,
      }),
  }
}

/** The same for what is not there and for what is hidden, to the byte. */
function notFound(): Refused {
  return new Refused(404, 'not_found', 'There is no such object.')
}

/** RFC 6750 3: printable ASCII without quote and backslash. */
function quotable(value: string): string {
  return value.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, '?')
}
