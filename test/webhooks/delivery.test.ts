// From an effect to somebody's endpoint, through everything that goes wrong on the way.
import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { recordAudit } from '#src/audit/audit.ts'
import type { Change } from '#src/audit/change.ts'
import type { AuditEventName } from '#src/audit/events.ts'
import { createSecretKeys } from '#src/keys/secret-key.ts'
import { createLog } from '#src/log.ts'
import type { Resolve } from '#src/outbound/post.ts'
import { sweep } from '#src/tokens/sweep.ts'
import { createUnit } from '#src/tokens/unit-of-work.ts'
import { webhookBacklog } from '#src/webhooks/backlog.ts'
import { describeDelivery, listDeliveries, resendDelivery, testEndpoint } from '#src/webhooks/deliveries.ts'
import {
  createEndpoint,
  deleteEndpoint,
  describeEndpoint,
  findEndpoint,
  patchEndpoint,
  rotateEndpointSecret,
} from '#src/webhooks/endpoints.ts'
import { pauseSeconds } from '#src/webhooks/outcome.ts'
import { createWebhookSender } from '#src/webhooks/sender.ts'
import { createTestDatabase, type TestDatabase } from '#test/support/database.ts'
import { type Endpoint, startEndpoint, verify } from '#test/support/webhook-receiver.ts'

const secretKeys = createSecretKeys([randomBytes(32)])
const networks = ['127.0.0.0/8', '::1/128']
let test: TestDatabase
let endpoint: Endpoint
const open: Endpoint[] = []
let clock: number
let lines: string[]

beforeAll(async () => {
  test = await createTestDatabase()
})
afterAll(() => test.drop())
beforeEach(async () => {
  clock = Date.now()
  lines = []
  const { prisma } = test.database
  await prisma.webhookEndpoint.deleteMany()
  await prisma.webhookEvent.deleteMany()
  await prisma.webhookOutbox.deleteMany()
  endpoint = await begin()
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.stop()))
})

async function begin(options: Parameters<typeof startEndpoint>[0] = {}): Promise<Endpoint> {
  const started = await startEndpoint(options)
  open.push(started)
  return started
}

const change = (): Change => ({ now: new Date(clock), actor: { kind: 'cli', id: '0' } })
const create = (types: string[] = ['user.*'], url = endpoint.url) =>
  createEndpoint(test.database.prisma, { url, types }, { secretKeys, networks }, change())
const happen = (event: AuditEventName = 'user.created', id = 'u1') =>
  recordAudit(test.database.prisma, { event, outcome: 'success', target: { kind: 'user', id } })

function sender(more: { milliseconds?: number; resolve?: Resolve; networks?: string[]; random?: () => number } = {}) {
  return createWebhookSender({
    ...{ database: test.database, secretKeys, networks, random: () => 0.5 },
    log: createLog({ logLevel: 'debug' }, { write: (line: string) => void lines.push(line) }),
    now: () => new Date(clock),
    ...more,
  })
}
type Sender = ReturnType<typeof sender>
const run = (one: Sender = sender()) => one.run(new AbortController().signal)
const deliveries = async (id: string) =>
  (await listDeliveries(test.database.prisma, id, {}, { limit: 100 })).map(describeDelivery)
const read = async (id: string) => describeEndpoint(await findEndpoint(test.database.prisma, id), new Date(clock))
const nextAt = async () => {
  const { _min } = await test.database.prisma.webhookDelivery.aggregate({ _min: { nextAttemptAt: true } })
  return _min.nextAttemptAt?.getTime()
}
const recorded = async (event: AuditEventName, targetId: string) =>
  (await test.database.prisma.auditEvent.findMany({ where: { event, targetId } })).map(({ detail }) => detail)

