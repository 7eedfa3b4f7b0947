// Which addresses may be called when somebody else than the operator says where to.
import { describe, expect, it } from 'vitest'
import { guardAddresses, isLoopback } from '#src/outbound/networks.ts'

const allows = guardAddresses([])

describe('is refused', () => {
  it.each([
    ['loopback', '127.0.0.1'],
    ['all of loopback', '127.255.3.4'],
    ['loopback of IPv6', '::1'],
    ['this host', '0.0.0.0'],
    ['this host of IPv6', '::'],
    ['private', '10.0.0.1'],
    ['private', '172.31.255.255'],
    ['private', '192.168.1.1'],
    ['shared (carriers, and metadata at Alibaba)', '100.100.100.200'],
    ['link-local: metadata of clouds', '169.254.169.254'],
    ['metadata at Oracle', '192.0.0.192'],
    ['the host of the machine at Azure', '168.63.129.16'],
    ['benchmarks', '198.19.0.1'],
    ['documentation', '203.0.113.7'],
    ['multicast', '224.0.0.1'],
    ['broadcast', '255.255.255.255'],
    ['unique local: metadata at Amazon', 'fd00:ec2::254'],
    ['link-local', 'fe80::1'],
    ['link-local with its zone', 'fe80::1%eth0'],
    ['site-local of old', 'fec0::1'],
    ['multicast of IPv6', 'ff02::1'],
    ['IPv4 in IPv6', '::ffff:169.254.169.254'],
    ['IPv4 in IPv6, in hexadecimal', '::ffff:a9fe:a9fe'],
    ['IPv4 in IPv6, written out', '0:0:0:0:0:ffff:7f00:1'],
    ['IPv4-compatible', '::127.0.0.1'],
    ['IPv4 through a translator', '64:ff9b::10.0.0.1'],
    ['a translator of one’s own', '64:ff9b:1::1'],
    ['6to4 around a private address', '2002:a00:1::1'],
    ['Teredo', '2001:0:4136:e378:8000:63bf:3fff:fdd2'],
    ['documentation of IPv6', '2001:db8::1'],
    ['documentation of IPv6, the new one', '3fff::1'],
    ['discard', '100::1'],
    ['what is no address', 'localhost'],
    ['nothing', ''],
  ])('%s: %s', (_what, address) => {
    expect(allows(address)).toBe(false)
  })
})

it.each(['8.8.8.8', '172.32.0.1', '100.128.0.1', '2606:4700::1111', '::ffff:8.8.8.8', '64:ff9b::808:808'])(
  'is allowed: %s',
  (address) => {
    expect(allows(address)).toBe(true)
  },
)

it('what the configuration adds is allowed besides, in whatever form it comes', () => {
  const more = guardAddresses(['10.20.0.0/16', '127.0.0.1', 'fd12::/32'])
  for (const address of ['10.20.3.4', '::ffff:10.20.3.4', '127.0.0.1', 'fd12::1', '8.8.8.8'])
    expect([address, more(address)]).toEqual([address, true])
  for (const address of ['10.21.0.1', '127.0.0.2', 'fd13::1', '169.254.169.254'])
    expect([address, more(address)]).toEqual([address, false])
})

it.each([
  ['127.9.9.9', true],
  ['::1', true],
  ['::ffff:127.0.0.1', true],
  ['10.0.0.1', false],
  ['8.8.8.8', false],
])('%s is loopback: %s', (address, is) => {
  expect(isLoopback(address)).toBe(is)
})
