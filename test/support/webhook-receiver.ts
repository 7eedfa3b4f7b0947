// Somebody's endpoint: a real server that keeps what it was sent and answers as told. Whether a message is from us is judged by the library that
// receivers use.
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Webhook } from 'standardwebhooks'

export type Heard = {
  path: string
  headers: IncomingHttpHeaders
  body: string
  // biome-ignore lint/suspicious/noExplicitAny: what a test looks at it says itself
  event: any
}

export type Endpoint = {
  url: string
  port: number
  heard: Heard[]
  /** Undefined: 204. */
  answer: ((heard: Heard, response: ServerResponse, request: IncomingMessage) => void) | undefined
  types(): string[]
  stop(): Promise<void>
}

export async function startEndpoint(options: { tls?: { key: Buffer; cert: Buffer }; port?: number } = {}) {
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      const heard = { path: request.url ?? '', headers: request.headers, body, event: JSON.parse(body) }
      endpoint.heard.push(heard)
      if (endpoint.answer) endpoint.answer(heard, response, request)
      else response.writeHead(204).end()
    })
  }
  const server = options.tls ? createTlsServer(options.tls, listener) : createServer(listener)
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const endpoint: Endpoint = {
    url: options.tls ? `https://localhost:${port}/hooks` : `http://127.0.0.1:${port}/hooks`,
    port,
    heard: [],
    answer: undefined,
    types: () => endpoint.heard.map(({ event }) => event.type),
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return endpoint
}

/** @throws what the library says against it. */
export function verify(secret: string, { headers, body }: Pick<Heard, 'headers' | 'body'>): unknown {
  return new Webhook(secret).verify(body, headers as Record<string, string>)
}
