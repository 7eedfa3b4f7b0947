// Signing in with a code from a text message as the second factor, over real HTTP and with the operator's program at the other end.
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createUser, endUserTokens } from '#src/users/users.ts'
import { clearAudit } from '#test/support/audit.ts'
import { codeAt, givePhone, giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, postForm, startJourney } from '#test/support/journey.ts'
import { type Page, Person } from '#test/support/person.ts'
import { type Receiver, startReceiver } from '#test/support/receiver.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const twoFactors = 'urn:sallyport:acr:2fa'
let receiver: Receiver
let server: TestServer
let j: Journey
let phone: string
let now = new Date()

beforeAll(async () => {
  receiver = await startReceiver()
  server = await startServer({ env: receiver.env, now: () => now })
  j = await startJourney(server)
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
  await db().guessLimit.deleteMany()
  await clearAudit(server.database)
  await db().session.deleteMany()
  phone = await givePhone(server, j.alice.id)
})

const db = () => server.database.prisma

async function signIn(person = new Person(server.url), parameters: Record<string, string> = {}) {
  const { address, verifier } = await j.begin({ prompt: 'login', ...parameters })
  const page = await person.submit(await person.open(address), { identifier: 'alice@example.com', password })
  return { person, page, verifier }
}
async function asked(parameters: Record<string, string> = {}) {
  const signing = await signIn(new Person(server.url), parameters)
  return { ...signing, page: await signing.person.submit(signing.page, { send: phone }) }
}
async function claimsFrom(person: Person, page: Page, verifier: string) {
  const at = page.url.endsWith('/consent') ? await person.submit(page, { decision: 'allow' }) : page
  const { body } = await j.redeem(new URL(at.url).searchParams.get('code') ?? '', verifier)
  return decodeJwt(body.id_token ?? '')
}
const other = (code: string) => String((Number(code) + 1) % 1e8).padStart(8, '0')
const isIn = (page: Page) => page.url.includes('/consent') || page.url.startsWith('https://shop.example')
const sessions = () => db().session.count({ where: { userId: j.alice.id } })

test('a button, a message, the code in the field; the token says sms and mfa, two factors (RFC 8176)', async () => {
  const { person, page, verifier } = await signIn()
  expect(page.url).toMatch(/\/second-factor$/)
  expect(page.text).toContain('Send a code to •••12')
  expect(page.text).not.toContain('7700')
  expect(page.text).not.toContain('name="code"')
  expect(receiver.arrived).toEqual([])
  const waiting = await person.submit(page, { send: phone })
  expect([waiting.status, waiting.url]).toEqual([200, `${page.url}?with=phone`])
  expect(waiting.text).toMatch(/<input id="code"[^>]*autocomplete="one-time-code"[^>]*inputmode="numeric"/)
  expect(waiting.text).toContain('on its way to •••12')
  expect(receiver.newest()).toMatchObject({ channel: 'sms', to: '+447700900112', purpose: 'sign_in', locale: 'en' })
  expect(await sessions()).toBe(0)
  const done = await person.submit(waiting, { code: receiver.newest().code })
  const claims = await claimsFrom(person, done, verifier)
  expect(claims).toMatchObject({ acr: twoFactors, amr: ['pwd', 'sms', 'mfa'] })
  expect(await db().auditEvent.findMany({ where: { event: 'factor.code_sent' } })).toMatchObject([
    { actorId: j.alice.id, detail: { factor: 'phone', message: receiver.newest().id } },
  ])
  expect(server.logged.join('')).toContain('out_of_band.sent')
  for (const secret of ['7700900112', receiver.newest().code]) expect(server.logged.join('')).not.toContain(secret)
})

