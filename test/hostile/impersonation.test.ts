// Acting as somebody else, by people who want more of it than it gives: nothing of the person's is changed or proven, nothing outlives the session,
// and nothing happens without a name beside it.
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { updateApi } from '#src/apis/apis.ts'
import { putRoute } from '#src/apis/routes.ts'
import { ownScopes } from '#src/apis/scope-names.ts'
import { updateClient } from '#src/clients/clients.ts'
import { settleImpersonations } from '#src/impersonation/end.ts'
import { markOf } from '#src/impersonation/mark.ts'
import { unsealMail } from '#src/mail/outbox.ts'
import { setUserDisabled, updateUser } from '#src/users/users.ts'
import { accountTable } from '#test/support/account.ts'
import { type Administrator, consoleTable, headingOf, tokenOf } from '#test/support/console.ts'
import { become, reason, type SupportHome, startSupport, throughLogout } from '#test/support/impersonation.ts'
import { change, orders, password, stock } from '#test/support/installation.ts'
import { Person } from '#test/support/person.ts'

let home: SupportHome
let support: Administrator
let alice: string

beforeAll(async () => {
  home = await startSupport()
  support = home.support
  alice = home.alice.id
})
afterAll(() => home.stop())
beforeEach(async () => {
  // Each test has its own, and whatever another one changed is as it was.
  await prisma().impersonation.deleteMany()
  await prisma().consent.deleteMany()
  await updateUser(prisma(), support.id, { roles: ['support'] }, change())
  await updateUser(prisma(), alice, { roles: [] }, change())
})

const prisma = () => home.server.database.prisma
const now = () => new Date()
const settle = (allowed = true) => settleImpersonations(home.server.database, { allowed }, change())
const rows = () => prisma().impersonation.findMany({ orderBy: { askedAt: 'desc' } })
const newest = async () => {
  const [row] = await rows()
  if (!row) throw new Error('nobody acts as anybody')
  return row
}
const events = (event: string) => prisma().auditEvent.findMany({ where: { event }, orderBy: { id: 'desc' } })

async function act() {
  const done = await become(home, support, alice)
  expect([done.page.status, new URL(done.page.url).pathname]).toEqual([200, '/account'])
  return done.person
}

const whoIs = async (person: Person) => (await person.open('/account')).text
const isOver = async (person: Person) => expect((await person.open('/account')).url).toContain('/login')

type Parameters = Record<string, string>

/** The whole way back to the application in a browser where somebody is signed in; whatever is asked is agreed to. */
async function codeIn(person: Person, parameters: Parameters = {}) {
  const { address, verifier } = await home.begin(parameters)
  let page = await person.open(address)
  if (page.url.includes('/consent')) {
    const offered = [...page.text.matchAll(/name="scope" value="([^"]*)"/g)].map(([, value]) => value ?? '')
    page = await person.submit(page, { decision: 'allow', scope: offered })
  }
  const { searchParams } = new URL(page.url)
  return { code: searchParams.get('code'), error: searchParams.get('error') ?? page.url, verifier }
}

async function tokensIn(person: Person, parameters: Parameters = {}, fields: Parameters = {}) {
  const { code, error, verifier } = await codeIn(person, parameters)
  expect(code, error).toBeTruthy()
  const { status, body } = await home.redeem(code ?? '', verifier, fields)
  expect([status, body.error_description]).toEqual([200, undefined])
  return body
}

