// How a person reaches their account: through the ordinary login, and back to the page they asked for, never anywhere else.
import { createHash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ownClientId } from '#src/clients/own-client.ts'
import { setUserDisabled } from '#src/users/users.ts'
import { type AccountHome, age, headingOf, startAccount } from '#test/support/account.ts'
import { change, password } from '#test/support/installation.ts'
import { Person } from '#test/support/person.ts'

let home: AccountHome
beforeAll(async () => {
  home = await startAccount()
})
afterAll(() => home.stop())

test('without a session: 303 into the login, and back to the page that was asked for', async () => {
  const person = new Person(home.server.url)
  const first = await person.fetch('/account/activity?page=2')
  expect(first.status).toBe(303)
  expect(first.headers.get('location')).toMatch(/^\/oauth\/authorize\?client_id=sallyport&/)
  expect(first.headers.get('cache-control')).toBe('no-store')
  const { page } = await home.enter('/account/activity?page=2')
  expect([page.status, new URL(page.url).pathname + new URL(page.url).search]).toEqual([
    200,
    '/account/activity?page=2',
  ])
  expect(headingOf(page)).toBe('Activity')
})

test('whoever is signed in already is not asked again, nor for consent', async () => {
  const { person } = await home.codeFor()
  const page = await person.open('/account/profile')
  expect([page.status, headingOf(page)]).toEqual([200, 'Profile'])
  expect(page.text).toContain('Alice@Example.com')
})

test('HEAD is answered like GET, and a form without a session leads to the login too', async () => {
  const person = new Person(home.server.url)
  expect((await person.fetch('/account', { method: 'HEAD' })).status).toBe(303)
  const posted = await person.fetch('/account/profile', { method: 'POST', body: new URLSearchParams({ name: 'Eve' }) })
  expect(posted.status).toBe(303)
  const { page } = await home.enter(posted.headers.get('location') ?? '')
  expect(new URL(page.url).pathname).toBe('/account/profile')
  expect((await home.server.database.prisma.user.findUniqueOrThrow({ where: { id: home.alice.id } })).name).toBe(
    'Alice Liddell',
  )
})

test('a person who was switched off has no session', async () => {
  const { person } = await home.enter('/account', { as: 'bob@example.com' })
  await setUserDisabled(home.server.database.prisma, home.bob.id, true, change())
  expect((await person.fetch('/account')).status).toBe(303)
  await setUserDisabled(home.server.database.prisma, home.bob.id, false, change())
  expect((await person.fetch('/account')).status).toBe(303) // what was ended stays ended
})

test('cancelling the login says so, and offers it again', async () => {
  const person = new Person(home.server.url)
  const login = await person.open('/account/profile')
  const page = await person.submit(login, { decision: 'deny' })
  expect([page.status, headingOf(page)]).toEqual([200, 'You are not signed in'])
})

test('cancelling a repeated login goes back to the overview: the session is still there', async () => {
  const { person } = await home.enter()
  await age(home, home.alice.id, 3600)
  const login = await person.open('/account/security/password')
  expect(login.url).toContain('/login')
  const page = await person.submit(login, { decision: 'deny' })
  expect([page.status, new URL(page.url).pathname]).toEqual([200, '/account'])
})

describe('the way back leads nowhere else', () => {
  const hostile = [
    '//evil.example',
    '//evil.example/account',
    'https://evil.example/account',
    '/\\evil.example',
    '/account/../oauth/logout',
    '/account/%2e%2e/%2e%2e//evil.example',
    '/accounts.evil',
    '/account@evil.example',
    '/account/callback',
    '/oauth/logout',
    `/account/${'a'.repeat(600)}`,
    'javascript:alert(1)',
    '',
  ]

  test.each(hostile)('also if it were signed: %s', async (path) => {
    const { person } = await home.enter()
    const encoded = Buffer.from(path).toString('base64url')
    const signed = `${encoded}.${home.server.secretKeys.mac('return-path', path).toString('base64url')}`
    for (const state of [path, signed, `${encoded}.${randomBytes(32).toString('base64url')}`]) {
      const page = await person.open(`/account/callback?${new URLSearchParams({ state, code: 'x' })}`)
      expect(page.url).toBe(`${home.server.url}/account`)
    }
  })

  test('a state that was signed for one path is none for another', async () => {
    const person = new Person(home.server.url)
    const first = await person.fetch('/account/sessions')
    const state = new URL(first.headers.get('location') ?? '', home.server.url).searchParams.get('state') ?? ''
    const [, mac] = state.split('.')
    await home.enter('/account', { person })
    const moved = `${Buffer.from('/account/profile').toString('base64url')}.${mac}`
    expect((await person.open(`/account/callback?state=${moved}&code=x`)).url).toBe(`${home.server.url}/account`)
    expect((await person.open(`/account/callback?state=${state}&code=x`)).url).toBe(
      `${home.server.url}/account/sessions`,
    )
  })

  test('a path that would read as another one is replaced before it is signed', async () => {
    for (const path of ['/account//evil', '/account/%2e%2e/x', '/account/a%5cb']) {
      const answer = await new Person(home.server.url).fetch(path)
      expect([303, 404]).toContain(answer.status)
      if (answer.status === 303) expect(answer.headers.get('location')).toMatch(/^\/oauth\/authorize\?/)
    }
  })
})

