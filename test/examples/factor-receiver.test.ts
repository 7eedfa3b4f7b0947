// The receiver that the documents show, run as a reader would, with our transport at the other end.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { OutOfBandMessage } from '#src/factors/out-of-band.ts'
import { createWebhookTransport } from '#src/factors/webhook-transport.ts'
import { type Program, startProgram } from './program.ts'

const file = 'examples/factor-receiver/server.mjs'
const secret = randomBytes(32)
let receiver: Program
beforeAll(async () => {
  receiver = await startProgram(file, { PORT: '0', FACTOR_WEBHOOK_SECRET: `whsec_${secret.toString('base64')}` })
})
afterAll(() => receiver.stop())

const message = (id: string): OutOfBandMessage => ({
  id,
  channel: 'sms',
  to: '+447700900112',
  code: '12345678',
  locale: 'en',
  expiresAt: new Date(),
  purpose: 'sign_in',
})
const transport = (secrets: Buffer[], now = new Date()) =>
  createWebhookTransport({ url: receiver.url, secrets }, { now: () => now })
const passedOn = () => receiver.output().match(/12345678 is your code/g)?.length ?? 0

test('it is what docs/factors-webhook.md shows', () => {
  expect(readFileSync('docs/factors-webhook.md', 'utf8')).toContain(`\`\`\`js\n${readFileSync(file, 'utf8')}\`\`\``)
})

test('it passes a message on once, and refuses what is not ours or not of now', async () => {
  await transport([secret]).send(message('first'))
  await transport([secret]).send(message('first'))
  await transport([randomBytes(32), secret]).send(message('second'))
  const { code: _, channel: __, ...common } = message('push') as OutOfBandMessage & { code: string }
  await transport([secret]).send({ ...common, channel: 'push', application: 'Harbour Shop', askedFrom: '192.0.2.1' })
  await receiver.prints('signing in to Harbour Shop?')
  expect(passedOn()).toBe(2)
  for (const other of [
    transport([randomBytes(32)]),
    transport([secret], new Date(Date.now() - 301_000)),
    transport([secret], new Date(Date.now() + 301_000)),
  ])
    await expect(other.send(message('third'))).rejects.toMatchObject({ reason: 'status 401' })
  const unsigned = await fetch(receiver.url, { method: 'POST', body: JSON.stringify({ data: message('fourth') }) })
  expect(unsigned.status).toBe(401)
  await transport([secret]).send({ ...message('last'), to: '+447700900113' })
  await receiver.prints('to +447700900113')
  expect(passedOn()).toBe(3)
})