describe('what it is', () => {
  test('a session of the person in the browser that asked, which says so on every page, and is recorded', async () => {
    const person = await act()
    const page = await person.open('/account')
    expect(page.text).toContain('You are acting as <strong><bdi>Alice@Example.com</bdi></strong>')
    expect(page.text).toContain('You are <strong><bdi>support@example.com</bdi></strong>')
    for (const path of [
      '/account/profile',
      '/account/sessions',
      '/account/activity',
      '/account/api-keys',
      '/oauth/logout',
    ])
      expect((await person.open(path)).text, path).toContain('You are acting as')
    const row = await newest()
    expect(row).toMatchObject({ userId: alice, impersonatorId: support.id, reason, endedAt: null })
    const [session] = await prisma().session.findMany({ where: { acr: markOf(row.id) } })
    expect(session).toMatchObject({ userId: alice, amr: [] })
    const lasts = (session?.expiresAt?.getTime() ?? 0) - (row.begunAt?.getTime() ?? 0)
    expect(lasts).toBeLessThanOrEqual(1_800_000)
    const [started] = await events('user.impersonation_started')
    expect(started).toMatchObject({ actorId: support.id, targetId: alice, detail: { impersonation: row.id, reason } })
  })

  test('the session of the administrator is over: no cookie of before leads anywhere', async () => {
    const person = new Person(home.server.url)
    await home.enter('/admin', { as: support, person })
    const before = new Map(person.cookies)
    await become(home, support, alice, { person })
    person.cookies.clear()
    for (const [name, cookie] of before) person.cookies.set(name, cookie)
    expect((await person.open('/admin')).url).toContain('/login')
    expect(await prisma().session.count({ where: { userId: support.id, endedAt: null } })).toBe(0)
  })

  test('the person is told at once, by whom and why, in their language, and sees it while it goes on', async () => {
    await updateUser(prisma(), alice, { locale: 'de' }, change())
    const mails = await prisma().mail.count({ where: { template: 'impersonation' } })
    await act()
    const sent = await prisma().mail.findMany({ where: { template: 'impersonation' }, orderBy: { createdAt: 'desc' } })
    expect(sent.length).toBe(mails + 1)
    expect(unsealMail(home.server.secretKeys, { id: sent[0]?.id ?? '', sealed: sent[0]?.sealed ?? '' })).toMatchObject({
      to: 'Alice@Example.com',
      locale: 'de',
      data: { by: 'support@example.com', reason },
    })
    await updateUser(prisma(), alice, { locale: null }, change())
    const hers = new Person(home.server.url)
    await hers.submit(await hers.open('/account'), { identifier: 'alice@example.com', password })
    for (const path of ['/account/sessions', '/account/activity']) {
      const { text } = await hers.open(path)
      expect(text, path).toContain('Support (support@example.com) acted as you')
      expect(text, path).toContain(reason)
      expect(text, path).not.toContain('You are acting as')
    }
  })

  test('the person ends it from their devices, and it is over at once', async () => {
    const person = await act()
    const row = await newest()
    const { access_token: token } = await tokensIn(person)
    const hers = new Person(home.server.url)
    await hers.submit(await hers.open('/account'), { identifier: 'alice@example.com', password })
    const [session] = await prisma().session.findMany({ where: { acr: markOf(row.id) } })
    const page = await hers.open(`/account/sessions/${session?.uid}`)
    await hers.submit(page, { decision: 'end' })
    await isOver(person)
    expect((await home.userinfo(token ?? '')).status).toBe(401)
    expect(await newest()).toMatchObject({ endedAt: expect.any(Date), endedBecause: 'session_ended' })
    expect((await events('user.impersonation_ended'))[0]).toMatchObject({ actorId: alice, targetId: alice })
  })

  test('whoever acts ends it: every token of it dies, and they are asked to sign in as themselves', async () => {
    const person = await act()
    const { access_token: token = '' } = await tokensIn(
      person,
      { scope: 'stock:read', resource: stock },
      { resource: stock },
    )
    expect((await home.introspect(token, 'stock-api')).body.active).toBe(true)
    const page = await person.submit(await person.open('/account/impersonation'), {})
    expect(page.url).toContain('/login')
    expect((await home.introspect(token, 'stock-api')).body.active).toBe(false)
    expect(await newest()).toMatchObject({ endedBecause: 'impersonator' })
    expect((await events('user.impersonation_ended'))[0]).toMatchObject({ actorId: support.id, targetId: alice })
    await isOver(person)
  })
})

