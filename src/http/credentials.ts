// The first door's first question: which credential does this request carry? One, none, or it is malformed. Whether the credential
// is any good is asked afterwards.
import type { Context } from 'koa'
import { HttpError, safeName } from './http-error.ts'

export type Credential =
  | { kind: 'none' }
  | { kind: 'bearer'; value: string }
  /** A token that says it is bound to a key (RFC 9449 7.1). */
  | { kind: 'dpop'; value: string }
  | { kind: 'basic'; clientId: string; clientSecret: string }
  | { kind: 'api_key'; value: string }
  /** A scheme that is not taken here. */
  | { kind: 'other' }

/** Where people put tokens although RFC 6750 2.3 and RFC 9700 4.3.2 tell them not to: addresses end up in logs. */
const tokenParameters = ['access_token', 'api_key', 'apikey', 'x-api-key', 'token', 'authorization']

/** @throws HttpError 400 invalid_request for anything that is not clearly one credential. */
export function readCredential(ctx: Context): Credential {
  refuseInQuery(Object.keys(ctx.query), tokenParameters)
  return readHeaders(ctx)
}

/** The same, where the address is somebody else's to judge. */
export function readHeaders(ctx: Context): Credential {
  const authorization = headerValues(ctx, 'authorization')
  const apiKey = headerValues(ctx, 'x-api-key')
  if (authorization.length + apiKey.length > 1)
    throw malformed('The request carries more than one credential: send either Authorization or X-API-Key, once.')
  if (apiKey[0] !== undefined) return readApiKey(apiKey[0])
  if (authorization[0] !== undefined) return readAuthorization(authorization[0])
  return { kind: 'none' }
}

/** For the address of another application, where `token` may mean anything: what names a credential without doubt.
 *  @throws HttpError 400 */
export function refuseCredentialsIn(query: string): void {
  refuseInQuery([...new URLSearchParams(query).keys()], ['access_token', 'api_key', 'apikey', 'x-api-key'])
}

function refuseInQuery(names: readonly string[], refused: readonly string[]): void {
  const found = names.find((name) => refused.includes(name.toLowerCase()))
  if (found !== undefined)
    throw malformed(
      `A credential in the address (${safeName(found)}) is not taken: send it in the Authorization header.`,
    )
}

function readApiKey(value: string): Credential {
  if (!/^[\x21-\x7e]{1,512}$/.test(value)) throw malformed('X-API-Key is empty or is not a key.')
  return { kind: 'api_key', value }
}

function readAuthorization(header: string): Credential {
  const [, scheme = '', rest = ''] = /^([^ ]*) *(.*)$/s.exec(header) ?? []
  switch (scheme.toLowerCase()) {
    case 'bearer':
      return { kind: 'bearer', value: readToken('Bearer', rest) }
    case 'dpop':
      return { kind: 'dpop', value: readToken('DPoP', rest) }
    case 'basic':
      return readBasic(rest)
    case '':
      throw malformed('The Authorization header is empty.')
    default:
      return { kind: 'other' }
  }
}

/** RFC 6750 2.1: b64token; RFC 9449 7.1: token68, which is the same. */
function readToken(scheme: string, rest: string): string {
  if (!/^[A-Za-z0-9\-._~+/]+=*$/.test(rest))
    throw malformed(`Authorization: ${scheme} is followed by no token, or by more than one.`)
  return rest
}

function readBasic(encoded: string): Credential {
  const credential = parseBasic(encoded)
  if (!credential)
    throw malformed(
      'Authorization: Basic must be base64 of client_id:client_secret, each form-encoded first (RFC 6749 2.3.1).',
    )
  return credential
}

/** RFC 7617, with the two halves form-encoded first (RFC 6749 2.3.1), so that a colon or a % in either survives.
 *  @returns undefined for anything else */
export function parseBasic(encoded: string): Extract<Credential, { kind: 'basic' }> | undefined {
  const text = /^[A-Za-z0-9+/]+={0,2}$/.test(encoded) ? decodeUtf8(Buffer.from(encoded, 'base64')) : undefined
  const colon = text?.indexOf(':') ?? -1
  if (text === undefined || colon < 1) return undefined
  const clientId = decodeForm(text.slice(0, colon))
  const clientSecret = decodeForm(text.slice(colon + 1))
  return clientId === undefined || clientSecret === undefined ? undefined : { kind: 'basic', clientId, clientSecret }
}

function decodeUtf8(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch (error) {
    if (error instanceof TypeError) return undefined
    throw error
  }
}

function decodeForm(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}

/** Node keeps the first of two Authorization headers and joins others: what counts is what was sent. */
export function headerValues(ctx: Context, name: string): string[] {
  const { rawHeaders } = ctx.req
  return rawHeaders.flatMap((header, index) =>
    index % 2 === 0 && header.toLowerCase() === name ? [(rawHeaders[index + 1] ?? '').trim()] : [],
  )
}

function malformed(description: string): HttpError {
  return new HttpError({ status: 400, error: 'invalid_request', description })
}