test('a wrong code, one of another sign-in, one that was used, one that is late: asked again, and counted', async () => {
  const elsewhere = await asked()
  const { code: foreign } = receiver.newest()
  const { person, page } = await asked()
  const { code } = receiver.newest()
  for (const wrong of [other(code), foreign, '123456', 'x'])
    expect([wrong, (await person.submit(page, { code: wrong })).status]).toEqual([wrong, 401])
  expect((await person.submit(page, { code: '' })).status).toBe(422)
  expect(await db().auditEvent.count({ where: { event: 'factor.failed' } })).toBe(4)
  const again = await person.submit(page, { code: other(code) })
  expect(again.text).toMatch(/<input id="code"[^>]*aria-invalid="true"/)
  // Five tries: this code is over, and so are guesses from this network.
  expect((await person.submit(page, { code })).status).toBe(429)
  await db().guessLimit.deleteMany()
  expect((await person.submit(page, { code })).text).toContain('no longer works')

  await db().guessLimit.deleteMany()
  now = new Date(now.getTime() + 601_000)
  expect((await elsewhere.person.submit(elsewhere.page, { code: foreign })).text).toContain('no longer works')
  expect(await sessions()).toBe(0)
})

test('a code is good for one sign-in: replayed in the next it is nothing', async () => {
  const first = await asked()
  const { code } = receiver.newest()
  expect(isIn(await first.person.submit(first.page, { code }))).toBe(true)
  expect(isIn(await first.person.submit(first.page, { code }))).toBe(false)
  const second = await asked()
  expect((await second.person.submit(second.page, { code })).status).toBe(401)
})

test('without a message there is no code: the field answers that there is none', async () => {
  const { person, page } = await signIn()
  const answer = await person.submit({ ...page, text: page.text }, { code: '12345678' })
  expect([answer.status, answer.text.includes('no longer works')]).toEqual([401, true])
  expect(await sessions()).toBe(0)
})

test('beside an app and recovery codes each code is taken for what it is, on either page', async () => {
  const seed = await giveTotp(server, j.alice.id, now)
  const [recovery = ''] = await giveRecoveryCodes(server, j.alice.id)
  const { person, page } = await signIn()
  expect(page.text).toContain('Six digits')
  expect(page.text).toContain('Send a code to •••12')
  const waiting = await person.submit(page, { send: phone })
  expect(isIn(await person.submit(page, { code: receiver.newest().code }))).toBe(true) // from the app's page
  for (const code of [codeAt(seed, now), recovery]) {
    const one = await asked()
    expect(isIn(await one.person.submit(one.page, { code }))).toBe(true)
  }
  expect(waiting.text).toContain('with=recovery-code')
})

test('somebody else’s phone is passed over, and nothing is sent', async () => {
  const mallory = await createUser(db(), { email: 'mallory@example.com' }, change())
  const foreign = await givePhone(server, mallory.id)
  for (const send of [foreign, 'x', '', '00000000-0000-4000-8000-000000000000']) {
    const { person, page } = await signIn()
    expect((await person.submit(page, { send })).url).toBe(page.url)
  }
  expect(receiver.arrived).toEqual([])
})