describe('who may not, and whom', () => {
  const ask = async (as: Administrator, userId: string, fields: Record<string, string> = { reason }) => {
    const { person, page } = await home.enter(`/admin/people/${userId}/impersonate`, { as })
    return page.status === 200 ? person.submit(page, fields) : page
  }

  test('nobody without the permission, however much else they may do', async () => {
    const may = Object.keys(ownScopes).filter((scope) => scope !== 'users:impersonate')
    const almost = await home.appointWith('almost@example.com', 'almost', { permissions: may })
    const { person } = await home.enter('/admin', { as: almost })
    expect((await person.open(`/admin/people/${alice}`)).text).not.toContain('/impersonate')
    expect((await ask(almost, alice)).status).toBe(403)
    expect(await rows()).toEqual([])
  })

  test('nobody acts as themselves, an administrator, somebody switched off, or whoever must prove a second factor', async () => {
    const disabled = await home.appoint('off@example.com', 'Off', [])
    await setUserDisabled(prisma(), disabled.id, true, change())
    await prisma().role.create({ data: { name: 'clerk', permissions: { create: [{ permission: 'audit:read' }] } } })
    await prisma().role.create({ data: { name: 'careful', secondFactor: 'required' } })
    const clerk = await home.appoint('clerk@example.com', 'Clerk', ['clerk'])
    const careful = await home.appoint('careful@example.com', 'Careful', ['careful'])
    for (const [who, words] of [
      [support.id, 'is yourself'],
      [home.owner.id, 'may administer this server'],
      [clerk.id, 'may administer this server'],
      [disabled.id, 'is switched off'],
      [careful.id, 'asks for a second factor'],
    ] as const) {
      const page = await ask(support, who)
      expect([page.status, page.text.includes(words)], words).toEqual([422, true])
    }
    expect((await ask(support, '00000000-0000-4000-8000-000000000000')).status).toBe(404)
    expect(await rows()).toEqual([])
  })

  test('not without a reason, nor one that is none', async () => {
    for (const bad of ['', '   ', 'x'.repeat(301), 'a\u202eb'])
      expect((await ask(support, alice, { reason: bad })).status).toBe(422)
    expect(await rows()).toEqual([])
  })

  test('not after five minutes, nor with one factor', async () => {
    const { person, page } = await home.enter(`/admin/people/${alice}/impersonate`, { as: support })
    await home.age(support.id, 301)
    const kept = await person.submit(page, { reason })
    expect(kept.text).toContain('/admin/again')
    expect(await rows()).toEqual([])
  })

  test('where the server does not permit it there is no button, no page, and no way in', async () => {
    const off = await startSupport({})
    try {
      const { person } = await off.enter(`/admin/people/${off.alice.id}`, { as: off.support })
      const path = `/admin/people/${off.alice.id}`
      expect((await person.open(path)).text).not.toContain('/impersonate')
      const page = await person.open(`${path}/impersonate`)
      expect(page.status).toBe(404)
      const csrf = tokenOf(await off.enter('/admin/people/new', { as: off.owner }).then(({ page }) => page))
      const sent = await person.submit(await person.open(path), { csrf, reason })
      expect(sent.status).toBeGreaterThanOrEqual(400)
      expect(await off.server.database.prisma.impersonation.count()).toBe(0)
    } finally {
      await off.stop()
    }
  })
})

