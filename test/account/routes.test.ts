// Every route of the account against everybody who might knock: nobody, another person, the person. Made from the table of pages, so a
// page that is added is asked too.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createApiKey } from '#src/access/api-keys/api-keys.ts'
import { accountKey, reserveGuess } from '#src/factors/guessing.ts'
import { rememberDevice } from '#src/factors/remembered-device.ts'
import { type AccountHome, accountTable, addedSince, startAccount, tokenOf } from '#test/support/account.ts'
import { giveRecoveryCodes, giveTotp } from '#test/support/factors.ts'
import { change, orders } from '#test/support/installation.ts'
import { type Page, Person } from '#test/support/person.ts'
import { type Receiver, startReceiver } from '#test/support/receiver.ts'

let home: AccountHome
let receiver: Receiver
let alice: Person
let bob: Person
/** A form that Alice was shown in another session of hers. */
let elsewhere: Page
/** Where Alice finds something of her own. */
let own: Record<string, string>

beforeAll(async () => {
  receiver = await startReceiver()
  home = await startAccount({ env: receiver.env })
  const { person } = await home.tokensFor({ scope: 'openid profile', prompt: 'consent' })
  alice = person
  const [session] = await home.sessionsOf(home.alice.id)
  elsewhere = (await home.enter('/account/profile')).page
  await giveTotp(home.server, home.alice.id)
  await giveRecoveryCodes(home.server, home.alice.id)
  await addedSince(home)
  const factor = await home.server.database.prisma.credential.findFirstOrThrow({
    where: { userId: home.alice.id, kind: 'totp' },
  })
  for (let n = 0; n < 5; n++)
    await reserveGuess(home.server.database, {
      factor: 'push',
      account: accountKey(home.server.secretKeys, 'alice@example.com'),
      address: undefined,
      now: new Date(),
    })
  await rememberDevice(home.server.database.prisma, { userId: home.alice.id, days: 30, values: [] }, change())
  const key = await createApiKey(
    home.server.database.prisma,
    { name: 'Alice’s laptop', apis: { [orders]: [] }, owner: { userId: home.alice.id } },
    change(),
  )
  own = { ':key': key.id, ':uid': session?.uid ?? '', ':clientId': 'shop-web', ':id': factor.id }
  bob = (await home.enter('/account', { as: 'bob@example.com' })).person
})
afterAll(async () => {
  await home.stop()
  await receiver.stop()
})

const pages = accountTable
const addressOf = (path: string) => path.replace(/:\w+/, (name) => own[name] ?? '')
const isObject = (path: string) => path.includes(':')
/** Shown to a script, or inside a page: without what the page hands it, there is nothing. */
const isPart = (path: string) => path.endsWith('/qr.svg')

/** Everything that could have been changed. */
async function state(): Promise<string> {
  const { prisma } = home.server.database
  return JSON.stringify([
    await prisma.user.findMany({ orderBy: { id: 'asc' } }),
    (await prisma.session.findMany({ where: { endedAt: null }, orderBy: { uid: 'asc' } })).map(({ uid, userId }) => [
      uid,
      userId,
    ]),
    await prisma.consent.findMany(),
    await prisma.guessLimit.count({ where: { factor: 'push' } }),
    await prisma.rememberedDevice.count(),
    await prisma.apiKey.findMany({ include: { values: { select: { version: true, expiresAt: true } } } }),
    (await prisma.grant.findMany({ where: { revokedAt: null }, orderBy: { id: 'asc' } })).map(({ id }) => id),
    (await prisma.credential.findMany({ orderBy: { id: 'asc' } })).map(({ id, kind, name, secret }) => [
      id,
      kind,
      name,
      secret,
    ]),
  ])
}

/** Every button there is. */
const decisions = [
  'end',
  'end-others',
  'remove',
  'rename',
  'download',
  'create',
  'forget-all',
  'lift',
  'rotate',
  'revoke',
] as const
const everything = { confirm: 'yes', name: 'Mallory', current: 'x', password: 'a password of the attacker' }

const post = (person: Person, path: string, fields: Record<string, string>, headers: Record<string, string> = {}) =>
  person.fetch(path, {
    method: 'POST',
    body: new URLSearchParams(fields),
    headers: { Origin: home.server.url, ...headers },
  })

test('there are pages, and each has a path of its own', () => {
  expect(pages.length).toBeGreaterThan(8)
  expect(new Set(pages.map(({ path }) => path)).size).toBe(pages.length)
})

/** What does not apply to a page is no test of it. */
const when = (applies: unknown): ((name: string, run: () => Promise<void>) => void) =>
  applies ? test : () => undefined

