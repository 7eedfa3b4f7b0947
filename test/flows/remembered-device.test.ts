// "Do not ask for a code on this browser": for one person, in one browser, for as long as nothing changed, and never more than that.
import type { Context } from 'koa'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { readConfig } from '#src/config.ts'
import { enrolPasskey, offerEnrolment, relyingParty } from '#src/factors/passkey.ts'
import { hashPassword } from '#src/factors/password.ts'
import { replaceRecoveryCodes } from '#src/factors/recovery-code.ts'
import { removeFactor, resetFactors } from '#src/factors/second-factors.ts'
import { createRememberedDevices } from '#src/oauth/remembered-devices.ts'
import { createUser, endUserTokens, setPassword, setUserDisabled } from '#src/users/users.ts'
import { Authenticator } from '#test/support/authenticator.ts'
import { giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, startJourney } from '#test/support/journey.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const cookie = 'sallyport_remembered'
const dayMs = 86_400_000
let server: TestServer
let j: Journey
let bobId: string
let later = 0
let codes: string[]

beforeAll(async () => {
  server = await startServer({ now: () => new Date(Date.now() + later) })
  j = await startJourney(server)
  const passwordHash = await hashPassword(password)
  bobId = (await createUser(server.database.prisma, { email: 'bob@example.com', passwordHash }, change())).id
})
afterAll(() => server.stop())
beforeEach(async () => {
  later = 0
  const { prisma } = server.database
  await prisma.credential.deleteMany({ where: { kind: { not: 'password' } } })
  await prisma.guessLimit.deleteMany()
  await prisma.rememberedDevice.deleteMany()
  for (const id of [j.alice.id, bobId]) await giveTotp(server, id)
  codes = await giveRecoveryCodes(server, j.alice.id)
})

/** Begins a sign-in. @returns the page after the password. */
async function afterPassword(person: Person, as = 'alice@example.com', parameters = {}): Promise<Page> {
  const login = await person.open((await j.begin({ prompt: 'login', ...parameters })).address)
  return person.submit(login, { identifier: as, password })
}
const isAsked = async (person: Person, as?: string) => (await afterPassword(person, as)).url.endsWith('/second-factor')

/** @returns a browser that Alice asked us to remember, with nothing but that in it. */
async function remembered(as = 'alice@example.com', code = codes.shift()): Promise<Person> {
  const person = new Person(server.url)
  await person.submit(await afterPassword(person, as), { code: code ?? '', remember: 'yes' })
  return withCookie(person.cookies.get(cookie)?.value ?? 'none')
}
function withCookie(value: string): Person {
  const person = new Person(server.url)
  person.cookies.set(cookie, { value, path: '/' })
  return person
}
const valueIn = (person: Person) => person.cookies.get(cookie)?.value ?? ''

test('the box is not ticked, and who leaves it alone is asked the next time', async () => {
  const person = new Person(server.url)
  const page = await afterPassword(person)
  expect(page.text).toMatch(/<input type="checkbox" name="remember" value="yes">/)
  expect(page.text).toContain('for 30 days')
  await person.submit(page, { code: codes.shift() ?? '' })
  expect(person.cookies.has(cookie)).toBe(false)
  expect(await isAsked(person)).toBe(true)
})

test('a wrong code remembers nothing, and keeps the tick', async () => {
  const person = new Person(server.url)
  const wrong = await person.submit(await afterPassword(person), { code: '000000', remember: 'yes' })
  expect([wrong.status, person.cookies.has(cookie)]).toEqual([401, false])
  expect(wrong.text).toMatch(/name="remember" value="yes" checked/)
  expect(await server.database.prisma.rememberedDevice.count()).toBe(0)
})

test('whoever asked is not asked again there, sees it in the record, and is asked everywhere else', async () => {
  const person = await remembered()
  expect(await isAsked(person)).toBe(false)
  expect(await isAsked(new Person(server.url))).toBe(true)
  const [row] = await server.database.prisma.rememberedDevice.findMany()
  expect(row?.lastUsedAt).not.toBeNull()
  expect(row?.expiresAt.getTime()).toBe((row?.createdAt.getTime() ?? 0) + 30 * dayMs)
  const events = await server.database.prisma.auditEvent.findMany({
    where: { actorId: j.alice.id },
    orderBy: { id: 'desc' },
    take: 4,
  })
  expect(events.find(({ event }) => event === 'device.remembered')).toMatchObject({ detail: { days: 30 } })
  expect(events.find(({ event }) => event === 'login.succeeded')).toMatchObject({
    detail: { amr: ['pwd'], rememberedDevice: true },
  })
})

