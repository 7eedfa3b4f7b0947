// What no honest client sends and no room wants to see: refused before the engine, with the name of the part that is wrong.
import type { Middleware } from 'koa'
import { HttpError, safeName } from './http-error.ts'

const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
export const longestUrl = 8192
const ascii = /^[\x21-\x7e]*$/

/** PostgreSQL cannot store NUL, and a control character in a log, a header or a page is an attack or an accident. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const controlCharacter = /[\u0000-\u001f\u007f-\u009f]/

export function requestChecks(): Middleware {
  return (ctx, next) => {
    const url = ctx.req.url ?? '/'
    if (!methods.includes(ctx.method))
      throw new HttpError({
        status: 405,
        error: 'method_not_allowed',
        description: 'This method is not used here.',
        headers: { Allow: methods.join(', ') },
      })
    if (url.length > longestUrl)
      throw new HttpError({
        status: 414,
        error: 'invalid_request',
        description: `The address is longer than ${longestUrl} characters; send long requests by POST or push them first (RFC 9126).`,
      })
    const [path, query = ''] = splitOnce(url, '?')
    const decodedPath = ascii.test(path) ? decode(path) : undefined
    if (decodedPath === undefined) throw badRequest('The path is not valid percent-encoded UTF-8.')
    if (controlCharacter.test(decodedPath)) throw badRequest('The path contains a control character.')
    if (query !== '') checkQuery(query)
    return next()
  }
}

/** For parameters that were parsed elsewhere (the engine's).
 *  @returns the name of the first one whose name or value holds a control character, fit for an error text. */
export function findControlCharacter(params: Iterable<readonly [string, unknown]>): string | undefined {
  for (const [name, value] of params)
    for (const text of [name, ...(Array.isArray(value) ? value : [value])])
      if (typeof text === 'string' && controlCharacter.test(text)) return safeName(name)
  return undefined
}

/** application/x-www-form-urlencoded, strictly: a stray percent sign or invalid UTF-8 is an error, not a replacement character.
 *  @returns pairs in order, or the name of the part that cannot be decoded. */
export function parseUrlencoded(text: string): { pairs: [string, string][] } | { malformed: string } {
  const pairs: [string, string][] = []
  for (const part of text.split('&')) {
    if (part === '') continue
    const [rawName, rawValue = ''] = splitOnce(part, '=')
    const name = decode(rawName.replaceAll('+', ' '))
    const value = decode(rawValue.replaceAll('+', ' '))
    if (name === undefined || value === undefined) return { malformed: safeName(name ?? rawName) }
    pairs.push([name, value])
  }
  return { pairs }
}

function checkQuery(query: string): void {
  // RFC 3986 2.1: other bytes must be percent-encoded. Node hands them over as Latin-1, which is a guess.
  const raw = query.split('&').find((part) => !ascii.test(part))
  const parsed = raw === undefined ? parseUrlencoded(query) : { malformed: safeName(splitOnce(raw, '=')[0]) }
  if ('malformed' in parsed) throw badRequest(`The parameter ${parsed.malformed} is not valid percent-encoded UTF-8.`)
  const name = findControlCharacter(parsed.pairs)
  if (name !== undefined) throw badRequest(`The parameter ${name} contains a control character.`)
}

function badRequest(description: string): HttpError {
  return new HttpError({ status: 400, error: 'invalid_request', description })
}

/** @returns undefined for a malformed escape or bytes that are not UTF-8. */
function decode(text: string): string | undefined {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}
