// Somebody guesses at passwords and codes, and somebody guesses so that another cannot sign in: against two whole servers on one database.
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { hashSetupCode } from '#src/bootstrap/first-administrator.ts'
import { ensureOwnerRole } from '#src/bootstrap/own-api.ts'
import { clearAudit } from '#test/support/audit.ts'
import { giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, postForm, startJourney } from '#test/support/journey.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

let server: TestServer
let second: TestServer
let j: Journey
/** Of the servers. */
let clock = new Date()
beforeAll(async () => {
  const env = { EMAIL_SIGN_IN: 'on', SIGN_UP: 'open' }
  server = await startServer({ env, now: () => clock })
  second = await startServer({ env, share: server, now: () => clock })
  j = await startJourney(server)
})
afterAll(async () => {
  await second.stop()
  await server.stop()
})
beforeEach(async () => {
  clock = new Date()
  await server.database.prisma.guessLimit.deleteMany()
})

const alice = { identifier: 'alice@example.com', password }
const wrong = { identifier: alice.identifier, password: 'it is not this one' }

/** A browser that claims to come from elsewhere with each request. */
class Spoofing extends Person {
  override fetch(address: string | URL, init: RequestInit = {}): Promise<Response> {
    const elsewhere = `198.51.100.${randomBytes(1)[0]}`
    const headers = new Headers(init.headers)
    for (const name of [
      'X-Forwarded-For',
      'X-Real-IP',
      'Forwarded',
      'X-Client-IP',
      'True-Client-IP',
      'CF-Connecting-IP',
    ])
      headers.set(name, name === 'Forwarded' ? `for=${elsewhere}` : elsewhere)
    return super.fetch(address, { ...init, headers })
  }
}

async function atLogin(person: Person): Promise<Page> {
  return person.open((await j.begin({ prompt: 'login' })).address)
}

/** The same form, filled in otherwise each time, at both processes at once. @returns the statuses. */
async function atOnce(person: Person, page: Page, fields: (n: number) => Record<string, string>): Promise<number[]> {
  const csrf = /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''
  const cookie = [...person.cookies].map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; ')
  const { pathname, search } = new URL(page.url)
  const answers = Array.from({ length: 200 }, (_, n) =>
    postForm(
      new URL(pathname + search, `http://localhost:${(n % 2 ? server : second).port}`),
      new URL(server.url).host,
      { Cookie: cookie, Origin: server.url },
      new URLSearchParams({ csrf, ...fields(n) }).toString(),
    ),
  )
  return (await Promise.all(answers)).map(({ status }) => status)
}

const afterPassword = async (person: Person) => person.submit(await atLogin(person), alice)
const inPlaceOfLogin = (step: string, fields: Record<string, string>) => async (person: Person) =>
  person.submit(await person.open((await atLogin(person)).url.replace('/login', `/${step}`)), fields)
const eightDigits = (n: number) => ({ code: String(10_000_000 + n) })

describe('two hundred wrong ones at once over two processes: no more than five are evaluated, the rest get 429 (CVE-2025-64102)', () => {
  /** What is asked for, where, what is typed, what a wrong one is answered with. */
  const factors: [string, (person: Person) => Promise<Page>, (n: number) => Record<string, string>, number][] = [
    ['passwords', atLogin, () => wrong, 401],
    ['codes of an app', afterPassword, (n) => ({ code: String(n).padStart(6, '0') }), 401],
    ['recovery codes', afterPassword, (n) => ({ code: `aaaa-bbbb-cccc-dddd-eeee-${1000 + n}` }), 401],
    ['codes to sign in by mail', inPlaceOfLogin('email-code', { email: alice.identifier }), eightDigits, 422],
    ['codes to set a new password', inPlaceOfLogin('recovery', { email: alice.identifier }), eightDigits, 422],
    [
      'codes to sign up',
      inPlaceOfLogin('signup', { email: 'new@example.com', name: 'New', password: 'nine purple walruses paint' }),
      eightDigits,
      422,
    ],
  ]

  beforeEach(async () => {
    const { prisma } = server.database
    await clearAudit(server.database)
    await prisma.credential.deleteMany({ where: { kind: { not: 'password' } } })
    await prisma.oneTimeCode.deleteMany()
    await prisma.mail.deleteMany()
  })

  test.each(factors)('%s', async (what, reach, fields, refused) => {
    const { prisma } = server.database
    if (reach === afterPassword) {
      await giveTotp(server, j.alice.id)
      await giveRecoveryCodes(server, j.alice.id)
    }
    const person = new Person(server.url)
    const page = await reach(person)
    expect(page.text, what).toMatch(what === 'passwords' ? /name="password"/ : /name="code"/)
    const statuses = await atOnce(person, page, fields)
    const evaluated = statuses.filter((status) => status === refused).length
    // On a slow machine some get no connection to the database in time: 503, and nothing is evaluated either.
    expect(statuses.filter((status) => ![refused, 429, 503].includes(status))).toEqual([])
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(100)
    expect(evaluated).toBeGreaterThan(0)
    expect(evaluated).toBeLessThanOrEqual(5)
    const failures = { event: { in: ['login.failed', 'factor.failed'] } }
    expect(await prisma.auditEvent.count({ where: failures })).toBe(evaluated)
    expect(await prisma.auditEvent.count({ where: { event: 'login.limited' } })).toBeLessThanOrEqual(1)
    for (const { tries } of await prisma.oneTimeCode.findMany()) expect(tries).toBe(evaluated)
  })
})

