// Second factors over real HTTP, from the request of a client to the claims of its ID token: when one is asked for, which way leads on,
// and that nothing else does.
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { createRole } from '#src/access/roles.ts'
import { patchClient } from '#src/clients/editing.ts'
import { updateUser } from '#src/users/users.ts'
import { clearAudit } from '#test/support/audit.ts'
import { Authenticator } from '#test/support/authenticator.ts'
import { codeAt, giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { change, password } from '#test/support/installation.ts'
import { type Journey, postForm, startJourney } from '#test/support/journey.ts'
import { type Page, Person } from '#test/support/person.ts'
import { startServer, type TestServer } from '#test/support/server.ts'

const oneFactor = 'urn:sallyport:acr:1fa'
const twoFactors = 'urn:sallyport:acr:2fa'

let now = new Date()
let server: TestServer
let j: Journey
let person: Person

beforeAll(async () => {
  server = await startServer({ now: () => now })
  j = await startJourney(server)
  await createRole(server.database.prisma, 'keeper', { secondFactor: 'required' }, change())
})
afterAll(() => server.stop())
beforeEach(async () => {
  now = new Date()
  person = new Person(server.url)
  await server.database.prisma.credential.deleteMany({ where: { kind: { not: 'password' } } })
  await clearAudit(server.database)
  await server.database.prisma.guessLimit.deleteMany()
  await updateUser(server.database.prisma, j.alice.id, { roles: [] }, change())
  await clientPolicy('optional')
})

async function clientPolicy(secondFactor: string) {
  await patchClient(server.database.prisma, 'shop-web', { secondFactor }, change())
  await server.settle()
}
const keeper = () => updateUser(server.database.prisma, j.alice.id, { roles: ['keeper'] }, change())

/** Email address and password. */
async function signIn(parameters: Record<string, string> = {}) {
  const { address, verifier } = await j.begin({ prompt: 'login', ...parameters })
  const login = await person.open(address)
  expect(login.url).toMatch(/\/login$/)
  return { page: await person.submit(login, { identifier: 'alice@example.com', password }), verifier }
}

/** From wherever the person is to the claims of the ID token. */
async function claimsFrom(page: Page, verifier: string) {
  let at = page
  if (at.url.endsWith('/consent')) at = await person.submit(at, { decision: 'allow' })
  const code = new URL(at.url).searchParams.get('code')
  expect(code, `${at.url}\n${at.text.slice(0, 400)}`).toBeTruthy()
  const { body } = await j.redeem(code ?? '', verifier)
  return { claims: decodeJwt(body.id_token ?? ''), tokens: body }
}
const step = (page: Page) => /\/interaction\/[^/]+\/([^?]+)/.exec(page.url)?.[1] ?? page.url

const audits = (event: string) => server.database.prisma.auditEvent.findMany({ where: { event } })

describe('without a second factor', () => {
  test('a password is enough, and the ID token says that it was all: acr, amr and auth_time', async () => {
    const { page, verifier } = await signIn()
    const { claims, tokens } = await claimsFrom(page, verifier)
    expect(claims).toMatchObject({ acr: oneFactor, amr: ['pwd'] })
    expect(claims.auth_time).toBeCloseTo(now.getTime() / 1000, -1)
    expect((await j.introspect(tokens.access_token)).body).toMatchObject({
      acr: oneFactor,
      auth_time: claims.auth_time,
    })
  })

  test('what a client asks for and the person cannot reach is unmet_authentication_requirements', async () => {
    const { page } = await signIn({ acr_values: twoFactors })
    expect(page.url).toContain('https://shop.example/cb')
    expect(new URL(page.url).searchParams.get('error')).toBe('unmet_authentication_requirements')
  })

  test('an acr that nobody knows here is passed over, unless it was essential', async () => {
    const { page, verifier } = await signIn({ acr_values: 'gold' })
    expect((await claimsFrom(page, verifier)).claims.acr).toBe(oneFactor)
    const claims = JSON.stringify({ id_token: { acr: { essential: true, value: 'gold' } } })
    const essential = (await signIn({ claims })).page
    expect(new URL(essential.url).searchParams.get('error')).toBe('unmet_authentication_requirements')
  })
})

describe('an app', () => {
  let seed: string
  beforeEach(async () => {
    seed = await giveTotp(server, j.alice.id)
  })

  test('is asked for after the password, and both are in amr', async () => {
    const { page, verifier } = await signIn()
    expect(step(page)).toBe('second-factor')
    expect(page.text).toMatch(/<input id="code"[^>]*autocomplete="one-time-code"[^>]*inputmode="numeric"/)
    const { claims } = await claimsFrom(await person.submit(page, { code: codeAt(seed, now) }), verifier)
    expect(claims).toMatchObject({ acr: twoFactors, amr: ['pwd', 'otp', 'mfa'] })
    expect(await audits('login.succeeded')).toHaveLength(1)
  })

  test('a wrong code, an empty one, one of another length: asked again, and recorded where it was a guess', async () => {
    const { page } = await signIn()
    for (const [code, status] of [
      ['000000', 401],
      ['', 422],
      ['12345', 401],
      ['1234567', 401],
      [codeAt(seed, now, 3), 401],
      [codeAt(seed, now, -2), 401],
      ['x'.repeat(5000), 401],
    ] as const) {
      await server.database.prisma.guessLimit.deleteMany()
      const again = await person.submit(page, { code })
      expect([code.slice(0, 9), again.status, step(again)]).toEqual([code.slice(0, 9), status, 'second-factor'])
      expect(again.text).toMatch(/<input id="code"[^>]*aria-invalid="true"/)
    }
    expect(await audits('factor.failed')).toHaveLength(6)
    expect(await audits('login.succeeded')).toEqual([])
  })

  test('the window is one step to either side: a code is over 60 seconds after its own began (CVE-2024-7318)', async () => {
    const own = Math.floor(now.getTime() / 30_000) * 30_000
    for (const [late, status] of [
      [60_000, 401],
      [59_999, 303],
    ] as const) {
      now = new Date()
      const { page } = await signIn()
      now = new Date(own + late)
      const response = await post(page, { code: codeAt(seed, new Date(own)) })
      expect(response.status).toBe(status)
    }
  })

  test('a code is good once: again in the same sign-in, in the next, and for a later one before it (CVE-2026-82470)', async () => {
    const first = await signIn()
    const used = codeAt(seed, now, 1)
    await claimsFrom(await person.submit(first.page, { code: used }), first.verifier)
    const { page } = await signIn()
    for (const code of [used, codeAt(seed, now), codeAt(seed, now, -1)])
      expect((await person.submit(page, { code })).status).toBe(401)
  })

  test('of 20 sign-ins at once with one code, over two processes, one goes through', async () => {
    const other = await startServer({ share: server, now: () => now, issuer: () => server.url })
    try {
      const people: { one: Person; page: Page }[] = []
      for (let n = 0; n < 20; n++) {
        const one = new Person(server.url)
        const { address } = await j.begin({ prompt: 'login' })
        const page = await one.submit(await one.open(address), { identifier: 'alice@example.com', password })
        people.push({ one, page })
      }
      const code = codeAt(seed, now)
      const statuses = await Promise.all(
        people.map(async ({ one, page }, index) => {
          const target = new URL(page.url)
          target.port = String(index % 2 ? other.port : server.port)
          const csrf = csrfOn(page)
          const Cookie = [...one.cookies].map(([key, { value }]) => `${key.split(' ')[0]}=${value}`).join('; ')
          const fields = new URLSearchParams({ csrf, code }).toString()
          return (await postForm(target, new URL(server.url).host, { Cookie, Origin: server.url }, fields)).status
        }),
      )
      expect(statuses.filter((status) => status === 303)).toHaveLength(1)
      expect(statuses.filter((status) => status === 401 || status === 429)).toHaveLength(19)
    } finally {
      await other.stop()
    }
  })

  test('guesses are counted before they are judged: of 50 at once five are, and then the right one waits, too (CVE-2025-64102)', async () => {
    const { page } = await signIn()
    const wrong = String((Number(codeAt(seed, now)) + 7) % 1_000_000).padStart(6, '0')
    const statuses = await Promise.all(
      Array.from({ length: 50 }, async () => (await post(page, { code: wrong })).status),
    )
    expect(statuses.filter((status) => status === 401)).toHaveLength(5)
    expect(statuses.filter((status) => status === 429)).toHaveLength(45)
    const late = await post(page, { code: codeAt(seed, now) })
    expect([late.status, Number(late.headers.get('retry-after')) > 60]).toEqual([429, true])
    // A recovery code counts under its own name, as long as both together are within what the account has.
    const [code = ''] = await giveRecoveryCodes(server, j.alice.id)
    expect((await post(page, { code })).status).toBe(303)
  })

  test('a recovery code stands in, once, typed as people type', async () => {
    const [code = '', next = ''] = await giveRecoveryCodes(server, j.alice.id)
    const { page, verifier } = await signIn()
    const asked = await person.open(`${page.url}?with=recovery-code`)
    expect(asked.text).not.toContain('inputmode="numeric"')
    const done = await person.submit(asked, {
      code: ` ${code.toUpperCase().replaceAll('-', ' ').replaceAll('0', 'O')}`,
    })
    expect((await claimsFrom(done, verifier)).claims).toMatchObject({ acr: twoFactors, amr: ['pwd', 'otp', 'mfa'] })
    const again = await signIn()
    expect((await person.submit(again.page, { code })).status).toBe(401)
    // New ones void the old.
    await giveRecoveryCodes(server, j.alice.id)
    expect((await person.submit(again.page, { code: next })).status).toBe(401)
  })

  test('a session that was proven by it is not asked again, nor one that is worth more than a client asks', async () => {
    const { page, verifier } = await signIn()
    await claimsFrom(await person.submit(page, { code: codeAt(seed, now) }), verifier)
    for (const acr_values of [twoFactors, oneFactor, `gold ${oneFactor}`]) {
      const { address, verifier } = await j.begin({ acr_values, prompt: 'none' })
      const { claims } = await claimsFrom(await person.open(address), verifier)
      expect(claims).toMatchObject({ acr: acr_values.replace('gold ', ''), amr: ['pwd', 'otp', 'mfa'] })
    }
    const phr = await person.open((await j.begin({ acr_values: 'phr', prompt: 'none' })).address)
    expect(new URL(phr.url).searchParams.get('error')).toBe('login_required')
  })

  test('prompt=login and max_age ask for both again', async () => {
    const { page, verifier } = await signIn()
    await claimsFrom(await person.submit(page, { code: codeAt(seed, now) }), verifier)
    await server.database.pool.query(`UPDATE session SET login_at = login_at - interval '2 minutes'`)
    const { address } = await j.begin({ max_age: '60' })
    expect(step(await person.open(address))).toBe('login')
  })
})

describe('step-up', () => {
  test('asks a signed-in person for the second factor alone; auth_time is that of the older proof', async () => {
    const { page, verifier } = await signIn()
    const before = (await claimsFrom(page, verifier)).claims
    const seed = await giveTotp(server, j.alice.id)
    now = new Date(now.getTime() + 100_000)
    const request = await j.begin({ acr_values: twoFactors })
    const asked = await person.open(request.address)
    expect(step(asked)).toBe('second-factor')
    const cookie = [...person.cookies].find(([name]) => name === 'sallyport_session')?.[1].value
    const { claims } = await claimsFrom(await person.submit(asked, { code: codeAt(seed, now) }), request.verifier)
    expect(claims).toMatchObject({ acr: twoFactors, amr: ['pwd', 'otp', 'mfa'], auth_time: before.auth_time })
    // ASVS 7.2.4: a new session id, and the old one is dead.
    expect([...person.cookies].find(([name]) => name === 'sallyport_session')?.[1].value).not.toBe(cookie)
  })

  test('prompt=none with a session that is not enough is login_required', async () => {
    const { page, verifier } = await signIn()
    await claimsFrom(page, verifier)
    const answer = await person.open((await j.begin({ acr_values: twoFactors, prompt: 'none' })).address)
    expect(new URL(answer.url).searchParams.get('error')).toBe('login_required')
  })

  test('whoever has nothing to step up with hears of it at the client', async () => {
    const { page, verifier } = await signIn()
    await claimsFrom(page, verifier)
    const answer = await person.open((await j.begin({ acr_values: 'phr' })).address)
    expect(new URL(answer.url).searchParams.get('error')).toBe('unmet_authentication_requirements')
  })

  test('an essential acr in the claims parameter counts as acr_values do; other claims asked there are passed over', async () => {
    const seed = await giveTotp(server, j.alice.id)
    const claims = JSON.stringify({
      userinfo: { email: { essential: true }, shoe_size: null },
      id_token: { acr: { essential: true, values: [twoFactors] } },
    })
    const { page, verifier } = await signIn({ claims })
    const done = await person.submit(page, { code: codeAt(seed, now) })
    expect((await claimsFrom(done, verifier)).claims.acr).toBe(twoFactors)
    const answer = await person.open((await j.begin({ claims: '{"id_token":{"acr":{"values":"x"}}}' })).address)
    expect(new URL(answer.url).searchParams.get('error')).toBe('invalid_request')
  })
})

describe.each([
  ['a role', keeper],
  ['a client', () => clientPolicy('required')],
])('required by %s', (_what, require) => {
  test('who has none sets one up, sees the recovery codes once, and the token says so', async () => {
    await require()
    const { page, verifier } = await signIn()
    expect(step(page)).toBe('enrolment')
    const app = await person.submit(page, { factor: 'totp' })
    expect(step(app)).toBe('enrolment/totp')
    const qr = await person.open(`${app.url}/qr.svg`)
    expect(qr.headers.get('content-type')).toMatch(/^image\/svg\+xml/)
    expect(qr.headers.get('cache-control')).toBe('no-store')
    const seed = seedOn(app)
    expect(seed).toHaveLength(32) // 160 bits
    expect((await person.submit(app, { code: '000000' })).status).toBe(422)
    const codes = await person.submit(app, { code: codeAt(seed, now) })
    expect(step(codes)).toBe('recovery-codes')
    const shown = [...codes.text.matchAll(/<code>([0-9a-z-]{29})<\/code>/g)].map(([, code]) => code ?? '')
    expect(new Set(shown).size).toBe(10)
    const { claims } = await claimsFrom(await person.submit(codes, { decision: 'continue' }), verifier)
    expect(claims).toMatchObject({ acr: twoFactors, amr: ['pwd', 'otp', 'mfa'] })

    // The next time it is asked for, and the code of the enrolment is used up.
    const next = await signIn()
    expect(step(next.page)).toBe('second-factor')
    expect((await person.submit(next.page, { code: codeAt(seed, now) })).status).toBe(401)
    await claimsFrom(await person.submit(next.page, { code: shown[9] ?? '' }), next.verifier)
  })

  test('the form of the set-up sent five times at once adds one app, and the codes that are shown are good', async () => {
    await require()
    const { page } = await signIn()
    const app = await person.submit(page, { factor: 'totp' })
    const code = codeAt(seedOn(app), now)
    const statuses = await Promise.all(Array.from({ length: 5 }, async () => (await post(app, { code })).status))
    expect(statuses).toEqual(Array(5).fill(303))
    const kinds = await server.database.prisma.credential.groupBy({
      by: ['kind'],
      where: { userId: j.alice.id },
      _count: true,
      orderBy: { kind: 'asc' },
    })
    expect(kinds.map(({ kind, _count }) => [kind, _count])).toEqual([
      ['password', 1],
      ['recovery_code', 10],
      ['totp', 1],
    ])
    const codes = await person.open(page.url)
    expect(step(codes)).toBe('recovery-codes')
    await person.submit(codes, { decision: 'continue' })
    const next = await signIn()
    const [shown = ''] = /[0-9a-z]{4}(-[0-9a-z]{4}){5}/.exec(codes.text) ?? []
    expect((await post(next.page, { code: shown })).status).toBe(303)
  })

  test('two sign-ins that enrol at once, with an app and a passkey each: one factor is added, and the others are asked for it', async () => {
    await require()
    const browsers = await Promise.all(
      [0, 1, 2, 3].map(async (n) => {
        const one = new Person(server.url)
        const login = await one.open((await j.begin({ prompt: 'login' })).address)
        const page = await one.submit(login, { identifier: 'alice@example.com', password })
        if (n % 2 === 0) {
          const app = await one.submit(page, { factor: 'totp' })
          return { one, page, send: () => one.submit(app, { code: codeAt(seedOn(app), now) }).then(step) }
        }
        const json = (path: string, body: object) =>
          one.fetch(page.url.replace('/enrolment', path), {
            method: 'POST',
            body: JSON.stringify({ csrf: csrfOn(page), ...body }),
            headers: { 'Content-Type': 'application/json', Origin: server.url },
          })
        const options = await (await json('/passkey/options', {})).json()
        const response = new Authenticator(server.url).create(options)
        return {
          one,
          page,
          // Where another was done before this one arrived, it is no answer to the question that waits: 401, and the page asks it.
          send: async () => {
            const answer = await json('/passkey', { response })
            expect([200, 401]).toContain(answer.status)
            return step(await one.open(answer.status === 200 ? (await answer.json()).next : page.url))
          },
        }
      }),
    )
    const steps = await Promise.all(browsers.map(({ send }) => send()))
    expect(steps.sort()).toEqual(['recovery-codes', 'second-factor', 'second-factor', 'second-factor'])
    const factors = { userId: j.alice.id, kind: { in: ['totp', 'passkey'] } }
    expect(await server.database.prisma.credential.count({ where: factors })).toBe(1)
  })

  test('a session of before is not enough any more', async () => {
    const { page, verifier } = await signIn()
    await claimsFrom(page, verifier)
    await require()
    const silent = await person.open((await j.begin({ prompt: 'none' })).address)
    expect(new URL(silent.url).searchParams.get('error')).toBe('login_required')
    expect(step(await person.open((await j.begin()).address))).toBe('enrolment')
  })
})

describe('no step is skipped (CVE-2026-18963, CVE-2026-49448)', () => {
  let page: Page
  let seed: string
  beforeEach(async () => {
    seed = await giveTotp(server, j.alice.id)
    ;({ page } = await signIn())
  })
  const at = (name: string) => page.url.replace(/second-factor$/, name)

  test('every other step, by GET and POST, leads back to the one that waits', async () => {
    for (const name of [
      'login',
      'login?account=other',
      'consent',
      'enrolment',
      'enrolment/totp',
      'recovery-codes',
      '',
    ]) {
      expect([name, step(await person.open(at(name)))]).toEqual([name, 'second-factor'])
      if (name === '') continue
      const forged = {
        decision: 'continue',
        factor: 'totp',
        code: codeAt(seed, now),
        identifier: 'alice@example.com',
        password,
      }
      const answer = await person.submit(
        { ...page, url: at(name), text: page.text.replace(/action="[^"]*"/, '') },
        forged,
      )
      expect([name, step(answer)]).toEqual([name, 'second-factor'])
    }
    expect((await person.open(at('enrolment/totp/qr.svg'))).status).toBe(404)
    // The engine's way on is closed as long as nothing was handed over.
    const uid = /interaction\/([^/]+)/.exec(page.url)?.[1]
    const resumed = await person.open(`/oauth/authorize/${uid}`)
    expect(resumed.url).not.toContain('code=')
    expect(await audits('login.succeeded')).toEqual([])
  })

  test('partial, repeated and forged forms are refused', async () => {
    const form = (body: string) =>
      person.open(page.url, {
        method: 'POST',
        body,
        headers: { 'Content-Type': 'application/x-www-form-urlencoded', Origin: server.url },
      })
    const csrf = csrfOn(page)
    const code = codeAt(seed, now)
    expect((await form('')).status).toBe(403)
    expect((await form(`code=${code}`)).status).toBe(403)
    expect((await form(`csrf=${csrf}`)).status).toBe(422)
    expect((await form(`csrf=${csrf}&code=000000&code=${code}`)).status).toBe(400)
    expect((await form(`csrf=${csrf}&decision=continue&code=${code}`)).status).toBe(400)
    expect((await form(`csrf=${csrf}&code=%00${code}`)).status).toBe(400)
    const json = await person.open(page.url, {
      method: 'POST',
      body: '{}',
      headers: { 'Content-Type': 'application/json' },
    })
    expect(json.status).toBe(415)
    expect(step(await form(`csrf=${csrf}&code=${code}`))).not.toBe('second-factor')
  })

  test('another browser cannot take it over, and the token of another request does not fit', async () => {
    const thief = new Person(server.url)
    const stolen = await thief.submit(page, { code: codeAt(seed, now) })
    expect(stolen.status).toBe(410)
    const { address } = await j.begin()
    const own = await thief.open(address)
    const mixed = await thief.submit(page, { code: codeAt(seed, now) })
    expect(mixed.status).toBe(410)
    const foreign = await person.submit(
      page,
      { code: codeAt(seed, now) },
      { csrf: /value="([^"]+)"/.exec(own.text)?.[1] ?? '' },
    )
    expect(foreign.status).toBe(403)
  })

  test('what was proven in one request is not proven in the next', async () => {
    expect(step(await person.open((await j.begin()).address))).toBe('login')
  })

  test('a person who starts again as somebody else takes nothing along', async () => {
    const login = await person.submit(page, { decision: 'restart' })
    expect(step(login)).toBe('login')
    expect(step(await person.submit(page, { code: codeAt(seed, now) }))).toBe('login')
    const again = await person.submit(login, { identifier: 'alice@example.com', password })
    expect(step(again)).toBe('second-factor')
  })

  test('a sign-in of somebody who is switched off, or whose sessions were ended, begins again', async () => {
    await server.database.prisma.user.update({ where: { id: j.alice.id }, data: { generation: { increment: 1 } } })
    expect(step(await person.submit(page, { code: codeAt(seed, now) }))).toBe('login')
  })

  test('cancelling goes back to the client', async () => {
    const back = await person.submit(page, { decision: 'deny' })
    expect(new URL(back.url).searchParams.get('error')).toBe('access_denied')
  })
})

test('seeds and codes that wait are sealed in the pending request, and leave with it', async () => {
  await keeper()
  const { page, verifier } = await signIn()
  const app = await person.submit(page, { factor: 'totp' })
  const seed = seedOn(app)
  const codes = await person.submit(app, { code: codeAt(seed, now) })
  const [code = ''] = /[0-9a-z]{4}(-[0-9a-z]{4}){5}/.exec(codes.text) ?? []
  const dump = async () => JSON.stringify((await server.database.pool.query('SELECT * FROM interaction')).rows)
  expect(await dump()).toContain(j.alice.id)
  for (const secret of [seed, code, code.replaceAll('-', '')]) expect(await dump()).not.toContain(secret)
  await claimsFrom(await person.submit(codes, { decision: 'continue' }), verifier)
  const { rows } = await server.database.pool.query('SELECT progress FROM interaction WHERE ended_at IS NOT NULL')
  expect(rows.length).toBeGreaterThan(0)
  expect(rows.every(({ progress }) => progress === null)).toBe(true)
  expect(server.logged.join('')).not.toContain(seed)
})

test('discovery names what may be asked for', async () => {
  const document = await (await fetch(`${server.url}/.well-known/openid-configuration`)).json()
  expect(document.acr_values_supported).toEqual([oneFactor, twoFactors, 'phr'])
  expect(document.claims_supported).toEqual(expect.arrayContaining(['acr', 'amr', 'auth_time']))
  expect(document.claims_parameter_supported).toBe(true)
})

function seedOn(page: Page): string {
  return (/<code class="key">([A-Z2-7 ]+)<\/code>/.exec(page.text)?.[1] ?? '').replaceAll(' ', '')
}

const csrfOn = (page: Page) => /name="csrf" value="([^"]+)"/.exec(page.text)?.[1] ?? ''

/** One answer, not followed. */
const post = (page: Page, fields: Record<string, string>) =>
  person.fetch(page.url, {
    method: 'POST',
    body: new URLSearchParams({ csrf: csrfOn(page), ...fields }),
    headers: { Origin: server.url },
  })