describe('the client behind the door', () => {
  const authorize = async (parameters: Record<string, string> = {}) => {
    const verifier = randomBytes(32).toString('base64url')
    const query = new URLSearchParams({
      client_id: ownClientId,
      redirect_uri: `${home.server.url}/account/callback`,
      response_type: 'code',
      scope: 'openid',
      state: 's',
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
      ...parameters,
    })
    return { address: `/oauth/authorize?${query}`, verifier }
  }

  test('its codes are good for nothing, even with their verifier', async () => {
    const { person } = await home.enter()
    const { address, verifier } = await authorize()
    const answer = await person.fetch(address)
    const code = new URL(answer.headers.get('location') ?? '').searchParams.get('code') ?? ''
    expect(code).toMatch(/^sp_ac_/)
    const { status, body } = await home.post(
      '/oauth/token',
      {
        grant_type: 'authorization_code',
        code,
        code_verifier: verifier,
        redirect_uri: `${home.server.url}/account/callback`,
        client_id: ownClientId,
      },
      { as: null },
    )
    expect([status, body.error]).toEqual([400, 'invalid_grant'])
  })

  test('a made-up link with prompt=consent harms nobody', async () => {
    const { person } = await home.enter()
    const consent = await person.open((await authorize({ prompt: 'consent' })).address)
    expect(consent.url).toContain('/consent')
    const page = await person.submit(consent, { decision: 'allow' })
    expect([page.status, new URL(page.url).pathname]).toEqual([200, '/account'])
    expect(await home.server.database.prisma.consent.count({ where: { clientId: ownClientId } })).toBe(0)
  })

  test('it is nobody’s to list, make, change or delete', async () => {
    const { prisma } = home.server.database
    expect(await prisma.client.count({ where: { id: ownClientId } })).toBe(0)
    const { createClient } = await import('#src/clients/clients.ts')
    await expect(createClient(prisma, { id: ownClientId, type: 'service' }, [], change())).rejects.toThrow(/own pages/)
  })

  test('no other address is taken for it', async () => {
    const { address } = await authorize({ redirect_uri: `${home.server.url}/account` })
    const answer = await new Person(home.server.url).fetch(address)
    expect([answer.status, answer.headers.get('location')]).toEqual([400, null])
  })
})

describe('a fresh sign-in before anything sensitive (ASVS 7.5.1)', () => {
  const sensitive = ['/account/security/password', '/account/data', '/account/data/deletion']

  test.each(sensitive)('%s: asked for again after five minutes, on the page and on its form', async (path) => {
    const { person, page } = await home.enter(path)
    expect(new URL(page.url).pathname).toBe(path)
    await age(home, home.alice.id, 301)
    const fields = { decision: 'download', confirm: 'yes', current: password, password: 'a quite different phrase' }
    const posted = await person.submit(page, fields)
    expect(posted.url).toContain('/login')
    expect(posted.text).toContain('confirm that it is you')
    const again = await home.signIn(person, await person.open(path))
    expect([again.status, new URL(again.url).pathname]).toEqual([200, path])
    const alice = await home.server.database.prisma.user.findUniqueOrThrow({ where: { id: home.alice.id } })
    expect([alice.disabledAt, alice.generation]).toEqual([null, home.alice.generation])
  })

  test('a form that was just shown is taken, also when the five minutes are nearly over', async () => {
    const { person, page } = await home.enter('/account/data')
    await age(home, home.alice.id, 240)
    expect((await person.submit(page, { decision: 'download' })).status).toBe(200)
    expect((await person.open('/account/data')).url).toContain('/login')
  })

  test('the rest does not ask', async () => {
    const { person } = await home.enter()
    await age(home, home.alice.id, 1800)
    for (const path of [
      '/account',
      '/account/profile',
      '/account/security',
      '/account/sessions',
      '/account/applications',
    ])
      expect((await person.open(path)).url).toBe(home.server.url + path)
  })
})