describe('how it begins', () => {
  /** Asked for in the console, and then not followed. */
  async function asked(person: Person) {
    const { page } = await home.enter(`/admin/people/${alice}/impersonate`, { as: support, person })
    const body = new URLSearchParams({ csrf: tokenOf(page), reason })
    const answer = await person.fetch(page.url, { method: 'POST', body, headers: { Origin: home.server.url } })
    return answer.headers.get('location') ?? ''
  }

  test('in the browser that asked and in no other, whoever is signed in there', async () => {
    const person = new Person(home.server.url)
    const address = await asked(person)
    expect(address).toContain('login_hint=impersonation%3A')
    const stranger = new Person(home.server.url)
    expect((await stranger.open(address)).status).toBe(410)
    const again = new Person(home.server.url)
    await home.enter('/admin', { as: support, person: again })
    expect((await again.open(address)).status).toBe(410)
    const { person: other } = await home.enter('/admin', { as: home.owner })
    expect((await other.open(address)).status).toBe(410)
    expect((await newest()).begunAt).toBeNull()
    expect((await throughLogout(person, await person.open(address))).url).toContain('/account')
  })

  test('once, and within a minute', async () => {
    const person = new Person(home.server.url)
    const late = await asked(person)
    await prisma().impersonation.updateMany({ data: { expiresAt: now() } })
    expect((await person.open(late)).status).toBe(410)
    const address = await asked(person)
    await throughLogout(person, await person.open(address))
    const browser = new Person(home.server.url)
    await home.enter('/admin', { as: support, person: browser })
    expect((await browser.open(address)).status).toBe(410)
  })

  test('not when the permission went in that minute', async () => {
    const person = new Person(home.server.url)
    const address = await asked(person)
    await updateUser(prisma(), support.id, { roles: [] }, change())
    expect((await person.open(address)).status).toBe(410)
  })

  test('not by another application: its login_hint is a hint', async () => {
    const person = new Person(home.server.url)
    const id = new URLSearchParams((await asked(person)).split('?')[1]).get('login_hint') ?? ''
    const { address } = await home.begin({ login_hint: id, prompt: 'login' })
    expect((await person.open(address)).url).toContain('/login')
    expect((await newest()).begunAt).toBeNull()
  })
})

