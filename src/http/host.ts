// Which host was asked, by whom, and over what: decided here once, from ISSUER_URL and TRUST_PROXY, then pinned, so that nothing
// behind this middleware can be talked into building a link, a DPoP `htu` or an audience from what a stranger sent.
import { BlockList, isIP, isIPv4, type Socket } from 'node:net'
import type { Context, Middleware } from 'koa'
import type { Config } from '#src/config.ts'
import { HttpError } from './http-error.ts'

/** Headers that proxies vouch with. From anybody who is not a listed proxy they are claims, not facts. */
const vouched = /^(forwarded|x-real-ip|(?:x-)?client-cert.*|x-ssl-.*|x-user-.*|x-forwarded-.*|x-original-.*)$/

/** Runs before anything reads `ctx.host`, `ctx.ip` or `ctx.secure`. The app must have `proxy = true`: what Koa and the engine
 *  then believe is what was pinned here. */
export function hostRule(
  config: Pick<Config, 'issuerUrl' | 'trustProxy'> & Partial<Pick<Config, 'clientCertificateHeader'>>,
): Middleware {
  const issuer = new URL(config.issuerUrl)
  const scheme = issuer.protocol.slice(0, -1)
  const trusted = trustedProxies(config.trustProxy)
  const peers = new WeakMap<Socket, { peer: string | undefined; listed: boolean }>()
  const peerOf = (socket: Socket) => {
    let known = peers.get(socket)
    if (!known) {
      const peer = plainAddress(socket.remoteAddress)
      known = { peer, listed: peer !== undefined && trusted(peer) }
      peers.set(socket, known)
    }
    return known
  }

  return (ctx, next) => {
    const { headers } = ctx.req
    const { peer, listed } = peerOf(ctx.req.socket)
    const client = listed && peer !== undefined ? clientAddress(headers['x-forwarded-for'], peer, trusted) : peer
    if (!listed) for (const name in headers) if (vouched.test(name)) delete headers[name]

    ctx.state.viaListedProxy = listed
    ctx.state.clientCertificateHeader = listed ? config.clientCertificateHeader : undefined

    const misdirected = !isExempt(ctx) && requestedAuthority(ctx, scheme) !== issuer.host

    headers.host = issuer.host
    headers['x-forwarded-proto'] = scheme
    delete headers['x-forwarded-host']
    if (client) headers['x-forwarded-for'] = client
    else delete headers['x-forwarded-for']

    // RFC 9110 15.5.20: this server does not answer for that authority.
    if (misdirected)
      throw new HttpError({
        status: 421,
        error: 'misdirected_request',
        description: 'This server does not answer for the host that was asked.',
        screen: 'misdirected',
      })
    return next()
  }
}

/** Whether what the peer says of another request may be believed (TRUST_PROXY). */
export function isViaListedProxy(ctx: Context): boolean {
  return ctx.state.viaListedProxy === true
}

/** The header in which a proxy, if it was one, says which client certificate it saw. */
export function clientCertificateHeaderOf(ctx: Context): string | undefined {
  return ctx.state.clientCertificateHeader
}

/** Proxies and health checks send their own host there; nothing is built from it. */
function isExempt(ctx: Context): boolean {
  const path = ctx.req.url?.split('?', 1)[0] ?? ''
  return path === '/healthz' || path === '/readyz' || path.startsWith('/authz/')
}

/** @returns the authority in the form of `URL.host`, or undefined when it is missing, repeated or not one. */
function requestedAuthority(ctx: Context, scheme: string): string | undefined {
  // An absolute-form target (RFC 9112 3.2.2) would override Host for whoever parses it.
  if (!ctx.req.url?.startsWith('/')) return undefined
  const values: string[] = []
  const { rawHeaders } = ctx.req // Node keeps the first of two Host lines, another party may keep the last
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.toLowerCase() === 'host') values.push(rawHeaders[i + 1] ?? '')
  const [value, ...more] = values
  if (value === undefined || more.length > 0) return undefined
  const host = value.toLowerCase()
  return host.replace(scheme === 'https' ? /:443$/ : /:80$/, '')
}

/** @param entries addresses and CIDR ranges, already checked by config.ts. */
function trustedProxies(entries: readonly string[]): (address: string) => boolean {
  const list = new BlockList()
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/')
    const family = isIPv4(address) ? 'ipv4' : 'ipv6'
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(bits), family)
  }
  return (address) => list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
}

/** Read from the right: each listed proxy appended the address it saw, everything further left came from outside.
 *  @returns the first address that is not itself a listed proxy, or the last one that could be read. */
function clientAddress(
  forwardedFor: string | string[] | undefined,
  peer: string,
  trusted: (address: string) => boolean,
): string {
  let address = peer
  for (const entry of String(forwardedFor ?? '')
    .split(',')
    .reverse()) {
    const next = plainAddress(entry.trim())
    if (next === undefined) break
    address = next
    if (!trusted(next)) break
  }
  return address
}

/** Without port, brackets, zone and the IPv4-in-IPv6 form that a dual-stack socket reports. */
function plainAddress(value: string | undefined): string | undefined {
  if (!value) return undefined
  const bare = (
    /^\[([^\]]*)\](?::\d+)?$/.exec(value)?.[1] ?? value.replace(/^(\d+\.\d+\.\d+\.\d+):\d+$/, '$1')
  ).replace(/%.*$/, '')
  const address = bare.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '')
  return isIP(address) ? address : undefined
}