test('with a passkey the tick counts as well', async () => {
  const { prisma } = server.database
  const key = new Authenticator(server.url)
  const rp = relyingParty(server.url)
  const { generation } = await prisma.user.findUniqueOrThrow({ where: { id: j.alice.id } })
  const ceremony = { purpose: 'enrolment', flow: 'test', userId: j.alice.id, generation } as const
  const options = await offerEnrolment(prisma, rp, ceremony, { email: 'alice@example.com', name: null }, new Date())
  await enrolPasskey(prisma, rp, ceremony, { response: key.create(options), name: 'Key' }, change())
  for (const remember of [undefined, false, true]) {
    const person = new Person(server.url)
    const page = await afterPassword(person)
    const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1]
    const send = async (path: string, body: object) =>
      (
        await person.fetch(page.url.replace(/second-factor$/, path), {
          method: 'POST',
          body: JSON.stringify({ csrf, ...body }),
          headers: { 'Content-Type': 'application/json', Accept: 'application/json', Origin: server.url },
        })
      ).json()
    const { next } = await send('passkey', { response: key.get(await send('passkey/options', {})), remember })
    await person.open(next)
    expect([remember, person.cookies.has(cookie)]).toEqual([remember, remember === true])
    if (remember) expect(await isAsked(withCookie(valueIn(person)))).toBe(false)
  }
})

describe('it is worth nothing', () => {
  test('for anybody else: not with the other’s cookie, and not the other way round', async () => {
    const alice = await remembered()
    expect(await isAsked(withCookie(valueIn(alice)), 'bob@example.com')).toBe(true)
    const [code] = await replaceRecoveryCodes(server.database.prisma, bobId, change())
    const bob = await remembered('bob@example.com', code)
    expect(await isAsked(withCookie(valueIn(bob)))).toBe(true)
    expect(await isAsked(bob, 'bob@example.com')).toBe(false)
  })

  test('when it is forged, cut or stretched', async () => {
    const value = valueIn(await remembered())
    const { id } = await server.database.prisma.rememberedDevice.findFirstOrThrow()
    for (const made of [
      value.slice(0, -1),
      `${value}A`,
      (value[0] === 'A' ? 'B' : 'A') + value.slice(1),
      Buffer.from(id).toString('base64url'), // what the database has of it
      Buffer.from(id).toString('hex'),
      value.toLowerCase(),
      `${'A'.repeat(43)}~`.repeat(5) + value, // beyond the fifth
      '~~~~',
      '%00',
      'A'.repeat(4000),
    ])
      expect(await isAsked(withCookie(made)), made.slice(0, 60)).toBe(true)
    expect(await isAsked(withCookie(`${'A'.repeat(43)}~x~${value}`))).toBe(false)
  })

  const ends: Record<string, () => Promise<unknown>> = {
    'a new password': async () =>
      setPassword(server.database.prisma, j.alice.id, await hashPassword(password), change()),
    'signing out everywhere': () => endUserTokens(server.database.prisma, j.alice.id, change()),
    'switching off and on again': async () => {
      await setUserDisabled(server.database.prisma, j.alice.id, true, change())
      await setUserDisabled(server.database.prisma, j.alice.id, false, change())
    },
    'a second factor more': () => giveTotp(server, j.alice.id),
    'a second factor less': async () => {
      const [first] = await server.database.prisma.credential.findMany({
        where: { userId: j.alice.id, kind: 'totp' },
        orderBy: { createdAt: 'desc' },
      })
      await removeFactor(server.database.prisma, j.alice.id, first?.id ?? '', change())
    },
    'a reset of all': async () => {
      await resetFactors(server.database.prisma, j.alice.id, change())
      await giveTotp(server, j.alice.id)
    },
    'a kind of factor that is yet to come': () =>
      server.database.prisma.credential.create({
        data: { id: crypto.randomUUID(), userId: j.alice.id, kind: 'carrier pigeon', secret: '-' },
      }),
    'the thirtieth day': async () => {
      later = 30 * dayMs
    },
  }
  test.each(Object.entries(ends))('after %s', async (what, end) => {
    if (what === 'a second factor less') await giveTotp(server, j.alice.id)
    const person = await remembered()
    later = 30 * dayMs - 60_000
    expect(await isAsked(person)).toBe(false)
    later = 0
    await end()
    expect(await isAsked(person)).toBe(true)
  })

  test('after new recovery codes it still counts: they are no factor of their own', async () => {
    const person = await remembered()
    await giveRecoveryCodes(server, j.alice.id)
    expect(await isAsked(person)).toBe(false)
  })

  test('where the operator offers it no more, or for fewer days than it was asked for', async () => {
    const value = valueIn(await remembered())
    for (const [days, daysLater, asked] of [
      [0, 0, true],
      [7, 6, false],
      [7, 7, true],
    ] as const) {
      const now = () => new Date(Date.now() + daysLater * dayMs)
      const config = { https: false, rememberDeviceDays: days }
      const found = await createRememberedDevices({ config, database: server.database, now }).find(
        jarOf(value).ctx,
        j.alice.id,
      )
      expect([days, daysLater, found === undefined]).toEqual([days, daysLater, asked])
    }
  })
})