describe('what it does not do', () => {
  test('every form of the account is refused, every page that asks for a fresh sign-in too, and nothing changes', async () => {
    const person = await act()
    const state = async () =>
      JSON.stringify(
        [
          await prisma().user.findMany({ orderBy: { id: 'asc' } }),
          await prisma().credential.findMany({ orderBy: { id: 'asc' } }),
          await prisma().apiKey.findMany(),
          await prisma().consent.findMany(),
          await prisma().rememberedDevice.count(),
          (await prisma().session.findMany({ where: { endedAt: null }, orderBy: { uid: 'asc' } })).map(
            ({ uid }) => uid,
          ),
        ],
        (_key, value) => (typeof value === 'bigint' ? String(value) : value),
      )
    const before = await state()
    const sessions = await prisma().session.findMany({ where: { userId: alice } })
    let refused = 0
    for (const { path, show, submit, json, sensitive } of accountTable) {
      const address = path.replace(/:\w+/, () => sessions[0]?.uid ?? 'x')
      if (show && sensitive) expect((await person.open(address)).status, path).toBe(403)
      if (!submit && !json) continue
      for (const { uid } of sessions) {
        const csrf = home.server.secretKeys.mac('csrf-bound', `account ${uid}`).toString('base64url')
        const fields = { csrf, decision: 'download', name: 'Mallory', current: password, password: `${password} 2` }
        const form = await person.fetch(address, {
          method: 'POST',
          body: new URLSearchParams(fields),
          headers: { Origin: home.server.url },
        })
        const asJson = await person.fetch(address, {
          method: 'POST',
          body: JSON.stringify(fields),
          headers: { Origin: home.server.url, 'Content-Type': 'application/json' },
        })
        expect([form.status, asJson.status], path).toEqual([403, 403])
        refused++
      }
    }
    expect(refused).toBeGreaterThan(10)
    expect(await state()).toBe(before)
    expect(await whoIs(person)).toContain('You are acting as')
  })

  test('the console is closed, page by page', async () => {
    const person = await act()
    for (const { path, show } of consoleTable)
      if (show) expect((await person.open(path.replace(/:\w+/g, 'nothing'))).status, path).toBe(403)
    expect((await person.open('/admin/again')).status).toBe(403)
  })

  test('nothing that asks for a proof of the person is answered: it goes back to the application as refused', async () => {
    const person = await act()
    const asking: Parameters[] = [
      { prompt: 'login' },
      { max_age: '3600' },
      { max_age: '0' },
      { acr_values: 'urn:sallyport:acr:1fa' },
      { acr_values: 'urn:sallyport:acr:2fa' },
      { claims: JSON.stringify({ id_token: { acr: { essential: true, values: ['phr'] } } }) },
    ]
    for (const parameters of asking)
      expect(await codeIn(person, parameters), JSON.stringify(parameters)).toMatchObject({
        code: null,
        error: 'unmet_authentication_requirements',
      })
    expect((await codeIn(person, { prompt: 'none', max_age: '3600' })).error).toBe('login_required')
    // No screen of the sign-in is open meanwhile, whatever its address.
    for (const step of [
      '',
      'login',
      'second-factor',
      'recovery',
      'email-code',
      'signup',
      'enrolment',
      'login?account=other',
    ]) {
      const { address } = await home.begin({ prompt: 'login' })
      const response = await person.fetch(address)
      const at = new URL(response.headers.get('location') ?? '', home.server.url).pathname
      const page = await person.open(`${at}/${step}`)
      expect(new URL(page.url).searchParams.get('error'), step).toBe('unmet_authentication_requirements')
      const passkey = await person.fetch(`${at}/passkey/options`, {
        method: 'POST',
        body: JSON.stringify({ csrf: 'x' }),
        headers: { Origin: home.server.url, 'Content-Type': 'application/json' },
      })
      expect(passkey.status, step).toBeGreaterThanOrEqual(400)
    }
    expect(await whoIs(person)).toContain('You are acting as')
  })

  test('an application that asks for a second factor by itself is closed', async () => {
    const person = await act()
    const settings = { type: 'spa', name: 'shop-spa', redirectUris: [home.callback], scopes: ['openid'] } as const
    await updateClient(prisma(), 'shop-spa', { ...settings, secondFactor: 'required' }, change())
    await home.server.settle()
    const { address } = await home.begin({ client_id: 'shop-spa', scope: 'openid' })
    const page = await person.open(address)
    expect(new URL(page.url).searchParams.get('error')).toBe('unmet_authentication_requirements')
  })

  test('tokens name who is behind them, say of no sign-in, end with it, and come without a refresh token', async () => {
    const person = await act()
    const asked = { scope: 'openid offline_access orders:read', resource: orders, prompt: 'consent' }
    const { address } = await home.begin(asked)
    const consent = await person.open(address)
    expect([consent.url.includes('/consent'), consent.text.includes('You are acting as')]).toEqual([true, true])
    expect(consent.text).not.toContain('offline_access')
    // From the page of consent nobody else signs in.
    expect(
      (await person.open(`${new URL(consent.url).pathname.replace('/consent', '/login')}?account=other`)).url,
    ).toContain('/consent')
    const {
      access_token: access,
      id_token: id = '',
      refresh_token: refresh,
    } = await tokensIn(person, asked, { resource: orders })
    expect(refresh).toBeUndefined()
    const row = await newest()
    const claims = decodeJwt(access)
    expect(claims).toMatchObject({ sub: alice, act: { sub: support.id } })
    expect([claims.acr, claims.auth_time, claims.amr]).toEqual([undefined, undefined, undefined])
    expect(String(claims.scope)).not.toContain('offline_access')
    expect(claims.exp).toBeLessThanOrEqual(Math.ceil(row.expiresAt.getTime() / 1000))
    expect(decodeJwt(id)).toMatchObject({ sub: alice, act: { sub: support.id }, acr: markOf(row.id) })
    expect(decodeJwt(id).exp).toBeLessThanOrEqual(Math.ceil(row.expiresAt.getTime() / 1000))
    expect((await home.introspect(access, 'orders-api')).body).toMatchObject({ active: true, act: { sub: support.id } })
    // What an administrator agrees to is nothing that the person agreed to.
    expect(await prisma().consent.count({ where: { userId: alice, clientId: 'shop-web' } })).toBe(0)
    const [granted] = await events('consent.granted')
    expect(granted).toMatchObject({ actorId: alice, detail: { impersonator: support.id } })
    // Shorter, where less is left.
    await prisma().session.updateMany({
      where: { acr: markOf(row.id) },
      data: { loginAt: new Date(Date.now() - 1_700_000) },
    })
    const late = await tokensIn(person, { scope: 'openid' })
    expect(late.expires_in).toBeLessThanOrEqual(101)
    expect(await (await home.userinfo(late.access_token)).json()).toMatchObject({
      sub: alice,
      act: { sub: support.id },
    })
  })

  test('its tokens are refused by the admin API, whatever their scopes and whatever the person came to hold', async () => {
    const ownApi = `${home.server.url}/api`
    const settings = { type: 'web', name: 'shop-web', redirectUris: [home.callback], scopes: ['openid'] } as const
    await updateClient(
      prisma(),
      'shop-web',
      { ...settings, apis: { [ownApi]: ['access:evaluate', 'users:read'] } },
      change(),
    )
    await prisma().scope.updateMany({ where: { apiIdentifier: ownApi, name: 'users:read' }, data: { byRole: false } })
    await home.server.settle()
    try {
      const person = await act()
      const answer = await tokensIn(person, { scope: 'users:read', resource: ownApi }, { resource: ownApi })
      const headers = { Authorization: `Bearer ${answer.access_token}` }
      const response = await fetch(`${ownApi}/v1/users`, { headers })
      expect([response.status, (await response.json()).error]).toEqual([403, 'access_denied'])
    } finally {
      await prisma().scope.updateMany({ where: { apiIdentifier: ownApi, name: 'users:read' }, data: { byRole: true } })
      const apis = { [orders]: ['orders:read', 'orders:write'], [stock]: ['stock:read'] }
      await updateClient(
        prisma(),
        'shop-web',
        { ...settings, scopes: ['openid', 'profile', 'email', 'offline_access'], apis },
        change(),
      )
      await home.server.settle()
    }
  })

  test('no gateway lets it through, and no receipt is shown to it', async () => {
    const person = await act()
    const { secretKeys, url } = home.server
    const host = 'app.example'

    const api = { name: 'Orders', introspectionClients: ['orders-api'], accept: ['oauth', 'session'] }
    const scopes = { 'orders:read': 'See orders', 'orders:write': 'Create and change orders' }
    await updateApi(prisma(), orders, { ...api, scopes }, change())
    await putRoute(
      prisma(),
      { host, method: 'GET', path: '/' },
      { api: orders, scopes: ['orders:read'], position: 1 },
      change(),
    )
    await home.server.settle()
    const until = Math.floor(Date.now() / 1000) + 60
    const start = (acrValues: string[]) => {
      const begin = { url: `https://${host}/`, browser: 'x', until, acrValues, maxAge: null }
      return `/authz/start?${new URLSearchParams({ begin: secretKeys.seal('gateway-begin', url, JSON.stringify(begin)) })}`
    }
    for (const asked of [[], ['urn:sallyport:acr:1fa']]) expect((await person.open(start(asked))).status).toBe(403)
    const asked = { scope: 'orders:read', resource: orders }
    const through = async ({ access_token: token }: { access_token: string }) => {
      const headers = {
        ...{
          'X-Forwarded-Proto': 'https',
          'X-Forwarded-Host': host,
          'X-Forwarded-Method': 'GET',
          'X-Forwarded-Uri': '/',
        },
        Authorization: `Bearer ${token}`,
      }
      return (await fetch(`${url}/authz/forward`, { headers })).status
    }
    expect(await through(await home.tokensFor(asked, undefined, { resource: orders }))).toBe(200)
    expect(await through(await tokensIn(person, asked, { resource: orders }))).toBe(403)
    // Nor one that somebody made of it all the same; of the person's own it is a session.
    const seen = async (uid: string) => {
      const value = secretKeys.seal('gateway-session', host, JSON.stringify({ session: uid }))
      return (await home.introspect(value, 'orders-api', { token_type_hint: 'session', host })).body.active
    }
    const hers = new Person(url)
    await hers.submit(await hers.open('/account'), { identifier: 'alice@example.com', password })
    const acr = markOf((await newest()).id)
    const open = await prisma().session.findMany({ where: { userId: alice, endedAt: null } })
    expect(await seen(open.find((session) => session.acr === acr)?.uid ?? '')).toBe(false)
    expect(await seen(open.find((session) => session.acr?.endsWith('1fa'))?.uid ?? '')).toBe(true)
    expect((await person.open('/d/0123456789abcdef')).status).toBe(404)
  })
})

