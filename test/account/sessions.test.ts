// Where a person is signed in, and ending it. What ends takes its tokens along at once.
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type AccountHome, startAccount } from '#test/support/account.ts'
import { orders } from '#test/support/installation.ts'
import { Person } from '#test/support/person.ts'

const cookie = 'sallyport_session'
let home: AccountHome
beforeAll(async () => {
  home = await startAccount()
})
afterAll(() => home.stop())
beforeEach(() => home.server.database.prisma.session.updateMany({ data: { endedAt: new Date() } }))

const uidsOf = async (userId = home.alice.id) => (await home.sessionsOf(userId)).map(({ uid }) => uid)

test('the list names device, address and times of each session, this one first', async () => {
  const phone = new Person(home.server.url)
  await home.enter('/account', { person: phone })
  const [phoneUid = ''] = await uidsOf()
  await home.server.database.prisma.origin.create({
    data: {
      id: Buffer.from('phone'),
      address: '203.0.113.9',
      userAgent: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:132.0) Gecko/20100101 Firefox/132.0',
    },
  })
  await home.server.database.pool.query(
    `UPDATE session SET origin_id = $1, last_used_at = now() - interval '20 minutes' WHERE uid = $2`,
    [Buffer.from('phone'), phoneUid],
  )
  const { person, page } = await home.enter('/account/sessions')
  const [, others = ''] = page.text.split('Other devices')
  expect(others).toContain('Firefox on Windows')
  expect(others).toContain('203.0.113.9')
  expect(others).toContain('20 minutes ago')
  expect(others).toContain(`href="/account/sessions/${phoneUid}"`)
  const details = await person.open(`/account/sessions/${phoneUid}`)
  expect(details.text).toContain('Firefox on Windows')
  expect(page.text).not.toContain('Mozilla/')
})

test('ending one signs that browser out, and its tokens are over at the next question, offline_access or not', async () => {
  const lost = await home.tokensFor(
    { scope: 'openid orders:read offline_access', resource: orders, prompt: 'consent' },
    undefined,
    { resource: orders },
  )
  const [lostUid = ''] = await uidsOf()
  const kept = await home.tokensFor({ scope: 'openid orders:read', resource: orders }, undefined, { resource: orders })
  const page = await kept.person.open(`/account/sessions/${lostUid}`)
  const done = await kept.person.submit(page, { decision: 'end' })
  expect(done.text).toContain('That device is signed out.')
  expect((await home.introspect(lost.access_token, 'orders-api')).body).toEqual({ active: false })
  expect((await home.refresh(lost.refresh)).body.error).toBe('invalid_grant')
  expect((await lost.person.fetch('/account')).status).toBe(303)
  expect((await home.introspect(kept.access_token, 'orders-api')).body.active).toBe(true)
  expect((await home.refresh(kept.refresh)).status).toBe(200)
  expect((await kept.person.open('/account')).url).toBe(`${home.server.url}/account`)
})

test('a token that was issued in the session at the very moment it ended is dead as well: the session’s generation moved', async () => {
  const { access_token } = await home.tokensFor({ scope: 'openid orders:read', resource: orders }, undefined, {
    resource: orders,
  })
  const [uid = ''] = await uidsOf()
  const { person } = await home.enter('/account/sessions')
  await person.submit(await person.open(`/account/sessions/${uid}`), { decision: 'end' })
  const session = await home.server.database.prisma.session.findUniqueOrThrow({ where: { uid } })
  expect([session.generation, session.endedAt]).toEqual([1, expect.any(Date)])
  expect((await home.introspect(access_token, 'orders-api')).body).toEqual({ active: false })
})

test('ending all others leaves this one', async () => {
  const tokens = [await home.tokensFor(), await home.tokensFor()]
  const { person, page } = await home.enter('/account/sessions')
  expect(await uidsOf()).toHaveLength(3)
  const done = await person.submit(page, { decision: 'end-others' })
  expect(done.text).toContain('All other devices are signed out.')
  expect(done.text).toContain('You are signed in nowhere else.')
  expect(await uidsOf()).toHaveLength(1)
  for (const { refresh } of tokens) expect((await home.refresh(refresh)).body.error).toBe('invalid_grant')
  const ended = await home.server.database.prisma.auditEvent.findMany({
    where: { event: 'session.ended' },
    orderBy: { id: 'desc' },
    take: 2,
  })
  expect(ended.map(({ actorKind, actorId }) => [actorKind, actorId])).toEqual([
    ['user', home.alice.id],
    ['user', home.alice.id],
  ])
})

test('ending the one that is used is leaving', async () => {
  const { person } = await home.enter()
  const [uid = ''] = await uidsOf()
  const page = await person.submit(await person.open(`/account/sessions/${uid}`), { decision: 'end' })
  expect(page.url).toContain('/login')
})

test('a second time, and a session that never was, are not there', async () => {
  await home.enter()
  const [uid = ''] = await uidsOf()
  const { person } = await home.enter('/account/sessions')
  const page = await person.open(`/account/sessions/${uid}`)
  await person.submit(page, { decision: 'end' })
  expect((await person.submit(page, { decision: 'end' })).status).toBe(404)
  expect((await person.open(`/account/sessions/${uid}`)).status).toBe(404)
  for (const other of ['nobody', '%00', 'x'.repeat(200), '..%2f..'])
    expect([400, 404]).toContain((await person.open(`/account/sessions/${other}`)).status)
})

