// sallyport webhooks, as a script sees it; the server that sends is this test's.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createLog } from '#src/log.ts'
import { createWebhookSender } from '#src/webhooks/sender.ts'
import { webhookTypes } from '#src/webhooks/types.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { type Endpoint, startEndpoint, verify } from '#test/support/webhook-receiver.ts'

const key = randomBytes(32)
let db: TestDatabase
let endpoint: Endpoint

beforeAll(async () => {
  db = await createTestDatabase()
  endpoint = await startEndpoint()
})
afterAll(async () => {
  await endpoint.stop()
  await db.drop()
})

async function sallyport(...args: string[]) {
  const child = spawn(process.execPath, ['src/sallyport.mjs', 'webhooks', ...args], {
    env: {
      PATH: process.env.PATH,
      DATABASE_URL: db.url,
      LOG_LEVEL: 'error',
      SECRET_KEY: key.toString('base64url'),
    },
  })
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
  const [out, err, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return { code, out, err }
}
async function json(...args: string[]) {
  const { code, out, err } = await sallyport(...args, '--json')
  expect([code, err]).toEqual([0, ''])
  return JSON.parse(out)
}
const send = () =>
  createWebhookSender({
    ...{ database: db.database, secretKeys: createSecretKeys([key]), networks: ['127.0.0.1'], now: () => new Date() },
    log: createLog({ logLevel: 'silent' }),
  }).run(new AbortController().signal)

test('create, test, deliveries, resend, rotate, update, disable, enable, delete', async () => {
  const made = await json('create', endpoint.url, '--type', 'role.*', '--type', 'user.created')
  expect(made).toMatchObject({ types: ['role.*', 'user.created'], state: 'enabled', secret: expect.any(String) })
  const { id, secret } = made
  expect((await json('test', id)).type).toBe('webhook.test')
  await send()
  const [heard] = endpoint.heard
  expect(heard && verify(secret, heard)).toMatchObject({ type: 'webhook.test' })
  const [delivery] = await json('deliveries', id, '--state', 'delivered')
  expect(delivery).toMatchObject({ type: 'webhook.test', attempts: 1 })
  const shown = await sallyport('delivery', id, delivery.id)
  expect(shown.out).toMatch(/ATTEMPT +AT +STATUS[^\n]*\n1 .* 204 /)
  expect((await json('resend', id, delivery.id)).state).toBe('waiting')
  await send()
  expect(endpoint.heard).toHaveLength(2)
  const rotated = await sallyport('rotate', id, '--overlap-hours', '1')
  expect(rotated.out).toMatch(/whsec_[^\n]+\n\nIt is not shown again\.\nThe secret before signs, too, until /)
  expect((await json('update', id, '--type', '*')).types).toEqual(['*'])
  expect((await json('disable', id)).state).toBe('disabled')
  expect((await sallyport('test', id)).code).toBe(1)
  expect((await json('enable', id)).state).toBe('enabled')
  const listed = (await sallyport('list')).out + (await sallyport('show', id)).out
  expect(listed).toContain(endpoint.url)
  expect(listed).not.toMatch(/whsec_/)
  expect(await json('delete', id)).toEqual({ id, deleted: true })
  expect((await sallyport('list')).out).toBe('There is no webhook.\n')
}, 60_000)

test('what is refused, and what is wrong usage', async () => {
  const refused = await sallyport('create', 'https://169.254.169.254/', '--type', '*')
  expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('private network')])
  expect((await sallyport('create', endpoint.url)).code).toBe(2)
  expect((await sallyport('show', 'x')).code).toBe(1)
  expect((await sallyport('deliveries', 'x', '--state', 'lost')).code).toBe(2)
  expect(await json('types')).toEqual(webhookTypes)
}, 60_000)
