// One message of RFC 5424, and a connection that takes many: over TLS (RFC 5425) or plain TCP (RFC 6587), each message behind its length.
//
// Syslog has no receipts: what was written to a connection that breaks may have arrived or not. So a delivery ends like this: we say that
// nothing more comes (FIN, over TLS close_notify before it) and wait until the other side says the same. It does so when it has read everything;
// a receiver that died, or a connection that was cut, ends differently, and then all of it is sent again.
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

export type SyslogTarget = Readonly<{ host: string; port: number; tls: boolean }>

export type SyslogMessage = { severity: 'info' | 'warning'; at: Date; host: string; id: string; text: string }

export class SyslogFailed extends Error {
  override name = 'SyslogFailed'
}

const facility = 13 // "log audit" (RFC 5424 6.2.1)
const severities = { warning: 4, info: 6 }
const silenceMs = 10_000

export function formatSyslog({ severity, at, host, id, text }: SyslogMessage): Buffer {
  const priority = facility * 8 + severities[severity]
  const header = `<${priority}>1 ${at.toISOString()} ${header255(host)} sallyport - ${header255(id).slice(0, 32)} -`
  // Everything in ASCII: whatever a receiver does with other bytes, the JSON stays the same.
  const ascii = text.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  return Buffer.from(`${header} ${ascii}`)
}

const header255 = (text: string): string => text.replace(/[^\x21-\x7e]/g, '?').slice(0, 255) || '-'

/** Resolves once the receiver has taken all of them. @throws SyslogFailed: all of them may have to be sent again. */
export function deliver(target: SyslogTarget, messages: readonly Buffer[], signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const { host, port } = target
    const socket: Socket = target.tls
      ? connectTls({ host, port, ...(isIP(host) ? {} : { servername: host }) })
      : connectTcp({ host, port, allowHalfOpen: true })
    let taken = false
    const fail = (reason: string) => {
      reject(new SyslogFailed(`${host}:${port}: ${reason}`))
      socket.destroy()
    }
    const onAbort = () => fail('stopped')
    if (signal?.aborted) return onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    socket.setTimeout(silenceMs, () => fail('no answer'))
    socket.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message))
    socket.on('end', () => {
      taken = socket.writableFinished // not when it left before it had everything
    })
    socket.on('close', (hadError) => {
      signal?.removeEventListener('abort', onAbort)
      if (taken && !hadError) resolve()
      else fail('the connection was cut')
    })
    socket.once(target.tls ? 'secureConnect' : 'connect', () => {
      // What a receiver says is nothing to us, but as long as it is not read its end does not show.
      socket.resume()
      socket.end(Buffer.concat(messages.flatMap((message) => [Buffer.from(`${message.length} `), message])))
    })
  })
}
