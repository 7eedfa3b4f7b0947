// Standard Webhooks 1.0 (https://www.standardwebhooks.com): how a receiver knows that a message came from here, unaltered and lately.
import { createHmac, randomBytes } from 'node:crypto'

/** One signature of `id.timestamp.body` for each secret. */
export function signatureHeaders(
  secrets: readonly Uint8Array[],
  { id, at, body }: { id: string; at: Date; body: string },
): Record<'webhook-id' | 'webhook-timestamp' | 'webhook-signature', string> {
  const timestamp = String(Math.floor(at.getTime() / 1000))
  const signatures = secrets.map((secret) =>
    createHmac('sha256', secret).update(`${id}.${timestamp}.${body}`).digest('base64'),
  )
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': signatures.map((signature) => `v1,${signature}`).join(' '),
  }
}

/** As it is written down for the receiver. */
export const newWebhookSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`

export const secretBytes = (secret: string): Buffer => Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