describe('what is sent', () => {
  it('is signed as receivers verify it (Standard Webhooks 1.0), once', async () => {
    const { record, secret } = await create()
    await happen()
    const one = sender()
    expect(await one.isDue()).toBe(true)
    await run(one)
    expect(await one.isDue()).toBe(false)
    expect(endpoint.heard).toHaveLength(1)
    const [heard] = endpoint.heard
    if (!heard) throw new Error('nothing was heard')
    expect(verify(secret, heard)).toMatchObject({ type: 'user.created', data: { target: { kind: 'user', id: 'u1' } } })
    expect(() => verify(secret, { ...heard, body: heard.body.replace('u1', 'u2') })).toThrow(/signature/i)
    expect(() => verify(`whsec_${randomBytes(32).toString('base64')}`, heard)).toThrow(/signature/i)
    expect(heard.headers).toMatchObject({ 'content-type': 'application/json', 'user-agent': 'Sallyport' })
    expect(heard.headers['webhook-id']).toMatch(/^[0-9a-f-]{36}$/)
    expect(await deliveries(record.id)).toMatchObject([
      {
        ...{ state: 'delivered', attempts: 1, eventId: heard.headers['webhook-id'], body: heard.body },
        log: [{ number: 1, status: 204, problem: null, answer: '', milliseconds: expect.any(Number) }],
      },
    ])
  })

  it('is what was committed, by whichever path, and nothing else', async () => {
    await create(['*'])
    await run()
    endpoint.heard.length = 0
    await expect(
      test.database.prisma.$transaction(async (tx) => {
        await recordAudit(tx, { event: 'role.created', outcome: 'success', target: { kind: 'role', id: 'undone' } })
        throw new Error('undone')
      }),
    ).rejects.toThrow('undone')
    const unit = createUnit(test.database, {})
    unit.audit({ event: 'session.ended', outcome: 'success', target: { kind: 'session', id: 's1' } })
    unit.audit({ event: 'token.issued', outcome: 'success' })
    await unit.commit('all')
    expect(await test.database.prisma.webhookOutbox.count()).toBe(1)
    await run()
    expect(endpoint.types()).toEqual(['session.ended'])
  })

  it('goes to each that asked for it, and to no other', async () => {
    const [everything, people, roles] = [await begin(), endpoint, await begin()]
    await create(['*'], everything.url)
    await create(['user.*'], people.url)
    await create(['role.deleted', 'user.deleted'], roles.url)
    await run()
    everything.heard.length = 0
    for (const event of ['user.created', 'role.created', 'user.deleted', 'login.failed', 'token.issued'] as const)
      await happen(event)
    await run()
    expect(everything.types().sort()).toEqual(['role.created', 'user.created', 'user.deleted'])
    expect(people.types().sort()).toEqual(['user.created', 'user.deleted'])
    expect(roles.types()).toEqual(['user.deleted'])
    const ids = [everything, people, roles].map(
      ({ heard }) => heard.find(({ event }) => event.type === 'user.deleted')?.headers['webhook-id'],
    )
    expect(new Set(ids).size).toBe(1)
  })

  it('costs nothing while nobody listens', async () => {
    const { record } = await create()
    await patchEndpoint(test.database.prisma, record.id, { enabled: false }, networks, change())
    await test.database.prisma.webhookOutbox.deleteMany()
    await happen()
    expect(await test.database.prisma.webhookOutbox.count()).toBe(0)
  })
})

describe('a secret', () => {
  it('overlaps with the one before: both sign, then the new one alone', async () => {
    const { record, secret: before } = await create()
    const { secret: after } = await rotateEndpointSecret(
      test.database.prisma,
      record.id,
      { overlapHours: 1 },
      secretKeys,
      change(),
    )
    await happen()
    await run()
    clock += 3_600_001
    await happen()
    await run()
    const [first, second] = endpoint.heard
    if (!first || !second) throw new Error('not heard')
    expect(String(first.headers['webhook-signature']).split(' ')).toHaveLength(2)
    for (const secret of [before, after]) expect(verify(secret, first)).toBeTruthy()
    expect(String(second.headers['webhook-signature']).split(' ')).toHaveLength(1)
    const { 'webhook-timestamp': at } = second.headers
    expect(Number(at)).toBe(Math.floor(clock / 1000))
  })

  it('without an overlap is over at once', async () => {
    const { record, secret: before } = await create()
    await rotateEndpointSecret(test.database.prisma, record.id, { overlapHours: 0 }, secretKeys, change())
    await happen()
    await run()
    const [heard] = endpoint.heard
    expect(() => verify(before, heard as NonNullable<typeof heard>)).toThrow(/signature/i)
  })

  it('is sealed at rest, and in no log and no record', async () => {
    const { record, secret } = await create()
    const { secret: second } = await rotateEndpointSecret(test.database.prisma, record.id, {}, secretKeys, change())
    endpoint.answer = (_heard, response) => void response.writeHead(500).end()
    await happen()
    await run()
    const stored = JSON.stringify([
      await test.database.prisma.webhookEndpoint.findMany(),
      await test.database.prisma.webhookEvent.findMany(),
      (await test.database.prisma.auditEvent.findMany()).map(({ detail }) => detail),
    ])
    for (const one of [secret, second].map((text) => text.replace('whsec_', '')))
      expect(stored + lines.join('')).not.toContain(one)
    expect(lines.join('')).not.toContain(`:${endpoint.port}`)
    expect(lines.join('')).toContain('webhook.delayed')
  })

  it('that cannot be read any more is said, and nothing is sent unsigned', async () => {
    const { record } = await create()
    await test.database.prisma.webhookEndpoint.update({ where: { id: record.id }, data: { secret: 'AAAA' } })
    await happen()
    await run()
    expect(endpoint.heard).toEqual([])
    expect((await deliveries(record.id))[0]?.log[0]).toMatchObject({ problem: 'secret_unreadable', status: null })
  })
})

