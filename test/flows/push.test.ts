// Approving a sign-in on a phone, over real HTTP: the browser of the person on one side, the operator's app and its backend on the other.
import { randomUUID } from 'node:crypto'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { ownerRole } from '#src/access/roles.ts'
import { ensureOwnApi, ensureOwnerRole } from '#src/bootstrap/own-api.ts'
import { listMails } from '#src/mail/shown.ts'
import { createUser, endUserTokens } from '#src/users/users.ts'
import { clearAudit } from '#test/support/audit.ts'
import { codeAt, givePushDevice, giveTotp } from '#test/support/factors.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { type Page, Person } from '#test/support/person.ts'
import { type Receiver, startReceiver } from '#test/support/receiver.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let receiver: Receiver
let server: TestServer
let j: Journey
let backend: string
let reader: string
let device: string
let now = new Date()

beforeAll(async () => {
  receiver = await startReceiver()
  server = await startServer({ env: receiver.env, now: () => now })
  j = await startJourney(server)
  const apiIdentifier = `${server.url}/api`
  await ensureOwnApi(server.database, apiIdentifier, change())
  await server.settle()
  await ensureOwnerRole(server.database, change())
  const key = async (scopes: string[]) =>
    (
      await createApiKey(
        db(),
        { name: 'app', apis: { [apiIdentifier]: scopes }, owner: { clientId: 'reports' } },
        change(),
      )
    ).value
  await db().clientScope.createMany({
    data: ['push:write', 'users:write'].map((scopeName) => ({ clientId: 'reports', apiIdentifier, scopeName })),
  })
  backend = await key(['push:write'])
  reader = await key(['users:write'])
})
afterAll(async () => {
  await server.stop()
  await receiver.stop()
})
beforeEach(async () => {
  now = new Date()
  receiver.answer = undefined
  receiver.arrived.length = 0
  await db().credential.deleteMany({ where: { kind: { not: 'password' } } })
  await db().outOfBandMessage.deleteMany()
  await db().pushApproval.deleteMany()
  await db().guessLimit.deleteMany()
  await clearAudit(server.database)
  await db().session.deleteMany()
  device = await givePushDevice(server, j.alice.id, 'the device of Alice')
})

