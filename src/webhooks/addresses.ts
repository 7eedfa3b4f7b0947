// What an address of an endpoint may look like. Names are judged when they are connected to, by what they then stand for (outbound/post.ts); here
// is refused what could never be allowed, so that whoever writes it reads it at once.
import { isIP } from 'node:net'
import { guardAddresses, isLoopback } from '#src/outbound/networks.ts'
import type { Flaw } from '#src/refusal.ts'

/** @param networks what may be reached besides public addresses. */
export function checkUrl(field: string, value: string, networks: readonly string[]): Flaw[] {
  const flaw = (problem: string, fix: string): Flaw[] => [{ field, problem, fix }]
  const url = URL.parse(value)
  if (!url?.hostname || !['http:', 'https:'].includes(url.protocol) || value.length > 2048)
    return flaw('is not an address', 'Write one such as https://hooks.example.com/sallyport.')
  if (url.username || url.password)
    return flaw('has a user name or password', 'Remove them: the signature says who calls.')
  if (value.includes('#')) return flaw('has a fragment', 'Remove it: it would not be sent.')
  const host = url.hostname.replace(/^\[|\]$/g, '')
  const allows = guardAddresses(networks)
  const here = host === 'localhost' ? '127.0.0.1' : host
  if (url.protocol === 'http:' && !(isIP(here) && isLoopback(here) && allows(here)))
    return flaw('is not https', 'Use https. Plain http is for loopback alone, where WEBHOOK_NETWORKS allows it.')
  if (isIP(here) && !allows(here))
    return flaw(
      'is an address of a private network',
      'Use a public one, or have the operator add the network to WEBHOOK_NETWORKS.',
    )
  return []
}