describe('an endpoint that fails', () => {
  const fails =
    (status: number, headers: Record<string, string> = {}, body = 'try later'): NonNullable<Endpoint['answer']> =>
    (_heard, response) =>
      void response.writeHead(status, headers).end(body)

  it('is tried ten times over three days, under one id, and then is failing', async () => {
    const { record } = await create()
    endpoint.answer = fails(500)
    await happen()
    const began = clock
    const pauses: number[] = []
    for (;;) {
      await run()
      const next = await nextAt()
      if (next === undefined) break
      pauses.push((next - clock) / 1000)
      clock = next
    }
    expect(pauses).toEqual([...pauseSeconds])
    expect(clock - began).toBeGreaterThan(2.9 * 86_400_000)
    expect(clock - began).toBeLessThan(3.5 * 86_400_000)
    expect(new Set(endpoint.heard.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    expect(endpoint.heard).toHaveLength(10)
    const [delivery] = await deliveries(record.id)
    expect(delivery).toMatchObject({ state: 'given_up', attempts: 10, nextAttemptAt: null })
    expect(delivery?.log.map(({ number, status, answer }) => [number, status, answer])).toEqual(
      Array.from({ length: 10 }, (_, n) => [10 - n, 500, 'try later']),
    )
    expect(await read(record.id)).toMatchObject({ state: 'failing', enabled: true })
    expect(await recorded('webhook.failing', record.id)).toHaveLength(1)
    expect(await recorded('webhook.disabled', record.id)).toEqual([])

    // Still so two days later: it is disabled, with a record, and hears no more until somebody enables it.
    clock += 2 * 86_400_000
    await happen()
    await run()
    expect(await read(record.id)).toMatchObject({ state: 'disabled', disabledBecause: 'failing' })
    expect(await recorded('webhook.disabled', record.id)).toMatchObject([{ because: 'failing' }])
    clock += 86_400_000
    const one = sender()
    expect(await one.isDue()).toBe(false)
    endpoint.answer = undefined
    endpoint.heard.length = 0
    await patchEndpoint(test.database.prisma, record.id, { enabled: true }, networks, change())
    await run(one)
    expect(endpoint.types()).toEqual(['user.created'])
    expect(await read(record.id)).toMatchObject({ state: 'enabled', failingSince: null, disabledBecause: null })
  })

  it('spreads what failed together by chance', async () => {
    await create()
    endpoint.answer = fails(400)
    for (const share of [0, 1]) {
      await happen()
      await run(sender({ random: () => share }))
    }
    const rows = await test.database.prisma.webhookDelivery.findMany({ orderBy: { id: 'asc' } })
    expect(rows.map(({ nextAttemptAt }) => (nextAttemptAt?.getTime() ?? 0) - clock)).toEqual([4_000, 6_000])
  })

  it('that is away is asked by one delivery, more and more rarely, and loses nothing', async () => {
    const { record } = await create()
    await endpoint.stop()
    for (let n = 0; n < 30; n++) await happen('user.updated', `u${n}`)
    const one = sender()
    let asked = 0
    for (const end = clock + 600_000; clock < end; clock += 1_000)
      if (await one.isDue()) {
        asked++
        await run(one)
      }
    expect(asked).toBeLessThan(15)
    endpoint = await begin({ port: endpoint.port })
    for (const end = clock + 900_000; clock < end; clock += 30_000) if (await one.isDue()) await run(one)
    expect(endpoint.heard.map(({ event }) => event.data.target.id).sort()).toEqual(
      Array.from({ length: 30 }, (_, n) => `u${n}`).sort(),
    )
    expect(await read(record.id)).toMatchObject({ state: 'enabled' })
  }, 30_000)

  it('and another that is slow hold up no third', async () => {
    const slow = await begin()
    const answers: (() => void)[] = []
    slow.answer = (_heard, response) => void answers.push(() => response.end())
    await create(['user.*'], slow.url)
    await create()
    for (let n = 0; n < 12; n++) await happen('user.updated', `u${n}`)
    const running = run()
    while (endpoint.heard.length < 12 || slow.heard.length < 4) await delay(10)
    expect(slow.heard).toHaveLength(4)
    slow.answer = undefined
    for (const answer of answers) answer()
    await running
    expect(slow.heard).toHaveLength(12)
  })

  it('with a refusal of one event goes on hearing the others', async () => {
    const { record } = await create()
    endpoint.answer = (heard, response) =>
      void response.writeHead(heard.event.data.target.id === 'poison' ? 400 : 200).end()
    await happen('user.created', 'poison')
    for (let n = 0; n < 10; n++) {
      await happen('user.updated', `u${n}`)
      await run()
      clock = (await nextAt()) ?? clock
    }
    await run()
    expect(endpoint.heard.filter(({ event }) => event.data.target.id !== 'poison')).toHaveLength(10)
    expect((await deliveries(record.id)).find(({ type }) => type === 'user.created')).toMatchObject({
      state: 'given_up',
      attempts: 10,
    })
    expect(await recorded('webhook.failing', record.id)).toEqual([])
    expect(await read(record.id)).toMatchObject({ state: 'enabled', failingSince: null })
  })

  it('is asked again when it says (429 and 503 with Retry-After)', async () => {
    await create()
    endpoint.answer = fails(429, { 'Retry-After': '7200' })
    await happen()
    await run()
    expect(((await nextAt()) ?? 0) - clock).toBe(7_200_000)
    clock += 3_600_000
    expect(await sender().isDue()).toBe(false)
  })

  it('and says that it is gone (410) is disabled at once, with a record', async () => {
    const { record } = await create()
    endpoint.answer = fails(410)
    await happen()
    await run()
    expect(await read(record.id)).toMatchObject({ state: 'disabled', disabledBecause: 'gone' })
    expect(await recorded('webhook.disabled', record.id)).toMatchObject([{ because: 'gone' }])
    expect(await deliveries(record.id)).toMatchObject([{ state: 'given_up', attempts: 1 }])
  })

  it('by a redirect: none is followed', async () => {
    const other = await begin()
    const { record } = await create()
    endpoint.answer = fails(302, { Location: other.url })
    await happen()
    await run()
    expect(other.heard).toEqual([])
    expect((await deliveries(record.id))[0]?.log).toMatchObject([{ status: 302, problem: 'status_302' }])
  })

  it('by saying nothing, or too much: the log has how the answer begins', async () => {
    const { record } = await create()
    endpoint.answer = (heard, response) => {
      if (heard.event.data.target.id === 'long') response.writeHead(500).end('x'.repeat(5_000_000))
    }
    await happen('user.created', 'silent')
    await happen('user.updated', 'long')
    await run(sender({ milliseconds: 300 }))
    const [long, silent] = await deliveries(record.id)
    expect(silent?.log).toMatchObject([{ status: null, problem: 'timeout', answer: '' }])
    expect(silent?.log[0]?.milliseconds).toBeGreaterThanOrEqual(299)
    expect(long?.log).toMatchObject([{ status: 500, answer: 'x'.repeat(512) }])
  })

  it('by an address that is private now, or was never anything else', async () => {
    const { record } = await create(['user.*'], 'https://hooks.example/')
    await happen()
    const rebound: Resolve = (_name, done) => done(null, [{ address: '169.254.169.254', family: 4 }])
    await run(sender({ networks: [], resolve: rebound }))
    // Also when the configuration has changed since it was written.
    const second = await create()
    await test.database.prisma.webhookEvent.deleteMany()
    await happen()
    await run(sender({ networks: [], resolve: rebound }))
    expect(endpoint.heard).toEqual([])
    expect((await deliveries(second.record.id))[0]?.log).toMatchObject([{ problem: 'address_not_allowed' }])
    expect(record.url).toBe('https://hooks.example/')
  })
})

describe('at least once', () => {
  it('a sender that loses its note of success sends again, under the same id', async () => {
    const { record } = await create()
    await happen()
    // The database goes between the answer and the note.
    await test.database.pool.query('ALTER TABLE webhook_delivery ADD CONSTRAINT crash CHECK (state = $$waiting$$)')
    try {
      await expect(run()).rejects.toThrow()
    } finally {
      await test.database.pool.query('ALTER TABLE webhook_delivery DROP CONSTRAINT crash')
    }
    expect(endpoint.heard).toHaveLength(1)
    const one = sender()
    expect(await one.isDue()).toBe(false) // claimed, by somebody who may still be at it
    clock += 41_000
    await run(one)
    expect(endpoint.heard).toHaveLength(2)
    expect(new Set(endpoint.heard.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    expect(await deliveries(record.id)).toMatchObject([{ state: 'delivered', attempts: 2, log: [{ number: 2 }] }])
  })

  it('several senders at once send each event once', async () => {
    await create()
    for (let n = 0; n < 40; n++) await happen('user.updated', `u${n}`)
    await Promise.all([run(), run(), run()])
    expect(endpoint.heard.map(({ event }) => event.data.target.id).sort()).toEqual(
      Array.from({ length: 40 }, (_, n) => `u${n}`).sort(),
    )
    expect(await test.database.prisma.webhookEvent.count()).toBe(40)
  })

  it('a stop lets what is under way end, or gives it back', async () => {
    await create()
    endpoint.answer = () => undefined
    await happen()
    const stop = new AbortController()
    const running = sender().run(stop.signal)
    while (endpoint.heard.length === 0) await delay(10)
    stop.abort()
    await running
    expect(await sender().isDue()).toBe(true)
    endpoint.answer = undefined
    await run()
    expect(endpoint.heard).toHaveLength(2)
  })

  it('an endpoint that is deleted under way is no fault', async () => {
    const { record } = await create()
    endpoint.answer = async (_heard, response) => {
      await deleteEndpoint(test.database.prisma, record.id, change())
      response.writeHead(500).end()
    }
    await happen()
    await run()
    expect(endpoint.heard).toHaveLength(1)
    expect(await test.database.prisma.webhookDelivery.count()).toBe(0)
  })
})

describe('by hand', () => {
  it('an event is sent again, with attempts of its own, and is in the record', async () => {
    const { record } = await create()
    endpoint.answer = (_heard, response) => void response.writeHead(410).end()
    await happen()
    await run()
    endpoint.answer = undefined
    const [given] = await deliveries(record.id)
    const id = given?.id ?? ''
    await expect(resendDelivery(test.database.prisma, record.id, id, change())).rejects.toThrow(/Enable the webhook/)
    await patchEndpoint(test.database.prisma, record.id, { enabled: true }, networks, change())
    await resendDelivery(test.database.prisma, record.id, id, change())
    await run()
    expect(await deliveries(record.id)).toMatchObject([{ id, state: 'delivered', attempts: 2 }])
    expect(new Set(endpoint.heard.map(({ headers }) => headers['webhook-id'])).size).toBe(1)
    expect(await recorded('webhook.resent', record.id)).toEqual([{ delivery: id }])
    // Also what has arrived.
    await resendDelivery(test.database.prisma, record.id, id, change())
    endpoint.answer = (_heard, response) => void response.writeHead(500).end()
    await run()
    expect(((await nextAt()) ?? 0) - clock).toBe((pauseSeconds[0] ?? 0) * 1000)
  })

  it('a test goes to one endpoint, whatever it asked for', async () => {
    const other = await begin()
    await create(['*'], other.url)
    const { record, secret } = await create(['role.deleted'])
    await run()
    other.heard.length = 0
    await testEndpoint(test.database.prisma, record.id, change())
    await run()
    expect(endpoint.types()).toEqual(['webhook.test'])
    expect(other.heard).toEqual([])
    expect(verify(secret, endpoint.heard[0] as NonNullable<(typeof endpoint.heard)[0]>)).toMatchObject({
      data: { target: { kind: 'webhook', id: record.id } },
    })
  })
})

it('what waits is counted, and what is over leaves with its log', async () => {
  const { record } = await create()
  await happen()
  expect(await webhookBacklog(test.database)).toMatchObject([
    { stage: 'outbox', rows: 2 },
    { stage: 'deliveries', rows: 0 },
  ])
  endpoint.answer = (_heard, response) => void response.writeHead(500).end()
  await run()
  expect(await webhookBacklog(test.database)).toMatchObject([
    { stage: 'outbox', rows: 0, seconds: 0 },
    { stage: 'deliveries', rows: 1 },
  ])
  await test.database.prisma.webhookEvent.updateMany({ data: { expiresAt: new Date(Date.now() - 1000) } })
  expect((await sweep(test.database, { now: new Date() })).rows.webhook_event).toBe(1)
  expect(await deliveries(record.id)).toEqual([])
  expect(await test.database.prisma.webhookAttempt.count()).toBe(0)
})