const db = () => server.database.prisma
async function call(
  path: string,
  body: object,
  key = backend,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const headers = { 'X-API-Key': key, 'Content-Type': 'application/json' }
  const response = await fetch(`${server.url}/api/v1${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  return { status: response.status, body: await response.json() }
}
const answer = (body: object, id = receiver.newest().id) => call(`/push-approvals/${id}`, body)
const numberOn = (page: Page) => Number(/class="match">(\d\d)</.exec(page.text)?.[1])
const other = (number: number) => (number === 99 ? 10 : number + 1)
const sessions = () => db().session.count({ where: { userId: j.alice.id } })
const isIn = (page: Page) => page.url.includes('/consent') || page.url.startsWith('https://shop.example')

async function signIn(parameters: Record<string, string> = {}) {
  const person = new Person(server.url)
  const { address, verifier } = await j.begin({ prompt: 'login', ...parameters })
  const page = await person.submit(await person.open(address), { identifier: 'alice@example.com', password })
  return { person, page, verifier }
}
async function asked() {
  const signing = await signIn()
  const page = await signing.person.submit(signing.page, { push: device })
  return { ...signing, page, id: receiver.newest().id, number: numberOn(page) }
}

test('a button, a number on the screen and in no message, the number back from the app; the token says mfa and no method that nobody checked', async () => {
  const { person, page, verifier } = await signIn()
  expect(page.text).toContain('Approve on your phone')
  expect(receiver.arrived).toEqual([])
  const waiting = await person.submit(page, { push: device })
  expect([waiting.status, waiting.url]).toEqual([200, `${page.url}?with=push`])
  const number = numberOn(waiting)
  expect(number).toBeGreaterThanOrEqual(10)
  const message = receiver.newest()
  expect(message).toEqual({
    id: message.id,
    channel: 'push',
    to: 'the device of Alice',
    application: 'shop-web',
    askedFrom: expect.stringMatching(/127\.0\.0\.1|::1/),
    locale: 'en',
    expiresAt: new Date(now.getTime() + 120_000).toISOString(),
    purpose: 'sign_in',
  })
  const early = await person.submit(waiting, { decision: 'approved' })
  expect([early.status, early.text.includes('has not answered yet'), numberOn(early)]).toEqual([422, true, number])
  expect(await answer({ approved: true, number })).toEqual({
    status: 200,
    body: { id: message.id, outcome: 'approved' },
  })
  expect(await sessions()).toBe(0)
  let done = await person.submit(waiting, { decision: 'approved' })
  if (done.url.endsWith('/consent')) done = await person.submit(done, { decision: 'allow' })
  const { body } = await j.redeem(new URL(done.url).searchParams.get('code') ?? '', verifier)
  expect(decodeJwt(body.id_token ?? '')).toMatchObject({ acr: 'urn:sallyport:acr:2fa', amr: ['pwd', 'mfa'] })
  const events = await db().auditEvent.findMany({
    where: { event: { startsWith: 'factor.push' } },
    orderBy: { id: 'asc' },
  })
  expect(events).toMatchObject([
    { event: 'factor.push_sent', actorId: j.alice.id, detail: { message: message.id } },
    { event: 'factor.push_answered', outcome: 'success', actorKind: 'api_key', targetId: j.alice.id },
  ])
  expect(server.logged.join('')).not.toContain('the device of Alice')
  expect(JSON.stringify(await db().pushApproval.findMany())).toBe('[]')
})

describe('is refused for good', () => {
  test.each([
    ['by a wrong number', (number: number) => ({ approved: true, number: other(number) })],
    ['by the person', () => ({ approved: false })],
    ['by the person, with the right number', (number: number) => ({ approved: false, number })],
  ])('%s', async (_what, given) => {
    const { person, page, number } = await asked()
    expect((await answer(given(number))).body.outcome).toBe('refused')
    expect((await answer({ approved: true, number })).status).toBe(404)
    const refused = await person.submit(page, { decision: 'approved' })
    expect([refused.status, refused.text.includes('was refused'), refused.text.includes('class="match"')]).toEqual([
      422,
      true,
      false,
    ])
    expect(await sessions()).toBe(0)
    const failed = await db().auditEvent.findMany({ where: { event: 'factor.push_answered', outcome: 'failure' } })
    expect(failed).toMatchObject([{ targetId: j.alice.id }])
    expect(await db().guessLimit.findFirst({ where: { factor: 'push' } })).toMatchObject({ failures: 1 })
  })

  test('after two minutes, answered or not', async () => {
    const { person, page, number } = await asked()
    now = new Date(now.getTime() + 120_000)
    expect((await answer({ approved: true, number })).status).toBe(404)
    expect((await person.submit(page, { decision: 'approved' })).text).toContain('is over')
    const second = await asked()
    await answer({ approved: true, number: second.number })
    now = new Date(now.getTime() + 120_000)
    expect((await second.person.submit(second.page, { decision: 'approved' })).status).toBe(422)
    expect(await sessions()).toBe(0)
  })

  test('when a new one is sent: one is open for a sign-in, and the older number opens nothing', async () => {
    const { person, page, id, number } = await asked()
    const again = await person.submit(page, { push: device })
    expect((await answer({ approved: true, number }, id)).status).toBe(404)
    expect(await db().pushApproval.count()).toBe(1)
    await answer({ approved: true, number: numberOn(again) })
    expect(isIn(await person.submit(again, { decision: 'approved' }))).toBe(true)
  })
})

test('an approval is good for one sign-in, in the browser that asked, and once', async () => {
  const first = await asked()
  const second = await asked()
  await answer({ approved: true, number: second.number }, second.id)
  expect((await first.person.submit(first.page, { decision: 'approved' })).status).toBe(422)
  expect(isIn(await second.person.submit(second.page, { decision: 'approved' }))).toBe(true)
  expect(await sessions()).toBe(1)
  const third = await signIn()
  expect((await third.person.submit(third.page, { decision: 'approved' })).status).toBe(422)
  // Two numbers for two people at their screens at once: each is for its own request.
  expect((await answer({ approved: true, number: other(first.number) }, first.id)).body.outcome).toBe('refused')
})

test('of ten answers at once one counts', async () => {
  const { number } = await asked()
  const statuses = await Promise.all(
    Array.from({ length: 10 }, async () => (await answer({ approved: true, number })).status),
  )
  expect(statuses.sort()).toEqual([200, ...Array(9).fill(404)])
})

test('whoever guesses by having others press "approve" is limited: then the right number is refused, too', async () => {
  for (let n = 0; n < 5; n++) {
    const { number } = await asked()
    await answer({ approved: true, number: other(number) })
  }
  await db().outOfBandMessage.deleteMany()
  const { person, page, number } = await asked()
  expect((await answer({ approved: true, number })).body.outcome).toBe('refused')
  expect((await person.submit(page, { decision: 'approved' })).status).toBe(422)
})

test('five requests in a quarter of an hour for a person, then no more (ASVS 6.6.4)', async () => {
  const { person, page } = await signIn()
  for (let n = 0; n < 5; n++) expect((await person.submit(page, { push: device })).status).toBe(200)
  const limited = await person.submit(page, { push: device })
  expect([limited.status, limited.headers.get('retry-after'), receiver.arrived.length]).toEqual([429, '900', 5])
  const elsewhere = await signIn()
  expect((await elsewhere.person.submit(elsewhere.page, { push: device })).status).toBe(429)
})

describe('the API of the app’s backend', () => {
  test('has a scope of its own; without it nothing is added or answered', async () => {
    const { number, id } = await asked()
    expect((await answer({ approved: true, number })).status).toBe(200)
    const { number: second, id: open } = await asked()
    for (const key of [reader, 'sp_ak_nobody']) {
      const wanted = key === reader ? 403 : 401
      expect((await call(`/push-approvals/${open}`, { approved: true, number: second }, key)).status).toBe(wanted)
      expect((await call(`/users/${j.alice.id}/push-devices`, { reference: 'x' }, key)).status).toBe(wanted)
    }
    expect(id).not.toBe(open)
    expect((await answer({ approved: true, number: second }, open)).status).toBe(200)
  })

  test('adds a device; the person hears of it by mail, sees it, names and removes it', async () => {
    await db().mail.deleteMany()
    const added = await call(`/users/${j.alice.id}/push-devices`, { reference: 'ref <b>', name: 'Phone <b>' })
    expect([added.status, added.body]).toEqual([201, { id: expect.any(String) }])
    const mails = await listMails(db(), { secretKeys: server.secretKeys, issuerUrl: server.url })
    expect(mails.map(({ subject, to }) => [subject, to])).toEqual([
      ['A second step was added to your account', 'Alice@Example.com'],
    ])
    const stored = await db().credential.findUniqueOrThrow({ where: { id: String(added.body.id) } })
    expect(JSON.stringify({ ...stored, counter: 0 })).not.toContain('ref <b>')
    const { person, page } = await signIn()
    expect(page.text).toContain('Approve on Phone &lt;b&gt;')
    const waiting = await person.submit(page, { push: String(added.body.id) })
    expect(receiver.newest().to).toBe('ref <b>')
    await answer({ approved: true, number: numberOn(waiting) })
    await person.submit(waiting, { decision: 'approved' })
    const security = await person.open('/account/security')
    expect(security.text).toContain('Approval on your phone')
    const path = `/account/security/factors/${added.body.id}`
    await person.submit(await person.open(path), { decision: 'remove' })
    expect(await db().credential.count({ where: { kind: 'push' } })).toBe(1)
  })

  test.each([
    [{}, 400],
    [{ reference: '' }, 422],
    [{ reference: 'x'.repeat(513) }, 422],
    [{ reference: 'a\u0000b' }, 422],
    [{ reference: 'x', name: 'a\u202eb' }, 422],
    [{ reference: 'x', extra: 1 }, 400],
  ])('refuses the device %j', async (body, status) => {
    expect((await call(`/users/${j.alice.id}/push-devices`, body)).status).toBe(status)
    expect(await db().credential.count({ where: { kind: 'push' } })).toBe(1)
  })

  test('five devices for a person, and none for nobody', async () => {
    for (let n = 0; n < 4; n++)
      expect((await call(`/users/${j.alice.id}/push-devices`, { reference: `d${n}` })).status).toBe(201)
    expect((await call(`/users/${j.alice.id}/push-devices`, { reference: 'd5' })).status).toBe(422)
    for (const id of ['nobody', randomUUID()])
      expect((await call(`/users/${id}/push-devices`, { reference: 'x' })).status).toBe(404)
  })

  test('gives no factor to whoever may do more than the backend (CVE-2026-9795)', async () => {
    const { id } = await createUser(db(), { email: 'owner@example.com', roles: [ownerRole] }, change())
    expect((await call(`/users/${id}/push-devices`, { reference: 'x' })).status).toBe(403)
    expect(await db().credential.count({ where: { userId: id } })).toBe(0)
  })

  test.each([
    {},
    { approved: true },
    { approved: 'yes', number: 12 },
    { approved: true, number: '12' },
    { approved: true, number: 1.5 },
    { approved: true, number: 1000 },
    { approved: true, number: 12, more: 1 },
  ])('an answer that is none is 400, and the request stays open: %j', async (body) => {
    const { number } = await asked()
    expect((await answer(body)).status).toBe(400)
    expect((await answer({ approved: true, number })).status).toBe(200)
  })

  test('an id that is none is 404, whatever it looks like', async () => {
    for (const id of ['x', randomUUID(), `${randomUUID()}%00`, "'; DELETE FROM users; --"])
      expect([400, 404]).toContain((await answer({ approved: true, number: 12 }, encodeURIComponent(id))).status)
  })
})

test('somebody else’s device is passed over; without the token of the form, or by a link, nothing is sent', async () => {
  const mallory = await createUser(db(), { email: `m${randomUUID()}@example.com` }, change())
  const foreign = await givePushDevice(server, mallory.id)
  const { person, page } = await signIn()
  for (const push of [foreign, 'x', '']) expect((await person.submit(page, { push })).url).toBe(page.url)
  expect((await person.submit(page, { push: device }, { csrf: null })).status).toBe(403)
  await person.open(`${page.url}?with=push&push=${device}`)
  expect(receiver.arrived).toEqual([])
})

test('a device that is taken away proves nothing any more, also when it had approved', async () => {
  const { person, page, number } = await asked()
  await answer({ approved: true, number })
  await giveTotp(server, j.alice.id)
  await db().credential.delete({ where: { id: device } })
  expect((await person.submit(page, { decision: 'approved' })).status).toBe(422)
  expect(await sessions()).toBe(0)
})

test('what ends her sessions ends the sign-in that waits for an approval', async () => {
  const { person, page, number } = await asked()
  await answer({ approved: true, number })
  await endUserTokens(db(), j.alice.id, change())
  expect((await person.submit(page, { decision: 'approved' })).url).toMatch(/\/login$/)
  expect(await sessions()).toBe(0)
})

test('when it cannot be sent she reads so and uses another way', async () => {
  const seed = await giveTotp(server, j.alice.id, now)
  receiver.answer = (_request, response) => response.writeHead(500).end()
  const { person, page } = await signIn()
  const failed = await person.submit(page, { push: device })
  expect([failed.status, failed.text.includes('could not be sent to your phone')]).toEqual([503, true])
  expect(isIn(await person.submit(failed, { code: codeAt(seed, now) }))).toBe(true)
})

test('a client that asks for a passkey gets none of it', async () => {
  await db().credential.create({
    data: { id: randomUUID(), userId: j.alice.id, kind: 'passkey', name: 'Key', secret: '-', keyId: 'k' },
  })
  const { person, page } = await signIn({ acr_values: 'phr' })
  expect(page.text).not.toContain('name="push"')
  for (const fields of [{ push: device }, { decision: 'approved' }] as Record<string, string>[])
    expect((await person.submit(page, fields)).status).toBe(422)
  expect(receiver.arrived).toEqual([])
})