test('an attacker cannot lock a person out: her browser goes on, and so does everybody when the time has come (GHSA-cq42-vhv7-xr7p)', async () => {
  const victim = new Person(server.url)
  await j.walk(victim, (await j.begin({ prompt: 'login' })).address)
  const attacker = new Person(server.url)
  for (let n = 0; n < 30; n++) await attacker.submit(await atLogin(attacker), wrong)
  const refused = await attacker.submit(await atLogin(attacker), alice)
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '900'])
  const again = await j.walk(victim, (await j.begin({ prompt: 'login' })).address)
  expect(new URL(again.url).searchParams.has('code')).toBe(true)
  // From a browser she never used she waits as strangers do, and no longer.
  clock = new Date(clock.getTime() + 900_000)
  const elsewhere = await j.walk(new Person(server.url), (await j.begin({ prompt: 'login' })).address)
  expect(new URL(elsewhere.url).searchParams.has('code')).toBe(true)
})

test('the cookie of a known device is no way in, and none for anybody else', async () => {
  const victim = new Person(server.url)
  await j.walk(victim, (await j.begin({ prompt: 'login' })).address)
  const device = victim.cookies.get('sallyport_device')
  expect(device?.value).toMatch(/^[\w-]{22}\.\d+\.[\w-]{43}$/)
  const thief = new Person(server.url)
  if (device) thief.cookies.set('sallyport_device', device)
  expect((await atLogin(thief)).url).toContain('/login')
  const bob = { identifier: 'bob@example.com', password: 'it is not this one' }
  for (let n = 0; n < 5; n++) expect((await thief.submit(await atLogin(thief), bob)).status).toBe(401)
  expect((await thief.submit(await atLogin(thief), bob)).status).toBe(429)
})

describe('an address', () => {
  test('is the one that connects, whatever its headers claim (CVE-2023-36456)', async () => {
    await server.database.prisma.guessLimit.createMany({
      data: ['127.0.0.1', '0:0:0:0::/64'].map((range) => ({
        subject: new Uint8Array(Buffer.from(range)),
        device: new Uint8Array(),
        factor: 'address',
        failures: 99,
        failedAt: clock,
        expiresAt: new Date(clock.getTime() + 900_000),
      })),
    })
    const attacker = new Spoofing(server.url)
    const nth = (n: number) => ({ identifier: `person-${n}@example.com`, password: 'x' })
    expect((await attacker.submit(await atLogin(attacker), nth(1))).status).toBe(401)
    for (let n = 2; n < 6; n++) expect((await attacker.submit(await atLogin(attacker), nth(n))).status).toBe(429)
    const { rows } = await server.database.pool.query(
      `SELECT count(*)::int AS count FROM guess_limit WHERE encode(subject, 'escape') LIKE '198.51.%'`,
    )
    expect(rows).toEqual([{ count: 0 }])
  })

  test('that tries set-up codes is refused before a code is looked at, until its window ends', async () => {
    await ensureOwnerRole(server.database, change())
    const code = randomBytes(16).toString('base64url')
    await server.database.prisma.setupCode.create({
      data: { id: hashSetupCode(code), expiresAt: new Date(clock.getTime() + 600_000) },
    })
    const page = (person: Person) => person.open('/admin/setup')
    const fields = { email: 'root@example.com', name: 'Root', password: 'five words nobody would guess' }
    const person = new Person(server.url)
    const before = await server.database.prisma.auditEvent.count({ where: { event: 'setup.failed' } })
    let last: Page | undefined
    for (let n = 0; n < 103; n++) last = await person.submit(await page(person), { ...fields, code: `wrong-${n}` })
    expect([last?.status, last?.headers.get('retry-after')]).toEqual([429, '900'])
    expect(last?.text).toContain('Try again in 15 minutes.')
    expect(await server.database.prisma.auditEvent.count({ where: { event: 'setup.failed' } })).toBe(before + 100)
    expect((await person.submit(await page(person), { ...fields, code })).status).toBe(429)
    clock = new Date(clock.getTime() + 900_000)
    await server.database.prisma.setupCode.updateMany({ data: { expiresAt: new Date(clock.getTime() + 600_000) } })
    expect((await person.submit(await page(person), { ...fields, code })).status).toBe(200)
  })
})

test('a limit that cannot be asked is no permission: without the database nobody is evaluated (ASVS 16.5.2)', async () => {
  const person = new Person(server.url)
  const page = await atLogin(person)
  await server.database.pool.query('ALTER FUNCTION reserve_guess RENAME TO reserve_guess_away')
  try {
    const answer = await person.submit(page, alice)
    expect(answer.status).toBe(500)
  } finally {
    await server.database.pool.query('ALTER FUNCTION reserve_guess_away RENAME TO reserve_guess')
  }
})
