// Hands messages to a program of the operator's: a POST of JSON, signed as Standard Webhooks 1.0 asks for, so that the program can tell
// that it came from here, unaltered and lately. The address is configuration and nothing that a person or client says has a part in it.
// Of the answer only the status is looked at. docs/factors-webhook.md is the other side.
import type { Webhook } from '#src/config.ts'
import { NotPosted, post } from '#src/outbound/post.ts'
import { signatureHeaders } from '#src/outbound/standard-webhooks.ts'
import { NotSent, type OutOfBandTransport } from './out-of-band.ts'

const longestMilliseconds = 5_000

export function createWebhookTransport(
  { url, secrets }: Webhook,
  { now, milliseconds = longestMilliseconds }: { now: () => Date; milliseconds?: number },
): OutOfBandTransport {
  return {
    async send({ id, channel, ...message }) {
      const at = now()
      const body = JSON.stringify({
        type: `factor.${channel}`,
        timestamp: at.toISOString(),
        data: { id, channel, ...message },
      })
      const status = await send(url, body, signatureHeaders(secrets, { id, at, body }), milliseconds)
      // A redirect is a failure, too: what is signed for one address is not passed on to another.
      if (status < 200 || status > 299) throw new NotSent(`status ${status}`, { mayHaveLeft: true })
    },
  }
}

/** @returns the status. @throws NotSent */
async function send(url: string, body: string, headers: Record<string, string>, milliseconds: number): Promise<number> {
  try {
    return (await post(url, body, { headers, milliseconds })).status
  } catch (error) {
    if (!(error instanceof NotPosted)) throw error
    throw new NotSent(error.reason, { mayHaveLeft: error.mayHaveLeft })
  }
}
