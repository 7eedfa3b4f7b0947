// Real processes that send, over TLS: two of them, and one that is killed.
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { recordAudit } from '#src/audit/audit.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { describeDelivery, listDeliveries } from '#src/webhooks/deliveries.ts'
import { createEndpoint } from '#src/webhooks/endpoints.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { change } from '#test/support/installation.ts'
import { killAll, type Running, runNode } from '#test/support/processes.ts'
import { makeCertificate } from '#test/support/tls.ts'
import { type Endpoint, startEndpoint, verify } from '#test/support/webhook-receiver.ts'

const key = randomBytes(32)
const secretKeys = createSecretKeys([key])
const certificate = makeCertificate()
const networks = ['127.0.0.0/8', '::1/128']
let test: TestDatabase
let endpoint: Endpoint

beforeAll(async () => {
  test = await createTestDatabase()
  endpoint = await startEndpoint({ tls: certificate })
})
afterEach(killAll)
afterAll(async () => {
  await endpoint.stop()
  await test.drop()
})

const start = (more: Record<string, string> = {}): Running =>
  runNode(['test/support/webhook-process.ts'], {
    env: {
      ISSUER_URL: 'http://localhost:3000',
      SECRET_KEY: key.toString('base64url'),
      DATABASE_URL: test.url,
      NODE_EXTRA_CA_CERTS: certificate.file,
      ...more,
    },
  })
const happen = (id: string) =>
  recordAudit(test.database.prisma, { event: 'user.created', outcome: 'success', target: { kind: 'user', id } })
const heardOf = () => endpoint.heard.map(({ event }) => event.data.target.id)

it('two processes send each event once, and one that is killed on the way loses none', async () => {
  const { record, secret } = await createEndpoint(
    test.database.prisma,
    { url: endpoint.url, types: ['user.created'] },
    { secretKeys, networks },
    change(),
  )
  const running = [start(), start()]
  await Promise.all(running.map((one) => one.prints('test.started')))
  const ids = Array.from({ length: 60 }, (_, n) => `u${n}`)
  for (const id of ids) await happen(id)
  while (endpoint.heard.length < ids.length) await delay(50)
  await delay(1_500) // a second copy would come with the next look
  expect(heardOf().sort()).toEqual([...ids].sort())
  for (const heard of endpoint.heard) expect(verify(secret, heard)).toBeTruthy()

  // Killed between the answer and its note: whoever is left sends it again when the claim has run out.
  for (const { child } of running) child.kill('SIGKILL')
  await Promise.all(running.map((one) => one.ended()))
  endpoint.heard.length = 0
  const reached = Promise.withResolvers<void>()
  endpoint.answer = () => reached.resolve()
  await happen('late')
  const dying = start()
  await reached.promise
  dying.child.kill('SIGKILL')
  await dying.ended()
  endpoint.answer = undefined
  const before = endpoint.heard[0]?.headers['webhook-id']
  await test.database.prisma.webhookDelivery.updateMany({
    where: { nextAttemptAt: { not: null } },
    data: { nextAttemptAt: new Date() }, // forty seconds later
  })
  start()
  while (endpoint.heard.length < 2) await delay(50)
  expect(endpoint.heard.map(({ headers }) => headers['webhook-id'])).toEqual([before, before])
  const state = async () =>
    (await listDeliveries(test.database.prisma, record.id, {}, { limit: 1 })).map(describeDelivery)[0]
  while ((await state())?.state !== 'delivered') await delay(50)
  expect(await state()).toMatchObject({ attempts: 2 })
}, 60_000)

it('believes no certificate that nobody vouches for, and reaches no loopback in production', async () => {
  await test.database.prisma.webhookEvent.deleteMany()
  endpoint.heard.length = 0
  const log = async () =>
    (
      await listDeliveries(
        test.database.prisma,
        (
          await test.database.prisma.webhookEndpoint.findFirstOrThrow()
        ).id,
        {},
        { limit: 1 },
      )
    ).map(describeDelivery)[0]?.log[0]
  const untilLogged = async () => {
    for (;;) {
      const found = await log()
      if (found) return found
      await delay(50)
    }
  }
  await happen('u1')
  const foreign = start({ NODE_EXTRA_CA_CERTS: '' })
  expect(await untilLogged()).toMatchObject({ status: null, problem: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  foreign.child.kill('SIGKILL')
  await foreign.ended()
  await test.database.prisma.webhookEvent.deleteMany()
  await test.database.prisma.webhookEndpoint.updateMany({ data: { failures: 0, silentUntil: null } })
  await happen('u2')
  start({ NODE_ENV: 'production', ISSUER_URL: 'https://id.example.com' })
  expect(await untilLogged()).toMatchObject({ status: null, problem: 'address_not_allowed' })
  expect(endpoint.heard).toEqual([])
}, 60_000)
