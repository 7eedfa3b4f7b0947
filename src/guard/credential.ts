// The first door's first question: which credential does this request carry? One, none, or it is malformed. Whether it is any good is
// asked afterwards.
import { Buffer } from 'node:buffer'
import type { Answers } from './refused.ts'

/** What the guard looks at, whatever the framework. */
export type GuardRequest = Readonly<{
  method: string
  /** Path and query as the caller sent them. */
  target: string
  /** Every value that was sent under this lower-case name, one entry for each line. */
  header(name: string): readonly string[]
  /** The fields of a form, where the application has read one. */
  form?: Readonly<Record<string, unknown>> | undefined
  /** DER. The client certificate of this very connection, where the application (or the proxy in front, if it is believed) knows one. */
  certificate?: Uint8Array | undefined
}>

export type Credential =
  | { kind: 'none' }
  | { kind: 'token'; scheme: 'Bearer' | 'DPoP'; value: string }
  /** @param scheme undefined for X-API-Key. */
  | { kind: 'api_key'; scheme: 'Bearer' | undefined; value: string }
  /** @param value base64, as it was sent. */
  | { kind: 'basic'; value: string }
  /** A scheme that is not taken here. */
  | { kind: 'other' }

/** Where people put tokens although RFC 6750 2.3 and RFC 9700 4.3.2 tell them not to: addresses end up in logs. */
const tokenParameters = ['access_token', 'api_key', 'apikey', 'x-api-key', 'token', 'authorization']
const apiKeyPrefix = 'sp_key_'

/** @param ownParameters names in the query that look like credentials and are the API's own.
 *  @throws Refused 400 for anything that is not clearly one credential. */
export function readCredential(
  request: GuardRequest,
  answers: Answers,
  ownParameters: ReadonlySet<string> = new Set(),
): Credential {
  const inQuery = credentialInQuery(request.target, ownParameters)
  if (inQuery !== undefined)
    throw answers.malformed(
      `A credential in the address (${inQuery}) is not taken: send it in the Authorization header.`,
    )
  if (request.form && 'access_token' in request.form)
    throw answers.malformed('A credential in the body is not taken: send it in the Authorization header.')
  const authorization = request.header('authorization')
  const apiKey = request.header('x-api-key')
  if (authorization.length + apiKey.length > 1)
    throw answers.malformed(
      'The request carries more than one credential: send either Authorization or X-API-Key, once.',
    )
  if (apiKey[0] !== undefined) return readApiKey(apiKey[0].trim(), answers)
  if (authorization[0] !== undefined) return readAuthorization(authorization[0].trim(), answers)
  return { kind: 'none' }
}

function credentialInQuery(target: string, own: ReadonlySet<string>): string | undefined {
  const question = target.indexOf('?')
  if (question === -1) return undefined
  const names = new URLSearchParams(target.slice(question + 1)).keys()
  for (const name of names) {
    const known = name.toLowerCase()
    if (tokenParameters.includes(known) && !own.has(known)) return known
  }
  return undefined
}

function readApiKey(value: string, answers: Answers): Credential {
  if (!/^[\x21-\x7e]{1,512}$/.test(value)) throw answers.malformed('X-API-Key is empty or is not one key.')
  return { kind: 'api_key', scheme: undefined, value }
}

function readAuthorization(header: string, answers: Answers): Credential {
  const space = header.indexOf(' ')
  const scheme = (space === -1 ? header : header.slice(0, space)).toLowerCase()
  const rest = space === -1 ? '' : header.slice(space).trim()
  switch (scheme) {
    case 'bearer':
    case 'dpop': {
      const name = scheme === 'bearer' ? 'Bearer' : 'DPoP'
      // RFC 6750 2.1: token68. Two headers that somebody on the way joined with a comma do not match either.
      if (!/^[A-Za-z0-9\-._~+/]+=*$/.test(rest))
        throw answers.malformed(`Authorization: ${name} is followed by no token, or by more than one.`)
      if (name === 'Bearer' && rest.startsWith(apiKeyPrefix)) return { kind: 'api_key', scheme: name, value: rest }
      return { kind: 'token', scheme: name, value: rest }
    }
    case 'basic':
      if (!isPair(rest)) throw answers.malformed('Authorization: Basic must be base64 of client_id:client_secret.')
      return { kind: 'basic', value: rest }
    case '':
      throw answers.malformed('The Authorization header is empty.')
    default:
      if (/,\s*(?:bearer|dpop|basic)\s/i.test(rest))
        throw answers.malformed('The request carries more than one credential: send one Authorization header.')
      return { kind: 'other' }
  }
}

/** RFC 7617: an id, a colon, a secret, in UTF-8. */
function isPair(encoded: string): boolean {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return false
  const bytes = Buffer.from(encoded, 'base64')
  return bytes.indexOf(':') > 0 && Buffer.from(bytes.toString('utf8')).equals(bytes)
}
