// The operator's program behind FACTOR_WEBHOOK_URL: a real server that checks each signature, keeps what it was sent, and fails as told.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export type Arrived = {
  type: string
  timestamp: string
  data: {
    id: string
    channel: string
    to: string
    code: string
    locale: string
    expiresAt: string
    purpose: string
  } & Record<string, string>
}

export type Receiver = {
  url: string
  secret: Buffer
  /** For the server under test. */
  env: Record<string, string>
  /** In order; only what was signed with the secret. */
  arrived: Arrived[]
  newest(): Arrived['data']
  requests: number
  /** Undefined: 204. */
  answer: ((request: IncomingMessage, response: ServerResponse) => void) | undefined
  stop(): Promise<void>
}

export async function startReceiver(): Promise<Receiver> {
  const secret = randomBytes(32)
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => {
      receiver.requests++
      const body = Buffer.concat(chunks).toString()
      if (request.method === 'POST' && isSigned(request, body, secret)) receiver.arrived.push(JSON.parse(body))
      if (receiver.answer) receiver.answer(request, response)
      else response.writeHead(204).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/messages`
  const receiver: Receiver = {
    url,
    secret,
    env: { FACTOR_WEBHOOK_URL: url, FACTOR_WEBHOOK_SECRET: `whsec_${secret.toString('base64')}` },
    arrived: [],
    newest() {
      const found = receiver.arrived.at(-1)
      if (!found) throw new Error('nothing has arrived')
      return found.data
    },
    requests: 0,
    answer: undefined,
    async stop() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return receiver
}

/** As https://www.standardwebhooks.com has a receiver do it. */
export function isSigned(request: Pick<IncomingMessage, 'headers'>, body: string, secret: Buffer): boolean {
  const { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signatures } = request.headers
  const wanted = createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`).digest()
  return String(signatures)
    .split(' ')
    .some((one) => {
      const given = Buffer.from(one.replace(/^v1,/, ''), 'base64')
      return one.startsWith('v1,') && given.length === wanted.length && timingSafeEqual(given, wanted)
    })
}
