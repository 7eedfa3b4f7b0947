// What clients of two processes send: plain HTTP on connections that are kept, every answer counted. The load and the judgement are
// not in here.
import { Agent, type IncomingHttpHeaders, request } from 'node:http'

export type Answer = { status: number; body: Record<string, unknown>; headers: IncomingHttpHeaders }

/** No answer came: the connection broke, or nothing was said for a long time. What was asked for may have happened or not. */
export class Unanswered extends Error {
  override name = 'Unanswered'
}

export type Traffic = ReturnType<typeof createTraffic>

const silenceMs = 20_000

/** @param host what the issuer is called; every process is asked under this name, as behind a proxy. */
export function createTraffic({ host, ports }: { host: string; ports: readonly number[] }) {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  const counts = new Map<number, number>()

  /** @param signal cuts the socket, as a phone in a tunnel does.
   *  @throws Unanswered */
  function send(
    process: number,
    message: { method?: string; path: string; headers?: Record<string, string>; form?: Record<string, string> },
    signal?: AbortSignal,
  ): Promise<Answer> {
    const { method = message.form ? 'POST' : 'GET', path, headers = {}, form } = message
    const body = form && new URLSearchParams(form).toString()
    const type: Record<string, string> = form ? { 'Content-Type': 'application/x-www-form-urlencoded' } : {}
    return new Promise((resolve, reject) => {
      const lost = (cause: unknown) => reject(new Unanswered(`${method} ${path}: no answer`, { cause }))
      const sent = request(
        {
          host: 'localhost',
          port: ports[process % ports.length],
          method,
          path,
          agent,
          headers: { Host: host, ...type, ...(body ? { 'Content-Length': Buffer.byteLength(body) } : {}), ...headers },
          ...(signal ? { signal } : {}),
        },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk) => chunks.push(chunk)).on('error', lost)
          response.on('end', () => {
            const status = response.statusCode ?? 0
            counts.set(status, (counts.get(status) ?? 0) + 1)
            resolve({ status, body: parse(Buffer.concat(chunks).toString()), headers: response.headers })
          })
        },
      )
      sent.setTimeout(silenceMs, () => sent.destroy(new Error('silence')))
      sent.on('error', lost)
      sent.end(body)
    })
  }

  return {
    send,
    /** Answers since the last call, by status. */
    tally(): Record<number, number> {
      const result = Object.fromEntries([...counts].sort(([a], [b]) => a - b))
      counts.clear()
      return result
    },
    close: () => agent.destroy(),
  }
}

function parse(text: string): Record<string, unknown> {
  return text.startsWith('{') ? (JSON.parse(text) as Record<string, unknown>) : { text }
}