describe('the box is not there, and its field is not read', () => {
  test.each([
    ['where the request asks for a level', { acr_values: 'urn:sallyport:acr:2fa' }],
    ['where it asks for the lowest', { acr_values: 'urn:sallyport:acr:1fa' }],
  ])('%s', async (_what, parameters) => {
    const person = await remembered()
    const page = await afterPassword(person, 'alice@example.com', parameters)
    expect(page.url).toMatch(/\/second-factor$/)
    expect(page.text).not.toContain('remember')
    const before = await server.database.prisma.rememberedDevice.count()
    await person.submit(page, { code: codes.shift() ?? '', remember: 'yes' })
    expect(await server.database.prisma.rememberedDevice.count()).toBe(before)
  })

  test('where the operator says so, and on plain http beyond loopback', async () => {
    const days = (env: Record<string, string>) => readConfig(env).rememberDeviceDays
    expect(days({})).toBe(30)
    expect(days({ REMEMBER_DEVICE_DAYS: '90' })).toBe(90)
    expect(days({ REMEMBER_DEVICE_DAYS: '0' })).toBe(0)
    expect(days({ ISSUER_URL: 'https://id.example.com' })).toBe(30)
    expect(days({ ISSUER_URL: 'http://id.example.com' })).toBe(0)
    for (const wrong of ['91', '-1', '1.5', 'x'])
      expect(() => days({ REMEMBER_DEVICE_DAYS: wrong }), wrong).toThrow(/REMEMBER_DEVICE_DAYS/)
  })
})

/** A browser's one cookie, as Koa hands it over. */
function jarOf(value?: string) {
  const jar = { value, name: '', options: {} as Record<string, unknown> }
  const cookies = {
    get: () => jar.value,
    set: (name: string, text: string, options: Record<string, unknown>) =>
      Object.assign(jar, { name, value: text, options }),
  }
  return { ctx: { cookies } as unknown as Context, jar }
}

describe('the cookie', () => {
  const devicesOf = (https: boolean) =>
    createRememberedDevices({
      config: { https, rememberDeviceDays: 30 },
      database: server.database,
      now: () => new Date(),
    })

  test('is a __Host- cookie that no script reads (ASVS 3.3)', async () => {
    const { ctx, jar } = jarOf()
    await devicesOf(true).remember(ctx, j.alice.id, change())
    expect(jar.name).toBe('__Host-sallyport_remembered')
    expect(jar.options).toMatchObject({
      ...{ httpOnly: true, secure: true, sameSite: 'lax', path: '/', maxAge: 30 * dayMs },
    })
    expect(jar.options).not.toHaveProperty('domain')
    expect(jar.value).toMatch(/^[A-Za-z0-9_-]{43}$/)
    const plain = jarOf()
    await devicesOf(false).remember(plain.ctx, j.alice.id, change())
    expect(plain.jar).toMatchObject({ name: cookie, options: { secure: false } })
  })

  test('holds five people, the latest first; asking again takes the place of what was there', async () => {
    const { prisma } = server.database
    const { ctx, jar } = jarOf('x~y~~')
    const devices = devicesOf(true)
    const people = [j.alice.id, bobId]
    for (let n = 0; n < 4; n++)
      people.push((await createUser(prisma, { email: `${n}.${Date.now()}@example.com` }, change())).id)
    for (const id of people) await devices.remember(ctx, id, change())
    const known = async () => {
      const found: string[] = []
      for (const id of people) if (await devices.find(ctx, id)) found.push(id)
      return found
    }
    expect(await known()).toEqual(people.slice(1))
    await devices.remember(ctx, bobId, change())
    expect(await known()).toEqual(people.slice(1))
    expect(jar.value?.split('~')).toHaveLength(5)
    expect(await prisma.rememberedDevice.count({ where: { userId: bobId } })).toBe(1)
  })

  test('of fifty browsers and one more the oldest is forgotten', async () => {
    const devices = devicesOf(true)
    const jars = Array.from({ length: 51 }, () => jarOf())
    for (const [n, { ctx }] of jars.entries())
      await devices.remember(ctx, j.alice.id, { ...change(), now: new Date(Date.now() + n * 1000 - 60_000) })
    const found = await Promise.all(jars.map(({ ctx }) => devices.find(ctx, j.alice.id)))
    expect(found.map((id) => id !== undefined)).toEqual([false, ...Array(50).fill(true)])
  })
})
