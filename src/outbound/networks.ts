// Which addresses of the network may be called when somebody else than the operator says where to: the public ones, and no other. A list of
// what is forbidden forgets something; so of IPv6 only what is handed out to the public counts (2000::/3), less what is set apart in it, and of
// IPv4 everything less the registry of special purposes (RFC 6890). An address that carries one of IPv4 is judged by the one it carries.
import { BlockList, isIP, isIPv4 } from 'node:net'

/** @returns whether this address may be called. */
export type AddressGuard = (address: string) => boolean

const setApartOfIPv4 = [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16', // with the metadata of most clouds
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '168.63.129.16/32', // public by its number; at Azure it is the host of the machine
]
const setApartOfIPv6 = ['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']

const public4 = not(ranges(setApartOfIPv4))
const special6 = ranges(setApartOfIPv6)
const public6 = ranges(['2000::/3'])
/** RFC 6052: how IPv4 is reached from a network that has none. */
const translated = ranges(['64:ff9b::/96'])
const isLoopbackAddress = ranges(['127.0.0.0/8', '::1/128'])

/** @param allowed ranges besides the public addresses, as the configuration has them. */
export function guardAddresses(allowed: readonly string[]): AddressGuard {
  const also = ranges(allowed)
  return (address) => {
    const plain = carriedIPv4(address) ?? address
    if (!isIP(plain)) return false
    return isPublic(plain) || also(plain)
  }
}

/** For plain http. */
export const isLoopback = (address: string): boolean => isLoopbackAddress(carriedIPv4(address) ?? address)

function isPublic(address: string): boolean {
  return isIPv4(address) ? public4(address) : public6(address) && !special6(address)
}

/** Of ::ffff:10.0.0.1 and 64:ff9b::a00:1 the 10.0.0.1. */
function carriedIPv4(address: string): string | undefined {
  if (isIPv4(address) || isIP(address) === 0) return undefined
  const groups = groupsOf(address)
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  if (!mapped && !translated(address)) return undefined
  return [...groups.slice(6)].flatMap((group) => [group >> 8, group & 0xff]).join('.')
}

/** The eight numbers of an IPv6 address. */
function groupsOf(address: string): number[] {
  const canonical = new URL(`http://[${address.replace(/%.*$/, '')}]`).hostname.slice(1, -1)
  const [head = '', tail] = canonical.split('::')
  const left = head.split(':').filter(Boolean)
  const right = tail?.split(':').filter(Boolean) ?? []
  const missing = Array<string>(8 - left.length - right.length).fill('0')
  return [...left, ...missing, ...right].map((group) => Number.parseInt(group, 16))
}

function ranges(entries: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/')
    const family = isIPv4(address) ? 'ipv4' : 'ipv6'
    list.addSubnet(address, bits === undefined ? (family === 'ipv4' ? 32 : 128) : Number(bits), family)
  }
  return (address) => list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
}

function not(check: (address: string) => boolean): (address: string) => boolean {
  return (address) => !check(address)
}
