// The HTTP server around the app: limits on what a slow or broken client may hold, clean answers to what is not HTTP, and the
// orderly end. Nothing here knows a route.
import { once } from 'node:events'
import { createServer, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { setImmediate as afterPolling } from 'node:timers/promises'

export class ListenFailed extends Error {
  override name = 'ListenFailed'
}

export type Listener = Readonly<{
  /** Resolves once connections are accepted, with the port (the system's choice for 0).
   *  @param at.reusePort others may listen on it too, and the system shares connections out.
   *  @throws ListenFailed */
  listen(at: { host: string; port: number; reusePort?: boolean }): Promise<number>
  /** From here on every answer is the last of its connection: a proxy that keeps connections alive must not find one closed
   *  under a POST, which it may not repeat. */
  leave(): void
  /** Stops accepting, lets requests in flight finish and closes each connection as it falls idle.
   *  @param timeoutMs after that, what is left is cut.
   *  @returns whether everything finished in time. */
  drain(timeoutMs: number): Promise<boolean>
}>

const maxHeaderBytes = 16 * 1024

export function createListener(callback: RequestListener): Listener {
  const server = createServer(
    {
      maxHeaderSize: maxHeaderBytes,
      headersTimeout: 10_000,
      requestTimeout: 30_000, // the largest form is a few kilobytes
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: 65_000, // longer than that of the proxies in front (60 s): they must be the ones who close
      requireHostHeader: false, // the host rule answers 421 itself, in the words of the other refusals
    },
    callback,
  )
  server.maxRequestsPerSocket = 10_000 // now and then a connection moves to another replica
  server.on('clientError', refuse)

  /** Connections that have not asked for anything: browsers open them ahead, and Node does not count them as idle. */
  const silent = new Set<Socket>()
  server.on('connection', (socket) => {
    silent.add(socket)
    socket.once('close', () => silent.delete(socket))
  })
  const unanswered = new Set<ServerResponse>()
  let draining = false
  const lastOfItsConnection = (response: ServerResponse) => {
    if (!response.headersSent) response.setHeader('Connection', 'close')
  }
  server.prependListener('request', (request, response) => {
    silent.delete(request.socket)
    unanswered.add(response)
    response.once('close', () => {
      unanswered.delete(response)
      // Answered before its body was read to the end (one that is too large): the next request comes behind the rest of it.
      if (!request.complete) request.resume()
    })
    if (draining) lastOfItsConnection(response)
  })

  return Object.freeze({
    async listen({ host, port, reusePort = false }) {
      try {
        server.listen({ host, port, reusePort })
        await once(server, 'listening')
        return (server.address() as AddressInfo).port
      } catch (error) {
        throw listenFailure({ host, port }, error)
      }
    },

    leave() {
      draining = true
    },

    async drain(timeoutMs) {
      draining = true
      // Right after the event loop has taken in every connection that waits: one that is still queued when the port closes would
      // be reset under a request that its sender may not repeat.
      await afterPolling()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const response of unanswered) lastOfItsConnection(response)
      // Node closes the idle connections once, at close(); one that was answering then would stay for its whole keep-alive time.
      const reaper = setInterval(() => server.closeIdleConnections(), 50)
      const silence = setTimeout(() => {
        for (const socket of silent) socket.destroy()
      }, 500) // time for a request that is already on the wire
      let inTime = true
      const cut = setTimeout(() => {
        inTime = false
        server.closeAllConnections()
      }, timeoutMs)
      await closed
      clearInterval(reaper)
      clearTimeout(silence)
      clearTimeout(cut)
      return inTime
    },
  } satisfies Listener)
}

/** What is wrong with the address, for the operator. */
export function listenFailure({ host, port }: { host: string; port: number }, cause: unknown): ListenFailed {
  const code = (cause as NodeJS.ErrnoException).code
  const reason = reasons[code ?? ''] ?? `cannot be opened (${code}).`
  return new ListenFailed(`Port ${port} on ${host} ${reason}`, { cause })
}

const reasons: Record<string, string> = {
  EADDRINUSE: 'is in use by another program. Stop it, or set PORT (and ISSUER_URL with it).',
  EACCES: 'is reserved for the system. Set PORT to a number above 1023.',
  EADDRNOTAVAIL: 'is not an address of this machine. Correct HOST.',
  ENOTFOUND: 'is not an address of this machine. Correct HOST.',
}

/** What Node's parser reports, and the status that says it. Anything else is 400. */
const refusals: Record<string, string> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: '413 Content Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

function refuse(error: NodeJS.ErrnoException & { rawPacket?: Buffer }, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const status = isLongLine(error) ? '414 URI Too Long' : (refusals[error.code ?? ''] ?? '400 Bad Request')
  const body = `${status.slice(4)}\n`
  socket.end(
    [
      `HTTP/1.1 ${status}`,
      'Content-Type: text/plain; charset=utf-8',
      `Content-Length: ${Buffer.byteLength(body)}`,
      'Cache-Control: no-store',
      'X-Content-Type-Options: nosniff',
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  )
}

/** One limit covers request line and headers. Where the first packet shows a line beyond it, that was the fault (RFC 9110 15.5.15). */
function isLongLine({ code, rawPacket }: { code?: string | undefined; rawPacket?: Buffer }): boolean {
  if (code !== 'HPE_HEADER_OVERFLOW' || !rawPacket || !/^[A-Z]+ \//.test(rawPacket.toString('latin1', 0, 20)))
    return false
  const end = rawPacket.indexOf('\r\n')
  return end === -1 || end > maxHeaderBytes
}