test('somebody else’s session is not there either, to look at or to end', async () => {
  await home.enter('/account', { as: 'bob@example.com' })
  const [uid = ''] = await uidsOf(home.bob.id)
  const { person, page } = await home.enter('/account/sessions')
  expect(page.text).not.toContain(uid)
  expect((await person.open(`/account/sessions/${uid}`)).status).toBe(404)
  const csrf = /name="csrf" value="([^"]+)"/.exec((await person.open('/account/profile')).text)?.[1] ?? ''
  const posted = await person.open(`/account/sessions/${uid}`, {
    method: 'POST',
    body: new URLSearchParams({ csrf, decision: 'end' }),
    headers: { Origin: home.server.url },
  })
  expect(posted.status).toBe(404)
  expect(await uidsOf(home.bob.id)).toEqual([uid])
})

test('logging out ends the tokens that were not asked for beyond it (offline_access), and leaves those that were', async () => {
  const bound = await home.tokensFor()
  const free = await home.tokensFor({ scope: 'openid offline_access', prompt: 'consent', client_id: 'shop-web' })
  for (const { person } of [bound, free])
    await person.submit(await person.open('/oauth/logout'), { decision: 'logout' })
  expect((await home.refresh(bound.refresh)).body.error).toBe('invalid_grant')
  expect((await home.refresh(free.refresh)).status).toBe(200)
})

describe('the life of a session', () => {
  const idle = 3600
  const use = (userId: string, secondsAgo: number) =>
    home.server.database.pool.query(
      `UPDATE session SET last_used_at = now() - make_interval(secs => $2) WHERE user_id = $1 AND ended_at IS NULL`,
      [userId, secondsAgo],
    )
  const lastUse = async () => (await home.sessionsOf(home.alice.id))[0]?.lastUsedAt.getTime() ?? 0

  test('a new id at login, and again when the person proves themselves once more; the old one is dead (ASVS 7.2.4)', async () => {
    const person = new Person(home.server.url)
    await person.open('/account')
    const anonymous = person.cookies.get(cookie)?.value
    await home.enter('/account', { person })
    const first = person.cookies.get(cookie)?.value
    expect(first).not.toBe(anonymous)
    const { address } = await home.begin({ prompt: 'login', scope: 'openid' })
    await home.signIn(person, await person.open(address))
    const second = person.cookies.get(cookie)?.value
    expect(second).not.toBe(first)
    const thief = new Person(home.server.url)
    for (const [name, value] of person.cookies) thief.cookies.set(name, value)
    expect((await thief.fetch('/account')).status).toBe(200)
    const { pool } = home.server.database
    const { rows } = await pool.query(
      `SELECT count(*)::int AS n FROM session WHERE ended_at IS NULL AND user_id = $1`,
      [home.alice.id],
    )
    expect(rows[0].n).toBe(1)
    // The cookie is signed: the old pair of value and signature, as it was, opens nothing.
    const old = new Person(home.server.url)
    await home.enter('/account', { person: old })
    const pair = new Map(old.cookies)
    await home.signIn(old, await old.open((await home.begin({ prompt: 'login', scope: 'openid' })).address))
    const replayed = new Person(home.server.url)
    for (const [name, value] of pair) replayed.cookies.set(name, value)
    expect((await replayed.fetch('/account')).status).toBe(303)
  })

  test('nobody used it for its idle lifetime: over, with the tokens that are bound to it (ASVS 7.3.1)', async () => {
    const { person, refresh } = await home.tokensFor()
    await use(home.alice.id, idle - 60)
    expect((await person.fetch('/account')).status).toBe(200)
    await expect.poll(async () => Date.now() - (await lastUse())).toBeLessThan(60_000) // noted after the answer
    await use(home.alice.id, idle + 1)
    expect((await person.fetch('/account')).status).toBe(303)
    expect((await home.refresh(refresh)).body.error).toBe('invalid_grant')
    const { page } = await home.enter('/account/sessions')
    expect(page.text).toContain('You are signed in nowhere else.')
  })

  test('what was given beyond the session (offline_access) outlives its idleness', async () => {
    const { refresh } = await home.tokensFor({ scope: 'openid offline_access', prompt: 'consent' })
    await use(home.alice.id, idle + 1)
    expect((await home.refresh(refresh)).status).toBe(200)
  })

  test('use is noted, but not at every request', async () => {
    const { person } = await home.enter()
    await use(home.alice.id, 200)
    const noted = await lastUse()
    for (let n = 0; n < 5; n++) await person.fetch('/account')
    expect(await lastUse()).toBe(noted)
    await use(home.alice.id, 600)
    await person.fetch('/account')
    await expect.poll(async () => Date.now() - (await lastUse())).toBeLessThan(60_000)
  })

  test('an application that refreshes for the person is use; an API that looks a token up is none', async () => {
    const { refresh, access_token } = await home.tokensFor(
      { scope: 'openid orders:read', resource: orders },
      undefined,
      { resource: orders },
    )
    await use(home.alice.id, 1200)
    const noted = await lastUse()
    expect((await home.introspect(access_token, 'orders-api')).body.active).toBe(true)
    expect(await lastUse()).toBe(noted)
    expect((await home.refresh(refresh)).status).toBe(200)
    await expect.poll(async () => Date.now() - (await lastUse())).toBeLessThan(60_000)
  })

  test('use does not prolong the absolute lifetime (ASVS 7.3.2)', async () => {
    const { person } = await home.enter()
    await home.server.database.pool.query(
      `UPDATE session SET expires_at = now() - interval '20 seconds' WHERE user_id = $1`,
      [home.alice.id],
    )
    expect((await person.fetch('/account')).status).toBe(303)
  })
})
