// The receiver that the documents show, run as a reader would, with our sender at the other end.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { post } from '#src/outbound/post.ts'
import { newWebhookSecret, secretBytes, signatureHeaders } from '#src/outbound/standard-webhooks.ts'
import { bodyOf } from '#src/webhooks/types.ts'
import { type Program, startProgram } from './program.ts'

const file = 'examples/webhook-receiver/server.mjs'
const secret = newWebhookSecret()
let receiver: Program
beforeAll(async () => {
  receiver = await startProgram(file, { PORT: '0', WEBHOOK_SECRET: secret })
})
afterAll(() => receiver.stop())

async function send(id: string, secrets: Uint8Array[], at = new Date()): Promise<number> {
  const body = bodyOf('user.created', at, { target: { kind: 'user', id } })
  const headers = signatureHeaders(secrets, { id, at, body })
  return (await post(receiver.url, body, { headers, milliseconds: 5_000 })).status
}

test('it is what docs/webhooks.md shows', () => {
  expect(readFileSync('docs/webhooks.md', 'utf8')).toContain(`\`\`\`js\n${readFileSync(file, 'utf8')}\`\`\``)
})

test('it takes an event once, under either secret of a rotation, and refuses what is not ours or not of now', async () => {
  const known = secretBytes(secret)
  expect([await send('one', [known]), await send('one', [known]), await send('two', [randomBytes(32), known])]).toEqual(
    [204, 204, 204],
  )
  await receiver.prints('user.created user two')
  expect(receiver.output().match(/user\.created user one/g)).toHaveLength(1)
  const minutes = (n: number) => new Date(Date.now() + n * 60_000)
  expect(await send('three', [randomBytes(32)])).toBe(401)
  expect(await send('three', [known], minutes(-6))).toBe(401)
  expect(await send('three', [known], minutes(6))).toBe(401)
  expect(await send('four', [known])).toBe(204)
  expect(await receiver.prints('user.created user four')).not.toContain('three')
})
