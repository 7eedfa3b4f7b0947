// Which redirect URIs a client may register. RFC 9700 2.1 and 4.1.3: requests are compared as exact strings, so everything that
// could make two readings of one string possible is refused here, once, when it is registered.
import { type Flaw, quote } from '#src/refusal.ts'
import type { ClientType } from './types.ts'

const loopbackHosts = ['127.0.0.1', '[::1]', 'localhost']

/** Parameters the authorization response adds (RFC 6749 4.1.2, RFC 9207): a second one would be ambiguous. */
const responseParameters = ['code', 'state', 'iss', 'error', 'error_description', 'error_uri', 'response']

/** @param field where the value stands in the input, such as `redirectUris[0]`. @returns no problem, or the first one. */
export function checkRedirectUri(field: string, value: string, type: ClientType): Flaw[] {
  const refuse = (problem: string, fix: string): Flaw[] => [{ field, problem: `(${quote(value)}) ${problem}`, fix }]

  if (value.length > 2000) return refuse('is longer than 2000 characters', 'Register a shorter address.')
  if (value.includes('*'))
    return refuse(
      'has a wildcard',
      'List every address in full: requests are compared as exact strings (RFC 9700 2.1).',
    )
  // RFC 3986 2: anything else (spaces, control characters, backslashes, other scripts) is read differently by different parsers.
  if (!/^(?:[A-Za-z0-9\-._~:/?#[\]@!$&'()+,;=]|%[0-9A-Fa-f]{2})+$/.test(value))
    return refuse('has characters that a URI cannot have', 'Percent-encode them, or use punycode in the host name.')
  if (value.includes('#')) return refuse('has a fragment', 'Remove everything from # on (RFC 6749 3.1.2).')
  const url = URL.parse(value)
  if (!url) return refuse('is not an absolute URI', 'Write it in full, such as https://app.example.com/callback.')
  if (url.username || url.password || /^[^/?]*\/\/[^/?]*@/.test(value))
    return refuse('has a user name or password', 'Remove everything before @: it can make one host look like another.')

  const scheme = url.protocol.slice(0, -1)
  if (scheme !== 'https' && scheme !== 'http') return checkPrivateScheme(scheme, value, type, refuse)

  if (!url.hostname || !/^https?:\/\/[^/]/.test(value))
    return refuse('has no host', 'Write it in full, such as https://app.example.com/callback.')
  if (scheme === 'http' && !loopbackHosts.includes(url.hostname))
    return refuse(
      'is plain http',
      'Use https. Plain http is accepted for 127.0.0.1, [::1] and localhost only (RFC 8252 7.3).',
    )
  if (url.hostname.includes('%') || url.hostname.endsWith('.'))
    return refuse('has an ambiguous host', 'Write the plain host name, without a dot at its end.')
  const path = pathProblem(value)
  if (path) return refuse(path, 'Register the address that the browser really ends at.')
  // `https://app.example` and `https://app.example/` are the same address; everything else must be as a browser writes it.
  if (
    url.href !== value &&
    url.href !== `${value}/` &&
    !(url.pathname === '/' && url.href.replace('/?', '?') === value)
  )
    return refuse('is not in its normal form', `Write ${quote(url.href)}.`)
  const repeated = responseParameters.find((name) => url.searchParams.has(name))
  if (repeated) return refuse(`has the parameter ${repeated}`, 'Remove it: the authorization response adds its own.')
  return []
}

/** RFC 8252 7.1: private-use schemes are for apps on a device and are built on a domain name, so they have a dot.
 *  That also keeps out javascript:, data:, file:, blob:, about: and every other scheme a browser acts upon. */
function checkPrivateScheme(
  scheme: string,
  value: string,
  type: ClientType,
  refuse: (problem: string, fix: string) => Flaw[],
): Flaw[] {
  if (type !== 'native')
    return refuse(`has the scheme ${scheme}:`, 'Use https. Other schemes are for clients of type native only.')
  if (!/^[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+$/.test(scheme) || !value.startsWith(`${scheme}:`))
    return refuse(
      `has the scheme ${scheme}:`,
      'Use a domain name of yours in reverse, in lower case, such as com.example.app:/callback (RFC 8252 7.1).',
    )
  const path = pathProblem(value)
  return path ? refuse(path, 'Register the address that the system really opens.') : []
}

/** Proxies and frameworks decode paths in their own ways: `..;/`, `%2e%2e/`, `%2f` and `%25…` may all climb out of a folder. */
function pathProblem(value: string): string | undefined {
  const path = value.replace(/^[^:]*:(\/\/[^/?]*)?/, '').replace(/\?.*$/, '')
  if (/%(2e|2f|5c|25|3b|00|0a|0d)/i.test(path))
    return 'hides a dot, slash, semicolon, percent sign or line break in its path'
  if (/(^|\/)\.{1,2}(?=\/|;|$)/.test(path)) return 'has a dot segment in its path'
  if (/%(00|0a|0d)/i.test(value)) return 'has an encoded control character'
  return undefined
}
