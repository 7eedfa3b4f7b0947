// Whom an address stands for: an IPv4 address is somebody's line, an IPv6 line is given a /64 at least, in which its owner may take a new
// address for every try.
import { isIPv4, isIPv6 } from 'node:net'

/** @param address as http/host.ts pinned it, or undefined where there was none. @returns text that is the same for all of the range. */
export function addressRange(address: string | undefined): string {
  if (address === undefined || isIPv4(address)) return address ?? 'unknown'
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped) return mapped
  if (!isIPv6(address)) return 'unknown'
  // The parser of URLs writes every spelling in one way (RFC 5952), without embedded IPv4.
  const canonical = new URL(`http://[${address.replace(/%.*$/, '')}]`).hostname.slice(1, -1)
  const [head = '', tail] = canonical.split('::')
  const groups = head.split(':').filter(Boolean)
  const after = tail?.split(':').filter(Boolean) ?? []
  const all = tail === undefined ? groups : [...groups, ...Array(8 - groups.length - after.length).fill('0'), ...after]
  return `${all.slice(0, 4).join(':')}::/64`
}