test('before the password nothing is sent, nor without the token of the form, from another site or another browser', async () => {
  const person = new Person(server.url)
  const login = await person.open((await j.begin({ prompt: 'login' })).address)
  const early = await person.submit(
    { ...login, url: login.url.replace(/login$/, 'second-factor'), text: login.text.replace(/action="[^"]*"/, '') },
    { send: phone },
  )
  expect(early.url).toMatch(/\/login$/)
  const { person: her, page } = await signIn()
  expect((await her.submit(page, { send: phone }, { csrf: null })).status).toBe(403)
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  const body = new URLSearchParams({ csrf, send: phone })
  const foreign = await her.fetch(page.url, { method: 'POST', body, headers: { Origin: 'https://evil.example' } })
  expect(foreign.status).toBe(403)
  const stranger = new Person(server.url)
  const stolen = await stranger.fetch(page.url, { method: 'POST', body, headers: { Origin: server.url } })
  expect(stolen.status).toBe(410)
  await her.open(`${page.url}?with=phone&send=${phone}`) // a link sends nothing
  expect(receiver.arrived).toEqual([])
})

describe('when it cannot be sent', () => {
  test('she reads so, can use another way, and nothing but an id and a reason is logged', async () => {
    const seed = await giveTotp(server, j.alice.id, now)
    receiver.answer = (_request, response) => response.writeHead(500).end()
    const { person, page } = await signIn()
    server.logged.length = 0
    const failed = await person.submit(page, { send: phone })
    expect([failed.status, failed.text.includes('Try again, or use another way')]).toEqual([503, true])
    const lines = server.logged.filter((line) => line.includes('out_of_band.failed')).map((line) => JSON.parse(line))
    expect(lines).toMatchObject([{ message: expect.any(String), reason: 'status 500' }])
    for (const secret of ['7700900112', receiver.newest().code, receiver.url, 'alice@'])
      expect(server.logged.join('').toLowerCase()).not.toContain(secret)
    expect(isIn(await person.submit(failed, { code: codeAt(seed, now) }))).toBe(true)
  })

  test('where the operator switched it off a phone opens nothing, and a password alone neither', async () => {
    const off = await startServer({ share: server, now: () => now, issuer: () => server.url })
    try {
      const { person, page } = await signIn()
      const target = new URL(page.url)
      target.port = String(off.port)
      const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
      const Cookie = [...person.cookies].map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; ')
      const fields = new URLSearchParams({ csrf, send: phone }).toString()
      const answer = await postForm(target, new URL(server.url).host, { Cookie, Origin: server.url }, fields)
      expect([answer.status, receiver.arrived.length, await sessions()]).toEqual([503, 0, 0])
    } finally {
      await off.stop()
    }
  })

  test('the sixth message of an hour is not sent, and she is told when to come back', async () => {
    const { person, page } = await signIn()
    let answer = page
    for (let n = 0; n < 5; n++) answer = await person.submit(answer, { send: phone })
    const limited = await person.submit(answer, { send: phone })
    expect([limited.status, limited.headers.get('retry-after'), receiver.arrived.length]).toEqual([429, '3600', 5])
    expect(isIn(await person.submit(limited, { code: receiver.newest().code }))).toBe(true) // the last one is still good
  })
})

test('a client that asks for a passkey gets none of it: no button, nothing sent, no code taken', async () => {
  await db().credential.create({
    data: { id: crypto.randomUUID(), userId: j.alice.id, kind: 'passkey', name: 'Key', secret: '-', keyId: 'k' },
  })
  const { person, page } = await signIn(new Person(server.url), { acr_values: 'phr' })
  expect(page.text).not.toContain('name="send"')
  expect((await person.submit(page, { send: phone })).status).toBe(422)
  expect((await person.submit(page, { code: '12345678' })).status).toBe(422)
  expect(receiver.arrived).toEqual([])
})

test('a phone is no reason to let a password enrol a passkey, where the client asks for one', async () => {
  await db().client.update({ where: { id: 'shop-web' }, data: { secondFactor: 'required' } })
  await db().configurationVersion.update({ where: { id: 1 }, data: { version: { increment: 1 } } })
  await server.settle()
  const { page } = await signIn(new Person(server.url), { acr_values: 'phr' })
  expect(new URL(page.url).searchParams.get('error')).toBe('unmet_authentication_requirements')
  await db().client.update({ where: { id: 'shop-web' }, data: { secondFactor: 'optional' } })
  await db().configurationVersion.update({ where: { id: 1 }, data: { version: { increment: 1 } } })
  await server.settle()
})

test('what ends her sessions ends the sign-in that waits for a code', async () => {
  const { person, page } = await asked()
  await endUserTokens(db(), j.alice.id, change())
  expect((await person.submit(page, { code: receiver.newest().code })).url).toMatch(/\/login$/)
  expect(await sessions()).toBe(0)
})

test('a session of one factor is stepped up by it', async () => {
  await db().credential.deleteMany({ where: { kind: 'phone' } })
  const { person } = await j.tokensFor()
  phone = await givePhone(server, j.alice.id)
  const request = await j.begin({ acr_values: twoFactors })
  const waiting = await person.submit(await person.open(request.address), { send: phone })
  const done = await person.submit(waiting, { code: receiver.newest().code })
  expect(await claimsFrom(person, done, request.verifier)).toMatchObject({
    acr: twoFactors,
    amr: ['pwd', 'sms', 'mfa'],
  })
})