describe.each(pages.map((page) => [page.path, page] as const))('%s', (path, page) => {
  test('nobody: 303 to the login, by GET and by POST, and nothing changes', async () => {
    const before = await state()
    for (const method of ['GET', 'POST']) {
      const nobody = new Person(home.server.url)
      const answer =
        method === 'GET' ? await nobody.fetch(addressOf(path)) : await post(nobody, addressOf(path), everything)
      if (method === 'POST' ? !page.submit && !page.json : !page.show) expect(answer.status).toBe(405)
      else expect([answer.status, answer.headers.get('location')?.split('?')[0]]).toEqual([303, '/oauth/authorize'])
      expect(await answer.text()).not.toContain('Alice')
    }
    expect(await state()).toBe(before)
  })

  test('another person: their own page, or nothing at all; never this one’s', async () => {
    const before = await state()
    const answer = await bob.open(addressOf(path))
    // Recovery codes stand in for a second factor, and Bob has none: he is led to where he could add one.
    expect(answer.status).toBe(isObject(path) || isPart(path) ? 404 : page.show ? 200 : 405)
    expect(answer.text).not.toMatch(/Alice|alice/)
    if (page.submit && isObject(path)) {
      const csrf = tokenOf(await bob.open('/account/profile'))
      for (const decision of decisions)
        expect([400, 404]).toContain((await post(bob, addressOf(path), { ...everything, csrf, decision })).status)
    }
    expect(await state()).toBe(before)
  })

  when(page.show && !isPart(path))('the person: the page', async () => {
    const answer = await alice.open(addressOf(path))
    expect(answer.status).toBe(200)
    expect(answer.text).toContain('Alice@Example.com')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('content-security-policy')).toMatch(
      /default-src 'none'.*form-action 'self';.*frame-ancestors 'none'/,
    )
  })

  when(page.submit)(
    'its form: not without its token, nor with that of another person or another session, nor from another site',
    async () => {
      const shown = await alice.open(addressOf(path))
      const profile = await alice.open('/account/profile')
      const csrf = tokenOf(shown) || tokenOf(profile)
      expect(csrf).toHaveLength(43)
      const here = addressOf(path)
      const between = await state()
      for (const decision of decisions) {
        const fields = { ...everything, decision }
        for (const token of [undefined, '', 'x', tokenOf(await bob.open('/account/profile')), tokenOf(elsewhere)]) {
          const answer = await post(alice, here, token === undefined ? fields : { ...fields, csrf: token })
          expect(answer.status, `${decision} ${token}`).toBe(403)
        }
        for (const headers of [
          { Origin: 'https://evil.example' },
          { 'Sec-Fetch-Site': 'cross-site' },
          { 'Sec-Fetch-Site': 'same-site' },
          { Origin: 'null', 'Sec-Fetch-Site': 'cross-site' },
        ] as Record<string, string>[])
          expect((await post(alice, here, { ...fields, csrf }, headers)).status).toBe(403)
        const json = await alice.fetch(here, {
          method: 'POST',
          body: JSON.stringify({ ...fields, csrf }),
          headers: { 'Content-Type': 'text/plain', Origin: home.server.url },
        })
        expect(json.status).toBe(415)
      }
      for (const method of ['PUT', 'PATCH', 'DELETE'])
        expect((await alice.fetch(here, { method })).status, method).toBe(405)
      expect(await state()).toBe(between)
    },
  )

  when(page.submit)('its form: an unknown button does nothing, a repeated field neither', async () => {
    const csrf = tokenOf(await alice.open('/account/profile'))
    const before = await state()
    const unknown = await post(alice, addressOf(path), { csrf, decision: 'everything' })
    expect([303, 400, 422]).toContain(unknown.status)
    if (!['/account/profile', '/account/security/totp'].includes(path)) expect(unknown.status).not.toBe(303)
    const repeated = await alice.fetch(addressOf(path), {
      method: 'POST',
      body: new URLSearchParams([
        ['csrf', csrf],
        ['decision', 'end'],
        ['decision', 'remove'],
      ]),
      headers: { Origin: home.server.url },
    })
    expect(repeated.status).toBe(400)
    if (path !== '/account/profile') expect(await state()).toBe(before)
  })

  when(page.json)('its JSON: not without the token of this session, nor from another site, nor as a form', async () => {
    const csrf = tokenOf(await alice.open('/account/profile'))
    const before = await state()
    const send = (body: object, headers: Record<string, string> = {}) =>
      alice.fetch(addressOf(path), {
        method: 'POST',
        body: JSON.stringify(body),
        headers: {
          'Content-Type': 'application/json',
          Accept: 'application/json',
          Origin: home.server.url,
          ...headers,
        },
      })
    const response = path.endsWith('/options') ? {} : { response: { id: 'x' } }
    expect((await send(response)).status).toBe(400)
    for (const token of ['', 'x', tokenOf(await bob.open('/account/profile')), tokenOf(elsewhere)])
      expect((await send({ csrf: token, ...response })).status).toBe(403)
    expect((await send({ csrf, ...response }, { Origin: 'https://evil.example' })).status).toBe(403)
    expect((await send({ csrf, ...response }, { 'Sec-Fetch-Site': 'cross-site' })).status).toBe(403)
    expect((await send({ csrf, ...response, extra: 1 })).status).toBe(400)
    expect((await send({ csrf, ...response }, { 'Content-Type': 'text/plain' })).status).toBe(415)
    expect((await post(alice, addressOf(path), { csrf })).status).toBe(415)
    expect(await state()).toBe(before)
  })
})

test('one browser, two people: the second sees nothing of the first, and no form of the first works (CVE-2025-12390)', async () => {
  await home.server.database.prisma.credential.deleteMany({ where: { kind: { not: 'password' } } })
  const { person, page } = await home.enter('/account/profile')
  const uid = person.cookies.get('sallyport_session')?.value
  await person.submit(await person.open('/oauth/logout'), { decision: 'logout' })
  const login = await person.open('/account/profile')
  const second = await home.signIn(person, login, 'bob@example.com')
  expect(second.text).toContain('bob@example.com')
  expect(second.text).not.toMatch(/Alice/)
  expect(person.cookies.get('sallyport_session')?.value).not.toBe(uid)
  const stale = await person.submit(page, { name: 'Mallory' })
  expect(stale.status).toBe(403)
  const { name } = await home.server.database.prisma.user.findUniqueOrThrow({ where: { id: home.bob.id } })
  expect(name).toBe('Bob Builder')
})