describe('when it is over', () => {
  const ends: Record<string, [string, () => Promise<unknown>]> = {
    'the impersonator loses the role': [
      'permission_lost',
      () => updateUser(prisma(), support.id, { roles: [] }, change()),
    ],
    'the role loses the permission': [
      'permission_lost',
      () => prisma().rolePermission.deleteMany({ where: { roleName: 'support', permission: 'users:impersonate' } }),
    ],
    'the impersonator is switched off': [
      'impersonator_disabled',
      () => setUserDisabled(prisma(), support.id, true, change()),
    ],
    'whatever the impersonator began is ended': [
      'impersonator_signed_out',
      () => prisma().user.update({ where: { id: support.id }, data: { generation: { increment: 1 } } }),
    ],
    'the person comes to administer': [
      'person_is_administrator',
      () => updateUser(prisma(), alice, { roles: ['support'] }, change()),
    ],
    'the half hour is over': ['expired', () => prisma().impersonation.updateMany({ data: { expiresAt: now() } })],
  }

  test.each(Object.entries(ends))('%s', async (_what, [because, end]) => {
    const person = await act()
    const { id } = await newest()
    const { access_token: opaque = '' } = await tokensIn(
      person,
      { scope: 'stock:read', resource: stock },
      { resource: stock },
    )
    const { access_token: jwt = '' } = await tokensIn(
      person,
      { scope: 'orders:read', resource: orders },
      { resource: orders },
    )
    const pending = await home.begin()
    const page = await person.open(pending.address)
    const code = new URL(page.url).searchParams.get('code') ?? ''
    const active = async () => [
      (await home.introspect(opaque, 'stock-api')).body.active,
      (await home.introspect(jwt, 'orders-api')).body.active,
    ]
    expect(await active()).toEqual([true, true])
    await end()
    try {
      // At once, before anybody wrote it down.
      expect(await active()).toEqual([false, false])
      await isOver(person)
      if (code) expect((await home.redeem(code, pending.verifier)).body.error).toBe('invalid_grant')
      // And then it is written down, for those who do not ask.
      const before = await prisma().revocation.count()
      expect(await settle()).toBe(1)
      expect(await prisma().revocation.count()).toBeGreaterThan(before)
      expect(await prisma().impersonation.findUnique({ where: { id } })).toMatchObject({ endedBecause: because })
      expect((await events('user.impersonation_ended'))[0]).toMatchObject({
        targetId: alice,
        detail: { impersonation: id, because },
      })
      expect(await settle()).toBe(0)
      expect(await prisma().session.count({ where: { acr: markOf(id), endedAt: null } })).toBe(0)
    } finally {
      await setUserDisabled(prisma(), support.id, false, change())
      await prisma().rolePermission.createMany({
        data: [{ roleName: 'support', permission: 'users:impersonate' }],
        skipDuplicates: true,
      })
    }
  })

  test('signing out ends it, and that is recorded', async () => {
    const person = await act()
    const { id } = await newest()
    await person.submit(await person.open('/oauth/logout'), { decision: 'logout' })
    await isOver(person)
    expect(await settle()).toBe(1)
    expect(await prisma().impersonation.findUnique({ where: { id } })).toMatchObject({ endedBecause: 'session_ended' })
  })

  test('the setting that is switched off ends what is under way', async () => {
    await act()
    expect(await settle(false)).toBe(1)
    expect(await newest()).toMatchObject({ endedBecause: 'switched_off' })
  })

  test('nothing that is under way is touched by the job', async () => {
    const person = await act()
    expect(await settle()).toBe(0)
    expect(await whoIs(person)).toContain('You are acting as')
    expect(headingOf(await person.open('/account'))).not.toBe('')
  })
})
